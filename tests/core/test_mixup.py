"""Mixing equals Eq. 1-4 and LAM's formula, draws are uniform within their limits."""

from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.mixup import (
    MixDraw,
    apply_energy_mix,
    apply_length_mix,
    apply_plain_mix,
    draw_host_shares,
    draw_mix,
    mixed_lengths,
)
from tests.core import reference

PAPER = {"probability": 0.5, "snr_min_db": -5.0, "snr_max_db": 10.0, "max_share": 0.5}
CLASSES = 4
DTYPES = st.sampled_from([torch.float32, torch.float64])
SEEDS = st.integers(0, 2**32 - 1)
BATCHES = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5)


@dataclass
class Pairs:
    """A ragged batch of hosts and partners, some of them silent, and its padded tensors."""

    hosts: list[np.ndarray]
    partners: list[np.ndarray]
    labels: np.ndarray
    partner_labels: np.ndarray
    draw: MixDraw
    dtype: torch.dtype

    def tensors(self, padding: tuple[int, int] = (0, 0), filler: float = 0.0) -> list[Tensor]:
        return [
            pad(self.hosts, padding[0], filler, self.dtype),
            lengths(self.hosts),
            torch.tensor(self.labels, dtype=self.dtype),
            pad(self.partners, padding[1], filler, self.dtype),
            lengths(self.partners),
            torch.tensor(self.partner_labels, dtype=self.dtype),
        ]

    def drawn(self, row: int) -> tuple[int, int, int, float]:
        draw = self.draw
        starts = int(draw.host_starts[row]), int(draw.partner_starts[row])
        return int(draw.mix_lengths[row]), *starts, float(draw.snr_db[row])


def pad(waveforms: list[np.ndarray], extra: int, filler: float, dtype: torch.dtype) -> Tensor:
    width = max(map(len, waveforms)) + extra
    padded = torch.full((len(waveforms), width), filler, dtype=dtype)
    for row, waveform in enumerate(waveforms):
        padded[row, : len(waveform)] = torch.from_numpy(waveform)
    return padded


def lengths(waveforms: list[np.ndarray]) -> Tensor:
    return torch.tensor([len(waveform) for waveform in waveforms])


def make_pairs(
    sizes: list[tuple[int, int]], seed: int, dtype: torch.dtype = torch.float64, **limits: float
) -> Pairs:
    rng = np.random.default_rng(seed)

    def waveform(length: int) -> np.ndarray:
        loudness = rng.choice([0.0, 1e-3, 1.0, 30.0], p=[0.1, 0.2, 0.5, 0.2])
        samples = loudness * rng.standard_normal(length)
        samples[rng.integers(0, length + 1) :] *= rng.choice([0.0, 1.0], p=[0.2, 0.8])
        return samples.astype(np.float32).astype(np.float64)

    hosts = [waveform(host) for host, _ in sizes]
    partners = [waveform(partner) for _, partner in sizes]
    generator = torch.Generator().manual_seed(seed)
    return Pairs(
        hosts=hosts,
        partners=partners,
        labels=rng.dirichlet(np.ones(CLASSES), len(sizes)),
        partner_labels=np.eye(CLASSES)[rng.integers(0, CLASSES, len(sizes))],
        draw=draw_mix(lengths(hosts), lengths(partners), generator, **{**PAPER, **limits}),
        dtype=dtype,
    )


def make_draw(
    mix_length: int, host_start: int, partner_start: int, snr_db: float, applied: bool = True
) -> MixDraw:
    return MixDraw(
        mix_lengths=torch.tensor([mix_length]),
        host_starts=torch.tensor([host_start]),
        partner_starts=torch.tensor([partner_start]),
        snr_db=torch.tensor([snr_db]),
        applied=torch.tensor([applied]),
    )


