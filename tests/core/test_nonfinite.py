"""Losses and predictions that are no numbers end a training, and are named."""

import math
from itertools import count
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from core import losses
from core.batches import Batcher
from core.clips import Clips
from core.trainer import TrainingError
from tests.core.small_speech import CLASSES, MemoryStore, small_config, tones
from tests.core.small_trainers import make_trainer, training_batches


def break_loss(monkeypatch: pytest.MonkeyPatch, name: str, call: int, factor: float) -> None:
    original, calls = getattr(losses, name), count(1)

    def broken(*args: Any, **options: Any) -> Tensor:
        value = original(*args, **options)
        return value * factor if next(calls) == call else value

    monkeypatch.setattr(losses, name, broken)


@pytest.mark.parametrize(
    ("function", "call", "factor", "epoch", "step", "found"),
    [
        ("focal", 6, math.nan, 2, 2, "focal is nan"),
        ("kl_divergence", 1, math.inf, 1, 1, "kl is inf"),
        ("center", 4, -math.inf, 1, 4, "center is -inf"),
        ("supervised_contrastive", 8, math.nan, 2, 4, "supcon is nan"),
    ],
)
def test_a_loss_that_is_no_number_is_named_with_epoch_step_and_utterances(
    monkeypatch, function, call, factor, epoch, step, found
):
    config = small_config(losses={"weighting": "fixed"})
    trainer = make_trainer(config)
    break_loss(monkeypatch, function, call, factor)
    for _ in range(epoch - 1):
        trainer.train_epoch()
    with pytest.raises(TrainingError) as error:
        trainer.train_epoch()
    batch = training_batches(config, epoch)[-1][step - 1]
    assert str(error.value) == (
        f"every loss must be a finite number; epoch {epoch}, step {step}: {found} "
        f"on utterances {', '.join(item.name for item in batch.utterances)}"
    )


def test_weights_that_are_no_numbers_break_every_term_they_reach():
    trainer = make_trainer(small_config())
    assert trainer.loss_weights  # calibrated while the weights were whole
    trainer.model.project.weight.data.fill_(math.nan)  # SupCon has its own projection
    with pytest.raises(
        TrainingError,
        match="epoch 1, step 1: kl is nan, center is nan, focal is nan on utterances Ses",
    ):
        trainer.train_epoch()


def test_a_sum_that_alone_is_infinite_is_named_as_the_total():
    trainer = make_trainer(small_config())
    trainer.loss_weights["kl"] = math.inf
    with pytest.raises(TrainingError, match="epoch 1, step 1: total is inf on utterances Ses"):
        trainer.train_epoch()


def test_a_prediction_that_is_no_number_is_refused_by_utterance():
    config = small_config()
    trainer = make_trainer(config)
    trainer.train_epoch()
    utterances, clips = tones()
    waveforms = {item.name: clips.waveform(item.name) for item in utterances[:4]}
    waveforms[utterances[2].name] = np.full(2000, np.nan)
    damaged = Batcher(
        utterances[:4], Clips(MemoryStore(waveforms), config.audio), CLASSES, config.training
    )
    with pytest.raises(TrainingError) as error:
        trainer.predict(damaged)
    assert str(error.value) == (
        "every prediction must be a finite number; "
        f"after epoch 1, not so on utterances {utterances[2].name}"
    )
