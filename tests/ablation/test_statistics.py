"""Every statistic against an independent computation, and how often it is wrong by chance."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from ablation.statistics import (
    LEVEL,
    RESAMPLES,
    SEED,
    corrected_t,
    holm,
    intervals,
    paired_utterances,
    resampled,
    speaker_confusions,
    split_spread,
)
from core.metrics import unweighted_accuracy, weighted_accuracy


def confusions_of(speakers: int, classes: int = 4) -> np.ndarray:
    return np.random.default_rng(speakers).integers(0, 30, size=(speakers, classes, classes))


def test_a_speaker_s_confusion_counts_its_utterances_alone():
    counts = speaker_confusions([0, 0, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 1, 1], 2, 2)
    assert counts.tolist() == [[[1, 0], [1, 0]], [[1, 0], [0, 2]]]


@pytest.mark.parametrize("speakers", [4, 10, 24])
def test_the_bootstrap_is_the_one_that_a_loop_over_speakers_gives(speakers):
    confusions = confusions_of(speakers)
    generator = np.random.default_rng(SEED)
    wa, ua = [], []
    for _ in range(RESAMPLES // 25):
        times = generator.multinomial(speakers, [1 / speakers] * speakers)
        drawn = [confusions[who] for who, count in enumerate(times) for _ in range(count)]
        wa.append(weighted_accuracy(sum(drawn)))
        ua.append(unweighted_accuracy(sum(drawn)))
    rates = resampled(confusions)
    assert rates.shape == (2, RESAMPLES)
    assert rates[:, : len(wa)] == pytest.approx(np.array([wa, ua]))
    assert intervals(rates[:, : len(wa)]).ua.low == pytest.approx(np.quantile(ua, 0.025))
    assert intervals(rates[:, : len(wa)]).wa.high == pytest.approx(np.quantile(wa, 0.975))


def test_the_interval_is_about_scipy_s_own_by_another_seed():
    confusions = confusions_of(12)
    right, total = np.trace(confusions, axis1=1, axis2=2), confusions.sum((1, 2))
    drawn = stats.bootstrap(
        (right, total),
        lambda r, t, axis: r.sum(axis) / t.sum(axis),
        paired=True,
        method="percentile",
        random_state=5,
    )
    found = intervals(resampled(confusions)).wa
    width = found.high - found.low
    assert (found.low, found.high) == pytest.approx(drawn.confidence_interval, abs=0.06 * width)


def test_a_class_that_a_resample_lacks_does_not_count_as_missed():
    """One speaker alone shows the second class: UA is 1 whether it is drawn or not."""
    confusions = np.array([[[5, 0], [0, 0]]] * 4 + [[[5, 0], [0, 5]]])
    assert (resampled(confusions) == 1).all()


def test_speakers_who_are_alike_leave_no_spread_and_few_speakers_no_interval():
    same = np.array([[[3, 1], [1, 3]]] * 6)
    drawn = intervals(resampled(same))
    assert (drawn.wa.low, drawn.wa.high) == (0.75, 0.75)
    assert np.isnan(resampled(same[:3])).all()
    assert np.isnan(resampled(same[:0])).all()


def test_many_speakers_are_drawn_in_blocks(monkeypatch):
    monkeypatch.setattr("ablation.statistics.RESAMPLES", 400)
    whole = resampled(confusions_of(300))
    monkeypatch.setattr("ablation.statistics.BLOCK", 300 * 100)
    assert (resampled(confusions_of(300)) == whole).all()


def test_the_resamples_of_two_rows_draw_the_same_speakers():
    """A row that gets one more utterance of each speaker right is ahead by just that, always."""
    base = np.array([[[n, 2], [0, 20 - n]] for n in range(1, 9)])
    better = base + np.array([[1, -1], [0, 0]])
    ahead = resampled(better)[0] - resampled(base)[0]
    assert ahead == pytest.approx(np.full(RESAMPLES, 1 / 22))


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (90, 60)])
def test_with_one_seed_the_test_is_mcnemar_s(better, worse):
    differences = [1] * better + [-1] * worse + [0] * 17
    p = paired_utterances(np.random.default_rng(0).permutation(differences))
    exact = mcnemar([[17, better], [worse, 0]], exact=True).pvalue if better + worse else 1.0
    assert p == pytest.approx(exact)
    if better + worse:
        assert p == pytest.approx(stats.binomtest(better, better + worse).pvalue)


@pytest.mark.parametrize(
    "differences", [[3, 1, -2, 1], [2, 2, 2], [1, -1, 3, 0, 2, 2, 1, 3, -1, 2], [2, -2], [5]]
)
def test_with_several_seeds_every_swap_of_utterances_is_counted(differences):
    sizes = [abs(d) for d in differences]
    totals = [
        abs(sum(sign * size for sign, size in zip(signs, sizes, strict=True)))
        for signs in product((1, -1), repeat=len(sizes))
    ]
    share = np.mean([total >= abs(sum(differences)) for total in totals])
    assert paired_utterances(differences) == pytest.approx(share)


def test_one_seed_told_as_several_makes_nothing_more_certain():
    """Three seeds that all say the same are no more evidence than one."""
    one = np.array([1] * 14 + [-1] * 4 + [0] * 30)
    assert paired_utterances(3 * one) == pytest.approx(paired_utterances(one))


def test_a_large_effect_over_many_utterances_is_a_small_number_and_no_less_than_none():
    p = paired_utterances(np.array([3] * 3000 + [-2] * 500))
    assert 0 < p < 1e-9


def test_the_corrected_t_is_the_one_worked_out_by_hand():
    """Differences 1, 2, 3, 4, 5 points: mean 3, variance 2.5; (1/5 + 1/4) * 2.5 = 1.125."""
    t, p = corrected_t([0.01, 0.02, 0.03, 0.04, 0.05], 1 / 4)
    assert t == pytest.approx(3 / math.sqrt(1.125))
    assert p == pytest.approx(2 * stats.t.sf(3 / math.sqrt(1.125), 4))


def test_without_a_training_set_in_common_it_is_student_s():
    differences = [0.03, -0.01, 0.02, 0.05]
    t, p = corrected_t(differences, 0.0)
    assert (t, p) == pytest.approx(tuple(stats.ttest_1samp(differences, 0.0)))


@pytest.mark.parametrize("differences", [[], [0.1], [0.1, math.nan], [0.1, 0.1, 0.1]])
def test_what_is_no_sample_has_no_t(differences):
    assert np.isnan(corrected_t(differences, 0.25)).all()


def test_no_difference_in_any_fold_is_no_difference():
    assert corrected_t([0.0, 0.0, 0.0], 0.25) == (0.0, 1.0)


@pytest.mark.parametrize("seed", range(2))
def test_holm_is_statsmodels_own(seed):
    p_values = np.random.default_rng(seed).beta(0.3, 2, size=20)
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_holm_passes_over_what_was_not_tested():
    assert holm([0.01, math.nan, 0.04]) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
    assert holm([]) == []


def test_the_spread_is_split_as_worked_out_by_hand():
    """Fold means 2 and 6 (variance 8), within folds 2 and 2: between is 8 - 2/2 = 7."""
    split = split_spread([[1.0, 3.0], [5.0, 7.0]])
    assert split.seed_std == pytest.approx(math.sqrt(2))
    assert split.fold_std == pytest.approx(math.sqrt(7))
    assert split.mean_std == pytest.approx(math.sqrt(2))  # the seeds' means are 3 and 5


def test_two_seeds_that_agree_by_chance_do_not_make_the_mean_certain():
    """Their means are the same, though each fold differs: a variance of 1/2, over two folds."""
    assert split_spread([[1.0, 2.0], [2.0, 1.0]]).mean_std == pytest.approx(0.5)


def test_the_split_finds_the_parts_that_were_put_in():
    generator = np.random.default_rng(3)
    folds = generator.normal(0, 0.05, size=(2000, 1))
    split = split_spread(0.7 + folds + generator.normal(0, 0.02, size=(2000, 4)))
    assert split.fold_std == pytest.approx(0.05, rel=0.05)
    assert split.seed_std == pytest.approx(0.02, rel=0.05)


def test_one_seed_says_nothing_of_seeds_and_one_fold_nothing_of_folds():
    assert all(
        math.isnan(part)
        for part in (lambda s: (s.fold_std, s.seed_std, s.mean_std))(split_spread([[0.1], [0.2]]))
    )
    alone = split_spread([[0.1, 0.3]])
    assert math.isnan(alone.fold_std)
    assert alone.seed_std == pytest.approx(math.sqrt(0.02))


def test_a_thousand_tables_without_an_effect_are_marked_within_the_level():
    """Eight rows, as good as the baseline, on 5 folds of 80 utterances: of the tables, at most 5 %
    may hold any mark. The folds' differences are as dependent as the test takes them to be: with
    test/train = 1/4, correlated by 1/5."""
    tables, rows, folds, n = 1000, 8, 5, 400
    generator = np.random.default_rng(11)
    chance = generator.beta(4, 2, size=(tables, 1, n))  # easy and hard utterances
    correct = (generator.random((tables, rows + 1, n)) < chance).astype(np.int64)
    apart = correct[:, 1:] - correct[:, :1]
    shared = generator.normal(0, math.sqrt(0.2), size=(tables, rows, 1))
    own = generator.normal(0, math.sqrt(0.8), size=(tables, rows, folds))
    marked = {"both": 0, "mcnemar": 0, "t": 0}
    single = 0
    for table in range(tables):
        exact = [paired_utterances(row) for row in apart[table]]
        t_tests = [corrected_t(0.02 * row, 1 / 4)[1] for row in shared[table] + own[table]]
        single += sum(p < LEVEL for p in t_tests)
        for name, family in (("both", exact + t_tests), ("mcnemar", exact), ("t", t_tests)):
            marked[name] += min(holm(family)) < LEVEL
    most = stats.binom.ppf(0.999, tables, LEVEL)
    assert marked["both"] <= most
    assert marked["mcnemar"] <= most
    assert marked["t"] <= most
    # And the t-test takes all of its level: it is not merely never significant.
    trials = tables * rows
    assert abs(single - LEVEL * trials) < 4 * math.sqrt(trials * LEVEL * (1 - LEVEL))


def test_seeds_of_one_utterance_do_not_inflate_the_level():
    """Under three seeds which agree in part, a pooled binomial test would be marked too often."""
    tables, n = 1000, 300
    generator = np.random.default_rng(4)
    leaning = generator.random((tables, 2, n, 1))  # what all seeds of a row share
    wins = (generator.random((tables, 2, n, 3)) < 0.15 + 0.7 * (leaning < 0.6)).sum(3)
    found = sum(paired_utterances(apart) < LEVEL for apart in wins[:, 0] - wins[:, 1])
    assert found <= stats.binom.ppf(0.999, tables, LEVEL)
    assert found >= stats.binom.ppf(0.001, tables, LEVEL)


def test_a_real_effect_is_found():
    generator = np.random.default_rng(2)
    base, row = generator.random(2000) < 0.70, generator.random(2000) < 0.76
    assert paired_utterances(row.astype(int) - base.astype(int)) < 0.01
    assert corrected_t(0.05 + generator.normal(0, 0.01, 5), 1 / 4)[1] < 0.01
