"""By how much one row is better than another, and how sure that is."""

from collections.abc import Mapping
from math import nan

import numpy as np
from numpy.typing import NDArray

from ablation.figures.forest import Estimate
from core.metrics import unweighted_accuracy, weighted_accuracy

RESAMPLES = 10_000  # O
SEED = 0  # O: fixed, so that equal results give equal intervals
LEVEL = 0.95  # O


def difference(
    row: Mapping[str, NDArray[np.int64]], baseline: Mapping[str, NDArray[np.int64]]
) -> tuple[Estimate, Estimate]:
    """UA and WA of a row minus the baseline's, each with its 95 % interval.

    Both are pooled over all utterances of the speakers that the two rows share. The interval is the
    bootstrap's percentile one over speakers, whose utterances are not independent: each resample
    draws as many speakers, and takes them from both rows, so that what is hard for all rows alike
    cancels out.

    Args:
        row: (C, C) counts by speaker, true classes in rows, summed over folds and seeds.
        baseline: The same of the row to compare with, over the same folds and seeds.
    Returns:
        Nan where no speaker is shared; nan bounds where only one is.
    Source: O.
    """
    speakers = sorted(row.keys() & baseline.keys())
    if not speakers:
        return Estimate(nan, nan, nan), Estimate(nan, nan, nan)
    sides = [np.stack([each[name] for name in speakers]) for each in (row, baseline)]  # (S, C, C)
    whole = [side.sum(0) for side in sides]
    points = [rate(whole[0]) - rate(whole[1]) for rate in (unweighted_accuracy, weighted_accuracy)]
    if len(speakers) < 2:
        return Estimate(points[0], nan, nan), Estimate(points[1], nan, nan)
    count = len(speakers)
    draws = np.random.default_rng(SEED).multinomial(count, [1 / count] * count, RESAMPLES)  # (R, S)
    rates = [_rates(draws, side) for side in sides]
    tail = 50 * (1 - LEVEL)
    found = []
    for index, point in enumerate(points):
        low, high = np.percentile(rates[0][index] - rates[1][index], [tail, 100 - tail])
        found.append(Estimate(point, float(low), float(high)))
    return found[0], found[1]


def _rates(
    draws: NDArray[np.int64], confusions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """UA and WA of each resample: (R,) float; UA over the classes that occur in it."""
    correct = draws @ np.diagonal(confusions, axis1=1, axis2=2)  # (R, C)
    totals = draws @ confusions.sum(2)
    recalls = np.divide(correct, totals, out=np.full(totals.shape, nan), where=totals > 0)
    return np.nanmean(recalls, 1), correct.sum(1) / totals.sum(1)
