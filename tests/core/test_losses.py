"""Each loss equals its equation, stays finite at the extremes and has the right gradient."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor

from core.losses import (
    broadcast_context,
    calibrate,
    center,
    focal,
    kl_divergence,
    smoothed,
    supervised_contrastive,
    weighted_sum,
)
from tests.core import reference

SEEDS = st.integers(0, 2**32 - 1)
DTYPES = st.sampled_from([torch.float32, torch.float64])
GAMMAS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.7, 6.0])
FRAME_COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def make_predictions(
    batch: int, classes: int, seed: int, scale: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and soft labels: some one-hot, some blended, as mixup leaves them."""
    rng = np.random.default_rng(seed)
    one_hot = np.eye(classes)[rng.integers(0, classes, (2, batch))]
    ratio = rng.choice([0.0, 0.3], (batch, 1))
    return (
        scale * rng.standard_normal((batch, classes)),
        (1 - ratio) * one_hot[0] + ratio * one_hot[1],
    )


def make_utterances(counts: list[int], seed: int, dim: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((count, dim)) for count in counts]


def make_labels(batch: int, seed: int, classes: int = 3) -> list[int]:
    return np.random.default_rng(seed).integers(0, classes, batch).tolist()


def pad(
    utterances: list[np.ndarray],
    extra: int = 0,
    filler: float = 0.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    width = max(map(len, utterances)) + extra
    frames = torch.full((len(utterances), width, utterances[0].shape[1]), filler, dtype=dtype)
    frame_mask = torch.zeros(len(utterances), width, dtype=torch.bool)
    for row, utterance in enumerate(utterances):
        frames[row, : len(utterance)] = torch.from_numpy(utterance)
        frame_mask[row, : len(utterance)] = True
    return frames, frame_mask


def tensors(*arrays: np.ndarray, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.tensor(array, dtype=dtype) for array in arrays]


# --- classification: Eq. 6 and 7


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 8), SEEDS, DTYPES)
def test_kl_divergence_equals_the_papers_equation(batch, classes, seed, dtype):
    logits, soft_labels = make_predictions(batch, classes, seed)
    found = kl_divergence(*tensors(logits, soft_labels, dtype=dtype))
    assert found.dtype == dtype
    assert float(found) == pytest.approx(
        reference.kl_divergence(logits, soft_labels), rel=1e-5, abs=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(2, 8), SEEDS, DTYPES, GAMMAS)
def test_focal_equals_the_papers_equation(batch, classes, seed, dtype, gamma):
    logits, soft_labels = make_predictions(batch, classes, seed)
    found = focal(*tensors(logits, soft_labels, dtype=dtype), gamma)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(
        reference.focal(logits, soft_labels, gamma), rel=1e-5, abs=1e-6
    )


def test_classification_losses_of_hand_worked_numbers():
    logits = torch.tensor([[0.25, 0.75]]).log()
    soft_labels = torch.tensor([[0.5, 0.5]])
    assert float(kl_divergence(logits, soft_labels)) == pytest.approx(math.log(4 / 3) / 2)
    expected = -(0.5 * 0.75**2 * math.log(0.25) + 0.5 * 0.25**2 * math.log(0.75))
    assert float(focal(logits, soft_labels, 2)) == pytest.approx(expected)


def test_a_one_hot_label_makes_kl_divergence_cross_entropy():
    logits, labels = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    one_hot = F.one_hot(labels).float()
    torch.testing.assert_close(kl_divergence(logits, one_hot), F.cross_entropy(logits, labels))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(2, 8), SEEDS)
def test_kl_divergence_is_zero_only_for_the_label_itself(batch, classes, seed):
    logits, soft_labels = tensors(*make_predictions(batch, classes, seed))
    assert kl_divergence(logits, soft_labels) > 0
    assert float(kl_divergence(logits, logits.softmax(1))) == pytest.approx(0, abs=1e-12)


def test_focal_without_focus_is_cross_entropy():
    logits, soft_labels = tensors(*make_predictions(6, 4, seed=1))
    torch.testing.assert_close(focal(logits, soft_labels, 0), F.cross_entropy(logits, soft_labels))


