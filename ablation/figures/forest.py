"""What each row gains or loses against the baseline row, with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from ablation.figures.canvas import BLUE, INK, MUTED, VERMILION, drawing, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE_INCHES = 0.21
_ROOM_INCHES = 1.05  # title, axis, legend


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference as a fraction, and its interval; nan where there is none."""

    value: float
    low: float
    high: float


def forest_figure(
    rows: Sequence[str], ua: Sequence[Estimate], wa: Sequence[Estimate], title: str
) -> "Figure":
    """Draw a line a row: UA's difference as a disc, WA's as a square, in percentage points.

    Args:
        rows: Names, the first drawn uppermost.
        ua: One each; an estimate whose value is nan is left out, its line stays.
        wa: The same of WA.
        title: Above the picture, naming the baseline.
    Raises:
        ValueError: a row lacks an estimate, or there is no row.
    """
    if not rows or not len(rows) == len(ua) == len(wa):
        counts = f"{len(rows)} rows, {len(ua)} of UA and {len(wa)} of WA"
        raise ValueError(f"every row needs a difference of UA and of WA, got {counts}")
    with drawing(_ROOM_INCHES + _LINE_INCHES * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=INK, linewidth=0.8)
        series = (("UA", ua, BLUE, "o", -0.16), ("WA", wa, VERMILION, "s", 0.16))
        for name, estimates, colour, marker, shift in series:
            drawn = [
                (place + shift, each)
                for place, each in enumerate(estimates)
                if not isnan(each.value)
            ]
            axes.hlines(
                [place for place, each in drawn],
                [100 * (each.value if isnan(each.low) else each.low) for _, each in drawn],
                [100 * (each.value if isnan(each.high) else each.high) for _, each in drawn],
                color=colour,
                linewidth=1.1,
            )
            axes.plot(
                [100 * each.value for _, each in drawn],
                [place for place, _ in drawn],
                marker,
                color=colour,
                markersize=3.6,
                label=name,
            )
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [shortened(name, 28) for name in rows])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color=MUTED, linewidth=0.3, alpha=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel("difference in percentage points")
        axes.set_title(title, wrap=True)
        figure.legend(loc="outside lower center", ncols=2, handlelength=1)
    return figure
