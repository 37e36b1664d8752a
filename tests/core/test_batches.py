"""Batches: every utterance once, partners from everywhere, padding that is silent."""

import math
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import soundfile
import torch

from core.audio import read_audio
from core.batches import (
    Batch,
    Batcher,
    derived_generator,
    derived_seed,
)
from core.clips import Clips
from core.config import SAMPLE_RATE_HZ, AudioConfig, MixupConfig, TrainingConfig
from core.corpora.utterance import Utterance
from core.masking import MaskDraw
from core.store import AudioStore, build_store
from tests.core.small_batches import UNTOUCHED, generators, make_batcher, names, noise, rows
from tests.core.small_speech import utterance

METHODS = ("none", "lam", "eam", "mixup")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length_pool", [1, 2, 8])
@pytest.mark.parametrize("batch_size", [1, 4, 5, 32])
def test_every_utterance_is_a_host_exactly_once_an_epoch(method, length_pool, batch_size):
    batcher = make_batcher(
        noise(range(20, 43)), batch_size=batch_size, length_pool=length_pool
    )  # 23 utterances
    order, mixing = generators(0)
    for _ in range(2):
        batches = names(batcher.shuffled(MixupConfig(method=method), order, mixing))
        assert len(batches) == len(batcher) == math.ceil(23 / batch_size)
        hosts = [name for batch in batches for name in batch]
        assert sorted(hosts) == [item.name for item in batcher.utterances]


def test_partners_come_from_the_whole_set_and_equally_often():
    batcher = make_batcher(noise([10] * 6), batch_size=2)
    order, mixing = generators(0)
    always = MixupConfig(method="lam", probability=1.0)
    pairs: Counter[tuple[int, int]] = Counter()
    for _ in range(240):
        for batch in batcher.shuffled(always, order, mixing):
            for item, _, label in rows(batch):
                host = int(item.name[1:])
                others = set(np.flatnonzero(label)) - {host}
                pairs[host, others.pop() if others else host] += 1
    assert len(pairs) == 36
    deviation = math.sqrt(240 * 1 / 6 * 5 / 6)
    assert all(abs(count - 40) < 5 * deviation for count in pairs.values())


def test_settings_that_mix_and_that_do_not_see_the_same_order():
    batcher = make_batcher(noise(range(20, 43)), batch_size=4, length_pool=2)
    orders = []
    for method in METHODS:
        order, mixing = generators(7)
        orders.append(
            [names(batcher.shuffled(MixupConfig(method=method), order, mixing)) for _ in range(3)]
        )
    assert orders[0] == orders[1] == orders[2]
    assert orders[0][0] != orders[0][1] != orders[0][2]


@pytest.mark.parametrize("method", METHODS)
def test_a_seed_gives_the_same_batches_twice_and_another_seed_others(method):
    batcher = make_batcher(noise(range(20, 43)), batch_size=4)
    epochs = [
        list(batcher.shuffled(MixupConfig(method=method), *generators(seed))) for seed in (1, 1, 2)
    ]
    first, again, other = epochs
    for one, two in zip(first, again, strict=True):
        assert one.utterances == two.utterances
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.lengths, two.lengths)
        assert torch.equal(one.soft_labels, two.soft_labels)
    assert names(iter(first)) != names(iter(other))


@pytest.mark.parametrize("method", ["lam", "eam"])
def test_the_mixing_generator_alone_decides_what_is_mixed(method):
    batcher = make_batcher(noise(range(20, 43)), batch_size=4)
    epochs = [
        list(
            batcher.shuffled(
                MixupConfig(method=method),
                derived_generator(0, 1, "order"),
                derived_generator(seed, 1, "mixing"),
            )
        )
        for seed in (0, 1)
    ]
    assert names(iter(epochs[0])) == names(iter(epochs[1]))
    assert any(
        not torch.equal(one.soft_labels, two.soft_labels) for one, two in zip(*epochs, strict=True)
    )


