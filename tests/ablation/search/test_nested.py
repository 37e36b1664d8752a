"""What a search asks for in one outer fold, and what it makes of the answers."""

import math

import pytest

from ablation.search.nested import (
    Budget,
    Drawn,
    Judged,
    Score,
    best,
    groups_of,
    inner,
    propose,
    search_fold,
)
from ablation.search.space import Dimension
from core.config import RunConfig
from core.corpora.catalog import RAVDESS
from core.schema import ConfigError

ROW = RunConfig.from_dict({"corpus.name": "ravdess", "evaluation.record_oracle": True})
GAMMA = Dimension("losses.focal_gamma", "uniform", low=0.0, high=5.0)
GROUPS = (3, 4, 5)


def gain(config):
    """UA that is best at a gamma of 3."""
    return 0.5 - abs(config.losses.focal_gamma - 3) / 10


def played(course, score):
    """Answer every question of a search; returns the rounds of configs, and what it returned."""
    rounds = []
    needs = next(course)
    while True:
        rounds.append([need.config for need in needs])
        try:
            needs = course.send({need.config: score(need.config) for need in needs})
        except StopIteration as end:
            return rounds, end.value


def searching(trials=6, seconds=None, halving=None, sampler=None):
    sampler = sampler or Drawn((GAMMA,), 0)
    return search_fold(ROW, (2, GROUPS), sampler, Budget(trials, seconds), halving)


def test_every_setting_is_trained_on_every_inner_fold_and_the_row_itself_is_the_first():
    rounds, judged = played(searching(), lambda config: Score(gain(config), 1.0))
    (configs,) = rounds
    assert len(set(configs)) == len(configs) == 6 * len(GROUPS)
    assert {config.fold for config in configs} == {2}
    assert [config.evaluation.inner_fold for config in configs[:3]] == list(GROUPS)
    assert not any(config.evaluation.record_oracle for config in configs)
    assert judged[0].config == ROW
    nearest = min(judged, key=lambda each: abs(each.config.losses.focal_gamma - 3))
    assert best(judged, len(GROUPS)) is nearest
    assert nearest.ua == pytest.approx(gain(nearest.config))


def test_more_trials_begin_with_those_of_fewer():
    few = played(searching(3), lambda config: Score(0.5, 1.0))[1]
    many = played(searching(6), lambda config: Score(0.5, 1.0))[1]
    assert [each.values for each in many[:3]] == [each.values for each in few]


def test_of_equal_settings_the_first_is_chosen_and_a_failed_one_never():
    judged = [
        Judged(number, {}, ROW, dict.fromkeys(GROUPS, ua))
        for number, ua in enumerate([0.3, math.nan, 0.4, 0.4])
    ]
    judged.append(Judged(4, {}, ROW, {3: 0.9}))  # stopped after one inner fold
    assert best(judged, 3).number == 2
    with pytest.raises(ValueError, match="one setting at least must have been trained"):
        best(judged[1:2], 3)


def test_hours_are_of_trainings_one_after_another_and_the_last_setting_is_whole():
    rounds, judged = played(searching(None, seconds=100.0), lambda c: Score(gain(c), 5.0))
    spent = [15.0 * len(configs) / 3 for configs in rounds]
    assert sum(spent) >= 100 > sum(spent[:-1])
    assert sum(spent) < 100 + 15
    assert [len(each.uas) for each in judged] == [3] * (len(judged))
    assert len(played(searching(2, 100.0), lambda c: Score(gain(c), 5.0))[1]) == 2


class EveryOther:
    """Stops settings with odd numbers after the first inner fold."""

    rungs = (1, 3)

    def __init__(self):
        self.told = []

    def goes_on(self, number, inner_folds, ua):
        self.told.append((number, inner_folds, ua))
        return number % 2 == 0


def test_a_stopped_setting_has_no_more_inner_folds_and_is_not_chosen():
    halving = EveryOther()
    rounds, judged = played(
        searching(4, halving=halving),
        lambda config: Score(math.nan if config.losses.focal_gamma == 2 else 0.5, 1.0),
    )
    assert [len(configs) for configs in rounds] == [4, 2]  # number 0 failed, 2 goes on
    assert [len(each.uas) for each in judged] == [1, 1, 3, 1]
    assert [number for number, *_ in halving.told] == [1, 2, 3]
    assert best(judged, 3).number == 2


class Told:
    """A sampler that notes what it is told."""

    def __init__(self):
        self.told = {}

    def ask(self, number, attempt):
        return {"losses.focal_gamma": float(number)}

    def tell(self, number, ua):
        self.told[number] = ua


def test_a_sampler_is_told_means_over_all_inner_folds_alone():
    sampler = Told()
    score = {3: 0.2, 4: 0.3, 5: 0.7}
    played(
        searching(2, sampler=sampler, halving=EveryOther()),
        lambda config: Score(score[config.evaluation.inner_fold], 1.0),
    )
    assert sampler.told[0] == pytest.approx(0.4)
    assert math.isnan(sampler.told[1])


def test_settings_that_contradict_themselves_are_drawn_again_or_given_up():
    low = Dimension("mixup.snr_min_db", "uniform", low=0.0, high=10.0)
    high = Dimension("mixup.snr_max_db", "uniform", low=0.0, high=10.0)
    for number in range(1, 30):
        mixup = propose(ROW, Drawn((low, high), 0), number).config.mixup
        assert mixup.snr_min_db <= mixup.snr_max_db
    with pytest.raises(ValueError, match=r"100 in a row did not: mixup\.snr_min_db") as caught:
        propose(ROW, Drawn((Dimension("mixup.snr_min_db", "int", low=20, high=30),), 0), 1)
    assert not isinstance(caught.value, ConfigError)


def test_the_next_groups_judge_and_never_the_fold_s_own():
    scheme = RAVDESS.schemes[RAVDESS.default_scheme]
    assert groups_of(scheme, 5, None) == [6, 1, 2, 3, 4]
    assert groups_of(scheme, 5, 2) == [6, 1]
    assert inner(ROW, 5, 6).evaluation.inner_fold == 6
