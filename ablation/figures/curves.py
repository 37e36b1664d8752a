"""How training went, epoch by epoch."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ablation.figures.canvas import COLOURS, DASHES, INK, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BAND = 0.18  # opacity


def curves_figure(
    losses: Mapping[str, ArrayLike], rates: Mapping[str, ArrayLike], title: str
) -> "Figure":
    """Draw the losses on a logarithmic scale and, where there are any, UA in percent below.

    A line is the mean over runs, its band reaches from the lowest to the highest run, both of those
    that got so far.

    Args:
        losses: (R, E) each, runs by epochs, nan where a run had stopped; "total" is drawn in ink.
        rates: (R, E) each in 0..1, named by what they were measured on; may be empty.
        title: Above the picture; "" for none.
    Raises:
        ValueError: no losses, or not all of one shape.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator

    shapes = {np.shape(values) for values in (*losses.values(), *rates.values())}
    if not losses or len(shapes) != 1 or len(shape := shapes.pop()) != 2 or 0 in shape:
        found = sorted({np.shape(v) for v in (*losses.values(), *rates.values())})
        raise ValueError(f"curves must all be of one shape, runs by epochs, got shapes {found}")
    with drawing(3.2 if rates else 2.2) as figure:
        above, *below = figure.subplots(1 + bool(rates), 1, sharex=True, squeeze=False)[:, 0]
        named = {"total": INK} | dict(
            zip((name for name in losses if name != "total"), COLOURS, strict=False)
        )
        _draw(above, losses, [named.get(name, INK) for name in losses])
        above.set_yscale("log")
        above.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        above.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        above.minorticks_off()
        above.set_ylabel("training loss")
        above.set_title(title, wrap=True)
        for axes in below:
            percent = {name: 100 * np.asarray(values) for name, values in rates.items()}
            _draw(axes, percent, COLOURS)
            axes.set_ylabel("UA %")
        lowest = (*below, above)[0]
        lowest.set_xlabel("epoch")
        lowest.xaxis.get_major_locator().set_params(integer=True)
    return figure


def _draw(axes: "Axes", curves: Mapping[str, ArrayLike], colours: Sequence[str]) -> None:
    for index, ((name, values), colour) in enumerate(zip(curves.items(), colours, strict=False)):
        runs = np.asarray(values, dtype=float)  # (R, E)
        epochs = np.arange(1, runs.shape[1] + 1)
        wide = 1.6 if colour == INK else 1.1
        marker = "o" if len(epochs) == 1 else None
        axes.plot(
            epochs,
            np.nanmean(runs, 0),
            color=colour,
            linewidth=wide,
            dashes=() if not index else _dashes(index),
            marker=marker,
            label=name,
        )
        if len(runs) > 1:
            axes.fill_between(
                epochs,
                np.nanmin(runs, 0),
                np.nanmax(runs, 0),
                color=colour,
                alpha=_BAND,
                linewidth=0,
            )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.8)


def _dashes(index: int) -> tuple[float, ...]:
    chosen = DASHES[index % len(DASHES)]
    return () if chosen == "-" else chosen[1]