@settings(max_examples=60, deadline=None)
@given(BATCHES, SEEDS, DTYPES, st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_energy_mix_equals_the_papers_equations(sizes, seed, dtype, padding):
    pairs = make_pairs(sizes, seed, dtype)
    # what stands in the padding must not matter, so let it be what would spoil every sum
    mixtures, labels = apply_energy_mix(*pairs.tensors(padding, torch.nan), pairs.draw)
    assert mixtures.dtype == labels.dtype == dtype
    for row, host in enumerate(pairs.hosts):
        expected, expected_label = host, pairs.labels[row]
        if pairs.draw.applied[row]:
            expected, expected_label = reference.energy_mix(
                host,
                expected_label,
                pairs.partners[row],
                pairs.partner_labels[row],
                pairs.drawn(row),
            )
        np.testing.assert_allclose(mixtures[row, : len(host)], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(labels[row], expected_label, rtol=1e-5, atol=1e-6)
        assert not mixtures[row, len(host) :].any()


@settings(max_examples=60, deadline=None)
@given(BATCHES, SEEDS, DTYPES, st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_length_mix_equals_its_formula(sizes, seed, dtype, padding):
    pairs = make_pairs(sizes, seed, dtype)
    inputs = pairs.tensors(padding, torch.nan)
    mixtures, labels = apply_length_mix(*inputs, pairs.draw)
    new_lengths = mixed_lengths(inputs[1], inputs[4], pairs.draw.applied)
    assert mixtures.dtype == labels.dtype == dtype
    assert mixtures.shape[1] == max(inputs[0].shape[1], inputs[3].shape[1])
    for row, host in enumerate(pairs.hosts):
        expected, expected_label = host, pairs.labels[row]
        if pairs.draw.applied[row]:
            expected, expected_label = reference.length_mix(
                host, expected_label, pairs.partners[row], pairs.partner_labels[row]
            )
        assert new_lengths[row] == len(expected)
        np.testing.assert_allclose(mixtures[row, : len(expected)], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(labels[row], expected_label, rtol=1e-5, atol=1e-6)
        assert not mixtures[row, len(expected) :].any()


@pytest.mark.parametrize(
    ("snr_db", "added", "mix_ratio"),
    [
        (0.0, 1.0, 1 / 2 * 2 / 8),  # equal powers
        (10.0, 0.1**0.5, 1 / 11 * 2 / 8),  # the host ten times as strong
        (-5.0, 10**0.25, 10**0.5 / (1 + 10**0.5) * 2 / 8),
    ],
)
def test_energy_mix_of_a_hand_worked_pair(snr_db, added, mix_ratio):
    mixtures, labels = apply_energy_mix(
        torch.ones(1, 8),
        torch.tensor([8]),
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[9.0, 2.0, 2.0, 9.0]]),
        torch.tensor([4]),
        torch.tensor([[0.0, 1.0]]),
        make_draw(2, 3, 1, snr_db),
    )
    expected = torch.ones(1, 8)
    expected[0, 3:5] += added
    torch.testing.assert_close(mixtures, expected)
    torch.testing.assert_close(labels, torch.tensor([[1 - mix_ratio, mix_ratio]]))


def test_length_mix_of_a_hand_worked_pair_is_as_long_as_the_longer():
    draw = make_draw(1, 0, 0, 0.0)
    lengths_a, lengths_b = torch.tensor([2]), torch.tensor([6])
    mixtures, labels = apply_length_mix(
        torch.tensor([[2.0, 4.0, 0.0]]),
        lengths_a,
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[2.0, 2.0, 2.0, 2.0, 2.0, 8.0]]),
        lengths_b,
        torch.tensor([[0.0, 1.0]]),
        draw,
    )
    assert mixtures.tolist() == [[2.0, 3.0, 1.0, 1.0, 1.0, 4.0]]
    assert labels.tolist() == [[0.25, 0.75]]
    assert mixed_lengths(lengths_a, lengths_b, draw.applied).tolist() == [6]


