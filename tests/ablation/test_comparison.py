"""Rows against their baseline, from scores as MLflow and the archive give them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ablation.aggregate import Summary, summarise
from ablation.answers import pack
from ablation.comparison import with_statistics
from ablation.grid import Cell
from core.config import RunConfig
from tests.ablation.stand_ins import corpus_of
from tests.ablation.told import drawn_lines, score_told

CLASSES = ("angry", "happy", "neutral", "sad")


def cell_of(row: str, folds: int = 5, seeds: tuple[int, ...] = (0,), **settings) -> Cell:
    config = RunConfig.from_dict(settings)
    corpus = corpus_of(config, folds, CLASSES)
    return Cell(row=row, published="", config=config, corpus=corpus, seeds=seeds)


def drawn(cell: Cell, accuracy: float, seed: int = 0, **changes) -> Summary:
    generator = np.random.default_rng(seed)
    scores = [
        score_told(
            cell.row,
            drawn_lines(fold, accuracy, generator),
            len(CLASSES),
            corpus=cell.config.corpus.name,
            fold=fold,
            seed=run_seed,
            **changes,
        )
        for fold, run_seed in cell.runs()
    ]
    return summarise(cell, scores, None)


def without(summary: Summary, *folds: int) -> Summary:
    kept = [score for score in summary.folds if score.fold not in folds]
    return summarise(summary.cell, kept, None)


def against(*summaries: Summary, baseline: str = "base"):
    return [summary.statistics.tests for summary in with_statistics(summaries, baseline)]


def test_both_tests_are_the_independent_ones_on_the_same_predictions():
    base, row = drawn(cell_of("base"), 0.6, 1), drawn(cell_of("row"), 0.75, 2)
    none, tests = against(base, row)
    assert none is None
    generators = np.random.default_rng(1), np.random.default_rng(2)
    lines = [
        [line for fold in range(1, 6) for line in drawn_lines(fold, rate, generator)]
        for rate, generator in zip((0.6, 0.75), generators, strict=True)
    ]
    right = [np.array([label == said for *_, label, said in told]) for told in lines]
    better, worse = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    assert (tests.mcnemar.better, tests.mcnemar.worse) == (better, worse)
    assert tests.mcnemar.p == pytest.approx(stats.binomtest(better, better + worse).pvalue)
    apart = [one.ua - other.ua for one, other in zip(row.folds, base.folds, strict=True)]
    t = np.mean(apart) / math.sqrt((1 / 5 + 1 / 4) * np.var(apart, ddof=1))
    assert tests.corrected_t.t == pytest.approx(t)
    assert tests.corrected_t.p == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert tests.corrected_t.df == 4
    assert (tests.baseline, tests.runs, tests.why_not) == ("base", 5, "")
    assert tests.gain[0] == pytest.approx((better - worse) / len(lines[0]))
    assert tests.gain[1] == pytest.approx(row.pooled_ua - base.pooled_ua)
    assert tests.difference.ua.low < tests.gain[1] < tests.difference.ua.high


def test_a_group_that_is_held_out_leaves_less_to_train_on():
    settings = {"evaluation.selection": "validation"}
    base, row = (
        drawn(cell_of("base", **settings), 0.6, 1),
        drawn(cell_of("row", **settings), 0.7, 2),
    )
    (_, tests), (_, honest) = (
        against(base, row),
        against(drawn(cell_of("base"), 0.6, 1), drawn(cell_of("row"), 0.7, 2)),
    )
    ratio = math.sqrt((1 / 5 + 1 / 4) / (1 / 5 + 1 / 3))
    assert tests.corrected_t.t == pytest.approx(honest.corrected_t.t * ratio)


def test_all_tests_of_the_table_are_one_family():
    rows = [
        drawn(cell_of(name), rate, i)
        for i, (name, rate) in enumerate([("base", 0.6), ("a", 0.62), ("b", 0.7), ("c", 0.8)])
    ]
    found = against(*rows)[1:]
    pairs = [
        (test.p, test.p_holm) for tests in found for test in (tests.mcnemar, tests.corrected_t)
    ]
    order = sorted(range(6), key=lambda i: pairs[i][0])
    expected = np.maximum.accumulate([min(1, (6 - k) * pairs[i][0]) for k, i in enumerate(order)])
    assert [pairs[i][1] for i in order] == pytest.approx(expected)


def test_marks_stand_only_where_a_difference_holds():
    rows = with_statistics(
        [
            drawn(cell_of("base"), 0.5, 1),
            drawn(cell_of("same"), 0.5, 2),
            drawn(cell_of("far"), 0.95, 3),
        ],
        "base",
    )
    marks = [(row.statistics.marks_wa, row.statistics.marks_ua) for row in rows]
    assert marks == [(False, False), (False, False), (True, True)]


def test_the_order_of_rows_and_which_of_them_is_the_baseline_are_the_grid_s():
    one, two = drawn(cell_of("one"), 0.6, 1), drawn(cell_of("two"), 0.8, 2)
    (forth,) = against(one, two, baseline="one")[1:]
    back, none = against(one, two, baseline="two")
    assert none is None
    assert back.mcnemar.p == pytest.approx(forth.mcnemar.p)
    assert (back.mcnemar.better, back.mcnemar.worse) == (forth.mcnemar.worse, forth.mcnemar.better)
    assert back.corrected_t.t == pytest.approx(-forth.corrected_t.t)
    assert back.difference.ua.low == pytest.approx(-forth.difference.ua.high)


def test_rows_are_compared_on_the_folds_that_both_have():
    base, row = drawn(cell_of("base"), 0.6, 1), drawn(cell_of("row"), 0.8, 2)
    (_, part), (_, same) = (
        against(without(base, 1), without(row, 2)),
        against(without(base, 1, 2), without(row, 1, 2)),
    )
    assert part.runs == 3
    assert part.corrected_t.df == 2
    assert (part.mcnemar, part.difference) == (same.mcnemar, same.difference)
    (_, none) = against(without(base, 1, 2), without(row, 3, 4, 5))
    assert (none.runs, none.mcnemar, none.corrected_t) == (0, None, None)
    assert none.why_not == "no fold and seed has finished in both"


def test_one_fold_is_no_sample_of_folds():
    (_, tests) = against(*(without(drawn(cell_of(n), 0.6), 1, 2, 3, 4) for n in ("base", "row")))
    assert tests.corrected_t is None
    assert tests.mcnemar.p == 1.0
    assert tests.why_not == "a test over folds needs two of them"


def test_other_utterances_can_not_be_compared():
    base, row = drawn(cell_of("base"), 0.6, 1), drawn(cell_of("row"), 0.8, 2)
    lines = [
        ("else", *line[1:]) if not i else line
        for i, line in enumerate(drawn_lines(3, 0.8, np.random.default_rng(0)))
    ]
    scores = [
        score_told("row", lines, len(CLASSES), fold=3) if score.fold == 3 else score
        for score in row.folds
    ]
    (_, tests) = against(base, summarise(row.cell, scores, None))
    assert (tests.mcnemar, tests.corrected_t, tests.difference) == (None, None, None)
    assert tests.why_not == "fold 3 was tested on other utterances than the baseline's"


def test_without_what_was_said_there_is_the_test_over_folds_alone():
    base, row = drawn(cell_of("base"), 0.6, 1), drawn(cell_of("row"), 0.8, 2, packed=False)
    whole, bare = with_statistics([base, row], "base")
    assert whole.statistics.intervals
    assert bare.statistics.intervals is None
    tests = bare.statistics.tests
    assert tests.mcnemar is None
    (_, packed) = against(base, drawn(cell_of("row"), 0.8, 2))
    assert tests.corrected_t.t == packed.corrected_t.t
    assert tests.why_not == "what was said of each utterance is not at hand"


def test_seeds_pair_with_themselves_and_split_the_spread():
    base, row = (
        drawn(cell_of(name, seeds=(0, 4)), rate, 3) for name, rate in (("base", 0.6), ("row", 0.7))
    )
    first, second = with_statistics([base, row], "base")
    tests = second.statistics.tests
    assert tests.runs == 10
    assert tests.corrected_t.df == 4  # folds, whatever the seeds
    table = np.reshape([score.ua for score in row.folds], (5, 2))
    alone = math.sqrt(table.var(1, ddof=1).mean() / 5)
    shown = table.mean(0).std(ddof=1)
    assert second.statistics.ua_split.mean_std == pytest.approx(max(alone, shown))
    assert first.statistics.wa_split.seed_std > 0
    incomplete = without(row, 2)
    assert with_statistics([incomplete], "base")[0].statistics.ua_split is None


def test_each_corpus_has_its_own_baseline():
    other = {"corpus.name": "msp_improv"}
    rows = [
        drawn(cell_of("base"), 0.6, 1),
        drawn(cell_of("base", **other), 0.6, 1),
        drawn(cell_of("row", **other), 0.6, 1),
        drawn(cell_of("row", **{"corpus.name": "ravdess"}), 0.6, 1),
    ]
    assert [tests and tests.mcnemar.p for tests in against(*rows)] == [None, None, 1.0, None]


def test_answers_that_are_not_those_of_the_score_are_refused_with_their_run():
    row = drawn(cell_of("row"), 0.6)
    generator = np.random.default_rng(9)
    other = score_told("row", drawn_lines(2, 0.2, generator), len(CLASSES), fold=2)
    scores = [
        replace(score, answers=other.answers) if score.fold == 2 else score for score in row.folds
    ]
    with pytest.raises(ValueError, match=r"row 'row' on 'iemocap', fold 2, seed 0 \(run .*\): ans"):
        with_statistics([summarise(row.cell, scores, None)], "row")
    scores = [replace(score, answers=pack([])) for score in row.folds]
    with pytest.raises(ValueError, match=r"fold 1, seed 0 .*n = 80 utterances"):
        with_statistics([summarise(row.cell, scores, None)], "row")


def test_a_row_without_a_fold_has_neither_interval_nor_test():
    base, row = drawn(cell_of("base"), 0.6), summarise(cell_of("row"), [], None)
    _, none = with_statistics([base, row], "base")
    assert none.statistics.to_dict() == {"interval": None, "seeds_split": None, "tests": None}
    (first, second) = with_statistics([row, base], "row")
    assert second.statistics.tests is None
    assert first.statistics.intervals is None


def test_nan_never_reaches_json():
    rows = [drawn(cell_of(name, folds=1, seeds=(0, 1)), 0.6) for name in ("base", "row")]
    for row in with_statistics(rows, "base"):
        json.dumps(row.statistics.to_dict(), allow_nan=False)
    assert row.statistics.to_dict()["seeds_split"]["ua"]["fold_std"] is None
