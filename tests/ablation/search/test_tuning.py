"""Tune's ASHA and Optuna's TPE, asked in a fixed order."""

import math
import random
from importlib.util import find_spec

import numpy as np
import pytest

from ablation.search.nested import Budget
from ablation.search.space import Dimension, Search
from ablation.search.tuning import Asha, budget_of, halving_of, sampler_of

SPACE = (
    Dimension("losses.focal_gamma", "uniform", low=0.0, high=5.0),
    Dimension("training.learning_rate", "loguniform", low=1e-5, high=1e-1),
    Dimension("training.epochs", "int", low=3, high=6),
    Dimension("pooling.method", "choice", choices=("first", "mean", "max")),
)


def search(method, trials=8, hours=None):
    return Search(space=SPACE, method=method, trials=trials, hours=hours, inner_folds=None, seed=3)


@pytest.mark.parametrize(
    ("inner_folds", "rungs"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 3)), (5, (1, 3, 5)), (9, (1, 3, 9)), (10, (1, 3, 9, 10))],
)
def test_each_rung_has_three_times_the_inner_folds_of_the_one_below(inner_folds, rungs):
    assert Asha(inner_folds).rungs == rungs


def test_asha_lets_go_on_what_is_in_the_best_third_of_those_before_it():
    """Against the rule itself: at least the two-thirds quantile of what a rung has seen."""
    chance = random.Random(0)
    asha = Asha(10)
    seen = {rung: [] for rung in asha.rungs[:-1]}
    alive = list(range(40))
    for rung, before in seen.items():
        went_on = []
        for number in alive:
            ua = chance.random()
            expected = not before or bool(ua >= np.quantile(before, 2 / 3))
            assert asha.goes_on(number, rung, ua) == expected
            before.append(ua)
            went_on += [number] * expected
        alive = went_on
    assert 0 in alive  # the first has nobody before it: the row itself is judged whole
    assert len(seen[1]) > len(seen[3]) > len(seen[9]) > 0


def test_random_search_stops_nothing_and_asks_for_all_at_once():
    assert halving_of(search("random"), 5) is None
    assert budget_of(search("random"), 6) == Budget(8, None, None)
    assert budget_of(search("asha", None, 3), 6) == Budget(None, 1800.0, None)
    assert budget_of(search("tpe"), 6).next(0, 0.0) == 4


needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="needs optuna: [search]")


def quality(values):
    return 1 - abs(values["losses.focal_gamma"] - 3) / 5 - (values["pooling.method"] != "max") / 5


def proposals(count, batch=4, quality=quality):
    sampler = sampler_of(search("tpe"))
    found = []
    sampler.tell(0, 0.5)  # the row itself, which it did not propose
    while len(found) < count:
        numbers = range(len(found) + 1, len(found) + 1 + batch)
        asked = [sampler.ask(number, 0) for number in numbers]
        for number, values in zip(numbers, asked, strict=True):
            sampler.tell(number, quality(values))
        found += asked
    return found


@needs_optuna
def test_tpe_proposes_the_same_for_the_same_scores_and_comes_nearer_to_the_best():
    found = proposals(40)
    assert proposals(40) == found
    assert proposals(40, quality=lambda values: -quality(values))[12:] != found[12:]
    early, late = (sum(map(quality, part)) / len(part) for part in (found[:10], found[-12:]))
    assert late > early + 0.1
    for values in found:
        assert 0 <= values["losses.focal_gamma"] <= 5
        assert 1e-5 <= values["training.learning_rate"] <= 1e-1
        assert values["training.epochs"] in (3, 4, 5, 6)


@needs_optuna
def test_tpe_takes_a_failure_and_a_contradiction():
    sampler = sampler_of(search("tpe"))
    first, second = sampler.ask(1, 0), sampler.ask(1, 1)
    assert first != second
    sampler.tell(1, math.nan)
    assert sampler.ask(2, 0) not in (first, second)