LOSSES = [
    pytest.param(kl_divergence, id="kl"),
    *[
        pytest.param(lambda x, y, gamma=gamma: focal(x, y, gamma), id=f"focal {gamma}")
        for gamma in (0.0, 0.5, 1.0, 2.0, 2.7)
    ],
]


@pytest.mark.parametrize("loss", LOSSES)
def test_classification_losses_and_gradients_are_finite_at_any_confidence(loss):
    rows = [[1e4, -1e4, 0.0], [-1e4, 1e4, 0.0], [1e4, 1e4, 1e4], [0.0, 20.0, 0.0], [120.0, 0.0, 0]]
    for label in torch.eye(3), torch.tensor([[0.5, 0.5, 0.0]]):
        for row in rows:
            for soft_label in label:
                logits = torch.tensor([row], requires_grad=True)
                value = loss(logits, soft_label.unsqueeze(0))
                (gradient,) = torch.autograd.grad(value, logits)
                assert value.isfinite()
                assert value >= -1e-6
                assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_certain_and_right_prediction_costs_nothing(loss):
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = loss(logits, torch.tensor([[1.0, 0.0, 0.0]]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("loss", LOSSES)
def test_classification_gradients_are_those_of_finite_differences(loss):
    logits, soft_labels = tensors(*make_predictions(4, 3, seed=2))
    assert torch.autograd.gradcheck(loss, (logits.requires_grad_(), soft_labels))


# --- centers: Eq. 8


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 5), SEEDS, DTYPES)
def test_center_equals_the_papers_equation(batch, classes, seed, dtype):
    rng = np.random.default_rng(seed)
    embeddings, centers = rng.standard_normal((batch, 4)), rng.standard_normal((classes, 4))
    labels = make_labels(batch, seed, classes)
    wide_embeddings, wide_centers = tensors(embeddings, centers, dtype=dtype)
    found = center(wide_embeddings, torch.tensor(labels), wide_centers)
    assert found.dtype == dtype
    assert float(found) == pytest.approx(reference.center(embeddings, labels, centers), rel=1e-5)


def test_center_moves_embeddings_and_centers_towards_each_other():
    embeddings = torch.tensor([[3.0, 0.0], [0.0, 5.0]], requires_grad=True)
    centers = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]], requires_grad=True)
    loss = center(embeddings, torch.tensor([0, 1]), centers)
    loss.backward()
    assert loss == (2**2 + 4**2) / 2
    assert embeddings.grad.tolist() == [[2.0, 0.0], [0.0, 4.0]]
    assert centers.grad.tolist() == [[-2.0, 0.0], [0.0, -4.0], [0.0, 0.0]]


def test_center_gradients_are_those_of_finite_differences():
    embeddings, centers = torch.randn(2, 3, 4, dtype=torch.float64).requires_grad_().unbind()
    labels = torch.tensor([2, 0, 2])
    assert torch.autograd.gradcheck(lambda z, c: center(z, labels, c), (embeddings, centers))


# --- context: Eq. 9


@settings(max_examples=40, deadline=None)
@given(FRAME_COUNTS, SEEDS, DTYPES, st.integers(0, 3))
def test_broadcast_context_equals_the_papers_equation(counts, seed, dtype, extra):
    utterances = make_utterances(counts, seed)
    frames, frame_mask = pad(utterances, extra, torch.nan, dtype)
    found = broadcast_context(frames, frame_mask)
    assert found.dtype == dtype
    assert not found[~frame_mask].any()
    for row, expected in enumerate(reference.broadcast_context(utterances)):
        np.testing.assert_allclose(found[row, : len(expected)], expected, rtol=1e-5, atol=1e-6)


def test_broadcast_context_of_hand_worked_frames():
    frames = torch.tensor([[[1.0], [3.0], [99.0]], [[4.0], [99.0], [99.0]]])
    frame_mask = torch.tensor([[True, True, False], [True, False, False]])
    assert broadcast_context(frames, frame_mask).squeeze(2).tolist() == [[1.5, 2.5, 0], [4, 0, 0]]


