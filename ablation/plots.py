"""Pictures of results. matplotlib is imported where a picture is drawn, since it takes its time."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN_INCHES = 3.35  # P: a column of its two-column page
SUFFIXES = (".png", ".svg")
DOTS_PER_INCH = 200


def confusion_figure(confusion: ArrayLike, classes: Sequence[str], title: str) -> "Figure":
    """Draw counts and row percentages, one hue from light to dark by the share of the true class.

    Args:
        confusion: (C, C) counts, true classes in rows.
        classes: Names in the order of the rows.
        title: Above the picture; "" for none.
    Raises:
        ValueError: the matrix is not square over the classes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.asarray(confusion)
    size = len(classes)
    if not size or counts.shape != (size, size):
        raise ValueError(f"confusion must be square over {size} classes, got shape {counts.shape}")
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)

    figure = Figure(figsize=(COLUMN_INCHES, COLUMN_INCHES), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    font = 8.0 if size <= 4 else 6.5 if size <= 6 else 5.5
    for (row, column), share in np.ndenumerate(shares):
        percent = f"{100 * share:.0f} %" if totals[row, 0] else "–"
        axes.text(
            column,
            row,
            f"{percent}\n{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=font,
            linespacing=1.15,
            color="white" if share > 0.72 else "black",
        )
    slanted = max(map(len, classes)) * size > 32  # names would run into one another
    ticks = range(size)
    axes.set_xticks(
        ticks,
        classes,
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor",
    )
    axes.set_yticks(ticks, classes)
    axes.set_xticks(np.arange(0.5, size - 1), minor=True)
    axes.set_yticks(np.arange(0.5, size - 1), minor=True)
    axes.grid(which="minor", color="0.8", linewidth=0.4)
    axes.tick_params(which="both", length=0, labelsize=7)
    axes.set_xlabel("predicted", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    axes.set_title(title, fontsize=8, parse_math=False, wrap=True)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as .png or .svg; equal figures give equal files.

    Raises:
        ValueError: the name ends in neither.
    """
    from matplotlib import rc_context

    if path.suffix not in SUFFIXES:
        raise ValueError(f"a picture must end in {' or '.join(SUFFIXES)}, got {path.name!r}")
    metadata = {"Date": None} if path.suffix == ".svg" else {}
    with rc_context({"svg.hashsalt": "ser", "svg.fonttype": "path"}):
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata=metadata)
