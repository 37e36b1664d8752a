"""How figures fall as speech gets worse: a panel a perturbation, a line a row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

from ablation.figures.canvas import COLOURS, DASHES, MARKERS, MUTED, SMALL, drawing, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_WIDE = 2
_PANEL_INCHES = 1.45
_LEGEND_INCHES = 0.15  # a line of it
_SPREAD = 0.4  # of the places of one level that is no step on a way, beside one another


@dataclass(frozen=True, slots=True)
class Panel:
    """One perturbation.

    Attributes:
        title: What its levels are.
        levels: Their names, in the order of the axis, the clean one among them.
        rates: By row: a rate in 0..1 at each level.
        are_steps: Whether the levels lie on a way, so that a line may join them.
    """

    title: str
    levels: Sequence[str]
    rates: Mapping[str, Sequence[float]]
    are_steps: bool = True


def robustness_figure(panels: Sequence[Panel], metric: str, title: str) -> "Figure":
    """Draw each panel on the same scale, rows told apart by colour, marker and dashes.

    Args:
        metric: WA or UA.
        title: Above the picture; "" for none.
    Raises:
        ValueError: there is no panel, or a row has not a rate for each level.
    """
    if not panels or any(
        len(rates) != len(panel.levels) for panel in panels for rates in panel.rates.values()
    ):
        raise ValueError("robustness is drawn over panels with a rate for each level, got others")
    rows = list(panels[0].rates)
    lines = ceil(len(panels) / _PANELS_WIDE)
    with drawing(0.5 + _PANEL_INCHES * lines + _LEGEND_INCHES * len(rows)) as figure:
        wide = min(_PANELS_WIDE, len(panels))
        every = figure.subplots(lines, wide, sharey=True, squeeze=False).ravel()
        for axes, panel in zip(every, panels, strict=False):
            _draw(axes, panel)
        for axes in every[len(panels) :]:
            axes.set_visible(False)
        for axes in every[::wide]:
            axes.set_ylabel(f"{metric} %")
        handles, names = every[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=1, handlelength=3)
        figure.suptitle(title, wrap=True)
    return figure


def _draw(axes: "Axes", panel: Panel) -> None:
    count = len(panel.rates)
    for index, (row, rates) in enumerate(panel.rates.items()):
        shift = 0.0 if panel.are_steps else _SPREAD * ((index + 0.5) / count - 0.5)
        looks: dict[str, Any] = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": DASHES[index % len(DASHES)] if panel.are_steps else "none",
        }
        axes.plot(
            [place + shift for place in range(len(rates))],
            [100 * rate for rate in rates],
            linewidth=1.1,
            markersize=3.2,
            label=shortened(row, 40),
            **looks,
        )
    crowded = sum(map(len, panel.levels)) > 24
    axes.set_xticks(
        range(len(panel.levels)),
        panel.levels,
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor",
    )
    axes.grid(axis="y", color=MUTED, linewidth=0.3, alpha=0.6)
    axes.set_axisbelow(True)
    axes.set_title(panel.title, fontsize=SMALL, loc="left")
