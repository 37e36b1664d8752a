"""A vector for each utterance in the place of a frozen encoder's frames, made once a trial.

Where neither the reading of stored frames nor their aggregation has weights or draws, and no loss
reads frames, each epoch would pool the same frames to the same vectors again. Bit for bit the same:
an utterance's vector depends neither on its companions in a batch nor on padding.
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
import torch

from core.clips import Inputs
from core.config import RunConfig
from core.corpora.utterance import Utterance
from core.model import EmotionModel


class PooledFrames:
    """Each utterance as one vector; in the order of batches it keeps the length of its frames."""

    def __init__(self, frames: Inputs, model: EmotionModel) -> None:
        self._frames = frames
        self._model = model
        self.read = cache(self._pool)

    def length(self, name: str, speed: float = 1.0) -> int:
        """Frames of an utterance."""
        return self._frames.length(name, speed)

    def _pool(self, name: str, speed: float = 1.0) -> np.ndarray:
        """(1, D) float32."""
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
    if not model.pools_once:
        return inputs
    pooled = PooledFrames(inputs, model)
    for utterance in utterances:
        for speed in {1.0, *config.augment.speeds}:
            pooled.read(utterance.name, speed)
    return pooled