def test_broadcast_context_gradients_are_those_of_finite_differences():
    frames, frame_mask = pad(make_utterances([3, 1, 2], seed=3))
    assert torch.autograd.gradcheck(
        lambda frames: broadcast_context(frames, frame_mask), frames.requires_grad_()
    )


# --- contrast: Eq. 10


def dense_contrast(anchors: Tensor, labels: Tensor, tau: float) -> Tensor:
    """Eq. 10 over (R, d) anchors with every pair spelt out, for autograd to go through."""
    similarity = anchors @ anchors.T / tau
    other = ~torch.eye(len(anchors), dtype=torch.bool)
    positive = (labels.unsqueeze(1) == labels) & other
    log_share = similarity - similarity.masked_fill(~other, -torch.inf).logsumexp(1, keepdim=True)
    counts = positive.sum(1)
    losses = -log_share.masked_fill(~positive, 0).sum(1) / counts.clamp_min(1)
    return losses[counts > 0].mean()


@settings(max_examples=50, deadline=None)
@given(
    FRAME_COUNTS, SEEDS, DTYPES, st.integers(1, 3), st.sampled_from([0.07, 0.5, 2.0]), st.booleans()
)
def test_contrast_equals_the_papers_equation(counts, seed, dtype, classes, tau, normalise):
    utterances, labels = make_utterances(counts, seed), make_labels(len(counts), seed, classes)
    frames, frame_mask = pad(utterances, 1, torch.nan, dtype)
    found = supervised_contrastive(frames, frame_mask, torch.tensor(labels), tau, normalise)
    assert found.dtype == dtype
    expected = reference.supervised_contrastive(utterances, labels, tau, normalise)
    assert float(found) == pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=2, max_size=5), SEEDS, st.sampled_from([0.07, 0.5]))
def test_contrast_equals_pytorch_metric_learning(counts, seed, tau):
    labels = torch.tensor(make_labels(len(counts), seed))
    assume(len(labels.unique()) > 1)  # without a negative theirs is 0, which Eq. 10 is not
    frames, frame_mask = pad(make_utterances(counts, seed))
    frame_labels = labels.unsqueeze(1).expand_as(frame_mask)[frame_mask]
    expected = SupConLoss(temperature=tau)(frames[frame_mask], frame_labels)
    found = supervised_contrastive(frames, frame_mask, labels, tau)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(2, 6), min_size=1, max_size=5), SEEDS, st.booleans())
def test_the_gradient_of_contrast_is_that_of_every_pair_spelt_out(counts, seed, normalise):
    labels = torch.tensor(make_labels(len(counts), seed))
    frames, frame_mask = pad(make_utterances(counts, seed))
    frames.requires_grad_()
    anchors = F.normalize(frames[frame_mask], dim=1) if normalise else frames[frame_mask]
    frame_labels = labels.unsqueeze(1).expand_as(frame_mask)[frame_mask]
    (expected,) = torch.autograd.grad(dense_contrast(anchors, frame_labels, 0.2), frames)
    found = supervised_contrastive(frames, frame_mask, labels, 0.2, normalise)
    (gradient,) = torch.autograd.grad(found, frames)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


def test_contrast_of_hand_worked_frames():
    # two frames of class 0 that agree, one of class 1 at a right angle to both, tau 1: each of
    # the two has the other (similarity 1) against e^1 + e^0; the third has no positive
    frames = torch.tensor([[[2.0, 0.0], [3.0, 0.0]], [[0.0, 1.0], [8.0, 8.0]]]).double()
    frame_mask = torch.tensor([[True, True], [True, False]])
    found = supervised_contrastive(frames, frame_mask, torch.tensor([0, 1]), 1.0)
    assert float(found) == pytest.approx(math.log(math.e + 1) - 1)
    raw = supervised_contrastive(frames, frame_mask, torch.tensor([0, 1]), 1.0, normalise=False)
    assert float(raw) == pytest.approx(math.log(math.exp(6) + 1) - 6)


def test_frames_of_one_class_and_one_direction_cost_the_log_of_their_number():
    frames = torch.ones(3, 4, 5)
    found = supervised_contrastive(frames, torch.ones(3, 4).bool(), torch.zeros(3).long(), 0.07)
    assert float(found) == pytest.approx(math.log(11), rel=1e-5)


