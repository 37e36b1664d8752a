"""The four corpora of the paper: parsers, folds and what each should hold."""
