"""The statistics of a table: pure functions over counts, correctness and fold figures.

Utterances of one speaker are alike, so intervals are drawn by whole speakers. Rows are compared in
pairs, on the same utterances and on the same folds. scipy's distributions give the p-values;
`scipy.special` has them at a third of the time that importing `scipy.stats` takes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

LEVEL = 0.05
RESAMPLES = 10_000
SEED = 0
BLOCK = 2_000_000  # O: draws at once, 16 MB
FEW = BLOCK // RESAMPLES  # speakers whose draws are kept between rows: one block

# O: of three speakers, a resample in 27 is the worst of them three times over, more than 2.5 %:
# the interval would end at the worst and at the best speaker, whatever the others are like.
MIN_SPEAKERS = 4

SAME = 1e-12  # of rates: what lies closer differs by rounding alone
FLOOR = 1e-12  # below it a sum over a transform is rounding


@dataclass(frozen=True, slots=True)
class Interval:
    """The middle 95 % of a figure over resamples."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Intervals:
    """Of WA and UA, drawn from the same speakers."""

    wa: Interval
    ua: Interval


@dataclass(frozen=True, slots=True)
class SeedSplit:
    """Where the spread over folds x seeds comes from; nan where there are too few of either.

    Attributes:
        fold_std: Between folds, the seeds' part taken out.
        seed_std: Between the seeds of one fold.
        mean_std: Of the mean over folds, from one seed to the next: as the seeds' means show it or
            as it would be if each fold varied on its own, whichever is more, since few seeds show
            little.
    """

    fold_std: float
    seed_std: float
    mean_std: float


def speaker_confusions(
    speakers: ArrayLike, labels: ArrayLike, predicted: ArrayLike, count: int, classes: int
) -> NDArray[np.int64]:
    """(S, C, C) counts of each speaker, true classes in rows, from (N,) places and classes."""
    places = [np.asarray(part, dtype=np.int64) for part in (speakers, labels, predicted)]
    cells = np.ravel_multi_index(tuple(places), (count, classes, classes))
    counts = np.bincount(cells, minlength=count * classes**2)
    return counts.reshape(count, classes, classes)


