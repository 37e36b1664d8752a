"""How well predictions match labels.

WA is correct over utterances, UA the mean recall over the classes (UAR), both fractions in 0..1.
Confusion matrices are (C, C) with the true class in rows and the predicted one in columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """The scores of one set of utterances.

    Attributes:
        n: Utterances.
        wa: Weighted accuracy.
        ua: Unweighted accuracy.
        recalls: (C,) float. nan for a class that does not occur.
        confusion: (C, C) int.
    """

    n: int
    wa: float
    ua: float
    recalls: NDArray[np.float64]
    confusion: NDArray[np.int64]


def score(labels: ArrayLike, predictions: ArrayLike, classes: int) -> Scores:
    """All scores of the predictions, from integer classes in 0..classes - 1."""
    confusion = confusion_matrix(labels, predictions, classes)
    return Scores(
        n=int(confusion.sum()),
        wa=weighted_accuracy(confusion),
        ua=unweighted_accuracy(confusion),
        recalls=recalls(confusion),
        confusion=confusion,
    )


def score_speakers(
    labels: ArrayLike, predictions: ArrayLike, speakers: Sequence[str], classes: int
) -> dict[str, Scores]:
    """The scores of each speaker alone, speakers in sorted order.

    A speaker's UA is over the classes that this speaker shows.
    """
    truth, predicted = _class_numbers(labels, predictions, classes)
    if len(speakers) != len(truth):
        raise ValueError(
            f"every label needs its speaker, got {len(truth)} labels and {len(speakers)} speakers"
        )
    names = np.asarray(speakers, dtype=str)
    return {
        str(name): score(truth[names == name], predicted[names == name], classes)
        for name in np.unique(names)
    }


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: int) -> NDArray[np.int64]:
    """Count each pair of true and predicted class: (C, C) int, rows are the truth."""
    truth, predicted = _class_numbers(labels, predictions, classes)
    counts = np.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def weighted_accuracy(confusion: NDArray[np.int64]) -> float:
    """Correct over all utterances (WA).

    Source: P §3.2 names it; the definition is C (LAM).
    """
    return float(confusion.trace() / _occupied(confusion).sum())


def unweighted_accuracy(confusion: NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur in the truth (UA).

    A class without an utterance has no recall; it is left out, not counted as 0.

    Source: P §3.2 names it; the definition is C (LAM). Leaving absent classes out is O.
    """
    return float(np.nanmean(recalls(_occupied(confusion))))


def recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each class that was recognised: (C,) float, nan for a class that does not occur."""
    totals = confusion.sum(1)
    found = np.full(len(confusion), np.nan)
    np.divide(confusion.diagonal(), totals, out=found, where=totals > 0)
    return found


def _occupied(confusion: NDArray[np.int64]) -> NDArray[np.int64]:
    if not confusion.any():
        raise ValueError("accuracy needs at least one utterance, got an empty confusion matrix")
    return confusion


def _class_numbers(
    labels: ArrayLike, predictions: ArrayLike, classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both as (n,) int arrays of class numbers, or a ValueError that says which is not."""
    if classes < 1:
        raise ValueError(f"scoring needs at least one class, got {classes}")
    truth, predicted = np.asarray(labels), np.asarray(predictions)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(
            "every label needs its prediction, "
            f"got arrays of shapes {truth.shape} and {predicted.shape}"
        )
    if not truth.size:
        raise ValueError("scoring needs at least one utterance, got none")
    for what, numbers in (("labels", truth), ("predictions", predicted)):
        if not np.issubdtype(numbers.dtype, np.integer):
            raise ValueError(f"{what} must be class numbers, got {numbers.dtype}")
        if (wrong := numbers[(numbers < 0) | (numbers >= classes)]).size:
            raise ValueError(f"{what} must lie in 0..{classes - 1}, got {wrong[0]}")
    return truth.astype(np.int64), predicted.astype(np.int64)
