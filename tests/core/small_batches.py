"""Batchers of a few short waveforms."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from core.batches import (
    Batch,
    Batcher,
    derived_generator,
)
from core.clips import Clips
from core.config import AudioConfig, TrainingConfig
from core.corpora.utterance import Utterance
from tests.core.small_speech import MemoryStore, utterance

UNTOUCHED = AudioConfig(normalise="none")


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    return derived_generator(seed, 1, "order"), derived_generator(seed, 1, "mixing")


def make_batcher(
    waveforms: Sequence[Any],
    audio: AudioConfig = UNTOUCHED,
    labels: Sequence[str] = (),
    classes: Sequence[str] = (),
    speeds: Sequence[float] = (1.0,),
    **training: int,
) -> Batcher:
    """One class per utterance unless told otherwise, so that a soft label names the partner."""
    names = [f"u{number:02}" for number in range(len(waveforms))]
    labels = labels or names
    utterances = [utterance(name, label) for name, label in zip(names, labels, strict=True)]
    clips = MemoryStore(dict(zip(names, waveforms, strict=True)))
    constants = TrainingConfig(**training)
    return Batcher(utterances, Clips(clips, audio), classes or names, constants, speeds)


def noise(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-0.5, 0.5, length) for length in lengths]


def names(batches: Iterator[Batch]) -> list[tuple[str, ...]]:
    return [tuple(item.name for item in batch.utterances) for batch in batches]


def rows(batch: Batch) -> Iterator[tuple[Utterance, np.ndarray, np.ndarray]]:
    """Each host with its waveform, padding removed, and its soft label."""
    for item, waveform, length, label in zip(
        batch.utterances, batch.inputs, batch.lengths, batch.soft_labels, strict=True
    ):
        yield item, waveform[:length].numpy(), label.numpy()