def resampled(confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """(2, R) pooled WA and UA of resamples by whole speakers, nan below `MIN_SPEAKERS`.

    The r-th resample draws the same speakers at every call: two rows' rates can be subtracted.

    Args:
        confusions: (S, C, C) counts of each speaker, over all folds and seeds.
    """
    if len(confusions) < MIN_SPEAKERS:
        return np.full((2, 1), nan)
    blocks = _kept(len(confusions)) if len(confusions) <= FEW else _draws(len(confusions))
    return np.concatenate([_rates(drawn, confusions) for drawn in blocks], axis=1)


def intervals(rates: NDArray[np.float64]) -> Intervals:
    """95 % percentile intervals of resampled rates, or of the difference of two rows' rates.

    With few speakers they are somewhat too short (Efron and Tibshirani 1993, ch. 13).

    Args:
        rates: (2, R) float. As `resampled` gives them.
    """
    low, high = np.percentile(rates, [100 * LEVEL / 2, 100 - 100 * LEVEL / 2], axis=1).tolist()
    return Intervals(Interval(low[0], high[0]), Interval(low[1], high[1]))


def paired_utterances(differences: ArrayLike) -> float:
    """McNemar's exact test, two-sided; with several seeds its extension to them.

    Args:
        differences: (N,) int. Of each utterance, under how many seeds the row was right minus under
            how many the baseline was.
    Returns:
        The share of all ways to swap row and baseline on single utterances that part them at least
        as far. With one seed these are the exact binomial probabilities of McNemar's test. An
        utterance is swapped with all its seeds, as they are not independent of one another.
    """
    told = np.asarray(differences, dtype=np.int64)
    sizes = np.bincount(np.abs(told))
    most = len(sizes) - 1
    apart = abs(int(told.sum()))
    if most < 1 or not apart:
        return 1.0
    if most == 1:
        n = int(sizes[1])
        return float(min(1.0, 2 * special.bdtr((n - apart) // 2, n, 0.5)))
    # The probabilities of a sum of independent +-k, by the inverse transform of its characteristic
    # function: a product of cosines.
    widest = int(sizes @ np.arange(most + 1))
    angles = np.arange(2 * widest + 2) * (np.pi / (widest + 1))
    function = np.ones(len(angles))
    for size in np.flatnonzero(sizes[1:]) + 1:
        function *= np.cos(size * angles) ** sizes[size]
    probabilities = np.fft.ifft(function).real
    return float(np.clip(2 * probabilities[apart : widest + 1].sum(), FLOOR, 1.0))


def corrected_t(differences: ArrayLike, test_to_train: float) -> tuple[float, float]:
    """The corrected resampled t-test over folds, two-sided: (t, p), k - 1 degrees of freedom.

    The folds' training sets overlap, so their figures are not independent; the variance of their
    mean is taken as (1/k + test/train) times the sample variance instead of 1/k times it.

    Args:
        differences: (k,) float. Row minus baseline on each fold.
        test_to_train: Test over training utterances of a fold.
    Returns:
        (nan, nan) for fewer than two folds, and where all differ alike but not by nothing: that
        is no sample of anything.

    Source: Nadeau and Bengio 2003, Machine Learning 52, section 5.
    """
    told = np.asarray(differences, dtype=np.float64)
    k = len(told)
    if k < 2 or not np.isfinite(told).all():
        return nan, nan
    mean, std = float(told.mean()), float(told.std(ddof=1))
    if std < SAME:
        return (0.0, 1.0) if abs(mean) < SAME else (nan, nan)
    t = mean / (std * sqrt(1 / k + test_to_train))
    return t, float(2 * special.stdtr(k - 1, -abs(t)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction over all of them; nan stays nan and counts for none."""
    order = sorted((p, index) for index, p in enumerate(p_values) if p == p)
    corrected = [nan] * len(p_values)
    highest = -inf
    for rank, (p, index) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[index] = highest
    return corrected


def split_spread(rates: ArrayLike) -> SeedSplit:
    """One-way analysis of variance, seeds within folds.

    Args:
        rates: (K, S) float. Of K folds under S seeds.
    """
    table = np.asarray(rates, dtype=np.float64)
    folds, seeds = table.shape
    if seeds < 2 or not folds:
        return SeedSplit(nan, nan, nan)
    within = float(table.var(axis=1, ddof=1).mean())
    between = float(table.mean(axis=1).var(ddof=1)) - within / seeds if folds > 1 else nan
    return SeedSplit(
        fold_std=sqrt(max(0.0, between)) if folds > 1 else nan,
        seed_std=sqrt(within),
        mean_std=max(float(table.mean(axis=0).std(ddof=1)), sqrt(within / folds)),
    )


def _draws(speakers: int) -> Iterator[NDArray[np.float64]]:
    """(R, S) how often each resample draws each speaker, in blocks; the same at every call."""
    generator = np.random.default_rng(SEED)
    shares = np.full(speakers, 1 / speakers)
    block = max(1, BLOCK // speakers)
    for start in range(0, RESAMPLES, block):
        size = min(block, RESAMPLES - start)
        yield generator.multinomial(speakers, shares, size=size).astype(np.float64)


@lru_cache(maxsize=2)
def _kept(speakers: int) -> tuple[NDArray[np.float64], ...]:
    """The same, kept for the next row."""
    return tuple(_draws(speakers))


def _rates(drawn: NDArray[np.float64], confusions: NDArray[np.int64]) -> NDArray[np.float64]:
    """(2, R) WA and UA of each resample; UA over the classes that it holds."""
    right = drawn @ np.diagonal(confusions, axis1=1, axis2=2)  # (R, C)
    totals = drawn @ confusions.sum(2)  # (R, C)
    recalls = np.divide(right, totals, out=np.zeros_like(right), where=totals > 0)
    ua = recalls.sum(1) / (totals > 0).sum(1)
    return np.stack([right.sum(1) / totals.sum(1), ua])
