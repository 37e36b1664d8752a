"""Each feature of an utterance's vector to zero mean and unit variance over the training set.

What a linear probe does with its features before it fits (O). Fitted once, to what the untrained
model makes of the training utterances, and fixed from then on: no batch changes another.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from core.batches import Batch
from core.devices import computing

if TYPE_CHECKING:
    from core.model import EmotionModel

LEAST_DEVIATION = 1e-5  # a feature that hardly moves is shifted, and not blown up


class Standardiser(nn.Module):
    """Shift and scale that are part of a model's weights, and not trained; at first neither."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def forward(self, vectors: Tensor) -> Tensor:
        """Vectors (B, D) to (B, D) float32."""
        return (vectors - self.mean) / self.deviation

    def fit(self, vectors: Tensor) -> None:
        """Take mean and standard deviation of (U, D) float."""
        wide = vectors.double()
        deviation = wide.std(0, correction=0)
        self.mean.copy_(wide.mean(0))
        self.deviation.copy_(deviation.masked_fill(deviation < LEAST_DEVIATION, 1.0))


def standardise(
    model: "EmotionModel",
    pool: Callable[[Batch], tuple[Tensor, Tensor, Tensor]],
    batches: Iterable[Batch],
    device: torch.device,
    precision: str,
) -> None:
    """Fit a model's standardiser, where it has one, to the vectors that it pools batches to."""
    if model.standardiser is None:
        return
    model.eval()
    with torch.no_grad(), computing(device, precision):
        vectors = [pool(batch)[0].float() for batch in batches]
    model.standardiser.fit(torch.cat(vectors))
