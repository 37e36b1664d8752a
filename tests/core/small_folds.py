"""Folds of the small corpus, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.config import RunConfig
from core.corpora.catalog import IEMOCAP
from core.corpora.utterance import Utterance
from core.fold import CorpusAudio, Fold, run_fold
from core.result import FoldResult
from core.trainer import Trainer
from tests.core.small_speech import CLASSES, CPU, MemoryStore, small_config

HONEST = [("last", False), ("last", True), ("validation", False), ("validation", True)]


def evaluated(selection: str, record_oracle: bool = False, **changes: Any) -> RunConfig:
    evaluation = {"selection": selection, "record_oracle": record_oracle}
    return small_config(evaluation=evaluation, **changes)


def of(utterances: Sequence[Utterance], clips: Any, **changes: Any) -> CorpusAudio:
    """The small corpus, under IEMOCAP's folds and classes."""
    return CorpusAudio(
        classes=CLASSES,
        scheme=IEMOCAP.schemes[IEMOCAP.default_scheme],
        utterances=tuple(utterances),
        store=clips,
        **changes,
    )


def run(config: RunConfig, utterances: Sequence[Utterance], clips: MemoryStore) -> FoldResult:
    return run_fold(config, of(utterances, clips), device=CPU)


def interrupted(
    config: RunConfig, utterances: Sequence[Utterance], clips: MemoryStore, folder: Path
) -> FoldResult:
    """As `run`, but the process ends after every epoch, and the next one drew other numbers."""
    fold = Fold(config, of(utterances, clips), CPU)
    while not fold.finished:
        fold.step()
        fold.save(folder)
        torch.rand(7)
        fold = Fold(config, of(utterances, clips), CPU)
        assert fold.resume(folder) == []
    return fold.result()


def timeless(result: FoldResult) -> FoldResult:
    """All but what the clock and the memory say."""
    history = tuple(replace(epoch, seconds=0.0, finished_at_ms=0) for epoch in result.history)
    return replace(result, history=history, seconds=0.0, peak_memory_mb={})


def same_weights(trainers: Sequence[Trainer]) -> bool:
    first, *others = [
        [*trainer.model.state_dict().values(), trainer.centers.detach()] for trainer in trainers
    ]
    return all(
        torch.equal(one, two) for other in others for one, two in zip(first, other, strict=True)
    )


def script_scores(monkeypatch: pytest.MonkeyPatch, module: Any, uas: Sequence[float]) -> None:
    original, scripted = module.scores_of, iter(uas)
    monkeypatch.setattr(
        module, "scores_of", lambda *args: replace(original(*args), ua=next(scripted))
    )
