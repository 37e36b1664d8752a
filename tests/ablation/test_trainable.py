import errno
import gc
import json
import os
import weakref
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import ablation.trainable
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.trainable import FoldTrainable
from core.corpora.catalog import CORPORA
from core.fold import CorpusAudio
from core.nonfinite import TrainingError
from tests.ablation.stand_ins import SAVEE, config_of, metrics_of, result_of
from tests.core.small_folds import of
from tests.core.small_speech import small_config, tones

RUN = "0123456789ab"


class StandIn:
    """A fold of three epochs that trains nothing; `trained` and `saved` tell what was asked."""

    resumed: tuple[int, ...] = ()
    full_disk = False
    errors: ClassVar[list[Exception]] = []  # of the steps to come

    def __init__(self, config, corpus, device, micro_batch, recompute):
        self.history = []
        self.saved = []
        self.micro_batch = micro_batch
        self.recompute = recompute

    @property
    def finished(self):
        return len(self.history) == 3

    def resume(self, folder):
        self.history = [metrics_of(epoch) for epoch in type(self).resumed]
        return ["a remark"]

    def step(self):
        if type(self).errors:
            raise type(self).errors.pop(0)
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
        errors: ClassVar[list[Exception]] = []

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
        {"run_id": RUN},
        configs={RUN: json.dumps(config_of().to_dict())},
        corpora={"savee": corpus},
        runs=tmp_path,
        here=Path.cwd(),
        resources=Resources(cpus=1, checkpoint_epochs=2, recompute=True),
    )
    return made


def test_a_checkpoint_follows_every_so_many_epochs_but_the_last(trainable, fold, tmp_path):
    reports = [trainable.step() for _ in range(3)]
    assert [report["done"] for report in reports] == [False, False, True]
    assert [report["metrics"]["epoch"] for report in reports] == [1, 2, 3]
    assert fold.made[0].saved == [2]
    assert Archive(tmp_path).holds(RUN)
    assert trainable.step() == {"done": True}  # as often as Tune may ask


def test_a_fold_in_cycles_is_gone_when_the_next_is_built_and_libraries_are_not_searched(
    trainable, fold
):
    gc.unfreeze()
    trainable.step()
    made = fold.made.pop()
    made.itself = made
    gone = weakref.ref(made)
    del made
    trainable.reset_config({"run_id": RUN})
    assert gone() is not None
    trainable.step()
    assert gone() is None
    assert gc.get_freeze_count() > 100_000
    gc.unfreeze()


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


def test_what_resources_say_of_recomputing_reaches_the_fold(trainable, fold):
    trainable.step()
    assert [made.recompute for made in fold.made] == [True]


def test_too_little_memory_is_met_with_half_a_batch_from_the_last_checkpoint(trainable, fold):
    fold.errors[:] = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()]
    reports = [trainable.step() for _ in range(5)]
    assert [report.get("remarks", [])[-1:] for report in reports[:2]] == [
        ["out of memory: goes on with 8 utterances at once"],
        ["out of memory: goes on with 4 utterances at once"],
    ]
    assert [made.micro_batch for made in fold.made] == [None, 8, 4]
    assert [report["done"] for report in reports] == [False, False, False, False, True]


def test_one_utterance_too_much_is_the_trial_s_failure(trainable, fold):
    fold.errors[:] = [MemoryError("no room")] * 6
    for _ in range(4):
        trainable.step()
    with pytest.raises(MemoryError, match="no room"):  # Tune's to try again, in a new process
        trainable.step()
    assert [made.micro_batch for made in fold.made] == [None, 8, 4, 2, 1]


@pytest.mark.parametrize("error", [TrainingError("loss is NaN"), ValueError("no such layer")])
def test_a_failure_that_would_come_again_is_told_with_its_log_and_not_retried(
    trainable, fold, error, tmp_path
):
    fold.errors[:] = [error]
    log = tmp_path / "folds" / RUN / "error.txt"
    failure = f"{type(error).__name__}: {error} (see {log})"
    assert trainable.step() == {"done": True, "failure": failure}
    assert str(error) in log.read_text()
    assert "Traceback" in log.read_text()


def test_a_fault_that_may_not_come_again_is_left_to_tune_s_retries(trainable, fold):
    fold.errors[:] = [OSError(errno.EIO, os.strerror(errno.EIO))]
    with pytest.raises(OSError, match="Input/output error"):
        trainable.step()


def test_weights_are_kept_before_the_fold_counts_as_finished(
    trainable, fold, tmp_path, monkeypatch
):
    asked = []

    def write(path, model):
        asked.append((path, model, Archive(tmp_path).holds(RUN)))

    monkeypatch.setattr(ablation.trainable, "write_model", write)
    monkeypatch.setattr(fold, "kept_model", lambda self, kept: f"kept {kept}", raising=False)
    for _ in range(3):
        trainable.step()
    assert asked == []  # none were to be kept
    Archive(tmp_path).forget(RUN)
    trainable._keep_models = "best"
    for _ in range(3):
        report = trainable.step()
    assert asked == [(Archive(tmp_path).model(RUN), "kept best", False)]
    assert report["done"]
    assert Archive(tmp_path).holds(RUN)


def test_a_disk_too_full_for_weights_costs_no_result(trainable, fold, tmp_path, monkeypatch):
    def write(path, model):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ablation.trainable, "write_model", write)
    monkeypatch.setattr(fold, "kept_model", lambda self, kept: "its weights", raising=False)
    trainable._keep_models = "all"
    for _ in range(3):
        report = trainable.step()
    assert report["remarks"] == ["its weights are not kept: [Errno 28] No space left on device"]
    assert Archive(tmp_path).holds(RUN)


def test_a_baseline_is_fitted_in_one_step_and_keeps_no_weights(tmp_path):
    utterances, store = tones()
    corpus = of(utterances, store)
    config = small_config(classifier={"method": "linear-probe"})
    resources = Resources(cpus=1, keep_models="all")
    configs = {RUN: json.dumps(config.to_dict())}
    made = FoldTrainable.__new__(FoldTrainable)
    made.setup({"run_id": RUN}, configs, {"iemocap": corpus}, tmp_path, Path.cwd(), resources)
    report = made.step()
    assert report["done"]
    assert report["metrics"]["epoch"] == 1
    assert report["remarks"] == ["a baseline keeps no weights"]
    archive = Archive(tmp_path)
    name = next(path.name for path in (tmp_path / "folds").iterdir())
    assert archive.load(name).config == config
    assert not archive.model(name).exists()
