"""From scores under each condition to what a row loses by it, and against the baseline: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

from ablation.aggregate import Summary, summarise
from ablation.comparison import corrected, with_statistics
from ablation.grid import Cell
from ablation.row_statistics import Statistics
from ablation.scores import FoldScore
from ablation.statistics import Intervals
from core.conditions import CLEAN, Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """One row on one corpus under one condition.

    Attributes:
        summary: Its figures; `statistics` holds the tests against the baseline row under the same
            condition, corrected over all conditions and rows of the study.
        change: WA and UA of the pooled answers minus those when clean.
        interval: Of `change`, over speakers; None for too few.
    """

    condition: Condition
    summary: Summary
    change: tuple[float, float]
    interval: Intervals | None

    @property
    def statistics(self) -> Statistics:
        assert self.summary.statistics, "with_statistics gave every summary its own"
        return self.summary.statistics


def robustness(
    cells: Sequence[Cell], scores: Mapping[Condition, Iterable[FoldScore]], baseline: str
) -> list[Robustness]:
    """Every cell under every condition: conditions in their order, rows in the table's.

    Args:
        scores: The clean condition's among them.
    Raises:
        ValueError: scores that do not belong together.
    """
    by_condition = {
        condition: with_statistics(_summaries(cells, told), baseline)
        for condition, told in scores.items()
    }
    flat = [
        (condition, summary)
        for condition, summaries in by_condition.items()
        for summary in summaries
    ]
    family = corrected([summary.statistics for _, summary in flat if summary.statistics])
    changes = _changes(by_condition)
    return [
        Robustness(
            condition=condition,
            summary=replace(summary, statistics=statistics),
            change=changes[condition, summary.cell.row, summary.corpus][0],
            interval=changes[condition, summary.cell.row, summary.corpus][1],
        )
        for (condition, summary), statistics in zip(flat, family, strict=True)
    ]


def _summaries(cells: Sequence[Cell], told: Iterable[FoldScore]) -> list[Summary]:
    by_cell: dict[tuple[str, str], list[FoldScore]] = {}
    for score in told:
        by_cell.setdefault((score.row, score.corpus), []).append(score)
    return [
        summarise(cell, by_cell.get((cell.row, cell.config.corpus.name), []), None)
        for cell in cells
    ]


def _changes(
    by_condition: Mapping[Condition, Sequence[Summary]],
) -> dict[tuple[Condition, str, str], tuple[tuple[float, float], Intervals | None]]:
    """What each condition changes for each row and corpus: the clean row is its baseline here."""
    clean = next(one for one in by_condition if one.kind == CLEAN)
    found = {}
    for place, origin in enumerate(by_condition[clean]):
        row, corpus = origin.cell.row, origin.corpus
        alike = [
            replace(summaries[place], cell=replace(origin.cell, row=condition.name))
            for condition, summaries in by_condition.items()
        ]
        for condition, summary in zip(
            by_condition, with_statistics(alike, clean.name), strict=True
        ):
            tests = summary.statistics.tests if summary.statistics else None
            change = (0.0, 0.0) if condition == clean else (nan, nan)
            found[condition, row, corpus] = (
                (tests.gain or change) if tests else change,
                tests.difference if tests else None,
            )
    return found
