"""Which trials take longer than which, so that the longest start first."""

from collections.abc import Mapping

from core.checkpoints import CheckpointError, geometry
from core.config import RunConfig

BACKWARD = 2.0  # O: a backward pass takes about two forward passes
FALLBACK = 1e6  # O: weights of an encoder that is not at hand to be asked


def longest_first(trials: Mapping[str, RunConfig]) -> dict[str, RunConfig]:
    """The same trials, those with the most work first, equal ones in their order.

    A long trial that starts last keeps one worker busy while all others have nothing left to do.
    """
    return dict(sorted(trials.items(), key=lambda item: -work(item[1])))


def work(config: RunConfig) -> float:
    """Roughly, weights that each frame of a training passes, forward and backward, in all epochs.

    To be compared among trials of one corpus only.
    """
    try:
        shape = geometry(config.encoder)
    except CheckpointError:
        return FALLBACK * config.training.epochs
    layers = max(config.encoder.read_layers(shape.layers))
    features = config.encoder.frame_features(shape.features)
    encoder = 12.0 * layers * shape.features**2
    if config.stores_frames:
        encoder = 0.0
    elif config.encoder.train != "frozen":
        encoder *= 1 + BACKWARD
    pooling = 4.0 * features**2 if config.pooling.method == "flam" else 0.0
    heads = pooling + features * config.losses.projected_features
    return (encoder + (1 + BACKWARD) * heads) * config.training.epochs
