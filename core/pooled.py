"""A vector for each utterance in the place of a frozen encoder's frames, made once a row.

Where neither the reading of stored frames nor their aggregation has weights or draws, and no loss
reads frames, each epoch would pool the same frames to the same vectors again, and so would the
row's next fold. Bit for bit the same: an utterance's vector depends neither on its companions in a
batch nor on padding.
"""

from collections.abc import Hashable, Iterable
from functools import lru_cache

import numpy as np
import torch

from core.clips import Inputs
from core.config import RunConfig
from core.corpora.utterance import Utterance
from core.features import Frames
from core.model import EmotionModel


class PooledFrames:
    """Each utterance as one vector; in the order of batches it keeps the length of its frames."""

    def __init__(self, frames: Frames, model: EmotionModel, config: RunConfig) -> None:
        self._frames = frames
        self._model = model
        # Threads, since a sum over several of them rounds differently.
        made_by = config.encoder, config.pooling, config.training.threads
        self._vectors = _vectors((frames.source, *made_by))

    def length(self, name: str, speed: float = 1.0) -> int:
        """Frames of an utterance."""
        return self._frames.length(name, speed)

    def read(self, name: str, speed: float = 1.0) -> np.ndarray:
        """(1, D) float32."""
        key = name, speed
        if key not in self._vectors:
            self._vectors[key] = self._pool(name, speed)
        return self._vectors[key]

    def _pool(self, name: str, speed: float) -> np.ndarray:
        frames = torch.tensor(self._frames.read(name, speed)).unsqueeze(0)
        with torch.no_grad():
            vector, _, _ = self._model.pool(frames, torch.tensor([frames.shape[1]]))
        return vector.numpy()


def pooled_once(
    model: EmotionModel, inputs: Inputs, utterances: Iterable[Utterance], config: RunConfig
) -> Inputs:
    """Inputs as the model is trained on: vectors where it `pools_once`, else what was given.

    Args:
        utterances: Whose vectors will be asked for in each epoch: made here, others when asked for.
    """
    if not (model.pools_once and isinstance(inputs, Frames)):
        return inputs
    pooled = PooledFrames(inputs, model, config)
    for utterance in utterances:
        for speed in {1.0, *config.augment.speeds}:
            pooled.read(utterance.name, speed)
    return pooled


@lru_cache(maxsize=1)  # a process trains the folds of a row one after another
def _vectors(made_by: Hashable) -> dict[tuple[str, float], np.ndarray]:
    """Those that have been made so, by name and speed; to be added to."""
    return {}
