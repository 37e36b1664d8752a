"""Snapshots that a fold must not go on from: damaged, made up, or of another experiment."""

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import core.fold
import core.trainer
from core.config import RECIPE_VERSION, RunConfig
from core.fold import Fold, FoldState
from core.snapshots import newest_first, read_snapshot, write_snapshot
from core.trainer import Trainer
from tests.core.small_folds import evaluated, of, run, timeless
from tests.core.small_speech import CPU, MemoryStore, tones

DAMAGES = 300


def saved_twice(folder: Path, config: RunConfig, clips: MemoryStore) -> list[Path]:
    """The snapshots of the first and the second epoch of a fold, in this order."""
    utterances, _ = tones()
    fold = Fold(config, of(utterances, clips), CPU)
    for _ in range(2):
        fold.step()
        fold.save(folder)
    return newest_first(folder)[::-1]


def all_of(trainer: Trainer) -> list[Any]:
    """Whatever the coming epochs depend on, copied."""
    progress, tensors = trainer.state()
    return [progress, {name: tensor.clone().tolist() for name, tensor in tensors.items()}]


BEGINNING = "no snapshot is left in {}: training starts from the beginning"


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        ({"config": {"seed": 1}}, "its run_id must be "),
        ({"config": {"losses": {"focal_gamma": 3.0}}}, "its run_id must be "),
        ({"config": {"encoder": {"name": "logmel-base"}}}, "its run_id must be "),
        ({"corpus": "fedcba9876543210"}, "its corpus must be 'fedcba9876543210', got '01234567"),
        ({"recipe": 99}, f"its recipe must be 99, got {RECIPE_VERSION}"),
        ({"encoder": "1" * 16}, "its encoder must be '1111111111111111', got '00000000"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("dropout")
def test_another_experiment_s_snapshot_is_never_taken(monkeypatch, tmp_path, change, remark):
    first, second = saved_twice(tmp_path, evaluated("last"), tones()[1])
    utterances, clips = tones()
    config = evaluated("last", **change.get("config", {}))
    clips.fingerprint = change.get("corpus", clips.fingerprint)
    if "recipe" in change:
        monkeypatch.setattr(core.fold, "RECIPE_VERSION", change["recipe"])
    if "encoder" in change:
        monkeypatch.setattr(core.fold, "encoder_fingerprint", lambda _: change["encoder"])
    undisturbed = run(config, utterances, clips)
    fold = Fold(config, of(utterances, clips), CPU)
    remarks = fold.resume(tmp_path)
    assert [text.partition(remark)[0] for text in remarks[:2]] == [
        f"{second} is passed over: ",
        f"{first} is passed over: ",
    ]
    assert remarks[2:] == [BEGINNING.format(tmp_path)]
    while not fold.finished:
        fold.step()
        fold.save(tmp_path)
    assert timeless(fold.result()) == timeless(undisturbed)
    assert Fold(config, of(utterances, clips), CPU).resume(tmp_path) == []


def test_a_snapshot_of_a_gpu_is_not_taken_on_the_cpu(tmp_path):
    config = evaluated("last")
    paths = saved_twice(tmp_path, config, tones()[1])
    forge(paths[1], lambda state, tensors: replace(state, device="cuda"))
    (remark,) = Fold(config, of(*tones()), CPU).resume(tmp_path)
    assert remark == f"{paths[1]} is passed over: its device must be 'cpu', got 'cuda'"


def test_damage_leads_to_the_snapshot_before_and_then_to_the_beginning(trainers, tmp_path):
    config = evaluated("validation", True)
    first, second = saved_twice(tmp_path, config, tones()[1])
    fold = Fold(config, of(*tones()), CPU)
    assert fold.resume(tmp_path) == []
    seen = {2: all_of(trainers[-1])}
    os.truncate(second, 1000)
    because = "is passed over: it must end with the SHA-256 of its content, found another; its"
    (remark,) = fold.resume(tmp_path)
    assert remark.startswith(f"{second} {because} 1000 bytes")
    seen[1] = all_of(trainers[-1])
    assert len(fold.history) == trainers[-1].epoch == 1
    assert seen[1] != seen[2]
    fold.step()
    fold.save(tmp_path)
    assert newest_first(tmp_path) == [second, first]
    again = Fold(config, of(*tones()), CPU)
    assert again.resume(tmp_path) == []
    assert all_of(trainers[-1]) == seen[2]
    for path in (first, second):
        path.write_bytes(b"")
    fresh = Fold(config, of(*tones()), CPU)
    before = all_of(trainers[-1])
    remarks = fresh.resume(tmp_path)
    assert [text.partition("; its 0 bytes")[1] for text in remarks] == ["; its 0 bytes"] * 2 + [""]
    assert remarks[2] == BEGINNING.format(tmp_path)
    assert (fresh.history, all_of(trainers[-1])) == ([], before)


def test_no_damage_raises_or_passes_unseen(trainers, tmp_path):
    config = evaluated("oracle")
    first, second = saved_twice(tmp_path, config, tones()[1])
    whole = second.read_bytes()
    fold = Fold(config, of(*tones()), CPU)
    chance = random.Random(0)
    for number in range(DAMAGES):
        damaged = bytearray(whole)
        place = chance.choice([chance.randrange(len(whole)), chance.randrange(40_000)])
        match number % 4:
            case 0:
                del damaged[place:]
            case 1:
                damaged[place] ^= chance.randrange(1, 256)
            case 2:
                length = chance.randrange(1, 100)
                damaged[place : place + length] = chance.randbytes(length)
            case 3:
                damaged[place:place] = chance.randbytes(chance.randrange(1, 9))
        if damaged == whole:
            continue
        second.write_bytes(damaged)
        (remark,) = fold.resume(tmp_path)
        assert remark.startswith(f"{second} is passed over: it must end with the SHA-256")
        assert len(fold.history) == trainers[-1].epoch == 1
    assert first.read_bytes() != whole


def forge(path: Path, change: Callable[[FoldState, dict[str, Tensor]], FoldState | None]) -> None:
    """Write other values or tensors under a digest that is right."""
    state, tensors = read_snapshot(path, FoldState)
    state = change(state, tensors) or state
    epoch = int(path.stem.removeprefix("epoch-"))
    write_snapshot(path.parent, epoch, state, tensors)


def progress(**changes: Any) -> Callable[[FoldState, Any], FoldState]:
    return lambda state, _: replace(state, progress=replace(state.progress, **changes))


def last_epoch(**changes: Any) -> Callable[[FoldState, Any], FoldState]:
    return lambda state, _: replace(
        state, history=(*state.history[:-1], replace(state.history[-1], **changes))
    )


def predictions(**changes: Any) -> Callable[[FoldState, Any], FoldState]:
    def change(state: FoldState, _: Any) -> FoldState:
        first, *others = state.oracle_predictions
        return replace(state, oracle_predictions=(replace(first, **changes), *others))

    return change


def tensor(name: str, make: Callable[[Tensor], Tensor]) -> Callable[[Any, dict[str, Tensor]], None]:
    def change(_: Any, tensors: dict[str, Tensor]) -> None:
        tensors[name] = make(tensors[name])

    return change


def without(name: str) -> Callable[[Any, dict[str, Tensor]], None]:
    return lambda _, tensors: tensors.__delitem__(name)


def filled(value: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.index_fill(0, torch.tensor([0]), value)


SCORES = {"wa": 0.5, "ua": 0.5}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (progress(epoch=0), "its name, its progress and its history must agree, got epochs 2, 0"),
        (progress(epoch=10**15), "its name, its progress and its history must agree, got epochs 2"),
        (progress(epoch="2"), "epoch must be a snapshot's int, got '2'"),
        (progress(best_epoch=3), "its best epoch must be one of its 2, got 3"),
        (progress(best_epoch=0), "its best epoch must be one of its 2, got 0"),
        (progress(best_ua=-1.0), "its best UA must lie in 0..1, got -1"),
        (progress(best_ua=float("nan")), "best_ua must be a snapshot's float, got nan"),
        (progress(loss_weights={"kl": 1.0}), "it must weigh kl, center, focal, supcon, got"),
        (progress(loss_weights={}), "it must weigh kl, center, focal, supcon, got {}"),
        (
            progress(loss_weights=dict.fromkeys(("kl", "center", "focal", "supcon"), -1.0)),
            "it must weigh kl, center, focal, supcon, got",
        ),
        (lambda state, _: replace(state, history=()), "its name, its progress and its history"),
        (lambda state, _: replace(state, history=state.history[::-1]), "epoch 1 of its history"),
        (last_epoch(epoch=3), "epoch 2 of its history must be that, with its losses"),
        (last_epoch(losses={"total": 1.0}), "epoch 2 of its history must be that, with its losses"),
        (last_epoch(losses=[1.0]), "losses must be a snapshot's dict, got [1.0]"),
        (last_epoch(learning_rate=None), "learning_rate must be a snapshot's float, got nothing"),
        (last_epoch(validation=None), "epoch 2 of its history must have other scores"),
        (last_epoch(oracle=None), "epoch 2 of its history must have other scores"),
        (last_epoch(oracle={"ua": 0.5}), "epoch 2 of its history must have other scores"),
        (last_epoch(oracle=SCORES | {"ua": 1.5}), "epoch 2 of its history must have other scores"),
        (last_epoch(finished_at_ms=2**63), "finished_at_ms must be a snapshot's int, got 92233"),
        (
            lambda state, _: replace(state, oracle_predictions=state.oracle_predictions[1:]),
            "its oracle predictions must be of this fold's test utterances",
        ),
        (predictions(label=3), "its oracle predictions must be of this fold's test utterances"),
        (predictions(speaker="x"), "its oracle predictions must be of this fold's test utterances"),
        (predictions(probabilities=(1.0,)), "it must hold probabilities of Ses01F_angry0, got"),
        (
            predictions(probabilities=(2.0, -1.0, 0.0, 0.0)),
            "it must hold probabilities of Ses01F_angry0, got others",
        ),
        (without("centers"), "its tensors must be this model's, but it lacks 'centers'"),
        (without("best.project.bias"), "but it lacks 'best.project.bias'"),
        (without("generator.cpu"), "but it lacks 'generator.cpu'"),
        (without("optimiser.3.step"), "but it lacks 'optimiser.3.step'"),
        (
            lambda _, tensors: tensors.update({"generator.cuda": torch.zeros(16)}),
            "but it has 'generator.cuda'",
        ),
        (
            tensor("centers", lambda old: old[:3]),
            "its tensor centers must be torch.float32 (4, 64), got torch.float32 (3, 64)",
        ),
        (tensor("centers", Tensor.double), "float32 (4, 64), got torch.float64 (4, 64)"),
        (tensor("model.project.bias", filled(np.nan)), "model.project.bias must hold finite"),
        (tensor("best.project.bias", filled(np.inf)), "best.project.bias must hold finite"),
        (tensor("optimiser.3.step", torch.neg), "optimiser.3.step must hold no negative number"),
        (
            tensor("center_optimiser.0.exp_avg_sq", lambda old: old - 1),
            "center_optimiser.0.exp_avg_sq must hold no negative number, got one",
        ),
        (tensor("generator.order", torch.zeros_like), "its generator order must be torch's"),
        (tensor("generator.cpu", torch.zeros_like), "its generator cpu must be torch's"),
    ],
)
def test_a_snapshot_that_was_made_up_changes_nothing(trainers, tmp_path, change, reason):
    config = evaluated("validation", True)
    first, second = saved_twice(tmp_path, config, tones()[1])
    first.unlink()
    forge(second, change)
    fold = Fold(config, of(*tones()), CPU)
    before = all_of(trainers[-1])
    remark, beginning = fold.resume(tmp_path)
    assert remark.startswith(f"{second} is passed over: ")
    assert reason in remark
    assert beginning == BEGINNING.format(tmp_path)
    assert (fold.history, all_of(trainers[-1])) == ([], before)


def test_a_snapshot_under_another_epoch_s_name_is_passed_over(tmp_path):
    config = evaluated("last")
    _, second = saved_twice(tmp_path, config, tones()[1])
    later = second.rename(tmp_path / "epoch-0007.safetensors")
    fold = Fold(config, of(*tones()), CPU)
    (remark,) = fold.resume(tmp_path)
    assert remark.startswith(f"{later} is passed over: its name, its progress and its history")
    assert len(fold.history) == 1
