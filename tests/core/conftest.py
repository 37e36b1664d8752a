"""Fixtures of tests that train."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import core.fold
import core.trainer
from core.model import EmotionModel
from core.trainer import Trainer


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def trainers(monkeypatch: pytest.MonkeyPatch) -> list[Trainer]:
    """Every trainer that a fold makes."""
    made: list[Trainer] = []

    class Noted(Trainer):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(core.fold, "Trainer", Noted)
    return made


@pytest.fixture
def dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that draws from torch's global generator as it trains, as WavLM does."""

    class WithDropout(EmotionModel):
        def forward(self, waveforms: Tensor, waveform_lengths: Tensor, *masks: Any) -> Any:
            dropped = functional.dropout(waveforms, 0.2, self.training)
            return super().forward(dropped, waveform_lengths, *masks)

    monkeypatch.setattr(core.trainer, "EmotionModel", WithDropout)


@dataclass
class Step:
    rate: float
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    parameters: list[Tensor]
    gradients: list[Tensor | None]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Note what each optimiser would do with which parameters, and do nothing."""
    noted: list[Step] = []

    def step(self: torch.optim.Adam, closure: None = None) -> None:
        (group,) = self.param_groups
        noted.append(
            Step(
                *(group[key] for key in ("lr", "betas", "eps", "weight_decay")),
                list(group["params"]),
                [None if item.grad is None else item.grad.clone() for item in group["params"]],
            )
        )

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    return noted
