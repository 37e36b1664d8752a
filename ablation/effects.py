"""What the axes and components of a study bring: rows added and subtracted, run by run. Pure.

A main effect sets a level against its axis's first, in every combination of the other axes that has
both. An interaction of two two-level axes is a difference of differences: what the second level of
one brings under the second level of the other, minus what it brings under its first. A component of
`add_one` and `leave_one_out` is set against the row without it.

Figures are compared under the same fold, seed and combination alone. What has not finished is
counted and left out; nothing stands in for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ablation.aggregate import Summary
from ablation.answers import Answers
from ablation.comparison import Run, answers_of, are_same, confusions_of
from ablation.design import OFF, ON, Design
from ablation.scores import FoldScore
from ablation.statistics import Intervals, intervals, resampled
from core.metrics import unweighted_accuracy, weighted_accuracy

Kind = Literal["main", "interaction", "added", "left_out"]
Group = tuple[str, ...]  # rows that are compared with one another
MAIN = (1, -1)  # signs of a group: the level, and what it is set against
INTERACTION = (1, -1, -1, 1)  # both, each alone, neither


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Differences of WA and UA, over every finished run that they can be had from.

    Attributes:
        names: The axis or component; of an interaction both axes.
        level: Of a main effect.
        against: The level that it is set against.
        combinations: Of the other axes, that have all the rows it takes.
        runs: Finished in all these rows, over the combinations.
        wanted: How many there are to be.
        apart: Runs left out as they were tested on different utterances.
        mean: Of WA and UA over the runs, each weighing the same: the difference of the table's
            means where every run has finished.
        pooled: The same of the pooled answers, which the intervals are of.
    """

    kind: Kind
    corpus: str
    names: tuple[str, ...]
    level: str = ""
    against: str = ""
    combinations: int = 0
    runs: int = 0
    wanted: int = 0
    apart: int = 0
    mean: tuple[float, float] | None = None
    pooled: tuple[float, float] | None = None
    intervals: Intervals | None = None


def effects_of(summaries: Sequence[Summary], design: Design | None) -> tuple[Effect, ...]:
    """Every effect that the rows of a design show, corpus by corpus.

    Raises:
        ValueError: what was said of each utterance can't be read; says of which run.
    """
    if design is None:
        return ()
    found = []
    for corpus in dict.fromkeys(summary.corpus for summary in summaries):
        mine = {
            s.cell.row: s for s in summaries if s.corpus == corpus and s.cell.row in design.rows
        }
        told = {row: answers_of(summary.folds) for row, summary in mine.items()}
        for effect, groups in _wanted(design, corpus):
            signs = INTERACTION if effect.kind == "interaction" else MAIN
            found.append(_measured(effect, signs, groups, mine, told))
    return tuple(found)


def _wanted(design: Design, corpus: str) -> Iterator[tuple[Effect, list[Group]]]:
    """Each effect, unmeasured, with the rows that show it."""
    rows = {places: row for row, places in design.rows.items()}
    if design.is_product:
        yield from _main_effects(design, rows, corpus)
        yield from _interactions(design, rows, corpus)
        return
    shorthands: tuple[tuple[Kind, bool, int], ...] = (
        ("added", design.add_one, OFF),
        ("left_out", design.leave_one_out, ON),
    )
    for kind, is_asked, start in shorthands:
        whole = (start,) * len(design.factors)
        for at, factor in enumerate(design.factors):
            other = _with(whole, {at: ON + OFF - start})
            if is_asked and other in rows:
                group: Group = (rows[other], rows[whole])
                group = group if start == OFF else group[::-1]
                yield Effect(kind=kind, corpus=corpus, names=(factor.name,)), [group]


def _main_effects(
    design: Design, rows: Mapping[tuple[int, ...], str], corpus: str
) -> Iterator[tuple[Effect, list[Group]]]:
    for at, factor in enumerate(design.factors):
        for place in range(1, len(factor.levels)):
            groups: list[Group] = [
                (row, rows[first])
                for places, row in rows.items()
                if places[at] == place and (first := _with(places, {at: 0})) in rows
            ]
            level, against = factor.levels[place], factor.levels[0]
            names = (factor.name,)
            yield (
                Effect(kind="main", corpus=corpus, names=names, level=level, against=against),
                groups,
            )


