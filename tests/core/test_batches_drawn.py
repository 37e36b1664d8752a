"""What an epoch draws beside the order: speeds, and classes evenly."""

import math
from collections import Counter

import numpy as np
import torch

from core.batches import (
    Batch,
    Batcher,
    derived_generator,
)
from core.clips import at_speed
from core.config import MixupConfig
from tests.core.small_batches import generators, make_batcher, names, noise, rows

SPEEDS = (0.8, 1.0, 1.25)


def sped(batcher: Batcher, seed: int, method: str = "none") -> list[Batch]:
    order, mixing = generators(seed)
    speeding = derived_generator(seed, 1, "speeding")
    mixup = MixupConfig(method=method, probability=1.0)
    return list(batcher.shuffled(mixup, order, mixing, speeding))


def test_each_speed_is_drawn_equally_often_and_anew_each_epoch():
    batcher = make_batcher(noise([400] * 300), speeds=SPEEDS)
    length_of = {500: 0.8, 400: 1.0, 320: 1.25}
    epochs = []
    for seed in (1, 2):
        speeds = {
            item.name: length_of[len(waveform)]
            for batch in sped(batcher, seed)
            for item, waveform, _ in rows(batch)
        }
        counts = Counter(speeds.values())
        assert set(counts) == set(SPEEDS)
        assert all(abs(count - 100) < 5 * math.sqrt(300 * 2 / 9) for count in counts.values())
        epochs.append(speeds)
    assert epochs[0] != epochs[1]


def test_an_utterance_is_heard_at_the_drawn_speed_and_scored_at_its_own():
    waveforms = noise([400] * 8)
    batcher = make_batcher(waveforms, speeds=(0.8,), batch_size=8)
    (batch,) = sped(batcher, 0)
    for item, waveform, _ in rows(batch):
        stored = np.float32(waveforms[int(item.name[1:])])
        np.testing.assert_array_equal(waveform, at_speed(stored, 0.8))
    (batch,) = batcher.in_order()
    for item, waveform, _ in rows(batch):
        np.testing.assert_array_equal(waveform, np.float32(waveforms[int(item.name[1:])]))


def test_speeds_leave_the_drawn_order_as_it_was():
    drawn = []
    for speeds in ((1.0,), SPEEDS):
        batcher = make_batcher(noise([400] * 23), speeds=speeds, batch_size=4, length_pool=1)
        # inside a batch the shorter come first, and which these are is the speeds' doing
        drawn.append([frozenset(batch) for batch in names(iter(sped(batcher, 7, "eam")))])
    assert drawn[0] == drawn[1]


def test_a_single_speed_of_one_draws_nothing():
    batcher = make_batcher(noise([40] * 5))
    speeding = derived_generator(0, 1, "speeding")
    before = speeding.get_state()
    list(batcher.shuffled(MixupConfig(method="none"), *generators(0), speeding))
    assert torch.equal(before, speeding.get_state())


def test_batches_of_sped_utterances_are_still_of_similar_length():
    batcher = make_batcher(noise([400] * 64), speeds=SPEEDS, batch_size=4, length_pool=4)
    padded = sum(batch.inputs.numel() for batch in sped(batcher, 3))
    real = sum(int(batch.lengths.sum()) for batch in sped(batcher, 3))
    assert padded / real < 1.08  # in a drawn order, four of three lengths: 1.15


SKEWED = ["a"] * 32 + ["b"] * 6 + ["c"] * 2


def test_balanced_training_draws_every_class_alike_and_any_of_a_class():
    batcher = make_batcher(
        noise([10] * 40), labels=SKEWED, classes="abcd", batch_size=8, balanced=True
    )
    order, mixing = generators(0)
    drawn: Counter[str] = Counter()
    for _ in range(150):
        batches = names(batcher.shuffled(MixupConfig(method="none"), order, mixing))
        assert [len(batch) for batch in batches] == [8] * 5  # an epoch is as long as ever
        drawn.update(name for batch in batches for name in batch)
    counts = [drawn[f"u{number:02}"] for number in range(40)]
    for first, last in ((0, 32), (32, 38), (38, 40)):  # 6000 draws, a third a class
        chance = 1 / 3 / (last - first)
        deviation = math.sqrt(6000 * chance * (1 - chance))
        assert all(abs(n - 6000 * chance) < 5 * deviation for n in counts[first:last])


def test_balanced_batches_are_the_seed_s_and_are_cut_by_length_in_their_pool():
    waveforms = noise(range(20, 60))
    batcher = make_batcher(
        waveforms, labels=SKEWED, classes="abc", batch_size=4, length_pool=8, balanced=True
    )  # pools of 8: no more than a quarter of 40 utterances
    first, again, other = (
        list(batcher.shuffled(MixupConfig(method="none"), *generators(seed))) for seed in (1, 1, 2)
    )
    assert names(iter(first)) == names(iter(again)) != names(iter(other))
    for batch in first:
        assert batch.lengths.tolist() == sorted(batch.lengths.tolist())
