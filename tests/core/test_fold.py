"""A fold: the test speakers have no way to reach the weights by which they are judged."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import core.fold
import core.trainer
from core.batches import Batcher
from core.clips import Clips
from core.corpora.utterance import Utterance
from core.fold import Fold, run_fold
from core.identity import run_id
from core.model import EmotionModel
from core.result import EpochMetrics, FoldResult
from tests.core.small_folds import HONEST, evaluated, of, run, same_weights, script_scores, timeless
from tests.core.small_speech import CLASSES, CPU, SESSIONS, MemoryStore, tones

TEST_SESSION = "1"  # of fold 1, which is the default


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


def with_noise(utterances: Sequence[Utterance], clips: MemoryStore) -> MemoryStore:
    """Every test utterance says nothing, and for longer."""
    rng = np.random.default_rng(9)
    return MemoryStore(
        {
            item.name: rng.standard_normal(4000)
            if item.session == TEST_SESSION
            else clips.waveform(item.name)
            for item in utterances
        }
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


@pytest.mark.parametrize(
    ("selection", "validation", "passes"),
    [
        ("last", (), 2),  # one an epoch: the second is the one that is scored
        ("validation", (0.1, 0.6), 2),
        ("validation", (0.6, 0.1), 3),  # the first epoch is, of whose weights nothing is at hand
    ],
)
def test_what_was_noted_of_the_chosen_epoch_is_not_measured_again(
    monkeypatch, trainers, selection, validation, passes
):
    script_scores(monkeypatch, core.trainer, validation)
    utterances, clips = tones()
    fold = Fold(evaluated(selection, True), of(utterances, clips), CPU)
    heard = []
    predict = trainers[0].predict
    test = sorted(item.name for item in utterances if item.session == TEST_SESSION)

    def listening(batcher):
        predictions = predict(batcher)
        heard.append([item.utterance for item in predictions])
        return predictions

    monkeypatch.setattr(trainers[0], "predict", listening)
    while not fold.finished:
        fold.step()
    result = fold.result()
    assert heard.count(test) == passes
    monkeypatch.undo()
    assert list(result.predictions) == predict(fold._test)


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

    def noted(*args: Any) -> SimpleNamespace:
        given.append(args)
        return SimpleNamespace(inputs=args[3])

    monkeypatch.setattr(core.fold, "Trainer", noted)
    utterances, clips = tones()
    config = evaluated(selection).on_fold(fold, seed=0)
    Fold(config, of(utterances, clips), CPU)
    ((_, trained, held_out, inputs, classes, *_),) = given
    assert sorted(item.name for item in trained) == sorted(
        item.name for item in utterances if item.session in train
    )
    assert {item.session for item in held_out} == set(validation)
    assert len(held_out) == 4 * len(validation)
    inputs.read(utterances[0].name)
    assert clips.asked == [utterances[0].name]
    assert classes == CLASSES


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
    batcher = Batcher(test, Clips(clips, config.audio), CLASSES, config.training)
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


def test_an_inner_fold_neither_hears_nor_knows_the_fold_s_own_group():
    utterances, clips = tones()
    config = evaluated("last")
    config = replace(config, evaluation=replace(config.evaluation, inner_fold=4))
    first = run(config, utterances, clips)
    assert {item.speaker for item in first.predictions} == {"Ses04_F"}
    assert first.utterances == {"train": 12, "validation": 0, "test": 4}
    heard = {name[:5] for name in clips.asked}
    assert heard == {"Ses02", "Ses03", "Ses04", "Ses05"}
    assert timeless(run(config, with_wrong_labels(utterances), clips)) == timeless(first)


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


def test_a_micro_batch_is_noted_and_makes_no_other_experiment():
    utterances, clips = tones()
    config = evaluated("last", training={"epochs": 1})
    whole = run(config, utterances, clips)
    fold = Fold(config, of(utterances, clips), CPU, micro_batch=3)
    fold.step()
    parts = fold.result()
    assert (whole.micro_batch, parts.micro_batch) == (None, 3)
    assert parts.run_id == whole.run_id
    for one, other in zip(parts.predictions, whole.predictions, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-3)


@pytest.mark.parametrize(
    ("patience", "trained", "best"), [(1, 3, 2), (2, 4, 2), (3, 6, 6), (None, 6, 6)]
)
def test_a_fold_ends_after_so_many_epochs_without_a_better_one(
    monkeypatch, patience, trained, best
):
    """And is the fold that was to have no more epochs."""
    utterances, clips = tones()
    uas = (0.4, 0.6, 0.6, 0.5, 0.7, 0.8)
    results = []
    for epochs, waits in ((6, patience), (trained, None)):
        script_scores(monkeypatch, core.trainer, uas)
        config = evaluated("validation", training={"epochs": epochs})
        config = replace(config, evaluation=replace(config.evaluation, patience=waits))
        results.append(run(config, utterances, clips))
        monkeypatch.undo()
    stopped, cut = results
    assert len(stopped.history) == trained
    assert stopped.best_epoch == best
    assert timeless(replace(stopped, config=cut.config, run_id=cut.run_id)) == timeless(cut)