@pytest.mark.parametrize(
    ("seed", "fold", "purpose", "expected"),
    [  # half of the number in the first 16 digits of `printf 0/1/model | sha256sum`
        (0, 1, "model", 4076431725364305404),
        (0, 1, "order", 7869624158837258281),
        (3, 2, "order", 5533718958380517638),
        (2**31 - 1, 5, "mixing", 1284564053690397417),
    ],
)
def test_derived_seeds_are_the_same_on_every_machine(seed, fold, purpose, expected):
    assert derived_seed(seed, fold, purpose) == expected
    assert derived_generator(seed, fold, purpose).initial_seed() == expected


def test_seed_fold_and_purpose_each_change_the_derived_seed():
    seeds = {
        derived_seed(seed, fold, purpose)
        for seed in range(12)
        for fold in range(1, 13)
        for purpose in ("order", "mixing", "model")
    }
    assert len(seeds) == 12 * 12 * 3
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_host_and_partner_are_both_brought_to_their_peak_before_they_are_mixed():
    batcher = make_batcher([[0.5, 0.25], [-0.1, 0.05]], AudioConfig(normalise="peak"), batch_size=1)
    expected = {
        (0, 0): [1.0, 0.5],
        (1, 1): [-1.0, 0.5],
        (0, 1): [0.0, 0.5],
        (1, 0): [0.0, 0.5],
    }
    order, mixing = generators(0)
    seen = set()
    for _ in range(10):
        for batch in batcher.shuffled(MixupConfig(method="lam", probability=1.0), order, mixing):
            ((item, waveform, label),) = rows(batch)
            host = int(item.name[1:])
            partner = host if label[host] == 1 else 1 - host
            seen.add((host, partner))
            np.testing.assert_allclose(waveform, expected[host, partner], atol=1e-7)
    assert seen == set(expected)


@pytest.mark.parametrize("method", METHODS)
def test_padding_is_zero_and_soft_labels_sum_to_one(method):
    batcher = make_batcher(
        noise(range(20, 43)),
        labels=["a", "b", "c"] * 7 + ["a", "b"],
        classes=("a", "b", "c"),
        batch_size=5,
        length_pool=1,
    )
    mixup = MixupConfig(method=method, probability=0.7)
    order, mixing = generators(3)
    padded = 0
    for _ in range(5):
        for batch in batcher.shuffled(mixup, order, mixing):
            beyond = torch.arange(batch.inputs.shape[1]) >= batch.lengths.unsqueeze(1)
            padded += int(beyond.sum())
            assert batch.inputs.dtype == torch.float32
            assert batch.inputs.shape[1] == batch.lengths.max()
            assert (batch.inputs[beyond] == 0).all()
            assert torch.allclose(batch.soft_labels.sum(1), torch.ones(len(beyond)), atol=1e-6)
            assert (batch.soft_labels >= 0).all()
    assert padded > 0


def test_a_length_pool_of_one_leaves_companions_to_chance():
    batcher = make_batcher(noise(range(20, 32)), batch_size=4, length_pool=1)
    order, mixing = generators(0)
    together: Counter[tuple[str, str]] = Counter()
    for _ in range(600):
        for batch in names(batcher.shuffled(MixupConfig(method="none"), order, mixing)):
            together.update(combinations(sorted(batch), 2))
    assert len(together) == math.comb(12, 2)
    share = 3 / 11
    deviation = math.sqrt(600 * share * (1 - share))
    assert all(abs(count - 600 * share) < 5 * deviation for count in together.values())


def test_a_pool_is_cut_into_batches_of_neighbours_in_length():
    lengths = np.random.default_rng(1).permutation(32) + 20
    batcher = make_batcher(noise(lengths), batch_size=2, length_pool=4)
    order, mixing = generators(0)
    drawn = torch.randperm(32, generator=order.clone_state()).tolist()
    expected = set()
    for start in range(0, 32, 8):
        pool = sorted(drawn[start : start + 8], key=lambda index: lengths[index])
        expected |= {frozenset(pool[place : place + 2]) for place in range(0, 8, 2)}
    batches = names(batcher.shuffled(MixupConfig(method="none"), order, mixing))
    assert {frozenset(int(name[1:]) for name in batch) for batch in batches} == expected


def test_a_small_set_does_not_get_the_same_batches_every_epoch():
    batcher = make_batcher(noise(range(20, 28)), batch_size=2, length_pool=8)
    order, mixing = generators(0)
    seen = {
        frozenset(frozenset(batch) for batch in names(batches))
        for batches in (
            batcher.shuffled(MixupConfig(method="none"), order, mixing) for _ in range(20)
        )
    }
    assert len(seen) > 10


