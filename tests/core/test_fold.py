"""A fold: the test speakers have no way to reach the weights by which they are judged."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import core.fold
import core.trainer
from core.batches import Batcher
from core.config import RunConfig, run_id
from core.corpora.catalog import IEMOCAP
from core.corpora.utterance import Utterance
from core.fold import CorpusAudio, Fold, FoldState, best_device, run_fold
from core.model import EmotionModel
from core.result import EpochMetrics, FoldResult
from core.snapshots import newest_first, read_snapshot, write_snapshot
from core.trainer import Trainer
from tests.core.small_checkpoints import save_self_supervised, save_whisper
from tests.core.small_speech import CLASSES, CPU, SESSIONS, Clips, small_config, tones

HONEST = [("last", False), ("last", True), ("validation", False), ("validation", True)]
TEST_SESSION = "1"  # of fold 1, which is the default


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
        def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> Any:
            dropped = functional.dropout(waveforms, 0.2, self.training)
            return super().forward(dropped, waveform_lengths)

    monkeypatch.setattr(core.trainer, "EmotionModel", WithDropout)


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


def run(config: RunConfig, utterances: Sequence[Utterance], clips: Clips) -> FoldResult:
    return run_fold(config, of(utterances, clips), device=CPU)


def timeless(result: FoldResult) -> FoldResult:
    """All but what the clock says."""
    history = tuple(replace(epoch, seconds=0.0, finished_at_ms=0) for epoch in result.history)
    return replace(result, history=history, seconds=0.0)


def honest_part(result: FoldResult) -> list[Any]:
    """All that a test fold must have no part in."""
    history = [(epoch.losses, epoch.learning_rate, epoch.validation) for epoch in result.history]
    return [result.loss_weights, history, result.best_epoch]


def with_wrong_labels(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Every test utterance gets another class than its own."""
    other = dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True))
    return [
        replace(item, label=other[item.label]) if item.session == TEST_SESSION else item
        for item in utterances
    ]


def with_noise(utterances: Sequence[Utterance], clips: Clips) -> Clips:
    """Every test utterance says nothing, and for longer."""
    rng = np.random.default_rng(9)
    return Clips(
        {
            item.name: rng.standard_normal(4000)
            if item.session == TEST_SESSION
            else clips.waveform(item.name)
            for item in utterances
        }
    )


def same_weights(trainers: Sequence[Trainer]) -> bool:
    first, *others = [
        [*trainer.model.state_dict().values(), trainer.centers.detach()] for trainer in trainers
    ]
    return all(
        torch.equal(one, two) for other in others for one, two in zip(first, other, strict=True)
    )


@pytest.mark.parametrize(("selection", "record_oracle"), HONEST)
def test_the_labels_of_the_test_fold_reach_nothing_but_its_scores(
    trainers, selection, record_oracle
):
    utterances, clips = tones()
    config = evaluated(selection, record_oracle, training={"epochs": 4, "learning_rate": 3e-3})
    true = run(config, utterances, clips)
    false = run(config, with_wrong_labels(utterances), clips)
    assert same_weights(trainers)
    assert honest_part(true) == honest_part(false)
    assert [item.probabilities for item in true.predictions] == [
        item.probabilities for item in false.predictions
    ]
    assert not any(
        one.label == two.label for one, two in zip(true.predictions, false.predictions, strict=True)
    )
    assert true.scores().confusion.tolist() != false.scores().confusion.tolist()
    if record_oracle:
        assert [epoch.oracle for epoch in true.history] != [epoch.oracle for epoch in false.history]


@pytest.mark.parametrize(("selection", "record_oracle"), HONEST)
def test_the_audio_of_the_test_fold_reaches_nothing_but_its_predictions(
    trainers, selection, record_oracle
):
    utterances, clips = tones()
    config = evaluated(selection, record_oracle)
    speech = run(config, utterances, clips)
    noise = run(config, utterances, with_noise(utterances, clips))
    assert same_weights(trainers)
    assert honest_part(speech) == honest_part(noise)
    assert speech.predictions != noise.predictions


@pytest.mark.parametrize("selection", ["last", "validation"])
@pytest.mark.usefixtures("dropout")
def test_noting_the_oracle_figure_changes_no_prediction(trainers, selection):
    utterances, clips = tones()
    without, noted = (
        run(evaluated(selection, record_oracle), utterances, clips)
        for record_oracle in (False, True)
    )
    assert same_weights(trainers)
    assert honest_part(without) == honest_part(noted)
    assert without.predictions == noted.predictions
    assert [epoch.oracle for epoch in without.history] == [None, None]
    assert None not in [epoch.oracle for epoch in noted.history]
    assert without.oracle() is None


