"""`search:` in a grid: settings tried on inner folds, the best of them tested on outer ones."""