@settings(max_examples=40, deadline=None)
@given(BATCHES, SEEDS)
def test_the_mixed_segments_have_the_drawn_snr(sizes, seed):
    pairs = make_pairs(sizes, seed, probability=1.0)
    inputs = pairs.tensors()
    mixtures, _ = apply_energy_mix(*inputs, pairs.draw)
    added = mixtures - inputs[0]
    for row in range(len(sizes)):
        l_mix, s_i, _, snr_db = pairs.drawn(row)
        segment = slice(s_i, s_i + l_mix)
        assert not np.delete(added[row].numpy(), segment).any()
        if added[row].any():
            ratio = inputs[0][row, segment].square().mean() / added[row, segment].square().mean()
            assert 10 * ratio.log10() == pytest.approx(snr_db, abs=1e-5)


@pytest.mark.parametrize("silent", ["host", "partner", "host segment", "partner segment"])
def test_a_silent_segment_leaves_the_host_unmixed_with_its_own_label(silent):
    host, partner = torch.ones(1, 8), torch.ones(1, 8)
    draw = make_draw(2, 1, 5, 0.0)
    match silent:
        case "host":
            host[:] = 0
        case "partner":
            partner[:] = 0
        case "host segment":
            host[0, 1:3] = 0
        case "partner segment":
            partner[0, 5:7] = 0
    whole, label = torch.tensor([8]), torch.tensor([[1.0, 0.0]])
    other = torch.tensor([[0.0, 1.0]])
    mixtures, labels = apply_energy_mix(host, whole, label, partner, whole, other, draw)
    assert torch.equal(mixtures, host)
    assert torch.equal(labels, label)


@pytest.mark.parametrize("mix", [apply_energy_mix, apply_length_mix])
@settings(max_examples=30, deadline=None)
@given(sizes=BATCHES, seed=SEEDS, dtype=DTYPES)
def test_soft_labels_sum_to_one(mix, sizes, seed, dtype):
    pairs = make_pairs(sizes, seed, dtype, probability=1.0)
    _, labels = mix(*pairs.tensors(), pairs.draw)
    torch.testing.assert_close(labels.sum(1), torch.ones(len(sizes), dtype=dtype))
    assert (labels >= 0).all()


@pytest.mark.parametrize("mix", [apply_energy_mix, apply_length_mix])
@settings(max_examples=30, deadline=None)
@given(sizes=BATCHES, seed=SEEDS, dtype=DTYPES)
def test_partners_of_one_class_keep_its_whole_label(mix, sizes, seed, dtype):
    pairs = make_pairs(sizes, seed, dtype, probability=1.0)
    pairs.labels = pairs.partner_labels
    _, labels = mix(*pairs.tensors(), pairs.draw)
    torch.testing.assert_close(labels, torch.tensor(pairs.labels, dtype=dtype))


@pytest.mark.parametrize("mix", [apply_energy_mix, apply_length_mix])
@settings(max_examples=30, deadline=None)
@given(
    sizes=BATCHES, seed=SEEDS, dtype=DTYPES, extra=st.tuples(st.integers(0, 9), st.integers(0, 9))
)
def test_more_padding_never_changes_a_mixture(mix, sizes, seed, dtype, extra):
    pairs = make_pairs(sizes, seed, dtype)
    mixtures, labels = mix(*pairs.tensors(), pairs.draw)
    wider, same_labels = mix(*pairs.tensors(extra, 5.0), pairs.draw)
    width = min(mixtures.shape[1], wider.shape[1])
    torch.testing.assert_close(wider[:, :width], mixtures[:, :width])
    assert not wider[:, width:].any()
    assert torch.equal(labels, same_labels)


@pytest.mark.parametrize("mix", [apply_energy_mix, apply_length_mix])
def test_mixing_leaves_its_inputs_and_the_unmixed_rows_alone(mix):
    pairs = make_pairs([(30, 20), (7, 35), (1, 1), (2, 40)] * 4, seed=3)
    inputs = pairs.tensors()
    before = [tensor.clone() for tensor in inputs]
    mixtures, labels = mix(*inputs, pairs.draw)
    assert all(map(torch.equal, inputs, before))
    kept = ~pairs.draw.applied
    assert 0 < kept.sum() < len(kept)
    assert torch.equal(mixtures[kept, :30], inputs[0][kept])
    assert torch.equal(labels[kept], inputs[2][kept])
    assert not torch.equal(mixtures[~kept, :30], inputs[0][~kept])


