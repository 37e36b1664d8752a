import random
from dataclasses import replace

import numpy as np
import pytest

from ablation.figures.canvas import save
from ablation.figures.search import search_figure
from ablation.search.importance import Points, importances, points_of
from ablation.search.space import Dimension
from core.config import RunConfig

RATE = Dimension("training.learning_rate", "loguniform", low=1e-5, high=1e-1)
POOLING = Dimension("pooling.method", "choice", choices=("first", "mean", "max", "flam"))
ROW = RunConfig.from_dict({})  # FLAM, 1e-4


def part(*settings):
    listed = [
        {"number": number, "values": values, "uas": uas}
        for number, (values, uas) in enumerate(settings)
    ]
    return {"settings": listed}


def values(rate, pooling):
    return {RATE.key: rate, POOLING.key: pooling}


FOUND = {
    "folds": {
        "1": part(
            ({}, {"2": 0.5, "3": 0.9}),
            (values(1e-3, "mean"), {"2": 0.6, "3": 0.8}),
            (values(1e-2, "max"), {"2": 0.55}),  # stopped
        ),
        "2": part(
            ({}, {"3": 0.2}), (values(1e-3, "mean"), {"3": 0.5}), (values(1, "max"), {"3": None})
        ),
    }
}


def test_a_setting_is_held_against_the_row_itself_on_the_same_inner_folds():
    points = points_of((RATE, POOLING), ROW, FOUND)
    assert points.values.tolist() == [
        pytest.approx([-4, 3]),
        pytest.approx([-3, 1]),
        pytest.approx([-2, 2]),
    ]
    assert points.gains.tolist() == pytest.approx([0.0, (0.1 - 0.1 + 0.3) / 3, 0.05])
    assert points.own == 0


def test_a_row_whose_own_value_is_no_choice_stands_nowhere_on_that_axis():
    two = replace(POOLING, choices=("mean", "max"))
    points = points_of((RATE, two), ROW, FOUND)
    assert np.isnan(points.values[points.own, 1])


def drawn(count):
    chance = random.Random(0)
    values = np.array([[chance.uniform(-5, -1), chance.randrange(4)] for _ in range(count)])
    return Points(values, -((values[:, 0] + 3) ** 2) / 10, 0)


def test_what_the_score_depends_on_is_important_and_what_it_does_not_is_not():
    found = importances((RATE, POOLING), drawn(40))
    assert found.r2 > 0.5
    assert found.drops[RATE.key] > 0.5
    assert abs(found.drops[POOLING.key]) < 0.1


def test_too_few_settings_or_equal_scores_say_nothing():
    assert importances((RATE, POOLING), drawn(7)) is None
    flat = replace(drawn(10), gains=np.zeros(10))
    assert importances((RATE, POOLING), flat) is None


def test_the_picture_has_a_panel_a_setting_with_its_scale_and_bars_below(tmp_path):
    points = points_of((RATE, POOLING), ROW, FOUND)
    few = search_figure((RATE, POOLING), points, None, "T")
    assert [axes.get_xlabel() for axes in few.axes] == [RATE.key, POOLING.key]
    rate, pooling = few.axes
    assert (rate.get_xscale(), pooling.get_xscale()) == ("log", "linear")
    assert [text.get_text() for text in pooling.get_xticklabels()] == list(POOLING.choices)
    tried = next(line for line in rate.lines if line.get_label() == "tried")
    assert tried.get_xdata().tolist() == pytest.approx([1e-3, 1e-2])
    assert tried.get_ydata().tolist() == pytest.approx([10.0, 5.0])
    assert not any("$" in text.get_text() for text in rate.get_xticklabels())
    save(few, tmp_path / "one.svg")
    save(search_figure((RATE, POOLING), points, None, "T"), tmp_path / "two.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    mattered = importances((RATE, POOLING), drawn(12))
    many = search_figure((RATE, POOLING), drawn(12), mattered, "A title of many words " * 4)
    title = many.get_suptitle().splitlines()
    assert len(title) == 2
    assert max(map(len, title)) <= 48
    rate = many.axes[0].get_position()
    assert rate.x0 < 0.2, "the bars' names push no panel aside"
    assert [bar.get_width() for bar in many.axes[2].patches] == list(mattered.drops.values())
