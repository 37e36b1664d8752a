"""Fixtures of tests that train."""

from collections.abc import Iterator
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
