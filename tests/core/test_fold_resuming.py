"""A fold that was interrupted: it goes on as if it had never been."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import core.fold
import core.trainer
from core.fold import Fold, FoldState
from core.snapshots import newest_first, read_snapshot
from tests.core.small_checkpoints import save_self_supervised, save_whisper
from tests.core.small_folds import (
    HONEST,
    evaluated,
    interrupted,
    of,
    run,
    same_weights,
    script_scores,
    timeless,
)
from tests.core.small_speech import CPU, tones

INTERRUPTIBLE = {"epochs": 4, "learning_rate": 3e-3}


@pytest.mark.parametrize("method", ["none", "lam", "eam"])
@pytest.mark.parametrize(("selection", "record_oracle"), [*HONEST, ("oracle", False)])
@pytest.mark.usefixtures("dropout")
def test_a_fold_interrupted_after_every_epoch_is_the_fold_undisturbed(
    trainers, tmp_path, selection, record_oracle, method
):
    utterances, clips = tones()
    changes = {"training": INTERRUPTIBLE, "mixup": {"method": method}}
    config = evaluated(selection, record_oracle, **changes)
    undisturbed = run(config, utterances, clips)
    resumed = interrupted(config, utterances, clips, tmp_path)
    assert timeless(resumed) == timeless(undisturbed)
    assert same_weights([trainers[0], trainers[-1]])
    assert len(trainers) == 1 + 5


@pytest.mark.parametrize(
    "changes",
    [
        {"losses": {"weighting": "fixed", "terms": ["kl"]}},  # neither centers nor frames trained
        {"losses": {"weighting": "fixed", "supcon_weight": 0.0}},
        {"training": {"precision": "bfloat16"}},
        {"encoder": {"train": "frozen"}},
        {"augment": {"speeds": [0.9, 1.0, 1.1]}},
    ],
    ids=str,
)
@pytest.mark.usefixtures("dropout")
def test_no_setting_keeps_an_interruption_from_being_without_effect(trainers, tmp_path, changes):
    utterances, clips = tones()
    changes = changes | {"training": INTERRUPTIBLE | changes.get("training", {})}
    config = evaluated("validation", **changes)
    undisturbed = run(config, utterances, clips)
    assert timeless(interrupted(config, utterances, clips, tmp_path)) == timeless(undisturbed)
    assert same_weights([trainers[0], trainers[-1]])


@pytest.mark.parametrize("train", ["all", "transformer", "frozen"])
@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_a_checkpoint_s_own_weights_stay_in_the_checkpoint(trainers, tmp_path, family, train):
    """The encoder's own dropout is at work here."""
    drops = {"attention_dropout": 0.2}
    encoder = str(tmp_path / "encoder")
    if family == "wavlm":
        save_self_supervised(tmp_path / "encoder", family, hidden_dropout=0.2, **drops)
    else:
        save_whisper(tmp_path / "encoder", dropout=0.2, **drops)
    utterances, clips = tones()
    config = evaluated("validation", encoder={"name": encoder, "train": train})
    undisturbed = run(config, utterances, clips)
    resumed = interrupted(config, utterances, clips, tmp_path / "fold")
    assert timeless(resumed) == timeless(undisturbed)
    assert same_weights([trainers[0], trainers[-1]])
    tensors = read_snapshot(newest_first(tmp_path / "fold")[0], FoldState)[1]
    stored = {name.removeprefix("model.") for name in tensors if name.startswith("model.")}
    left = {
        name
        for name, parameter in trainers[0].model.named_parameters()
        if not parameter.requires_grad
    }
    assert stored == trainers[0].model.state_dict().keys() - left
    assert any(name.startswith("encoder.") for name in left) == (
        train != "all" or family == "whisper"  # whose positions are never trained
    )


@pytest.mark.parametrize(
    ("selection", "best"), [("validation", 1), ("validation", 2), ("oracle", 1), ("oracle", 3)]
)
def test_the_best_epoch_survives_an_interruption(monkeypatch, tmp_path, selection, best):
    uas = [0.9 if epoch >= best else 0.1 for epoch in range(1, 5)]  # the first of equals is best
    module = core.trainer if selection == "validation" else core.fold
    utterances, clips = tones()
    config = evaluated(selection, training=INTERRUPTIBLE)
    script_scores(monkeypatch, module, uas * 2)
    undisturbed = run(config, utterances, clips)
    resumed = interrupted(config, utterances, clips, tmp_path)
    assert undisturbed.best_epoch == resumed.best_epoch == best
    assert timeless(resumed) == timeless(undisturbed)
    other = run(evaluated("last", training=INTERRUPTIBLE), utterances, clips)
    assert resumed.predictions != other.predictions


