"""How each finished fold went, epoch by epoch and speaker by speaker: what pictures need of the
archive beyond the scores."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablation.aggregate import Summary
from ablation.archive import Archive

if TYPE_CHECKING:
    from core.result import FoldResult

Confusions = dict[str, NDArray[np.int64]]  # (C, C) counts by speaker


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Course:
    """One fold under one seed.

    Attributes:
        losses: By term, "total" among them, epoch by epoch.
        rates: UA on "validation" and "oracle", where they were noted, epoch by epoch.
        speakers: Confusion of each test speaker.
    """

    fold: int
    seed: int
    losses: dict[str, tuple[float, ...]]
    rates: dict[str, tuple[float, ...]]
    speakers: Confusions

    @classmethod
    def from_result(cls, result: "FoldResult") -> "Course":
        """What is kept of a finished fold."""
        history = result.history
        noted = {
            "validation": [epoch.validation for epoch in history],
            "oracle": [epoch.oracle for epoch in history],
        }
        return cls(
            fold=result.config.fold,
            seed=result.config.seed,
            losses={
                term: tuple(epoch.losses[term] for epoch in history) for term in history[0].losses
            },
            rates={
                name: tuple(scores["ua"] for scores in found if scores)
                for name, found in noted.items()
                if all(found)
            },
            speakers={name: scores.confusion for name, scores in result.speakers().items()},
        )


def read_courses(
    archive: Archive, summaries: Iterable[Summary]
) -> dict[tuple[str, str], list[Course]]:
    """The courses of the finished folds of each row, by row and corpus, in the order of its folds.

    A fold whose archived result is not here, or is no whole one, is left out: its scores came from
    MLflow, and its course is for pictures alone.
    """
    by_run: dict[str, Course | None] = {}
    found: dict[tuple[str, str], list[Course]] = {}
    for summary in summaries:
        mine = found.setdefault((summary.cell.row, summary.corpus), [])
        for score in summary.folds:
            if score.run_id not in by_run:  # rows that are the same experiment share one training
                by_run[score.run_id] = _read(archive, score.run_id)
            if course := by_run[score.run_id]:
                mine.append(course)
    return found


def stacked(
    courses: Iterable[Course],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Losses and rates of all runs, (R, E) each; a rate that some run lacks is left out.

    E are the epochs of the longest run; one that stopped before is nan from there on.
    """
    runs = list(courses)
    losses = _stack([run.losses for run in runs])
    return losses, _stack([run.rates for run in runs])


def _stack(parts: list[dict[str, tuple[float, ...]]]) -> dict[str, NDArray[np.float64]]:
    names = [name for name in (parts[0] if parts else {}) if all(name in part for part in parts)]
    found = {}
    for name in names:
        longest = max(len(part[name]) for part in parts)
        rows = [[*part[name], *[np.nan] * (longest - len(part[name]))] for part in parts]
        found[name] = np.array(rows)
    return found


def _read(archive: Archive, run_id: str) -> Course | None:
    if not archive.holds(run_id):
        return None
    try:
        return Course.from_result(archive.load(run_id))
    except ValueError:
        return None