@pytest.mark.usefixtures("dropout")
def test_the_dropout_of_these_tests_is_felt(monkeypatch):
    utterances, clips = tones()
    dropped = run(evaluated("last"), utterances, clips)
    monkeypatch.setattr(core.trainer, "EmotionModel", EmotionModel)
    assert run(evaluated("last"), utterances, clips).predictions != dropped.predictions


@pytest.mark.parametrize("selection", ["last", "validation"])
def test_training_never_asks_for_a_test_utterance(selection):
    utterances, clips = tones()
    fold = Fold(evaluated(selection), of(utterances, clips), CPU)
    while not fold.finished:
        fold.step()
    asked = set(clips.asked)
    test = {item.name for item in utterances if item.session == TEST_SESSION}
    assert asked == {item.name for item in utterances} - test
    clips.asked.clear()
    fold.result()
    assert Counter(clips.asked) == dict.fromkeys(test, 1)


@pytest.mark.parametrize(
    ("selection", "fold", "train", "validation"),
    [
        ("last", 1, "2345", ""),
        ("last", 5, "1234", ""),
        ("oracle", 3, "1245", ""),
        ("validation", 1, "345", "2"),
        ("validation", 3, "125", "4"),
        ("validation", 5, "234", "1"),  # after the last comes the first
    ],
)
def test_a_trainer_is_given_its_own_sessions_only(monkeypatch, selection, fold, train, validation):
    given: list[Any] = []
    monkeypatch.setattr(core.fold, "Trainer", lambda *args: given.append(args))
    utterances, clips = tones()
    config = evaluated(selection).on_fold(fold, seed=0)
    Fold(config, of(utterances, clips), CPU)
    ((_, trained, held_out, store, classes, _),) = given
    assert sorted(item.name for item in trained) == sorted(
        item.name for item in utterances if item.session in train
    )
    assert {item.session for item in held_out} == set(validation)
    assert len(held_out) == 4 * len(validation)
    assert store is clips
    assert classes == CLASSES


def script_scores(monkeypatch: pytest.MonkeyPatch, module: Any, uas: Sequence[float]) -> None:
    original, scripted = module.scores_of, iter(uas)
    monkeypatch.setattr(
        module, "scores_of", lambda *args: replace(original(*args), ua=next(scripted))
    )


@pytest.mark.parametrize(
    ("selection", "record_oracle", "best"),
    [
        ("last", False, 4),
        ("last", True, 4),
        ("validation", False, 2),  # which equals the third, and comes first
        ("validation", True, 2),
        ("oracle", False, 1),
        ("oracle", True, 1),
    ],
)
def test_the_weights_that_the_selection_picks_are_scored(
    monkeypatch, trainers, selection, record_oracle, best
):
    script_scores(monkeypatch, core.trainer, (0.1, 0.6, 0.6, 0.2))
    script_scores(monkeypatch, core.fold, (0.7, 0.2, 0.7, 0.3))
    utterances, clips = tones()
    config = evaluated(selection, record_oracle, training={"epochs": 4})
    fold = Fold(config, of(utterances, clips), CPU)
    test = [item for item in utterances if item.session == TEST_SESSION]
    batcher = Batcher(test, clips, CLASSES, config.audio, config.training)
    by_epoch = []
    while not fold.finished:
        fold.step()
        by_epoch.append(tuple(trainers[0].predict(batcher)))
    assert len(set(by_epoch)) == 4
    result = fold.result()
    assert result.best_epoch == best
    assert result.predictions == by_epoch[best - 1]
    recorded = [epoch.oracle and epoch.oracle["ua"] for epoch in result.history]
    if record_oracle or selection == "oracle":
        assert recorded == [0.7, 0.2, 0.7, 0.3]
        oracle = result.oracle()
        assert oracle is not None
        assert (oracle["epoch"], oracle["ua"]) == (1, 0.7)
    else:
        assert recorded == [None] * 4


