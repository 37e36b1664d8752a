"""Kept models on speech that they were not trained for: the verb `stress`."""
