"""Trainers of the small corpus, for tests."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.batches import Batch, Batcher, derived_generator
from core.clips import Clips
from core.config import RunConfig
from core.corpora.utterance import Utterance
from core.trainer import Trainer
from tests.core.small_speech import CLASSES, CPU, tones

UNMIXED = {"method": "none"}


def make_trainer(
    config: RunConfig,
    train: Sequence[Utterance] = (),
    held_out: str = "",
    micro_batch: int | None = None,
) -> Trainer:
    """Session 5 is the test fold; 16 utterances train, or 12 where a session is held out."""
    utterances, clips = tones()
    train = train or [item for item in utterances if item.session not in ("5", held_out)]
    validation = [item for item in utterances if item.session == held_out]
    inputs = Clips(clips, config.audio)
    return Trainer(config, train, validation, inputs, CLASSES, CPU, micro_batch)


def make_batcher(config: RunConfig, sessions: str = "1234") -> Batcher:
    utterances, clips = tones()
    chosen = [item for item in utterances if item.session in sessions]
    return Batcher(chosen, Clips(clips, config.audio), CLASSES, config.training)


def training_batches(config: RunConfig, epochs: int = 1) -> list[list[Batch]]:
    """The batches that a trainer of this config must draw, drawn apart from it."""
    order, mixing = (
        derived_generator(config.seed, config.fold, purpose) for purpose in ("order", "mixing")
    )
    batcher = make_batcher(config)
    return [list(batcher.shuffled(config.mixup, order, mixing)) for _ in range(epochs)]


def copy_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
