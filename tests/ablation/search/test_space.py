import math

import pytest
from scipy.stats import kstest

from ablation.search.space import Dimension, draw, position

GAMMA = Dimension("losses.focal_gamma", "uniform", low=1.0, high=5.0)
RATE = Dimension("training.learning_rate", "loguniform", low=1e-5, high=1e-1)
EPOCHS = Dimension("training.epochs", "int", low=3, high=6)
POOLING = Dimension("pooling.method", "choice", choices=("first", "mean", "max"))
SPACE = (GAMMA, RATE, EPOCHS, POOLING)
DRAWS = [draw(SPACE, 0, number) for number in range(2000)]


def test_numbers_fall_evenly_on_their_own_scale():
    gammas = [(each[GAMMA.key] - 1) / 4 for each in DRAWS]
    rates = [(math.log10(each[RATE.key]) + 5) / 4 for each in DRAWS]
    assert kstest(gammas, "uniform").pvalue > 0.01
    assert kstest(rates, "uniform").pvalue > 0.01


def test_whole_numbers_and_choices_come_up_alike_both_ends_included():
    for key, values in ((EPOCHS.key, (3, 4, 5, 6)), (POOLING.key, POOLING.choices)):
        counts = [sum(each[key] == value for each in DRAWS) for value in values]
        assert sum(counts) == len(DRAWS)
        assert min(counts) > 0.9 * len(DRAWS) / len(values)


def test_a_draw_depends_on_seed_and_number_and_not_on_the_other_keys():
    assert draw(SPACE, 0, 7) == DRAWS[7]
    assert draw(tuple(reversed(SPACE)), 0, 7) == DRAWS[7]
    assert draw((RATE,), 0, 7) == {RATE.key: DRAWS[7][RATE.key]}
    different = [draw(SPACE, 1, 7), draw(SPACE, 0, 8), draw(SPACE, 0, 7, attempt=1)]
    assert all(each[RATE.key] != DRAWS[7][RATE.key] for each in different)


@pytest.mark.parametrize(
    ("dimension", "value", "rounded"),
    [
        (GAMMA, 1.23456, 1.235),
        (GAMMA, 0.99999, 1.0),
        (RATE, 0.000123456, 0.0001235),
        (EPOCHS, 4, 4),
    ],
)
def test_a_number_has_the_digits_that_a_grid_file_shows_and_stays_in_its_range(
    dimension, value, rounded
):
    assert dimension.rounded(value) == rounded


def test_an_axis_has_logarithms_numbers_or_places():
    assert position(RATE, 1e-3) == pytest.approx(-3)
    assert position(EPOCHS, 4) == 4.0
    assert position(POOLING, "max") == 2.0
    assert math.isnan(position(POOLING, "flam"))