def _interactions(
    design: Design, rows: Mapping[tuple[int, ...], str], corpus: str
) -> Iterator[tuple[Effect, list[Group]]]:
    two = [at for at, factor in enumerate(design.factors) if len(factor.levels) == 2]
    for one, other in combinations(two, 2):
        groups = []
        for places in rows:
            if places[one] and places[other]:
                corners = [
                    _with(places, {one: first, other: second})
                    for first, second in ((1, 1), (1, 0), (0, 1), (0, 0))
                ]
                if all(corner in rows for corner in corners):
                    groups.append(tuple(rows[corner] for corner in corners))
        names = (design.factors[one].name, design.factors[other].name)
        yield Effect(kind="interaction", corpus=corpus, names=names), groups


def _with(places: tuple[int, ...], changes: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(changes.get(at, place) for at, place in enumerate(places))


def _measured(
    effect: Effect,
    signs: Sequence[int],
    groups: Sequence[Group],
    summaries: Mapping[str, Summary],
    told: Mapping[str, Mapping[Run, Answers]],
) -> Effect:
    """The effect with its figures, as far as runs have finished."""
    differences: list[tuple[float, float]] = []
    pooled = [_Pool() for _ in signs]
    wanted = apart = 0
    for group in groups:
        wanted += len(summaries[group[0]].cell.runs())
        for run, scores in _shared(group, summaries):
            answers = [told[row].get(run) for row in group]
            pairs = zip(scores, answers, strict=True)
            if not all(are_same(scores[0], one, answers[0], said) for one, said in pairs):
                apart += 1
                continue
            differences.append(
                (_sum(signs, [s.wa for s in scores]), _sum(signs, [s.ua for s in scores]))
            )
            for pool, score, said in zip(pooled, scores, answers, strict=True):
                pool.add(score, said)
    effect = replace(
        effect,
        combinations=len(groups),
        runs=len(differences),
        wanted=wanted,
        apart=apart,
    )
    if not differences:
        return effect
    wa, ua = zip(*differences, strict=True)
    return replace(
        effect,
        mean=(fmean(wa), fmean(ua)),
        pooled=_difference(signs, pooled),
        intervals=_intervals(signs, pooled),
    )


def _shared(
    group: Group, summaries: Mapping[str, Summary]
) -> Iterator[tuple[Run, list[FoldScore]]]:
    """The runs that have finished in every row of a group, with their scores."""
    by_run = [{(s.fold, s.seed): s for s in summaries[row].folds} for row in group]
    for run in by_run[0]:
        if all(run in scores for scores in by_run):
            yield run, [scores[run] for scores in by_run]


class _Pool:
    """What was said in all runs on one side of an effect, by speaker."""

    def __init__(self) -> None:
        self.is_whole = True  # what was said of each utterance is at hand for all of them
        self._total: NDArray[np.int64] | None = None
        self._speakers: dict[str, NDArray[np.int64]] = {}

    def add(self, score: FoldScore, answers: Answers | None) -> None:
        counts = np.array(score.confusion, dtype=np.int64)
        self._total = counts if self._total is None else self._total + counts
        if answers is None:
            self.is_whole = False
            return
        names = sorted(score.speakers)
        for name, own in zip(names, confusions_of(score, answers), strict=True):
            self._speakers[name] = self._speakers[name] + own if name in self._speakers else own

    def rates(self) -> tuple[float, float]:
        """WA and UA of all of it."""
        assert self._total is not None
        return weighted_accuracy(self._total), unweighted_accuracy(self._total)

    def drawn(self) -> NDArray[np.float64]:
        """The same of resamples by speakers, drawn alike on every side."""
        return resampled(np.array([self._speakers[name] for name in sorted(self._speakers)]))


def _difference(signs: Sequence[int], pooled: Sequence[_Pool]) -> tuple[float, float]:
    rates = [pool.rates() for pool in pooled]
    return _sum(signs, [wa for wa, _ in rates]), _sum(signs, [ua for _, ua in rates])


def _intervals(signs: Sequence[int], pooled: Sequence[_Pool]) -> Intervals | None:
    """None for too few speakers, or where it is not known what was said of each utterance."""
    if not all(pool.is_whole for pool in pooled):
        return None
    parts = [sign * pool.drawn() for sign, pool in zip(signs, pooled, strict=True)]
    drawn = np.sum(parts, axis=0)
    return None if np.isnan(drawn).any() else intervals(drawn)


def _sum(signs: Iterable[int], values: Iterable[float]) -> float:
    return sum(sign * value for sign, value in zip(signs, values, strict=True))
