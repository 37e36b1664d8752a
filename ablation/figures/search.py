"""What mattered in a search: each setting's values against inner UA, and their importance."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from ablation.figures.canvas import BLUE, INK, MUTED, VERMILION, drawing, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ablation.search.importance import Importance, Points
    from ablation.search.space import Dimension

_COLUMNS = 2
_LETTERS = 48  # of a title in a line
_PANEL_INCHES, _LINE_INCHES, _ROOM_INCHES = 1.25, 0.19, 0.75


def search_figure(
    space: Sequence["Dimension"], points: "Points", mattered: "Importance | None", title: str
) -> "Figure":
    """Draw a panel a setting: its value and the mean UA on inner folds against the row itself.

    Args:
        space: The settings that were searched.
        points: One for each setting that was tried.
        mattered: Drawn below, as bars; None for too few settings.
        title: Above the picture.
    """
    lines = -(-len(space) // _COLUMNS)
    bars = 0.45 + _LINE_INCHES * len(space) if mattered else 0.0
    with drawing(_ROOM_INCHES + _PANEL_INCHES * lines + bars) as figure:
        # Laid out each by itself: the bars' long names must not push the panels aside.
        heights = [_PANEL_INCHES * lines + _LINE_INCHES] + ([bars] if mattered else [])
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        grid = parts[0].add_gridspec(lines, _COLUMNS)
        for place, dimension in enumerate(space):
            axes = parts[0].add_subplot(grid[place // _COLUMNS, place % _COLUMNS])
            _panel(axes, dimension, points, place)
            axes.set_xlabel(shortened(dimension.key, 26))
        if mattered:
            _bars(parts[1].add_subplot(), mattered)
            text = f"importance: loss of the forest's R² ({mattered.r2:.2f}), shuffled"
            parts[1].supxlabel(text, fontsize=8)
        parts[0].supylabel("inner UA against the row itself, points", fontsize=8)
        figure.suptitle(fill(shortened(title, 2 * _LETTERS), _LETTERS), fontsize=8)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=1)
    return figure


def _panel(axes: "Axes", dimension: "Dimension", points: "Points", place: int) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    gains = 100 * points.gains
    where = points.values[:, place]
    if dimension.kind == "loguniform":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")  # no mathtext here
        axes.xaxis.set_minor_formatter(NullFormatter())
        where = 10**where
    axes.axhline(0, color=MUTED, linewidth=0.6)
    others = np.arange(len(gains)) != points.own
    axes.plot(where[others], gains[others], "o", color=BLUE, markersize=3, label="tried")
    if points.own >= 0:
        own = slice(points.own, points.own + 1)
        axes.plot(where[own], gains[own], "D", color=VERMILION, markersize=4, label="row itself")
    if dimension.kind == "choice":
        names = [shortened(_name(choice), 9) for choice in dimension.choices]
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)


def _bars(axes: "Axes", mattered: "Importance") -> None:
    drops = list(mattered.drops.values())
    axes.barh(range(len(drops)), drops, color=BLUE, height=0.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(drops)), [shortened(key, 26) for key in mattered.drops])
    axes.set_ylim(len(drops) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _name(choice: object) -> str:
    return "+".join(map(str, choice)) if isinstance(choice, tuple) else str(choice)
