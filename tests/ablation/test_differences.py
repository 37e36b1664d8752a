"""Differences of rows: against figures worked out by hand, and a plain loop."""

from math import isnan

import numpy as np
import pytest

from ablation.differences import difference

ROW = {
    "a": np.array([[8, 2], [1, 9]]),  # recalls 0.8, 0.9
    "b": np.array([[5, 5], [5, 5]]),
    "c": np.array([[9, 1], [0, 30]]),
}
BASE = {
    "a": np.array([[7, 3], [2, 8]]),
    "b": np.array([[6, 4], [5, 5]]),
    "c": np.array([[5, 5], [10, 20]]),
}


def ua(confusion):
    return np.mean(confusion.diagonal() / confusion.sum(1))


def test_the_difference_is_of_the_pooled_figures():
    found_ua, found_wa = difference(ROW, BASE)
    assert found_ua.value == pytest.approx((22 / 30 + 44 / 50) / 2 - (18 / 30 + 33 / 50) / 2)
    assert found_wa.value == pytest.approx(66 / 80 - 51 / 80)


def test_the_interval_is_that_of_a_plain_loop_over_resampled_speakers():
    generator = np.random.default_rng(7)
    drawn = []
    for _ in range(4000):
        names = generator.choice(list(ROW), size=3)
        drawn.append(ua(sum(ROW[n] for n in names)) - ua(sum(BASE[n] for n in names)))
    low, high = np.percentile(drawn, [2.5, 97.5])
    found, _ = difference(ROW, BASE)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01)


def test_equal_rows_differ_by_nothing_for_certain():
    for found in difference(ROW, ROW):
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_swapping_the_rows_turns_the_sign_and_the_interval():
    forth, back = difference(ROW, BASE)[0], difference(BASE, ROW)[0]
    assert (back.value, back.low, back.high) == pytest.approx(
        (-forth.value, -forth.high, -forth.low)
    )


def test_only_speakers_that_both_rows_have_count():
    assert difference(ROW | {"d": np.eye(2, dtype=int)}, BASE) == difference(ROW, BASE)


def test_one_speaker_gives_no_interval_and_none_no_difference():
    found, _ = difference({"a": ROW["a"]}, BASE)
    assert found.value == pytest.approx(0.85 - 0.75)
    assert isnan(found.low)
    assert isnan(found.high)
    assert all(isnan(each.value) for each in difference({}, BASE))


def test_a_class_that_no_resample_may_hold_is_left_out_as_ua_does():
    row = {"a": np.array([[4, 0], [0, 0]]), "b": np.array([[0, 0], [2, 2]])}
    found, _ = difference(row, {name: counts.T.copy() * 0 + counts for name, counts in row.items()})
    assert (found.value, found.low, found.high) == (0, 0, 0)