@pytest.mark.usefixtures("dropout")
def test_a_snapshot_can_be_resumed_from_more_than_once(tmp_path):
    utterances, clips = tones()
    config = evaluated("oracle", training=INTERRUPTIBLE)
    undisturbed = run(config, utterances, clips)
    fold = Fold(config, of(utterances, clips), CPU)
    fold.step()
    fold.step()
    fold.save(tmp_path)
    for _ in range(2):
        fold = Fold(config, of(utterances, clips), CPU)
        assert fold.resume(tmp_path) == []
        assert len(fold.history) == 2
        while not fold.finished:
            fold.step()
        assert timeless(fold.result()) == timeless(undisturbed)
    fold = Fold(config, of(utterances, clips), CPU)
    for _ in range(2):  # one after the other
        assert fold.resume(tmp_path) == []
        fold.step()
    assert fold.history[2].losses == undisturbed.history[2].losses


IN_ANOTHER_PROCESS = """
import json, sys
from pathlib import Path
from core.config import RunConfig
from core.fold import Fold
from tests.core.small_speech import CPU, tones
from tests.core.test_fold import of

config = RunConfig.from_dict(json.loads(sys.argv[1]))
fold = Fold(config, of(*tones()), CPU)
remarks = fold.resume(Path(sys.argv[2]))
fold.step()
fold.save(Path(sys.argv[2]))
print(json.dumps([remarks, fold.finished]))
"""


def test_another_process_goes_on_where_this_one_stopped(trainers, tmp_path):
    utterances, clips = tones()
    config = evaluated("validation", True, training=INTERRUPTIBLE | {"epochs": 2})
    undisturbed = run(config, utterances, clips)
    fold = Fold(config, of(utterances, clips), CPU)
    fold.step()
    fold.save(tmp_path)
    told = [json.dumps(config.to_dict()), str(tmp_path)]
    child = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS, *told],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(child.stdout) == [[], True]
    fold = Fold(config, of(utterances, clips), CPU)
    assert fold.resume(tmp_path) == []
    assert fold.finished
    assert timeless(fold.result()) == timeless(undisturbed)
    assert same_weights([trainers[0], trainers[-1]])


def test_resuming_asks_for_no_utterance_and_saving_neither(tmp_path):
    """Above all it calibrates nothing anew."""
    utterances, clips = tones()
    fold = Fold(evaluated("last"), of(utterances, clips), CPU)
    fold.step()
    clips.asked.clear()
    fold.save(tmp_path)
    fold = Fold(evaluated("last"), of(utterances, clips), CPU)
    fold.resume(tmp_path)
    assert clips.asked == []
    fold.step()
    assert len(clips.asked) == 2 * 16  # hosts and partners


def test_what_is_resumed_does_not_change_with_what_was_saved(trainers, tmp_path):
    utterances, clips = tones()
    fold = Fold(evaluated("validation"), of(utterances, clips), CPU)
    fold.step()
    progress, tensors = trainers[0].state()
    other = Fold(evaluated("validation"), of(utterances, clips), CPU)
    trainers[1].restore(progress, tensors)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    other.step()
    assert trainers[1].epoch == 2
    after = trainers[0].state()[1]
    assert all(torch.equal(after[name], before[name]) for name in before if "cpu" not in name)


def test_a_fold_is_saved_after_an_epoch_and_not_before(tmp_path):
    fold = Fold(evaluated("last"), of(*tones()), CPU)
    assert fold.resume(tmp_path / "none") == []
    with pytest.raises(
        ValueError, match="must have trained an epoch to be saved, has trained none"
    ):
        fold.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_the_first_epoch_leaves_calibrating_out(monkeypatch):
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(
        core.trainer, "time", SimpleNamespace(perf_counter=clock.__next__, time_ns=int)
    )
    original = core.trainer.losses.calibrate

    def slow(initial: Any) -> dict[str, float]:
        for _ in range(5):
            next(clock)
        return original(initial)

    monkeypatch.setattr(core.trainer.losses, "calibrate", slow)
    assert Fold(evaluated("last"), of(*tones()), CPU).step().seconds == 10


@pytest.mark.usefixtures("dropout")
def test_all_that_is_drawn_beside_the_paper_s_method_comes_back_too(trainers, tmp_path):
    utterances, clips = tones()
    config = evaluated(
        "validation",
        augment={"noise_probability": 0.7, "noise_colours": ["white", "pink"], "time_masks": 1},
        mixup={"method": "mixup"},
        losses={"label_smoothing": 0.1},
        training={**INTERRUPTIBLE, "balanced": True, "head_learning_rate": 1e-2},
    )
    undisturbed = run(config, utterances, clips)
    assert timeless(interrupted(config, utterances, clips, tmp_path)) == timeless(undisturbed)
    assert same_weights([trainers[0], trainers[-1]])