def test_a_pool_holds_so_many_batches_and_no_more():
    batcher = make_batcher(noise(range(20, 44)), batch_size=2, length_pool=3)
    order, mixing = generators(0)
    spreads = []
    for _ in range(200):
        for batch in batcher.shuffled(MixupConfig(method="none"), order, mixing):
            shortest, longest = sorted(batch.lengths.tolist())
            spreads.append(longest - shortest)
    # Of 6 drawn from 24, neighbours lie on average 25 / 7 apart; by chance alone 25 / 3.
    assert np.mean(spreads) == pytest.approx(25 / 7, rel=0.1)


def test_length_pools_spend_less_on_padding():
    lengths = np.random.default_rng(0).integers(10, 200, 64)

    def padding(length_pool: int) -> int:
        batcher = make_batcher(noise(lengths), batch_size=4, length_pool=length_pool)
        batches = batcher.shuffled(MixupConfig(method="none"), *generators(0))
        return sum(batch.inputs.numel() for batch in batches) - int(lengths.sum())

    assert padding(8) < padding(2) < padding(1)
    assert padding(8) < 0.4 * padding(1)


def test_with_length_pools_every_utterance_is_equally_likely_in_every_step():
    batcher = make_batcher(noise(range(20, 30)), batch_size=4, length_pool=2)  # batches 4, 4, 2
    order, mixing = generators(0)
    epochs = 1500
    places: Counter[tuple[str, int]] = Counter()
    for _ in range(epochs):
        for place, batch in enumerate(
            names(batcher.shuffled(MixupConfig(method="none"), order, mixing))
        ):
            places.update((name, place) for name in batch)
    assert len(places) == 10 * 3
    deviation = math.sqrt(epochs * 1 / 3 * 2 / 3)
    assert all(abs(count - epochs / 3) < 5 * deviation for count in places.values())


def test_scoring_holds_every_utterance_once_unmixed_by_length():
    lengths = [70, 10, 50, 30, 80, 20, 60, 40, 10]
    waveforms = noise(lengths)
    batcher = make_batcher(waveforms, batch_size=4)
    batches = list(batcher.in_order())
    assert [len(batch.utterances) for batch in batches] == [4, 4, 1]
    assert names(iter(batches)) == names(batcher.in_order())
    seen = {}
    for batch in batches:
        for item, waveform, label in rows(batch):
            number = int(item.name[1:])
            seen[number] = len(waveform)
            np.testing.assert_array_equal(waveform, waveforms[number].astype(np.float32))
            np.testing.assert_array_equal(label, np.eye(9)[number])
    assert list(seen.values()) == sorted(lengths)
    assert dict(sorted(seen.items())) == dict(enumerate(lengths))


def test_label_adaptive_mixtures_are_as_long_as_the_longer_of_the_two():
    lengths = list(range(20, 43))
    waveforms = noise(lengths)
    batcher = make_batcher(waveforms, batch_size=4)
    order, mixing = generators(1)
    longer, unmixed = 0, 0
    for _ in range(3):
        for batch in batcher.shuffled(MixupConfig(method="lam"), order, mixing):
            assert batch.inputs.shape[1] == batch.lengths.max()
            for item, waveform, label in rows(batch):
                host = int(item.name[1:])
                others = set(np.flatnonzero(label)) - {host}
                partner = others.pop() if others else None
                if partner is None:
                    expected = waveforms[host]
                    unmixed += 1
                else:
                    expected = np.zeros(max(lengths[host], lengths[partner]))
                    expected[: lengths[host]] += waveforms[host] / 2
                    expected[: lengths[partner]] += waveforms[partner] / 2
                    share = lengths[partner] / (lengths[host] + lengths[partner])
                    assert label[partner] == pytest.approx(share, abs=1e-6)
                    longer += lengths[partner] > lengths[host]
                assert len(waveform) == len(expected)
                np.testing.assert_allclose(waveform, expected, atol=1e-6)
    assert longer > 5
    assert 0.3 < unmixed / 69 < 0.7  # the default probability is a half