@settings(max_examples=60, deadline=None)
@given(
    BATCHES,
    SEEDS,
    st.floats(0.01, 1.0),
    st.tuples(st.floats(-60, 60), st.floats(-60, 60)).map(sorted),
)
def test_draws_keep_to_their_limits(sizes, seed, max_share, snr_db):
    host, partner = torch.tensor(sizes).unbind(1)
    draw = draw_mix(
        host,
        partner,
        torch.Generator().manual_seed(seed),
        probability=0.5,
        snr_min_db=snr_db[0],
        snr_max_db=snr_db[1],
        max_share=max_share,
    )
    assert (draw.mix_lengths >= 1).all()
    assert ((draw.mix_lengths < max_share * host.double()) | (draw.mix_lengths == 1)).all()
    assert (draw.mix_lengths <= partner).all()
    assert (draw.host_starts >= 0).all()
    assert (draw.partner_starts >= 0).all()
    assert (draw.host_starts + draw.mix_lengths <= host).all()
    assert (draw.partner_starts + draw.mix_lengths <= partner).all()
    assert (draw.snr_db >= snr_db[0] - 1e-5).all()
    assert (draw.snr_db <= snr_db[1] + 1e-5).all()
    assert draw.applied.dtype == torch.bool
    assert draw.mix_lengths.dtype == draw.host_starts.dtype == torch.long


def repeat_draw(host: int, partner: int, seed: int = 0, times: int = 40_000) -> MixDraw:
    sizes = torch.full((times,), host), torch.full((times,), partner)
    return draw_mix(*sizes, torch.Generator().manual_seed(seed), **PAPER)


