"""How long a setting's trainings would take, and how much of a GPU, by a few of their steps."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from core.batches import Batcher
from core.config import RunConfig
from core.corpora.folds import split
from core.features import inputs_of
from core.fold import CorpusAudio
from core.trainer import Trainer

STEPS = 8  # O: measured after one unmeasured; batches differ in length, by a fifth or so
LONGEST_STEPS = 3  # O: the second is the first with Adam's moments in place


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTime:
    """What one fold would take."""

    fold: int
    epoch_seconds: float
    around_seconds: float  # building the model, calibrating the losses, scoring the test fold


@cache
def warm_up() -> None:
    """Pay what the first fold of a process pays alone: with its first optimiser torch imports more.

    Over a second, which is the start's and not each fold's.
    """
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


def measure_folds(
    config: RunConfig, corpus: CorpusAudio, device: torch.device, micro_batch: int | None = None
) -> list[FoldTime]:
    """Train a few batches of the config's fold, score a few, and carry that on to every fold.

    Takes as long as `STEPS` batches, whatever the corpus and the number of epochs.
    """
    started = time.perf_counter()
    holds_out = config.evaluation.selection == "validation"
    parts = split(corpus.utterances, corpus.scheme, config.fold, holds_out)
    inputs = inputs_of(config, corpus.store, device)
    trainer = Trainer(config, parts.train, (), inputs, corpus.classes, device, micro_batch)
    _ = trainer.loss_weights
    built_s = _since(started, device)
    trainer.train_epoch(steps=1)
    batches = -(-len(parts.train) // config.training.batch_size)
    steps = min(STEPS, batches)
    started = time.perf_counter()
    trainer.train_epoch(steps)
    step_s = _since(started, device) / steps
    tested = parts.test[:: max(1, len(parts.test) // (STEPS * config.training.batch_size))]
    batcher = Batcher(tested, trainer.inputs, corpus.classes, config.training)
    started = time.perf_counter()
    trainer.predict(batcher)
    scored_s = _since(started, device) / len(tested)
    found = []
    for fold in range(1, corpus.scheme.folds + 1):
        parts = split(corpus.utterances, corpus.scheme, fold, holds_out)
        scored = len(parts.validation)
        if config.evaluation.record_oracle or config.evaluation.selection == "oracle":
            scored += len(parts.test)
        batches = -(-len(parts.train) // config.training.batch_size)
        found.append(
            FoldTime(
                fold=fold,
                epoch_seconds=batches * step_s + scored * scored_s,
                around_seconds=built_s + len(parts.test) * scored_s,
            )
        )
    return found


def peak_bytes(
    config: RunConfig,
    corpus: CorpusAudio,
    device: torch.device,
    read_peak: Callable[[torch.device], int] = torch.cuda.max_memory_reserved,
    micro_batch: int | None = None,
) -> int:
    """The most memory that training holds: a few steps of the longest batch, then scoring it.

    Args:
        read_peak: The most that torch has taken of the device since the process started.
    """
    parts = split(corpus.utterances, corpus.scheme, config.fold, False)
    inputs = inputs_of(config, corpus.store, device)
    longest = sorted(parts.train, key=lambda item: (-inputs.length(item.name), item.name))
    batch = longest[: config.training.batch_size]
    trainer = Trainer(config, batch, (), inputs, corpus.classes, device, micro_batch)
    for _ in range(LONGEST_STEPS):
        trainer.train_epoch()
    trainer.predict(Batcher(batch, trainer.inputs, corpus.classes, config.training))
    return read_peak(device)


def _since(started: float, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
