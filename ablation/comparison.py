"""Rows with their statistics: intervals, the seeds' part of the spread, tests against a baseline.

Each row is compared with the baseline row of its corpus, on the runs (fold and seed) that both
have, if these were tested on the same utterances. WA by McNemar's test on single utterances, UA by
the corrected t-test on folds; all tests of a table are one family, corrected by Holm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ablation.aggregate import Summary
from ablation.answers import Answers, unpack
from ablation.grid import Cell
from ablation.row_statistics import CorrectedT, McNemar, Statistics, Tests
from ablation.scores import FoldScore
from ablation.statistics import (
    Intervals,
    SeedSplit,
    corrected_t,
    holm,
    intervals,
    paired_utterances,
    resampled,
    speaker_confusions,
    split_spread,
)
from core.metrics import unweighted_accuracy, weighted_accuracy

Run = tuple[int, int]  # fold, seed


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of the utterances in some runs of a row, and what follows for its figures."""

    answers: Mapping[Run, Answers]
    pooled: Mapping[str, NDArray[np.int64]]  # (C, C) counts of each speaker by name
    rates: NDArray[np.float64]  # as `resampled` gives them


def with_statistics(summaries: Sequence[Summary], baseline: str) -> tuple[Summary, ...]:
    """The same summaries with their statistics, each row against the row named `baseline`.

    Raises:
        ValueError: what was said of each utterance can't be read; says of which run.
    """
    bases: dict[str, tuple[Summary, _Told]] = {}
    for summary in summaries:
        if summary.cell.row == baseline and summary.folds:
            bases[summary.corpus] = (summary, _told(summary, answers_of(summary.folds)))
    found = []
    for summary in summaries:
        base = bases.get(summary.corpus)
        is_base = base is not None and summary is base[0]
        told = base[1] if base and is_base else _told(summary, answers_of(summary.folds))
        compared = base if not is_base and summary.folds else None
        tests = _compare(summary, told, *compared) if compared else None
        found.append(_statistics(summary, told, tests))
    return tuple(
        replace(summary, statistics=one)
        for summary, one in zip(summaries, corrected(found), strict=True)
    )


def _statistics(summary: Summary, told: _Told, tests: Tests | None) -> Statistics:
    whole = len(told.answers) == len(summary.folds)  # no interval of a part
    splits: list[SeedSplit | None] = [None, None]
    if summary.complete and len(summary.cell.seeds) > 1:
        shape = (summary.cell.folds, len(summary.cell.seeds))  # folds come by fold, then seed
        splits = [
            split_spread(np.reshape([getattr(score, name) for score in summary.folds], shape))
            for name in ("wa", "ua")
        ]
    return Statistics(
        intervals=_known(told.rates) if whole else None,
        speakers=len(told.pooled),
        wa_split=splits[0],
        ua_split=splits[1],
        tests=tests,
    )


def _compare(row: Summary, told: _Told, base: Summary, base_told: _Told) -> Tests:
    """One row against the baseline on the runs that both have."""
    ours = {_run(score): score for score in row.folds}
    theirs = {_run(score): score for score in base.folds}
    runs = [run for run in ours if run in theirs]
    none = Tests(
        baseline=base.cell.row,
        runs=len(runs),
        gain=None,
        difference=None,
        mcnemar=None,
        corrected_t=None,
    )
    if not runs:
        return replace(none, why_not="no fold and seed has finished in both")
    for run in runs:
        answers = told.answers.get(run), base_told.answers.get(run)
        if not are_same(ours[run], theirs[run], *answers):
            text = f"fold {run[0]} was tested on other utterances than the baseline's"
            return replace(none, why_not=text)
    t_test, reason = _folds_test(row, runs, ours, theirs)
    if not all(run in told.answers and run in base_told.answers for run in runs):
        reasons = ["what was said of each utterance is not at hand", reason]
        why = "; ".join(text for text in reasons if text)
        return replace(none, corrected_t=t_test, why_not=why)
    # The digests are the same, so the speakers are, and each resample draws the same of them.
    shared, base_shared = _part(row, told, runs), _part(base, base_told, runs)
    return replace(
        none,
        gain=_gain(shared, base_shared),
        difference=_known(shared.rates - base_shared.rates),
        mcnemar=_utterances_test(shared.answers, base_shared.answers),
        corrected_t=t_test,
        why_not=reason,
    )


def _gain(told: _Told, base: _Told) -> tuple[float, float]:
    """WA and UA, pooled over all speakers, minus the baseline's."""
    own, other = (np.sum(list(side.pooled.values()), axis=0) for side in (told, base))
    return (
        weighted_accuracy(own) - weighted_accuracy(other),
        unweighted_accuracy(own) - unweighted_accuracy(other),
    )


