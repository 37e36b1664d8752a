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


class ConfusionPicture:
    """A picture of one matrix after another: counts and row percentages, laid out but once.

    One hue from light to dark by the share of the true class. Cells of none are empty, and a class
    that no utterance is of has dashes.
    """

    def __init__(self, classes: Sequence[str], title: str) -> None:
        """Lay it out for titles of as many lines as this one.

        Args:
            classes: Names in the order of the rows.
            title: Above the picture; "" for none.
        Raises:
            ValueError: there are no classes.
        """
        if not classes:
            raise ValueError("confusion must be square over one class or more, got none")
        self._size = size = len(classes)
        with drawing(COLUMN_INCHES) as self._figure:
            axes = self._figure.add_subplot()
            # Cells as shapes, not as a picture of few dots that a viewer may blur.
            self._cells = axes.pcolormesh(
                np.zeros((size, size)),
                cmap="Blues",
                vmin=0.0,
                vmax=1.0,
                edgecolors="0.8",
                linewidth=0.4,
            )
            axes.set_xlim(0, size)
            axes.set_ylim(size, 0)
            axes.set_aspect("equal")
            axes.spines[:].set_visible(False)
            self._texts = [
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    "",
                    ha="center",
                    va="center",
                    fontsize=SMALL,
                    linespacing=1.15,
                    in_layout=False,  # it lies within the axes, and is slow to measure
                )
                for row in range(size)
                for column in range(size)
                if size <= _MOST_CLASSES
            ]
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
            self._title = axes.set_title(title, wrap=True)

    def show(self, confusion: ArrayLike, title: str) -> "Figure":
        """The one figure, with this matrix in the place of the one before.

        Args:
            confusion: (C, C) counts, true classes in rows.
        Raises:
            ValueError: the matrix is not square over the classes.
        """
        counts, size = np.asarray(confusion), self._size
        if counts.shape != (size, size):
            raise ValueError(
                f"confusion must be square over {size} classes, got shape {counts.shape}"
            )
        totals = counts.sum(1, keepdims=True)
        shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
        self._cells.set_array(shares)
        for text, (place, share) in zip(self._texts, np.ndenumerate(shares), strict=False):
            text.set_text(_cell(share if totals[place[0], 0] else None, int(counts[place]), size))
            text.set_color("white" if share > 0.72 else "black")
        self._title.set_text(title)
        return self._figure


def confusion_figure(confusion: ArrayLike, classes: Sequence[str], title: str) -> "Figure":
    """A figure of its own for one matrix; raises as `ConfusionPicture` does."""
    return ConfusionPicture(classes, title).show(confusion, title)


def _cell(share: float | None, count: int, size: int) -> str:
    if share == 0:
        return ""
    sign = " %" if size <= _WITH_SIGN else ""
    percent = "–" if share is None else f"{100 * share:.0f}{sign}"
    return f"{percent}\n{count}" if size <= _WITH_COUNT else percent


def _below(size: int) -> str:
    if _WITH_SIGN < size <= _WITH_COUNT:
        return "predicted (% of the true class, count)"
    return "predicted (% of the true class)" if _WITH_COUNT < size <= _MOST_CLASSES else "predicted"
