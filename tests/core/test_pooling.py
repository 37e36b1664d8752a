"""FLAM equals Eq. 5 behind a self-attention with residual; no pooling sees the padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.pooling import (
    POOLINGS,
    FirstFrame,
    Flam,
    MaxPool,
    MeanPool,
    StatisticsPool,
    build_pooling,
)
from tests.core import reference

DIM, HEADS = 8, 4
FRAME_COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=4)
SEEDS = st.integers(0, 2**32 - 1)


def make_frames(counts: list[int], seed: int, dim: int = DIM) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((count, dim)) for count in counts]


def pad(utterances: list[np.ndarray], extra: int = 0, filler: float = 0.0) -> tuple[Tensor, Tensor]:
    width = max(map(len, utterances)) + extra
    frames = torch.full((len(utterances), width, utterances[0].shape[1]), filler).double()
    frame_mask = torch.zeros(len(utterances), width, dtype=torch.bool)
    for row, utterance in enumerate(utterances):
        frames[row, : len(utterance)] = torch.from_numpy(utterance)
        frame_mask[row, : len(utterance)] = True
    return frames, frame_mask


def make_pooling(method: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    pooling = build_pooling(method, DIM, HEADS)
    for parameter in pooling.parameters():
        nn.init.normal_(parameter, std=0.5)
    return pooling.double()


def refine_by_hand(flam: Flam, utterance: np.ndarray) -> np.ndarray:
    weights = [
        parameter.detach().numpy()
        for layer in (flam.query_key_value, flam.output)
        for parameter in (layer.weight, layer.bias)
    ]
    return utterance + reference.self_attention(utterance, *weights, flam.heads)


@settings(max_examples=40, deadline=None)
@given(FRAME_COUNTS, SEEDS, st.integers(0, 4))
def test_flam_equals_the_papers_equations(counts, seed, extra):
    utterances = make_frames(counts, seed)
    flam = make_pooling("flam", seed % 1000)
    frames, frame_mask = pad(utterances, extra)
    with torch.no_grad():
        pooled, refined = flam(frames, frame_mask)
        attention = flam.attention(frames, frame_mask)
    for row, utterance in enumerate(utterances):
        expected = refine_by_hand(flam, utterance)
        f, alpha = reference.attention_pool(expected, flam.frame_vector.detach().numpy())
        np.testing.assert_allclose(refined[row, : len(utterance)], expected, atol=1e-9)
        np.testing.assert_allclose(attention[row, : len(utterance)], alpha, atol=1e-9)
        np.testing.assert_allclose(pooled[row], f, atol=1e-9)
    assert not refined[~frame_mask].any()
    assert not attention[~frame_mask].any()


@settings(max_examples=20, deadline=None)
@given(FRAME_COUNTS, SEEDS)
def test_flam_in_single_precision_stays_within_1e_5(counts, seed):
    flam = make_pooling("flam", seed % 1000)
    frames, frame_mask = pad(make_frames(counts, seed))
    with torch.no_grad():
        exact = flam(frames, frame_mask)
        single = flam.float()(frames.float(), frame_mask)
    for expected, found in zip(exact, single, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_flams_self_attention_is_torchs_with_the_same_weights():
    flam = make_pooling("flam")
    frames, frame_mask = pad(make_frames([5, 2, 7], seed=1))
    attention = nn.MultiheadAttention(DIM, HEADS, batch_first=True).double()
    with torch.no_grad():
        attention.in_proj_weight.copy_(flam.query_key_value.weight)
        attention.in_proj_bias.copy_(flam.query_key_value.bias)
        attention.out_proj.weight.copy_(flam.output.weight)
        attention.out_proj.bias.copy_(flam.output.bias)
        mixed, _ = attention(frames, frames, frames, key_padding_mask=~frame_mask)
        _, refined = flam(frames, frame_mask)
    torch.testing.assert_close(refined[frame_mask], (frames + mixed)[frame_mask])


def make_flam_without_self_attention(dim: int, w: list[float]) -> Flam:
    flam = Flam(dim, heads=1)
    with torch.no_grad():
        flam.output.weight.zero_()
        flam.frame_vector.copy_(torch.tensor(w))
    return flam


def test_flam_pools_hand_worked_frames():
    flam = make_flam_without_self_attention(2, [np.log(3), 0.0])
    frames = torch.tensor([[[1.0, 4.0], [0.0, 8.0], [7.0, 7.0]]])
    frame_mask = torch.tensor([[True, True, False]])
    pooled, refined = flam(frames, frame_mask)
    attention = flam.attention(frames, frame_mask)
    torch.testing.assert_close(attention, torch.tensor([[0.75, 0.25, 0.0]]))
    torch.testing.assert_close(pooled, torch.tensor([[0.75, 5.0]]))
    torch.testing.assert_close(refined[0, :2], frames[0, :2])


def test_flam_survives_scores_that_no_exponential_holds():
    flam = make_flam_without_self_attention(2, [1e4, 0.0])
    pooled, _ = flam(torch.tensor([[[1.0, 2.0], [-1.0, 5.0]]]), torch.ones(1, 2, dtype=torch.bool))
    assert pooled.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (FirstFrame(), [1.0, -6.0]),
        (MeanPool(), [2.0, -5.0]),
        (MaxPool(), [3.0, -4.0]),
        (StatisticsPool(), [2.0, -5.0, 1.0, 1.0]),
    ],
)
def test_plain_poolings_of_hand_worked_frames(pooling, expected):
    frames = torch.tensor([[[1.0, -6.0], [3.0, -4.0], [9.0, 9.0]]])
    frame_mask = torch.tensor([[True, True, False]])
    pooled, refined = pooling(frames, frame_mask)
    assert pooled.tolist() == [expected]
    assert refined is frames


@pytest.mark.parametrize("method", POOLINGS)
@pytest.mark.parametrize("filler", [7.0, torch.nan, torch.inf])
@settings(max_examples=15, deadline=None)
@given(counts=FRAME_COUNTS, seed=SEEDS, extra=st.integers(0, 5))
def test_padding_never_changes_the_output_or_a_gradient(method, filler, counts, seed, extra):
    utterances = make_frames(counts, seed)
    pooling = make_pooling(method)
    found = []
    for frames, frame_mask in (pad(utterances), pad(utterances, extra, filler)):
        frames.requires_grad_()
        pooled, refined = pooling(frames, frame_mask)
        gradients = torch.autograd.grad(
            pooled.square().sum() + refined[frame_mask].square().sum(),
            [frames, *pooling.parameters()],
        )
        assert not gradients[0][~frame_mask].any()
        found.append((pooled, refined[frame_mask], gradients[0][frame_mask], *gradients[1:]))
    for bare, padded in zip(*found, strict=True):
        torch.testing.assert_close(bare, padded)


@pytest.mark.parametrize("method", POOLINGS)
def test_an_utterance_is_pooled_alone_as_in_a_batch(method):
    utterances = make_frames([4, 1, 6], seed=2)
    pooling = make_pooling(method)
    together, _ = pooling(*pad(utterances))
    for row, utterance in enumerate(utterances):
        alone, _ = pooling(*pad([utterance]))
        torch.testing.assert_close(alone[0], together[row])


@pytest.mark.parametrize("method", ["first", "mean", "max"])
def test_a_single_frame_is_its_own_pool(method):
    frames, frame_mask = pad(make_frames([1], seed=4), extra=2)
    pooled, _ = make_pooling(method)(frames, frame_mask)
    assert torch.equal(pooled, frames[:, 0])


def test_attention_sums_to_one():
    frames, frame_mask = pad(make_frames([1, 9, 3], seed=5))
    attention = make_pooling("flam").attention(frames, frame_mask)
    torch.testing.assert_close(attention.sum(1), torch.ones(3, dtype=torch.float64))


def test_training_and_evaluation_pool_alike():
    frames, frame_mask = pad(make_frames([3, 5], seed=6))
    flam = make_pooling("flam")
    trained, _ = flam.train()(frames, frame_mask)
    with torch.no_grad():
        evaluated, _ = flam.eval()(frames, frame_mask)
    torch.testing.assert_close(trained, evaluated)


@pytest.mark.parametrize("method", POOLINGS)
def test_gradients_are_those_of_finite_differences(method):
    frames, frame_mask = pad(make_frames([3, 1], seed=7))
    pooling = make_pooling(method)
    assert torch.autograd.gradcheck(
        lambda frames: pooling(frames, frame_mask), frames.requires_grad_()
    )


def test_every_parameter_of_flam_learns():
    flam = make_pooling("flam")
    frames, frame_mask = pad(make_frames([4, 6], seed=8))
    pooled, _ = flam(frames, frame_mask)
    pooled.square().sum().backward()
    for name, parameter in flam.named_parameters():
        assert parameter.grad.any(), name


@pytest.mark.parametrize("method", POOLINGS)
def test_autocast_stays_near_single_precision(method):
    pooling = make_pooling(method).float()
    frames, frame_mask = pad(make_frames([40, 25], seed=9))
    frames = frames.float().requires_grad_()
    exact, _ = pooling(frames, frame_mask)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, _ = pooling(frames, frame_mask)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.1)
    (gradient,) = torch.autograd.grad(rounded.float().sum(), frames)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("method", POOLINGS)
def test_a_module_in_bfloat16_answers_in_bfloat16(method):
    pooling = make_pooling(method).bfloat16()
    frames, frame_mask = pad(make_frames([300, 200], seed=10))
    pooled, refined = pooling(frames.bfloat16(), frame_mask)
    assert pooled.dtype == refined.dtype == torch.bfloat16
    exact, _ = pooling.double()(frames.bfloat16().double(), frame_mask)
    torch.testing.assert_close(pooled.double(), exact, rtol=0.1, atol=0.1)


def test_attention_keeps_single_precision_in_a_half_precision_module():
    frames, frame_mask = pad(make_frames([300, 200], seed=11))
    attention = make_pooling("flam").bfloat16().attention(frames.bfloat16(), frame_mask)
    assert attention.dtype == torch.float32
    torch.testing.assert_close(attention.sum(1), torch.ones(2))


def test_flam_has_16_heads_unless_told_otherwise():
    assert Flam(32).heads == 16
    assert build_pooling("flam", 32, 4).heads == 4


@pytest.mark.parametrize("heads", [3, 0, -4, 16])
def test_heads_that_do_not_divide_dim_are_refused(heads):
    with pytest.raises(ValueError, match=f"heads must divide dim, got {heads} heads for dim 8"):
        Flam(8, heads)


def test_an_unknown_pooling_lists_the_known():
    with pytest.raises(
        ValueError, match="must be one of first, mean, max, statistics, flam, got 'median'"
    ):
        build_pooling("median", 8, 4)