def test_honest_and_oracle_figures_are_what_their_epochs_measured():
    utterances, clips = tones(per_class=2)
    training = {"epochs": 4, "learning_rate": 3e-3, "batch_size": 8}
    for selection in ("last", "validation", "oracle"):
        result = run(evaluated(selection, True, training=training), utterances, clips)
        scores, history = result.scores(), result.history
        figures = [epoch.oracle for epoch in history if epoch.oracle is not None]
        assert figures[result.best_epoch - 1] == {"wa": scores.wa, "ua": scores.ua}
        uas = {
            "last": [epoch.epoch for epoch in history],
            "validation": [epoch.validation and epoch.validation["ua"] for epoch in history],
            "oracle": [figure["ua"] for figure in figures],
        }[selection]
        assert result.best_epoch == uas.index(max(uas)) + 1
        oracle = result.oracle()
        assert oracle is not None
        assert oracle["ua"] == max(figure["ua"] for figure in figures) >= scores.ua
        assert (oracle["ua"] == scores.ua) or selection != "oracle"


def test_a_fold_in_one_go_equals_a_fold_in_steps():
    utterances, clips = tones()
    config = evaluated("validation", True)
    seen: list[EpochMetrics] = []
    at_once = run_fold(config, of(utterances, clips), seen.append, CPU)
    assert tuple(seen) == at_once.history
    fold = Fold(config, of(utterances, clips), CPU)
    steps = [fold.step(), fold.step()]
    assert fold.finished
    stepwise = fold.result()
    assert stepwise.history == tuple(steps)
    assert timeless(stepwise) == timeless(at_once)


@pytest.mark.usefixtures("dropout")
def test_what_ran_before_in_the_process_changes_nothing():
    utterances, clips = tones()
    config = evaluated("validation", True)
    first = run(config, utterances, clips)
    other = evaluated("last", training={"precision": "bfloat16"}, pooling={"method": "max"})
    before = run(other.on_fold(3, seed=5), utterances, clips)
    torch.rand(5)
    torch.set_num_threads(2)
    assert timeless(run(config, utterances, clips)) == timeless(first)
    assert before.predictions != first.predictions


def test_a_result_says_what_it_is_of():
    utterances, clips = tones()
    config = evaluated("last").on_fold(2, seed=3)
    fold = Fold(config, of(utterances, clips, left_out=7, counts_differ=True), CPU)
    while not fold.finished:
        fold.step()
    result = fold.result()
    assert result.run_id == run_id(config, "0123456789abcdef", "0" * 16)
    assert result.config == config
    assert (result.corpus_fingerprint, result.encoder_fingerprint) == (
        "0123456789abcdef",
        "0" * 16,  # of every encoder that starts from a random draw
    )
    assert result.classes == ("angry", "happy", "sad", "neutral")
    assert [epoch.epoch for epoch in result.history] == [1, 2]
    assert result.seconds == sum(epoch.seconds for epoch in result.history)
    assert result.device == "cpu"
    assert (result.left_out, result.counts_differ) == (7, True)
    assert [item.utterance for item in result.predictions] == sorted(
        item.name for item in utterances if item.session == "2"
    )
    assert set(result.speakers()) == {"Ses02_F"}


def test_the_time_of_an_epoch_includes_noting_the_oracle_figure(monkeypatch):
    clock = SimpleNamespace(perf_counter=count(0, 1000).__next__)
    monkeypatch.setattr(core.fold, "time", clock)
    utterances, clips = tones()
    metrics = Fold(evaluated("last", True), of(utterances, clips), CPU).step()
    assert 1000 < metrics.seconds < 1900


def test_the_folds_together_score_every_utterance_once():
    utterances, clips = tones()
    config = evaluated("last", training={"epochs": 1}, losses={"weighting": "fixed"})
    scored = Counter(
        prediction.utterance
        for fold in range(1, len(SESSIONS) + 1)
        for prediction in run(config.on_fold(fold, seed=0), utterances, clips).predictions
    )
    assert scored == dict.fromkeys((item.name for item in utterances), 1)


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_the_gpu_is_taken_where_there_is_one(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert best_device().type == expected


DAMAGES = 300
INTERRUPTIBLE = {"epochs": 4, "learning_rate": 3e-3}


def interrupted(
    config: RunConfig, utterances: Sequence[Utterance], clips: Clips, folder: Path
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


def saved_twice(folder: Path, config: RunConfig, clips: Clips) -> list[Path]:
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
        ({"recipe": 99}, "its recipe must be 99, got 1"),
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