@pytest.mark.parametrize(
    ("counts", "labels"), [([1], [0]), ([1, 1], [0, 1]), ([1, 1, 1], [2, 0, 1])]
)
def test_contrast_without_any_positive_is_zero_and_differentiable(counts, labels):
    frames, frame_mask = pad(make_utterances(counts, seed=4), extra=2, filler=torch.nan)
    frames.requires_grad_()
    loss = supervised_contrastive(frames, frame_mask, torch.tensor(labels), 0.07)
    loss.backward()
    assert loss == 0
    assert torch.equal(frames.grad, torch.zeros_like(frames))


@pytest.mark.parametrize("filler", [7.0, torch.nan, torch.inf])
@settings(max_examples=20, deadline=None)
@given(counts=FRAME_COUNTS, seed=SEEDS, extra=st.integers(1, 5))
def test_more_padding_never_changes_the_contrast_or_its_gradient(filler, counts, seed, extra):
    utterances, labels = make_utterances(counts, seed), torch.tensor(make_labels(len(counts), seed))
    found = []
    for frames, frame_mask in (pad(utterances), pad(utterances, extra, filler)):
        frames.requires_grad_()
        broadcast = broadcast_context(frames, frame_mask)
        loss = supervised_contrastive(broadcast, frame_mask, labels, 0.07)
        (gradient,) = torch.autograd.grad(loss, frames)
        assert not gradient[~frame_mask].any()
        found.append((loss, gradient[frame_mask]))
    for bare, padded in zip(*found, strict=True):
        torch.testing.assert_close(bare, padded)


def test_the_order_of_utterances_does_not_change_the_contrast():
    frames, frame_mask = pad(make_utterances([4, 2, 5, 3], seed=5))
    labels, order = torch.tensor([0, 1, 0, 1]), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        supervised_contrastive(frames, frame_mask, labels, 0.07),
        supervised_contrastive(frames[order], frame_mask[order], labels[order], 0.07),
    )


@pytest.mark.parametrize("normalise", [True, False])
def test_contrast_gradients_are_those_of_finite_differences(normalise):
    frames, frame_mask = pad(make_utterances([3, 1, 2, 1], seed=6))
    labels = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(
        lambda frames: supervised_contrastive(frames, frame_mask, labels, 0.5, normalise),
        frames.requires_grad_(),
    )


def test_contrast_of_long_raw_frames_stays_finite():
    frames, frame_mask = pad(make_utterances([4, 3], seed=7), dtype=torch.float32)
    frames = (1e4 * frames).requires_grad_()
    loss = supervised_contrastive(frames, frame_mask, torch.tensor([0, 0]), 0.07, normalise=False)
    loss.backward()
    assert loss.isfinite()
    assert frames.grad.isfinite().all()


def test_contrast_in_single_precision_holds_for_a_full_batch_of_frames():
    utterances = make_utterances([120, 80, 100, 60], seed=8, dim=64)
    labels = torch.tensor([0, 1, 0, 2])
    frames, frame_mask = pad(utterances)
    exact = supervised_contrastive(frames, frame_mask, labels, 0.07)
    single = supervised_contrastive(frames.float(), frame_mask, labels, 0.07)
    assert float(single) == pytest.approx(float(exact), rel=1e-6)


# --- precision


def all_losses(halve: torch.dtype) -> dict[str, Tensor]:
    """Every loss on inputs of one precision, after a look at their gradients."""
    logits, soft_labels = tensors(*make_predictions(6, 4, seed=9))
    labels = soft_labels.argmax(1)
    frames, frame_mask = pad(make_utterances([30, 20, 25, 1, 9, 14], seed=9, dim=16))
    embeddings, centers = tensors(*np.random.default_rng(9).standard_normal((2, 6, 16)))
    logits, frames, embeddings, centers = (
        # through bfloat16 in each case, so that all start from the very same numbers
        values.bfloat16().to(halve).requires_grad_()
        for values in (logits, frames, embeddings, centers)
    )
    broadcast = broadcast_context(frames, frame_mask)
    terms = {
        "kl": kl_divergence(logits, soft_labels.to(torch.float32)),
        "focal": focal(logits, soft_labels.to(torch.float32), 2.0),
        "center": center(embeddings, labels, centers),
        "broadcast": broadcast.square().mean(),
        "supcon": supervised_contrastive(broadcast, frame_mask, labels, 0.07),
    }
    assert all(term.dtype == torch.float32 for term in terms.values())
    gradients = torch.autograd.grad(sum(terms.values()), (logits, frames, embeddings, centers))
    assert all(gradient.isfinite().all() for gradient in gradients)
    return terms


