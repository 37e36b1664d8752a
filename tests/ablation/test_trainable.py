import errno
import os
from pathlib import Path
from typing import ClassVar

import pytest

import ablation.trainable
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.trainable import FoldTrainable
from core.corpora.catalog import CORPORA
from core.fold import CorpusAudio
from tests.ablation.stand_ins import SAVEE, config_of, metrics_of, result_of

RUN = "0123456789ab"


class StandIn:
    """A fold of three epochs that trains nothing; `trained` and `saved` tell what was asked."""

    resumed: tuple[int, ...] = ()
    full_disk = False

    def __init__(self, config, corpus, device):
        self.history = []
        self.saved = []

    @property
    def finished(self):
        return len(self.history) == 3

    def resume(self, folder):
        self.history = [metrics_of(epoch) for epoch in type(self).resumed]
        return ["a remark"]

    def step(self):
        self.history.append(metrics_of(len(self.history) + 1))
        return self.history[-1]

    def save(self, folder):
        if type(self).full_disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.saved.append(len(self.history))

    def result(self):
        return result_of(RUN)


@pytest.fixture
def fold(monkeypatch):
    class Fold(StandIn):
        made: ClassVar[list[StandIn]] = []

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.made.append(self)

    monkeypatch.setattr(ablation.trainable, "Fold", Fold)
    return Fold


@pytest.fixture
def trainable(tmp_path, fold):
    """As in an actor, but without Ray."""
    corpus = CorpusAudio(
        classes=SAVEE,
        scheme=CORPORA["savee"].schemes["leave-one-speaker-out"],
        utterances=(),
        store=None,
    )
    made = FoldTrainable.__new__(FoldTrainable)
    made.setup(
        {"trial": {"run_id": RUN, "config": config_of().to_dict()}},
        corpora={"savee": corpus},
        runs=tmp_path,
        here=Path.cwd(),
        resources=Resources(cpus=1, checkpoint_epochs=2),
    )
    return made


def test_a_checkpoint_follows_every_so_many_epochs_but_the_last(trainable, fold, tmp_path):
    reports = [trainable.step() for _ in range(3)]
    assert [report["done"] for report in reports] == [False, False, True]
    assert [report["metrics"]["epoch"] for report in reports] == [1, 2, 3]
    assert fold.made[0].saved == [2]
    assert Archive(tmp_path).holds(RUN)
    assert trainable.step() == {"done": True}  # as often as Tune may ask


def test_a_fold_that_goes_on_says_from_where(trainable, fold):
    fold.resumed = (1,)
    report = trainable.step()
    assert report["remarks"] == ["a remark", "goes on after epoch 1"]
    assert report["metrics"]["epoch"] == 2


def test_a_fold_killed_between_its_last_epoch_and_its_result_is_only_scored(
    trainable, fold, tmp_path
):
    fold.resumed = (1, 2, 3)
    report = trainable.step()
    assert report["done"]
    assert "metrics" not in report
    assert Archive(tmp_path).holds(RUN)


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(trainable, fold):
    fold.full_disk = True
    reports = [trainable.step() for _ in range(3)]
    assert reports[1]["remarks"] == [
        "no checkpoint after epoch 2: [Errno 28] No space left on device"
    ]
    assert reports[2]["done"]
