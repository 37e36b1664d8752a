"""Pictures of results and of models: plain arrays in, a matplotlib figure out."""