@pytest.mark.parametrize("autocast", [False, True])
def test_half_precision_inputs_lose_nothing_inside_the_losses(autocast):
    exact = all_losses(torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        halved = all_losses(torch.bfloat16)
    for name, term in exact.items():
        torch.testing.assert_close(halved[name], term, rtol=1e-6, atol=1e-6, msg=name)


def test_autocast_does_not_round_single_precision_inputs():
    exact = all_losses(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        cast = all_losses(torch.float32)
    for name, term in exact.items():
        assert torch.equal(cast[name], term), name


# --- the objective: Eq. 11


def test_the_objective_is_the_weighted_sum_of_its_terms():
    kl, supcon = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    objective = weighted_sum({"kl": kl, "supcon": supcon}, {"supcon": 0.5, "kl": 10.0})
    objective.backward()
    assert objective == 21.5
    assert (kl.grad, supcon.grad) == (10.0, 0.5)


@pytest.mark.parametrize("names", [["kl"], ["kl", "center", "focal"], []])
def test_terms_and_weights_that_do_not_match_are_refused(names):
    terms = {"kl": torch.tensor(1.0), "center": torch.tensor(1.0)}
    with pytest.raises(ValueError, match=r"needs one weight .* got terms \['center', 'kl'\] and"):
        weighted_sum(terms, dict.fromkeys(names, 1.0))


def test_an_objective_without_terms_is_refused():
    with pytest.raises(ValueError, match=r"got terms \[\] and weights \[\]"):
        weighted_sum({}, {})


def test_calibrated_weights_bring_every_initial_term_to_one():
    initial = [{"kl": 1.0, "center": 300.0}, {"kl": 2.0, "center": 500.0}]
    weights = calibrate(initial)
    assert weights == {"kl": 1 / 1.5, "center": 1 / 400}
    means = [sum(batch[name] * weights[name] for batch in initial) / 2 for name in weights]
    assert means == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.0, 0.0], "0"),
        ([1.0, math.nan], "nan"),
        ([1.0, math.inf], "inf"),
        ([5e-324, 5e-324], "4.94066e-324"),
        ([-1.0, -3.0], "-2"),
    ],
)
def test_a_term_that_cannot_be_calibrated_is_named(values, found):
    initial = [{"kl": 1.0, "supcon": value} for value in values]
    message = f"'supcon' over 2 initial batches must be above 0 and finite .*, got {found}$"
    with pytest.raises(ValueError, match=message):
        calibrate(initial)


def test_calibration_needs_a_batch():
    with pytest.raises(ValueError, match="needs at least one batch, got none"):
        calibrate([])


def test_calibration_refuses_batches_of_different_terms():
    with pytest.raises(ValueError, match=r"same loss terms, got \['kl'\] and \['center', 'kl'\]"):
        calibrate([{"kl": 1.0}, {"kl": 1.0, "center": 2.0}])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_smoothed_labels_slope_as_torch_s_smoothed_cross_entropy(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 3, 1, 1, 2])
    targets = smoothed(torch.nn.functional.one_hot(labels, 4).double(), smoothing)
    (ours,) = torch.autograd.grad(kl_divergence(logits, targets), logits)
    stock = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    (theirs,) = torch.autograd.grad(stock, logits)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(focal(logits, targets, 0.0), stock)


def test_smoothed_soft_labels_still_sum_to_one():
    mixed = torch.tensor([[0.75, 0.25, 0.0, 0.0]])
    assert smoothed(mixed, 0.2).tolist() == [pytest.approx([0.65, 0.25, 0.05, 0.05])]
    assert torch.equal(smoothed(mixed, 0.0), mixed)