@pytest.mark.parametrize("snr_db", [-5.0, 10.0])
def test_energy_adaptive_mixtures_follow_the_papers_equations(snr_db):
    lengths = list(range(300, 323))
    waveforms = noise(lengths)
    batcher = make_batcher(waveforms, batch_size=4)
    mixup = MixupConfig(
        method="eam", probability=1.0, snr_min_db=snr_db, snr_max_db=snr_db, max_share=0.25
    )
    segments = []
    for batch in batcher.shuffled(mixup, *generators(1)):
        for item, waveform, label in rows(batch):
            host = int(item.name[1:])
            assert len(waveform) == lengths[host]
            added = waveform - waveforms[host]
            changed = np.flatnonzero(np.abs(added) > 1e-6)
            start, end = changed[0], changed[-1] + 1
            segments.append((end - start) / lengths[host])
            power = np.mean(waveforms[host][start:end] ** 2)
            added_power = np.mean(added[start:end] ** 2)
            assert 10 * np.log10(power / added_power) == pytest.approx(snr_db, abs=0.01)
            partners = set(np.flatnonzero(label)) - {host}
            if partners:
                ratio = added_power / (power + added_power) * (end - start) / lengths[host]
                assert label[partners.pop()] == pytest.approx(ratio, abs=1e-4)
    assert max(segments) < 0.25
    assert max(segments) - min(segments) > 0.1


@pytest.mark.parametrize("method", ["lam", "eam"])
def test_a_probability_of_zero_mixes_nothing(method):
    batcher = make_batcher(noise(range(20, 43)), batch_size=4)
    never = MixupConfig(method=method, probability=0.0)
    plain = batcher.shuffled(MixupConfig(method="none"), *generators(2))
    for one, two in zip(batcher.shuffled(never, *generators(2)), plain, strict=True):
        assert torch.equal(one.inputs, two.inputs)
        assert torch.equal(one.lengths, two.lengths)
        assert torch.equal(one.soft_labels, two.soft_labels)


def test_the_dominant_class_is_the_label():
    soft_labels = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.4, 0.0], [0.0, 0.1, 0.9]])
    batch = Batch(torch.zeros(3, 5), torch.tensor([5, 5, 5]), soft_labels, ())
    assert batch.labels.tolist() == [1, 0, 2]


def test_a_batch_moves_to_a_device_whole():
    batch = Batch(
        torch.zeros(1, 5), torch.tensor([5]), torch.tensor([[0.0, 1.0]]), (utterance("a"),)
    ).to(torch.device("meta"))
    tensors = batch.inputs, batch.lengths, batch.soft_labels
    assert [tensor.device.type for tensor in tensors] == ["meta"] * 3
    assert batch.utterances == (utterance("a"),)


def test_a_store_on_disk_gives_the_decoded_files(tmp_path):
    utterances = []
    for number, waveform in enumerate(noise([900, 500, 700])):
        path = tmp_path / f"u{number:02}.wav"
        soundfile.write(path, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
        item = utterance(path.stem)
        utterances.append(
            Utterance(name=item.name, path=path, label="angry", speaker="s", session="1")
        )
    report = build_store(utterances, tmp_path / "store", workers=1)
    store = AudioStore.open(tmp_path / "store", report.fingerprint)
    batcher = Batcher(utterances, Clips(store, UNTOUCHED), ("angry",), TrainingConfig(batch_size=2))
    seen = {
        item.name: waveform for batch in batcher.in_order() for item, waveform, _ in rows(batch)
    }
    assert list(seen) == ["u01", "u02", "u00"]
    for item in utterances:
        np.testing.assert_array_equal(seen[item.name], read_audio(item.path))


def test_a_part_of_a_batch_keeps_its_own_masks():
    bands, frames = torch.arange(6.0).view(3, 1, 2), torch.arange(12.0).view(3, 2, 2)
    batch = Batch(
        torch.zeros(3, 5), torch.tensor([5, 5, 5]), torch.ones(3, 1), (), MaskDraw(bands, frames)
    )
    parts = replace(batch, utterances=tuple("abc")).split(2)
    assert [part.masks.bands.tolist() for part in parts] == [
        [[[0, 1]], [[2, 3]]],
        [[[4, 5]]],
    ]
    assert torch.equal(parts[1].masks.frames, frames[2:])
