"""What stands below a table about its statistics: how they were come by and what they can't say."""

from collections.abc import Sequence
from math import isnan
from typing import Any

from ablation.aggregate import Summary
from ablation.row_statistics import Tests
from ablation.statistics import LEVEL, MIN_SPEAKERS, RESAMPLES

DIFFERS = "*"
INTERVAL = (
    f"95 % interval of the pooled figure by bootstrap over speakers ({RESAMPLES} resamples, "
    "percentiles): utterances of one speaker are alike"
)
MCNEMAR = "McNemar's exact test on the same utterances, pooled over folds"
MCNEMAR_SEEDS = (
    "McNemar's exact test on the same utterances, pooled over folds and extended to several seeds "
    "by swapping an utterance with all of them"
)
CORRECTED_T = (
    "a t-test on the folds' differences, its variance corrected for overlapping training sets "
    "(Nadeau and Bengio 2003)"
)
_NAMED = 6  # rows, before "and more"


def statistics_notes(summaries: Sequence[Summary]) -> list[str]:
    """On intervals and tests; nothing where there can be none."""
    found = []
    with_runs = [summary for summary in summaries if summary.folds and summary.statistics]
    if any(s.statistics and s.statistics.intervals for s in with_runs):
        found.append(f"95 %: {INTERVAL}. None below {MIN_SPEAKERS} speakers.")
    if unknown := sum(score.answers is None for s in with_runs for score in s.folds):
        text = "What was said of each utterance is not at hand for"
        found.append(f"{text} {_count(unknown, 'run')}: no intervals and no McNemar test there.")
    tested = [(s, s.statistics.tests) for s in with_runs if s.statistics and s.statistics.tests]
    if tested:
        found.append(_tests_note(summaries, [tests for _, tests in tested]))
    absent = [(s, tests.why_not) for s, tests in tested if tests.why_not]
    if absent:
        found.append(f"Not tested, or in part: {_listed(absent)}.")
    partly = [
        (s, f"{tests.runs} of {len(s.cell.runs())}")
        for s, tests in tested
        if 0 < tests.runs < len(s.cell.runs())
    ]
    if partly:
        found.append(f"Compared on the runs that both rows have finished: {_listed(partly)}.")
    return found


def seeds_notes(summaries: Sequence[Summary]) -> list[str]:
    """What a difference smaller than the seeds' spread means."""
    if not any(summary.folds for summary in summaries):
        return []
    if all(len(summary.cell.seeds) == 1 for summary in summaries):
        return ["One seed: how far another one would move these figures is not known."]
    splits = [s.statistics.ua_split for s in summaries if s.statistics and s.statistics.ua_split]
    if not splits:
        return []
    within, mean = (max(getattr(s, part) for s in splits) for part in ("seed_std", "mean_std"))
    known = [split.fold_std for split in splits if not isnan(split.fold_std)]
    between = f" and up to {100 * max(known):.2f} between folds" if known else ""
    return [
        f"Seeds: UA has a standard deviation of up to {100 * within:.2f} points between the seeds "
        f"of one fold{between}; another seed moves a row's mean over folds by up to "
        f"{100 * mean:.2f} (one standard deviation), and a smaller difference between two rows may "
        "be the seeds' alone."
    ]


def tests_count(summaries: Sequence[Summary]) -> int:
    """How many tests the table's correction is over."""
    tests = [s.statistics.tests for s in summaries if s.statistics and s.statistics.tests]
    return sum((one.mcnemar is not None) + (one.corrected_t is not None) for one in tests)


def methods_document(summaries: Sequence[Summary], baseline: str) -> dict[str, Any]:
    """What `results.json` says of how the statistics were come by."""
    return {
        "baseline": baseline,
        "level": LEVEL,
        "interval": INTERVAL,
        "mcnemar": _mcnemar(summaries),
        "corrected_t": CORRECTED_T,
        "tests": tests_count(summaries),
    }


def _mcnemar(summaries: Sequence[Summary]) -> str:
    """Which form of it these summaries call for."""
    several = any(len(summary.cell.seeds) > 1 for summary in summaries)
    return MCNEMAR_SEEDS if several else MCNEMAR


def _tests_note(summaries: Sequence[Summary], tests: Sequence[Tests]) -> str:
    count = tests_count(summaries)
    if not count:
        return f"No row could be tested against {tests[0].baseline!r}."
    marks = any(
        s.statistics and (s.statistics.marks_wa or s.statistics.marks_ua) for s in summaries
    )
    rule = f"p < {LEVEL} after Holm's correction over the table's {_count(count, 'test')}"
    baseline = f"the baseline row {tests[0].baseline!r}"
    differs = f"{DIFFERS} differs from {baseline}" if marks else f"No row differs from {baseline}"
    return (
        f"{differs} ({rule}). WA: {_mcnemar(summaries)}; it takes utterances as independent and "
        f"the trained models as they are. UA: {CORRECTED_T}."
    )


def _listed(named: Sequence[tuple[Summary, str]]) -> str:
    parts = [f"{summary.cell.row} on {summary.corpus} ({text})" for summary, text in named[:_NAMED]]
    more = [f"{len(named) - _NAMED} more"] if len(named) > _NAMED else []
    return "; ".join(parts + more)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
