from dataclasses import replace

import pytest

from ablation.costs import BETWEEN_S, Cost, Estimator, kind_of, makespan
from core.config import RunConfig


def config_of(**changes) -> RunConfig:
    plain = {"corpus.name": "iemocap", "training.epochs": 10, "mixup.method": "none"}
    return RunConfig.from_dict(plain | changes)


def cost_of(config, epoch_seconds, fold=1, around_seconds=0.0, **others):
    cost = Cost(
        config_key="k",
        encoder=config.encoder.name,
        corpus=config.corpus.name,
        epoch_seconds=epoch_seconds,
        fold=fold,
        kind=kind_of(config),
        around_seconds=around_seconds,
    )
    return replace(cost, **others)


def epochs_of(estimator, config, folds):
    """Seconds an epoch, without what is between trials."""
    found = estimator.seconds(config, folds)
    return [(seconds - BETWEEN_S) / config.training.epochs for seconds in found]


PLAIN = config_of()
MIXED = config_of(**{"mixup.method": "eam"})
LENGTH_MIXED = config_of(**{"mixup.method": "lam"})


def test_folds_of_one_row_have_each_their_own_time():
    seen = Estimator([cost_of(PLAIN, 2.0, fold=1), cost_of(PLAIN, 3.0, fold=2)])
    assert epochs_of(seen, PLAIN, [1, 2]) == pytest.approx([2.0, 3.0])


def test_a_fold_that_was_not_seen_is_as_much_longer_as_under_the_other_rows():
    seen = Estimator(
        [
            cost_of(PLAIN, 2.0, fold=1),
            cost_of(PLAIN, 3.0, fold=2),  # half as long again
            cost_of(MIXED, 4.0, fold=1),
        ]
    )
    assert epochs_of(seen, MIXED, [1, 2]) == pytest.approx([4.0, 6.0])


def test_a_row_that_was_not_seen_takes_as_long_as_the_nearest():
    seen = Estimator([cost_of(PLAIN, 2.0), cost_of(MIXED, 4.0)])
    assert epochs_of(seen, LENGTH_MIXED, [1]) == pytest.approx([4.0])
    without = config_of(**{"losses.terms": ["kl"]})
    assert epochs_of(seen, without, [1]) == pytest.approx([2.0])


def test_of_several_as_near_the_median_counts():
    seen = Estimator(
        [
            cost_of(config_of(**{"pooling.method": method}), seconds)
            for method, seconds in (("first", 1.0), ("mean", 2.0), ("max", 9.0))
        ]
    )
    assert epochs_of(seen, config_of(**{"pooling.method": "flam"}), [1]) == pytest.approx([2.0])


def test_what_a_trial_takes_beside_its_epochs_is_counted_once():
    seen = Estimator([cost_of(PLAIN, 2.0, around_seconds=5.0)])
    longer = config_of(**{"training.epochs": 20})
    assert seen.seconds(longer, [1]) == pytest.approx([20 * 2.0 + 5.0 + BETWEEN_S])


def test_costs_noted_before_kinds_were_still_tell_something():
    seen = Estimator([cost_of(PLAIN, 2.0, fold=0, kind="")])
    assert epochs_of(seen, MIXED, [1, 2]) == pytest.approx([2.0, 2.0])
    assert not seen.knows(MIXED)


def test_another_encoder_or_corpus_tells_nothing():
    seen = Estimator([cost_of(PLAIN, 2.0)])
    assert seen.seconds(config_of(**{"encoder.name": "logmel-base"}), [1]) is None
    assert seen.seconds(config_of(**{"corpus.name": "savee"}), [1]) is None


@pytest.mark.parametrize(
    ("trials", "slots", "end"),
    [
        ([3.0], 4, 3.0),
        ([1.0, 1.0, 1.0], 2, 2.0),
        ([2.0, 2.0, 3.0, 3.0], 2, 5.0),  # the longest first: 3 + 2 on each
        ([1.0, 2.0, 3.0], 1, 6.0),
        ([], 2, 0.0),
    ],
)
def test_trials_end_when_the_last_does(trials, slots, end):
    assert makespan(trials, slots) == end


def test_a_kind_that_was_noted_before_there_were_more_settings_is_still_that_kind():
    config = RunConfig.from_dict({})
    assert kind_of(config) == (
        "mixed|supcon|frozen=transformer|layer=None|weighed=False|crop=6.25|precision=bfloat16|"
        "batch=16|threads=1|selection=last|oracle=False|eam|flam|kl+center+focal+supcon|calibrated"
    )
    adapted = RunConfig.from_dict({"encoder.lora_rank": 8})
    assert kind_of(adapted) == f"{kind_of(config)}|lora=8"
