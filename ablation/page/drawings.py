"""Which pictures a study gets, with what they say in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np

from ablation.aggregate import Summary
from ablation.courses import Course, stacked
from ablation.figures.confusion import confusion_figure
from ablation.figures.curves import curves_figure
from ablation.figures.forest import Estimate, forest_figure
from ablation.figures.speakers import speakers_figure
from ablation.statistics import RESAMPLES
from core.metrics import recalls, unweighted_accuracy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Courses = Mapping[tuple[str, str], Sequence[Course]]
MOST_COMPARED = 60  # rows in the picture of differences
MOST_DRAWN = 24  # rows of a corpus with pictures of their own; of more, the first and the last


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Drawing:
    """One picture.

    Attributes:
        name: Of its files, without suffix.
        text: What it shows, for those who don't see it.
        row: Whose it is; "" where it is of all rows of the corpus.
    """

    name: str
    figure: "Figure"
    caption: str
    text: str
    corpus: str
    row: str = ""


@dataclass(frozen=True, slots=True)
class Gain:
    """A row's differences to the baseline's."""

    row: str
    baseline: str
    ua: Estimate
    wa: Estimate


def gains(summaries: Sequence[Summary]) -> list[Gain]:
    """Every other row of one corpus against the baseline, where the two can be compared."""
    found = []
    for summary in summaries:
        tests = summary.statistics and summary.statistics.tests
        if tests and tests.gain:
            ends = tests.difference
            wa = (ends.wa.low, ends.wa.high) if ends else (nan, nan)
            ua = (ends.ua.low, ends.ua.high) if ends else (nan, nan)
            estimates = Estimate(tests.gain[1], *ua), Estimate(tests.gain[0], *wa)
            found.append(Gain(summary.cell.row, tests.baseline, *estimates))
    return found


def draw_corpus(
    summaries: Sequence[Summary], courses: Courses, won: Sequence[Gain], number: int
) -> Iterator[Drawing]:
    """The pictures of one corpus: of all its rows together, then of each.

    Args:
        summaries: Its rows in the table's order.
        won: What `gains` says of them.
        number: Of the corpus in the study, from 1; begins the names of files.
    """
    corpus = summaries[0].corpus
    if won:
        base, shown = won[0].baseline, _furthest(won)
        yield Drawing(
            name=f"{number}-differences",
            figure=forest_figure(
                [gain.row for gain in shown],
                [gain.ua for gain in shown],
                [gain.wa for gain in shown],
                f"{corpus}: difference to {base}",
            ),
            caption=f"{corpus}: UA and WA of each row minus those of “{base}”, pooled over "
            f"utterances, with 95 % intervals from {RESAMPLES:,} resamples of the speakers. "
            "Intervals are of single rows, not corrected for their number."
            + f" Of {len(won)} rows, the {len(shown)} furthest from it."
            * (len(shown) < len(won)),
            text=f"UA and WA of {len(shown)} rows minus those of {base}; the figures follow in the "
            "table of differences",
            corpus=corpus,
        )
    rows = {s.cell.row: s.speakers for s in summaries if s.speakers}
    if rows:
        yield _speakers(rows, corpus, number)
    drawn = summaries if len(summaries) <= MOST_DRAWN else (summaries[0], summaries[-1])
    for place, summary in enumerate(summaries, start=1):
        if summary in drawn and summary.folds:
            yield from _of_row(summary, courses, f"{number}-{place:02d}")


def _furthest(won: Sequence[Gain]) -> list[Gain]:
    """As many as a picture can hold, in the table's order: those that differ most in UA."""
    by_size = sorted(won, key=lambda gain: -abs(gain.ua.value))
    return [gain for gain in won if gain in by_size[:MOST_COMPARED]]


def _speakers(rows: Mapping[str, Mapping[str, float]], corpus: str, number: int) -> Drawing:
    first, last = next(iter(rows)), list(rows)[-1]
    spread = sorted(rows[last].items(), key=lambda item: item[1])
    low, high = spread[0], spread[-1]
    ring = f"Ring: “{first}”, disc: “{last}”" if first != last else f"Ring: “{first}”"
    return Drawing(
        name=f"{number}-speakers",
        figure=speakers_figure(rows, corpus),
        caption=f"{corpus}: UA of each test speaker over the classes that the speaker shows, best "
        f"recognised first. {ring}{'; ticks are the other rows' * (len(rows) > 2)}.",
        text=f"UA by speaker; under {last} from {_percent(low[1])} for {low[0]} "
        f"to {_percent(high[1])} for {high[0]}",
        corpus=corpus,
    )


def _of_row(summary: Summary, courses: Courses, stem: str) -> Iterator[Drawing]:
    row, corpus, classes = summary.cell.row, summary.corpus, summary.cell.classes
    title = f"{corpus}, {row}"
    counts = np.array(summary.confusion)
    found = ", ".join(
        f"{name} {_percent(recall)}"
        for name, recall in zip(classes, recalls(counts), strict=True)
        if not isnan(recall)
    )
    yield Drawing(
        name=f"{stem}-confusion",
        figure=confusion_figure(counts, classes, title),
        caption=f"{title}: confusion over all finished runs. Rows are the true classes; colour and "
        "first figure are the share of the true class, the second the count.",
        text=f"Confusion matrix, UA {_percent(unweighted_accuracy(counts))}; recalls: {found}",
        corpus=corpus,
        row=row,
    )
    losses, rates = stacked(courses[row, corpus])
    if not losses:
        return
    total = losses.get("total", next(iter(losses.values()))).mean(0)
    runs, epochs = next(iter(losses.values())).shape
    noted = "".join(
        f"; UA on {name} from {_percent(values.mean(0)[0])} to {_percent(values.mean(0)[-1])}"
        for name, values in rates.items()
    )
    band = "; the band reaches from the lowest to the highest" if runs > 1 else ""
    oracle = " Oracle is the test fold itself: noted, never used to choose." * ("oracle" in rates)
    yield Drawing(
        name=f"{stem}-curves",
        figure=curves_figure(losses, rates, title),
        caption=f"{title}: learning curves, mean of {runs} run{'s' * (runs > 1)}{band}. Each loss "
        f"is unweighted, total is their weighted sum.{oracle}",
        text=f"Learning curves over {epochs} epochs; total loss from {total[0]:.3g} to "
        f"{total[-1]:.3g}{noted}",
        corpus=corpus,
        row=row,
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