def _utterances_test(told: Mapping[Run, Answers], base: Mapping[Run, Answers]) -> McNemar:
    by_fold: dict[int, NDArray[np.int64]] = {}
    better = worse = 0
    for run, answers in told.items():
        apart = answers.correct - base[run].correct
        better += int((apart > 0).sum())
        worse += int((apart < 0).sum())
        fold = run[0]  # its utterances are the same under each seed
        by_fold[fold] = by_fold[fold] + apart if fold in by_fold else apart
    p = paired_utterances(np.concatenate(list(by_fold.values())))
    return McNemar(better=better, worse=worse, p=p)


def _folds_test(
    row: Summary,
    runs: Iterable[Run],
    ours: Mapping[Run, FoldScore],
    theirs: Mapping[Run, FoldScore],
) -> tuple[CorrectedT | None, str]:
    """The test of UA, each fold's mean over the shared seeds; or why there is none."""
    apart: dict[int, list[float]] = {}
    for run in runs:
        apart.setdefault(run[0], []).append(ours[run].ua - theirs[run].ua)
    if len(apart) < 2:
        return None, "a test over folds needs two of them"
    t, p = corrected_t([fmean(values) for values in apart.values()], test_to_train(row.cell))
    if isnan(p):
        return None, "UA differs by the same in every fold"
    return CorrectedT(t=t, df=len(apart) - 1, p=p), ""


def test_to_train(cell: Cell) -> float:
    """Test over training utterances of a fold."""
    groups = len(cell.corpus.schemes[cell.config.corpus.folds].groups)
    # Over all folds each utterance is tested once and trains as often as there are other groups.
    return 1 / (groups - 1 - (cell.config.evaluation.selection == "validation"))


def corrected(found: Sequence[Statistics]) -> list[Statistics]:
    """Holm's correction over every test of a table."""
    family = [
        (index, name, test.p)
        for index, one in enumerate(found)
        if one.tests
        for name, test in (("mcnemar", one.tests.mcnemar), ("corrected_t", one.tests.corrected_t))
        if test
    ]
    results = list(found)
    for (index, name, _), p_holm in zip(family, holm([p for *_, p in family]), strict=True):
        tests = results[index].tests
        test = replace(getattr(tests, name), p_holm=p_holm)
        results[index] = replace(results[index], tests=replace(tests, **{name: test}))  # type: ignore[type-var]
    return results


def are_same(
    ours: FoldScore, theirs: FoldScore, told: Answers | None, base: Answers | None
) -> bool:
    """Whether two runs were tested on the same utterances.

    By the digests of these; by the count of each class where there are none.
    """
    if told and base:
        return told.digest == base.digest
    return [sum(row) for row in ours.confusion] == [sum(row) for row in theirs.confusion]


def answers_of(scores: Iterable[FoldScore]) -> dict[Run, Answers]:
    """What was said of each utterance in these runs of a row, where that is at hand.

    Raises:
        ValueError: it can't be read; says of which run.
    """
    found = {}
    for score in scores:
        if score.answers is None:
            continue
        try:
            answers = unpack(score.answers, score.n)
            counts = confusions_of(score, answers).sum(0)
        except ValueError as error:
            raise ValueError(f"{_named(score)}: {error}") from error
        if counts.tolist() != [list(row) for row in score.confusion]:
            raise ValueError(f"{_named(score)}: answers must give its confusion, they give another")
        found[_run(score)] = answers
    return found


def confusions_of(score: FoldScore, answers: Answers) -> NDArray[np.int64]:
    """(S, C, C) counts of each speaker, in the order of their names."""
    parts = (answers.speakers, answers.labels, answers.predicted)
    return speaker_confusions(*parts, len(score.speakers), len(score.confusion))


def _named(score: FoldScore) -> str:
    where = f"row {score.row!r} on {score.corpus!r}, fold {score.fold}, seed {score.seed}"
    return f"{where} (run {score.run_id})"


def _told(summary: Summary, answers: Mapping[Run, Answers]) -> _Told:
    """Pooled by speaker over all these runs."""
    scores = {_run(score): score for score in summary.folds}
    pooled: dict[str, NDArray[np.int64]] = {}
    for run, told in answers.items():
        names = sorted(scores[run].speakers)
        for name, counts in zip(names, confusions_of(scores[run], told), strict=True):
            pooled[name] = pooled[name] + counts if name in pooled else counts
    classes = len(summary.cell.classes)
    counts = np.array([pooled[name] for name in sorted(pooled)], dtype=np.int64)
    return _Told(answers, pooled, resampled(counts.reshape(len(pooled), classes, classes)))


def _part(summary: Summary, told: _Told, runs: Sequence[Run]) -> _Told:
    """Of these runs alone."""
    if set(runs) == set(told.answers):
        return told
    return _told(summary, {run: told.answers[run] for run in runs})


def _known(rates: NDArray[np.float64]) -> Intervals | None:
    """Their intervals; None for too few speakers."""
    return None if np.isnan(rates).any() else intervals(rates)


def _run(score: FoldScore) -> Run:
    return score.fold, score.seed
