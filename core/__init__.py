"""Everything that computes: corpora, audio, mixup, encoders, pooling, losses, training, metrics.

Shape letters, used in every docstring below:
    B utterances, N samples, T frames, D features, d projected features (64), C classes, H heads,
    L layers.
Masks are True on real data.
"""
