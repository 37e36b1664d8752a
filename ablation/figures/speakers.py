"""How well each speaker is recognised, and how much that depends on the row."""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ablation.figures.canvas import BLUE, MUTED, ORANGE, drawing, shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SPEAKERS = 40  # a screenful; of more, those that are recognised worst
_LINE_INCHES = 0.15
_ROOM_INCHES = 1.05


def speakers_figure(rows: Mapping[str, Mapping[str, float]], title: str) -> "Figure":
    """Draw a line a speaker, the best recognised uppermost, from the lowest row to the highest.

    The first row of the table is an open ring, the last a disc, the others are ticks.

    Args:
        rows: By the row's name, in the table's order: UA in 0..1 by speaker.
        title: Above the picture; "" for none.
    Raises:
        ValueError: there is no speaker.
    """
    by_speaker = {
        name: [speakers.get(name, nan) for speakers in rows.values()]
        for name in sorted({name for speakers in rows.values() for name in speakers})
    }
    if not by_speaker:
        raise ValueError("a picture of speakers must have one at least, got none")
    ranked = sorted(by_speaker, key=lambda name: -fmean(_known(by_speaker[name])))
    shown = ranked[-MOST_SPEAKERS:]
    with drawing(_ROOM_INCHES + _LINE_INCHES * len(shown)) as figure:
        axes = figure.add_subplot()
        for place, name in enumerate(shown):
            values = [100 * value for value in _known(by_speaker[name])]
            axes.hlines(place, min(values), max(values), color=MUTED, linewidth=0.7)
            axes.plot(values, [place] * len(values), "|", color=MUTED, markersize=4)
        names = list(rows)
        ends: list[tuple[str, int, dict[str, Any]]] = [
            (names[0], 0, {"mfc": "none", "mec": ORANGE, "mew": 1.2})
        ]
        if len(names) > 1:
            ends.append((names[-1], -1, {"mfc": BLUE, "mec": BLUE}))
        for row, index, look in ends:
            values = [100 * by_speaker[name][index] for name in shown]
            axes.plot(
                values,
                range(len(shown)),
                linestyle="none",
                marker="o",
                markersize=4,
                label=shortened(row, 30),
                **look,
            )
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_yticks(range(len(shown)), [shortened(name, 16) for name in shown])
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=MUTED, linewidth=0.3, alpha=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("UA % of each speaker")
        axes.set_title(_title(title, len(shown), len(ranked)), wrap=True)
        figure.legend(loc="outside lower center", ncols=1, handlelength=1)
    return figure


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in values if not isnan(value)]


def _title(title: str, shown: int, known: int) -> str:
    if shown == known:
        return title
    return f"{title}{': ' if title else ''}the {shown} lowest of {known} speakers"
