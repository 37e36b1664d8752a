"""How many seeds show a difference, from the spread of the runs so far. Pure.

A row's difference to the baseline varies from fold to fold and, within a fold, from seed to seed.
Seeds average out the second part alone: with S of them the variance of a fold's mean difference is
fold_std^2 + seed_std^2 / S. The test is the table's, the corrected t over folds, whose variance is
(1/k + test/train) times that; its power follows from the noncentral t distribution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablation.aggregate import Summary
from ablation.comparison import Run, answers_of, are_same, test_to_train
from ablation.scores import FoldScore
from ablation.statistics import LEVEL, split_spread

POWER = 0.8
MOST_SEEDS = 1000  # O: as many as a grid may have
Whole = tuple[tuple[int, ...], tuple[int, ...]]  # folds and seeds
RATES = ("wa", "ua")


@dataclass(frozen=True, slots=True)
class Need:
    """How many seeds show a difference; None where no number up to `MOST_SEEDS` does."""

    difference: float
    seeds: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What seeds can show of one rate of one row against the baseline.

    Attributes:
        folds: Of the corpus, over all of which the test is made.
        used_folds: Finished in both rows under each of `used_seeds`.
        left_out: Runs finished in both that do not fit into these.
        difference: The mean of the runs used.
        fold_std: Of the difference between folds, the seeds' part taken out.
        seed_std: Of the difference between the seeds of one fold.
        smallest_now: Seen with as many seeds as were used.
        smallest_ever: Seen with as many as one likes: the folds' part stays.
        why_not: Why there are no figures.
    """

    row: str
    corpus: str
    rate: str
    folds: int
    used_folds: tuple[int, ...] = ()
    used_seeds: tuple[int, ...] = ()
    left_out: int = 0
    difference: float = nan
    fold_std: float = nan
    seed_std: float = nan
    smallest_now: float = nan
    smallest_ever: float = nan
    needs: tuple[Need, ...] = ()
    why_not: str = ""


def outlooks(
    summaries: Sequence[Summary], baseline: str, differences: Sequence[float]
) -> list[Outlook]:
    """Of every row but the baseline, by WA and UA.

    Args:
        summaries: Of the study.
        baseline: The row that the others are set against.
        differences: Of rates, in 0..1, that are to be seen.
    Raises:
        ValueError: what was said of each utterance can't be read; says of which run.
    """
    bases = {s.corpus: s for s in summaries if s.cell.row == baseline}
    found = []
    for summary in summaries:
        if summary.cell.row != baseline:
            shared = _shared(summary, bases[summary.corpus])
            found += [_outlook(summary, rate, shared, differences) for rate in RATES]
    return found


def power_of(shift: float, folds: int) -> float:
    """Of the two-sided test over folds, where the true difference is `shift` standard errors."""
    edge = special.stdtrit(folds - 1, 1 - LEVEL / 2)
    above = 1 - float(special.nctdtr(folds - 1, shift, edge))
    below = float(special.nctdtr(folds - 1, shift, -edge))
    return above if isnan(below) else above + below  # nan where it is too small for scipy


def shift_needed(folds: int) -> float:
    """How many standard errors the true difference must be for a power of `POWER`."""
    low, high = 0.0, 1.0
    while power_of(high, folds) < POWER:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if power_of(middle, folds) < POWER else (low, middle)
    return high


def standard_error(
    fold_std: float, seed_std: float, seeds: float, folds: int, ratio: float
) -> float:
    """Of the mean difference, as the corrected t-test takes it; `ratio` is test over train."""
    return sqrt((1 / folds + ratio) * (fold_std**2 + seed_std**2 / seeds))


def seeds_for(
    difference: float, fold_std: float, seed_std: float, folds: int, ratio: float
) -> int | None:
    """The fewest seeds under which the test has `POWER`; None where none do."""
    allowed = (difference / shift_needed(folds)) ** 2 / (1 / folds + ratio)  # of a fold's mean
    room = allowed - fold_std**2
    if room <= 0 or seed_std**2 > room * MOST_SEEDS:
        return None
    return max(1, ceil(seed_std**2 / room))


def _outlook(
    summary: Summary,
    rate: str,
    shared: dict[Run, tuple[FoldScore, FoldScore]],
    differences: Sequence[float],
) -> Outlook:
    cell = summary.cell
    outlook = Outlook(row=cell.row, corpus=summary.corpus, rate=rate, folds=cell.folds)
    chosen = _whole(shared)
    if why_not := _why_not(cell.folds, shared, chosen):
        return replace(outlook, why_not=why_not)
    folds, seeds = chosen
    table: NDArray[np.float64] = np.array(
        [
            [getattr(shared[f, s][0], rate) - getattr(shared[f, s][1], rate) for s in seeds]
            for f in folds
        ]
    )
    split, ratio = split_spread(table), test_to_train(cell)
    parts = (split.fold_std, split.seed_std)
    shift = shift_needed(cell.folds)
    return replace(
        outlook,
        used_folds=folds,
        used_seeds=seeds,
        left_out=len(shared) - table.size,
        difference=float(table.mean()),
        fold_std=split.fold_std,
        seed_std=split.seed_std,
        smallest_now=shift * standard_error(*parts, len(seeds), cell.folds, ratio),
        smallest_ever=shift * standard_error(split.fold_std, 0.0, 1, cell.folds, ratio),
        needs=tuple(Need(one, seeds_for(one, *parts, cell.folds, ratio)) for one in differences),
    )


def _why_not(folds: int, shared: dict[Run, tuple[FoldScore, FoldScore]], chosen: Whole) -> str:
    if folds < 2:
        return "one fold: a test over folds needs two"
    if not shared:
        return "no fold and seed has finished in both it and the baseline"
    if len({seed for _, seed in shared}) < 2:
        return "one seed: how much of its spread the seeds make is not known"
    if len(chosen[0]) < 2 or len(chosen[1]) < 2:
        return "fewer than two folds have finished under the same two seeds"
    return ""


def _shared(row: Summary, base: Summary) -> dict[Run, tuple[FoldScore, FoldScore]]:
    """The runs that both rows have finished on the same utterances."""
    theirs = {(score.fold, score.seed): score for score in base.folds}
    told, base_told = answers_of(row.folds), answers_of(base.folds)
    found = {}
    for score in row.folds:
        run = score.fold, score.seed
        if run in theirs and are_same(score, theirs[run], told.get(run), base_told.get(run)):
            found[run] = score, theirs[run]
    return found


def _whole(shared: dict[Run, tuple[FoldScore, FoldScore]]) -> Whole:
    """Folds and seeds of which every pair has finished: the most runs that make a whole table."""
    by_seed: dict[int, set[int]] = {}
    for fold, seed in shared:
        by_seed.setdefault(seed, set()).add(fold)
    fullest = sorted(by_seed, key=lambda seed: (-len(by_seed[seed]), seed))
    best: Whole = ((), ())
    for count in range(2, len(fullest) + 1):
        seeds = tuple(sorted(fullest[:count]))
        folds = tuple(sorted(set.intersection(*(by_seed[seed] for seed in seeds))))
        if len(folds) > 1 and len(folds) * count > len(best[0]) * len(best[1]):
            best = folds, seeds
    return best
