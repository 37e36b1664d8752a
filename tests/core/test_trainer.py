"""Training: the paper's rates, calibrated weights, and nothing left to chance."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import core.trainer
from core.batches import Batch
from core.clips import Clips
from core.config import RunConfig
from core.model import EmotionModel
from core.result import EpochMetrics, Prediction
from core.trainer import Trainer
from tests.core import reference
from tests.core.small_speech import CLASSES, CPU, small_config, tones
from tests.core.small_trainers import (
    UNMIXED,
    copy_of,
    make_batcher,
    make_trainer,
    same,
    training_batches,
)

TERMS = ("kl", "center", "focal", "supcon")


@dataclass
class Trained:
    weights: dict[str, Tensor]
    losses: list[dict[str, float]]
    predictions: list[Prediction]


def train(config: RunConfig) -> Trained:
    trainer = make_trainer(config)
    history = [trainer.train_epoch().losses for _ in range(config.training.epochs)]
    weights = copy_of(trainer.model) | {"centers": trainer.centers.detach().clone()}
    return Trained(weights, history, trainer.predict(make_batcher(config, "5")))


def terms_by_hand(trainer: Trainer, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        outputs = trainer.model.eval()(batch.inputs, batch.lengths)
    logits, soft_labels = outputs.logits.double().numpy(), batch.soft_labels.double().numpy()
    labels = [int(np.argmax(row)) for row in soft_labels]
    frames = [
        row[mask].double().numpy()
        for row, mask in zip(outputs.frames, outputs.frame_mask, strict=True)
    ]
    constants = trainer.config.losses
    return {
        "kl": reference.kl_divergence(logits, soft_labels),
        "focal": reference.focal(logits, soft_labels, constants.focal_gamma),
        "center": reference.center(
            outputs.embeddings.double().numpy(), labels, trainer.centers.detach().double().numpy()
        ),
        "supcon": reference.supervised_contrastive(
            reference.broadcast_context(frames),
            labels,
            constants.temperature,
            constants.normalise_frames,
        ),
    }


def test_each_step_follows_the_gradient_of_its_own_batch_alone(steps):
    """Eq. 6 and 8 derived by hand: no gradient is left over from the step before."""
    fixed = {"weighting": "fixed", "kl_weight": 3.0, "center_weight": 0.5}
    config = small_config(losses=fixed | {"terms": ["kl", "center"]})
    trainer = make_trainer(config)
    trainer.train_epoch()
    bias = [id(item) for item in steps[0].parameters].index(id(trainer.model.classify.bias))
    for number, batch in enumerate(training_batches(config)[0]):
        with torch.no_grad():
            outputs = trainer.model(batch.inputs, batch.lengths)
            pulls = torch.zeros_like(trainer.centers)
            for z, label in zip(outputs.embeddings, batch.labels, strict=True):
                pulls[label] += 0.5 * 2 * (trainer.centers[label] - z) / 4
            gap = outputs.logits.softmax(1) - batch.soft_labels
        (center_gradient,) = steps[2 * number + 1].gradients
        assert torch.allclose(center_gradient, pulls, atol=1e-5)
        assert torch.allclose(steps[2 * number].gradients[bias], 3 * gap.mean(0), atol=1e-5)


def test_centers_stay_where_no_term_moves_them():
    trainer = make_trainer(small_config(losses={"terms": ["kl", "focal", "supcon"]}))
    before = trainer.centers.detach().clone()
    trainer.train_epoch()
    assert torch.equal(trainer.centers.detach(), before)


@pytest.mark.parametrize("batches", [1, 3])
def test_calibrated_weights_are_one_over_the_mean_loss_of_the_first_batches(batches):
    config = small_config(losses={"calibration_batches": batches})
    trainer = make_trainer(config)
    assert tuple(trainer.loss_weights) == TERMS
    initial = [terms_by_hand(trainer, batch) for batch in training_batches(config)[0][:batches]]
    for term in TERMS:
        mean = sum(values[term] for values in initial) / batches
        assert trainer.loss_weights[term] == pytest.approx(1 / mean, rel=1e-4)


def test_calibrating_measures_the_very_batches_that_training_then_sees():
    rates = {"learning_rate": 1e-12, "center_learning_rate": 1e-12}
    trainer = make_trainer(small_config(training=rates, losses={"calibration_batches": 4}))
    measured = trainer.train_epoch().losses
    for term in TERMS:
        assert trainer.loss_weights[term] * measured[term] == pytest.approx(1, rel=1e-5)
    assert measured["total"] == pytest.approx(4, rel=1e-5)


def test_calibrating_uses_up_no_randomness():
    asked = []
    for weighting in ("calibrated", "fixed"):
        utterances, clips = tones()
        config = small_config(losses={"weighting": weighting})
        trainer = Trainer(config, utterances, [], Clips(clips, config.audio), CLASSES, CPU)
        assert tuple(trainer.loss_weights) == TERMS
        assert bool(clips.asked) == (weighting == "calibrated")
        clips.asked.clear()
        trainer.train_epoch()
        trainer.train_epoch()
        asked.append(clips.asked)
    assert asked[0] == asked[1]
    assert len(asked[0]) == 2 * 2 * 20  # hosts and partners, two epochs


def test_weights_are_frozen_once_calibrated():
    trainer = make_trainer(small_config())
    before = dict(trainer.loss_weights)
    trainer.train_epoch()
    trainer.train_epoch()
    assert trainer.loss_weights == before


def test_fixed_weights_are_those_of_the_setting():
    fixed = {"weighting": "fixed", "kl_weight": 2.0, "center_weight": 0.25, "supcon_weight": 0.0}
    trainer = make_trainer(small_config(losses=fixed))
    assert trainer.loss_weights == {"kl": 2.0, "center": 0.25, "focal": 1.0, "supcon": 0.0}
    terms = fixed | {"terms": ["center", "kl"]}
    assert make_trainer(small_config(losses=terms)).loss_weights == {"kl": 2.0, "center": 0.25}
    baseline = small_config(losses={"terms": ["kl", "center"], "weighting": "fixed"})
    assert make_trainer(baseline).loss_weights == {"kl": 1.0, "center": 0.002}  # C (LAM)


@pytest.mark.parametrize("weighting", ["fixed", "calibrated"])
def test_the_total_is_the_weighted_sum_of_the_logged_terms(weighting):
    trainer = make_trainer(small_config(losses={"weighting": weighting}))
    for _ in range(2):
        logged = trainer.train_epoch().losses
        assert tuple(logged) == ("total", *TERMS)
        total = sum(trainer.loss_weights[term] * logged[term] for term in TERMS)
        assert logged["total"] == pytest.approx(total, rel=1e-5)


def test_logged_terms_are_the_means_over_the_batches():
    rates = {"learning_rate": 1e-12, "center_learning_rate": 1e-12}
    config = small_config(training=rates | {"batch_size": 5})  # batches of 5, 5, 5 and 1
    trainer = make_trainer(config)
    logged = trainer.train_epoch().losses
    expected = [terms_by_hand(trainer, batch) for batch in training_batches(config)[0]]
    for term in TERMS:
        mean = sum(values[term] for values in expected) / 4
        assert logged[term] == pytest.approx(mean, rel=1e-4)


def test_training_learns_what_it_is_shown():
    config = small_config(training={"epochs": 8, "learning_rate": 1e-3}, mixup=UNMIXED)
    trainer = make_trainer(config)
    history = [trainer.train_epoch().losses for _ in range(8)]
    bounds = {"total": 0.6, "kl": 0.5, "focal": 0.3, "supcon": 0.8, "center": 1.0}
    for term, bound in bounds.items():
        assert history[-1][term] < bound * history[0][term]
    predictions = trainer.predict(make_batcher(config))
    right = sum(prediction.predicted == prediction.label for prediction in predictions)
    assert right >= 14  # of 16, where chance has 4


def test_the_same_seed_gives_the_same_bits_twice():
    first = train(small_config())
    torch.manual_seed(12345)
    torch.rand(7)
    second = train(small_config())
    assert same(first.weights, second.weights)
    assert first.losses == second.losses
    assert first.predictions == second.predictions


@pytest.mark.parametrize("fold_and_seed", [(1, 1), (2, 0)])
def test_another_seed_or_fold_starts_elsewhere_and_sees_another_order(fold_and_seed):
    config = small_config()
    first, other = make_trainer(config), make_trainer(config.on_fold(*fold_and_seed))
    assert not torch.equal(first.model.project.weight, other.model.project.weight)
    assert not torch.equal(first.centers, other.centers)
    orders = [
        [batch.utterances for batch in training_batches(setting)[0]]
        for setting in (config, config.on_fold(*fold_and_seed))
    ]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_setting_decides_on_how_many_threads_sums_are_made(threads):
    make_trainer(small_config(training={"threads": threads}, losses={"weighting": "fixed"}))
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("trained", "changes"), [("frozen", False), ("all", True)])
def test_a_frozen_encoder_stays_as_it_was(trained, changes):
    trainer = make_trainer(small_config(encoder={"train": trained}))
    encoder, model = copy_of(trainer.model.encoder), copy_of(trainer.model)
    trainer.train_epoch()
    assert same(copy_of(trainer.model.encoder), encoder) != changes
    after = copy_of(trainer.model)
    for name in ("pooling.output.weight", "project.weight", "classify.bias"):
        assert not torch.equal(after[name], model[name])


@pytest.mark.parametrize(
    "settings",
    [
        [
            {"losses": {"terms": terms, "weighting": "fixed"}}
            for terms in (["kl"], ["kl", "center"], ["kl", "center", "focal"], ["focal"], TERMS)
        ],
        [{"losses": {"weighting": weighting}} for weighting in ("fixed", "calibrated")],
        [{"mixup": {"method": method}} for method in ("none", "lam", "eam")],
        [{"pooling": {"method": method}} for method in ("first", "mean", "max", "flam")],
        [{"training": {"precision": precision}} for precision in ("float32", "bfloat16")],
        [{"losses": {"focal_gamma": gamma}} for gamma in (0.0, 2.0)],
        [{"losses": {"temperature": temperature}} for temperature in (0.07, 0.5)],
        [{"losses": {"normalise_frames": normalise}} for normalise in (True, False)],
        [{"audio": {"normalise": normalise}} for normalise in ("peak", "none")],
    ],
    ids=lambda settings: next(iter(settings[0])),
)
def test_each_setting_really_changes_the_result(settings):
    once = {"epochs": 1}
    trained = [
        train(small_config(**setting | {"training": once | setting.get("training", {})}))
        for setting in settings
    ]
    for number, one in enumerate(trained):
        for other in trained[number + 1 :]:
            for name in (
                "project.weight",
                "classify.weight",
                "encoder.transformer.layer_norm.bias",
            ):
                assert not torch.equal(one.weights[name], other.weights[name])
            assert one.predictions != other.predictions


def test_half_precision_rounds_the_work_and_not_the_weights():
    half = make_trainer(small_config(training={"precision": "bfloat16"}, mixup=UNMIXED))
    whole = make_trainer(small_config(mixup=UNMIXED))
    rounded, exact = half.train_epoch().losses, whole.train_epoch().losses
    assert rounded != exact
    for term in TERMS:
        assert rounded[term] == pytest.approx(exact[term], rel=0.05)
    assert {item.dtype for item in half.model.parameters()} == {torch.float32}
    assert half.centers.dtype == torch.float32


def test_predictions_are_the_models_own_by_name():
    config = small_config()
    trainer = make_trainer(config)
    trainer.train_epoch()
    batcher = make_batcher(config, "25")
    predictions = trainer.predict(batcher)
    by_name = {item.name: item for item in batcher.utterances}
    assert [item.utterance for item in predictions] == sorted(by_name)
    _, clips = tones()
    for item in predictions:
        assert item.speaker == by_name[item.utterance].speaker
        assert CLASSES[item.label] == by_name[item.utterance].label
        waveform = torch.tensor(clips.waveform(item.utterance))
        waveform = (waveform / waveform.abs().max()).unsqueeze(0)
        with torch.no_grad():
            alone = trainer.model(waveform, torch.tensor([waveform.shape[1]])).logits.softmax(1)
        np.testing.assert_allclose(item.probabilities, alone[0].numpy(), atol=1e-5)
        assert sum(item.probabilities) == pytest.approx(1, abs=1e-5)


def test_an_utterance_is_scored_by_the_mean_of_its_logits_at_every_speed():
    config = small_config(evaluation={"speeds": [0.9, 1.0, 1.1]})
    trainer = make_trainer(config)
    trainer.train_epoch()
    batcher = make_batcher(config, "25")
    _, store = tones()
    clips = Clips(store, config.audio)
    for item in trainer.predict(batcher):
        logits = []
        for speed in (0.9, 1.0, 1.1):
            waveform = torch.tensor(clips.read(item.utterance, speed)).unsqueeze(0)
            with torch.no_grad():
                lengths = torch.tensor([waveform.shape[1]])
                logits.append(trainer.model(waveform, lengths).logits[0].double())
        expected = (sum(logits) / 3).softmax(0)
        np.testing.assert_allclose(item.probabilities, expected.numpy(), atol=1e-5)


def test_training_trains_and_judging_judges(monkeypatch):
    """Dropout belongs in the one, gradients nowhere else."""
    modes: list[tuple[bool, bool]] = []

    class Noted(EmotionModel):
        def forward(self, waveforms: Tensor, waveform_lengths: Tensor, *masks: Any) -> Any:
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(waveforms, waveform_lengths, *masks)

    monkeypatch.setattr("core.trainer.EmotionModel", Noted)
    trainer = make_trainer(small_config(losses={"calibration_batches": 2}), held_out="2")
    calibrating = [(False, False)] * 2
    for before in (calibrating, []):
        modes.clear()
        trainer.train_epoch()
        assert modes == before + [(True, True)] * 3 + [(False, False)]


def test_the_held_out_group_is_scored_after_each_epoch():
    config = small_config(training={"learning_rate": 1e-2})
    trainer = make_trainer(config, held_out="2")
    for _ in range(2):
        metrics = trainer.train_epoch()
        predictions = trainer.predict(make_batcher(config, "2"))
        right = [prediction.predicted == prediction.label for prediction in predictions]
        share = sum(right) / 4  # each class once: WA and UA are one
        assert metrics.validation == pytest.approx({"wa": share, "ua": share})
        assert metrics.oracle is None
    assert make_trainer(config).train_epoch().validation is None


def script_scores(monkeypatch: pytest.MonkeyPatch, uas: Sequence[float]) -> None:
    original, scripted = core.trainer.scores_of, iter(uas)
    monkeypatch.setattr(
        core.trainer, "scores_of", lambda *args: replace(original(*args), ua=next(scripted))
    )


@pytest.mark.parametrize(
    ("uas", "best"), [((0.2, 0.6, 0.6, 0.4), 2), ((0.0, 0.0, 0.0, 0.0), 1), ((0, 0.1, 0.2, 1), 4)]
)
def test_the_weights_of_the_best_held_out_epoch_come_back(monkeypatch, uas, best):
    script_scores(monkeypatch, uas)
    trainer = make_trainer(small_config(training={"epochs": 4}), held_out="2")
    after = []
    for _ in range(4):
        trainer.train_epoch()
        after.append(copy_of(trainer.model))
    assert not any(same(one, other) for one, other in pairwise(after))
    assert trainer.best_epoch == best
    trainer.restore_best()
    assert same(copy_of(trainer.model), after[best - 1])


def test_with_nothing_held_out_the_last_epoch_is_the_best():
    trainer = make_trainer(small_config())
    for epoch in (1, 2):
        assert not trainer.finished
        trainer.train_epoch()
        assert trainer.best_epoch == trainer.epoch == epoch
    assert trainer.finished
    before = copy_of(trainer.model)
    trainer.restore_best()
    assert same(copy_of(trainer.model), before)


def test_an_epoch_says_when_it_ended_and_how_long_it_took():
    trainer = make_trainer(small_config())
    before = time.time()
    metrics: EpochMetrics = trainer.train_epoch()
    after = time.time()
    assert before * 1000 - 1 <= metrics.finished_at_ms <= after * 1000
    assert 0 < metrics.seconds <= after - before + 1e-3