def test_draws_are_uniform_over_their_range():
    draw = repeat_draw(host=21, partner=12)
    counts = draw.mix_lengths.bincount(minlength=11)
    assert len(counts) == 11  # 1..10: under half of 21
    assert counts[0] == 0
    assert counts[1:].numpy() == pytest.approx(4_000, abs=5 * 4_000**0.5)
    for starts, length in ((draw.host_starts, 21), (draw.partner_starts, 12)):
        of_five = starts[draw.mix_lengths == 5].bincount(minlength=length - 4)
        assert len(of_five) == length - 4
        expected = float(of_five.sum()) / len(of_five)
        assert of_five.numpy() == pytest.approx(expected, abs=5 * expected**0.5)
    quantiles = torch.quantile(draw.snr_db, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert quantiles.tolist() == pytest.approx([-5, -1.25, 2.5, 6.25, 10], abs=0.15)
    assert draw.snr_db.unique().numel() > 39_000  # continuous, not whole decibels
    assert draw.applied.double().mean() == pytest.approx(0.5, abs=0.0125)


def test_the_five_draws_of_an_utterance_are_independent():
    draw = repeat_draw(host=1_001, partner=100_000)
    host_room = (1_001 - draw.mix_lengths + 1).double()
    drawn = torch.stack(
        [
            draw.mix_lengths.double(),
            draw.host_starts / host_room,
            draw.partner_starts.double(),
            draw.snr_db.double(),
            draw.applied.double(),
        ]
    )
    correlations = torch.corrcoef(drawn) - torch.eye(5)
    assert correlations.abs().max() < 0.025  # five standard errors of 40 000 draws


def test_a_long_segment_is_cut_at_the_partners_length():
    draw = repeat_draw(host=200, partner=10)
    assert draw.mix_lengths.max() == 10
    assert (draw.mix_lengths == 10).double().mean() == pytest.approx(90 / 99, abs=0.01)
    assert (draw.partner_starts[draw.mix_lengths == 10] == 0).all()


@pytest.mark.parametrize("host", [1, 2, 3])
def test_the_shortest_hosts_mix_one_sample(host):
    draw = repeat_draw(host=host, partner=5, times=100)
    assert (draw.mix_lengths == 1).all()
    assert set(draw.host_starts.tolist()) == set(range(host))


@pytest.mark.parametrize(("probability", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_certain_probabilities_are_certain(probability, share):
    sizes = torch.full((10_000,), 9)
    limits = PAPER | {"probability": probability}
    draw = draw_mix(sizes, sizes, torch.Generator().manual_seed(1), **limits)
    assert draw.applied.double().mean() == share


def test_a_draw_follows_its_seed_and_not_the_size_of_the_batch():
    sizes = torch.tensor([50, 60, 70, 80])
    draws = [
        draw_mix(sizes[:count], sizes[:count], torch.Generator().manual_seed(seed), **PAPER)
        for seed, count in ((5, 4), (5, 2), (6, 4))
    ]
    for name in (field.name for field in fields(MixDraw)):
        assert torch.equal(getattr(draws[0], name)[:2], getattr(draws[1], name))
    assert not torch.equal(draws[0].snr_db, draws[2].snr_db)


def test_lengths_that_do_not_pair_up_are_refused():
    generator = torch.Generator()
    with pytest.raises(ValueError, match=r"must pair up one to one, .*shapes \(3,\) and \(2,\)"):
        draw_mix(torch.tensor([5, 5, 5]), torch.tensor([5, 5]), generator, **PAPER)


def test_an_empty_waveform_is_refused():
    generator = torch.Generator()
    with pytest.raises(ValueError, match="must have at least 1 sample, got 0"):
        draw_mix(torch.tensor([5, 5]), torch.tensor([5, 0]), generator, **PAPER)


def test_plain_mixup_adds_both_by_their_share_and_lets_the_longer_go_on_by_its_own():
    hosts = torch.tensor([[4.0, 8.0, 4.0, 9.0], [4.0, 8.0, 9.0, 9.0], [4.0, 8.0, 4.0, 8.0]])
    partners = torch.tensor([[-4.0, 4.0], [-4.0, 4.0], [1.0, 1.0]])
    host_lengths, partner_lengths = torch.tensor([3, 1, 4]), torch.tensor([1, 2, 2])
    labels = torch.tensor([[1.0, 0.0], [0.25, 0.75], [1.0, 0.0]])
    partner_labels = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    shares = torch.tensor([0.75, 0.5, 1.0])
    mixtures, mixed_labels = apply_plain_mix(
        hosts, host_lengths, labels, partners, partner_lengths, partner_labels, shares
    )
    # 3/4 * 4 - 1/4 * 4, then the host at 3/4; 1/2 * 4 - 1/2 * 4, then the partner at 1/2
    assert mixtures.tolist() == [[2, 6, 3, 0], [0, 2, 0, 0], [4, 8, 4, 8]]
    assert mixed_labels.tolist() == [[0.75, 0.25], [0.625, 0.375], [1, 0]]
    assert mixed_lengths(host_lengths, partner_lengths, shares < 1).tolist() == [3, 2, 4]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_plain_mixup_s_shares_are_beta_s(alpha):
    """Its mean is a half, its variance 1 / (4 (2 alpha + 1)), its fourth moment below."""
    generator = torch.Generator().manual_seed(0)
    shares = draw_host_shares(40_000, generator, probability=1.0, alpha=alpha).double()
    variance = 1 / (4 * (2 * alpha + 1))
    fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert abs(shares.mean() - 0.5) < 5 * (variance / 40_000) ** 0.5
    squares = (shares - 0.5).square()
    assert abs(squares.mean() - variance) < 5 * ((fourth - variance**2) / 40_000) ** 0.5


def test_plain_mixup_leaves_a_share_of_the_utterances_alone():
    shares = [
        draw_host_shares(
            10_000, torch.Generator().manual_seed(0), probability=probability, alpha=1.0
        )
        for probability in (0.0, 0.25, 1.0)
    ]
    mixed = [int((each < 1).sum()) for each in shares]
    assert (mixed[0], mixed[2]) == (0, 10_000)
    assert abs(mixed[1] - 2500) < 5 * (10_000 * 0.25 * 0.75) ** 0.5
    alike = shares[1] < 1  # whether an utterance is mixed changes no draw
    assert torch.equal(shares[1][alike], shares[2][alike])
