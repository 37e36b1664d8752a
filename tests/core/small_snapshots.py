"""Values and tensors of every kind that a snapshot holds, for tests."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Inner:
    rate: float


@dataclass(frozen=True)
class Values:
    name: str
    epoch: int
    inner: Inner
    scores: dict[str, float] | None = None
    rows: tuple[Inner, ...] = ()


VALUES = Values('fold é\n"1"', 3, Inner(0.1 + 0.2), {"ua": 1 / 3}, (Inner(1e-300), Inner(-0.0)))
TENSORS = {
    "weight": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "scalar": torch.tensor(7.5),
    "empty": torch.zeros(0, 5),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "state": torch.arange(5, dtype=torch.uint8),
}
