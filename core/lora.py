"""Low-rank adaptation (LoRA): pretrained weights stay, a small product is trained beside them.

Our own few lines instead of peft's: its wrappers rename the weights that they wrap, by which
checkpoints are read and models are kept and exported.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTIONS = ("q_proj", "v_proj")  # Hu et al. 2022, 7.1: the two that gain most together
DOWN, UP = ".down", ".up"


class Adapted(nn.Module):
    """A projection W and what is trained in its place: W x + B A x alpha / rank.

    Attributes:
        down: A, (rank, features in).
        up: B, (features out, rank); zero at first, so that W alone is what is computed.
    Source: Hu et al. 2022, 4.1. Theirs draws A normally; the range that torch gives a projection is
        their code's.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.weight = base.weight
        self.bias = base.bias
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (..., features in) to (..., features out)."""
        added = functional.linear(functional.linear(frames, self.down), self.up)
        return functional.linear(frames, self.weight, self.bias) + added * self.scale


def adapt(transformer: nn.Module, rank: int, alpha: float) -> None:
    """Freeze a transformer and give its attention's projections what is trained instead.

    The initial draw comes from torch's global generator.
    """
    transformer.requires_grad_(False)
    for attention in list(transformer.modules()):
        for name in PROJECTIONS:
            base = getattr(attention, name, None)
            if isinstance(base, nn.Linear):
                setattr(attention, name, Adapted(base, rank, alpha))


def additions(tensors: Mapping[str, Tensor], rank: int, alpha: float) -> dict[str, Tensor]:
    """What is to be added to each adapted weight, by its name: B A alpha / rank.

    Args:
        tensors: Of a model, by name.
    """
    places = [name.removesuffix(DOWN) for name in tensors if name.endswith(DOWN)]
    return {
        f"{place}.weight": torch.mm(tensors[place + UP], tensors[place + DOWN]) * (alpha / rank)
        for place in places
    }
