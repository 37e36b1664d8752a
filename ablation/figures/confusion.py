"""Who is taken for whom."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ablation.figures.canvas import COLUMN_INCHES, SMALL, drawing, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Above so many classes a cell has no room for a percent sign; above the second, for a count.
_WITH_SIGN, _WITH_COUNT = 4, 9
_MOST_CLASSES = 16  # above, cells are coloured and hold no figures


def confusion_figure(confusion: ArrayLike, classes: Sequence[str], title: str) -> "Figure":
    """Draw counts and row percentages, one hue from light to dark by the share of the true class.

    Cells of none are empty, and a class that no utterance is of has dashes.

    Args:
        confusion: (C, C) counts, true classes in rows.
        classes: Names in the order of the rows.
        title: Above the picture; "" for none.
    Raises:
        ValueError: the matrix is not square over the classes.
    """
    counts = np.asarray(confusion)
    size = len(classes)
    if not size or counts.shape != (size, size):
        raise ValueError(f"confusion must be square over {size} classes, got shape {counts.shape}")
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    with drawing(COLUMN_INCHES) as figure:
        axes = figure.add_subplot()
        # Cells as shapes, not as a picture of few dots that a viewer may blur.
        axes.pcolormesh(shares, cmap="Blues", vmin=0.0, vmax=1.0, edgecolors="0.8", linewidth=0.4)
        axes.set_xlim(0, size)
        axes.set_ylim(size, 0)
        axes.set_aspect("equal")
        axes.spines[:].set_visible(False)
        for (row, column), share in np.ndenumerate(shares):
            if size <= _MOST_CLASSES and (share or not totals[row, 0]):
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    _cell(share if totals[row, 0] else None, int(counts[row, column]), size),
                    ha="center",
                    va="center",
                    fontsize=SMALL,
                    linespacing=1.15,
                    in_layout=False,  # it lies within the axes, and is slow to measure
                    color="white" if share > 0.72 else "black",
                )
        names = [shortened(name, 14) for name in classes]
        slanted = max(map(len, names)) * size > 28  # they would run into one another
        places = np.arange(size) + 0.5
        axes.set_xticks(
            places,
            names,
            rotation=40 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor",
        )
        axes.set_yticks(places, names)
        axes.tick_params(length=0)
        axes.set_xlabel(_below(size))
        axes.set_ylabel("true")
        axes.set_title(title, wrap=True)
    return figure


def _cell(share: float | None, count: int, size: int) -> str:
    sign = " %" if size <= _WITH_SIGN else ""
    percent = "–" if share is None else f"{100 * share:.0f}{sign}"
    return f"{percent}\n{count}" if size <= _WITH_COUNT else percent


def _below(size: int) -> str:
    if _WITH_SIGN < size <= _WITH_COUNT:
        return "predicted (% of the true class, count)"
    return "predicted (% of the true class)" if _WITH_COUNT < size <= _MOST_CLASSES else "predicted"
