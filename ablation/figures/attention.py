"""Which frames of an utterance FLAM attends to, over its waveform."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablation.figures.canvas import INK, MUTED, NORMAL, SMALL, VERMILION, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 400  # of a waveform: each spans its lowest and highest sample


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """One utterance as the model heard it.

    Attributes:
        title: What it is, what it was taken for.
        waveform: (N,) float, as long as what was heard.
        weights: (T,) float, Eq. 5's alpha, summing to 1 over the frames that share that length.
    """

    title: str
    waveform: NDArray[np.float32]
    weights: NDArray[np.float32]


def attention_figure(utterances: Sequence[Attended], sample_rate_hz: int, title: str) -> "Figure":
    """Draw each waveform in grey and the attention of its frames above it as a filled line.

    Attention is in multiples of an even share: the dashed 1 is where every frame weighs the same.

    Raises:
        ValueError: there is no utterance, or one without samples or frames.
    """
    if not utterances or any(not len(u.waveform) or not len(u.weights) for u in utterances):
        raise ValueError("attention is drawn over utterances with samples and frames, got none")
    with drawing(0.5 + 1.15 * len(utterances)) as figure:
        panels = figure.subplots(len(utterances), 1, squeeze=False)[:, 0]
        for axes, each in zip(panels, utterances, strict=True):
            seconds = len(each.waveform) / sample_rate_hz
            draw_waveform(axes, each.waveform, seconds, MUTED)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            over = axes.twinx()
            share = np.asarray(each.weights, dtype=np.float64) * len(each.weights)
            edges = np.linspace(0, seconds, len(share) + 1)
            over.stairs(share, edges, color=VERMILION, linewidth=1.0)
            over.stairs(share, edges, color=VERMILION, alpha=0.1, fill=True)
            over.axhline(1, color=INK, linewidth=0.5, dashes=(4, 3))
            over.set_ylim(0, max(1.15 * share.max(), 1.5))
            over.spines["right"].set_visible(True)
            over.set_ylabel("attention", fontsize=SMALL)
            axes.set_xlim(0, seconds)
            axes.set_title(each.title, loc="left", fontsize=SMALL)
        panels[-1].set_xlabel("time in s")
        figure.suptitle(title, fontsize=NORMAL, wrap=True)
    return figure


def draw_waveform(axes: "Axes", waveform: NDArray[np.float32], seconds: float, colour: str) -> None:
    """Draw a waveform as the band between its lowest and highest samples, column by column."""
    columns = min(_COLUMNS, len(waveform))
    starts = np.arange(columns) * len(waveform) // columns
    low = np.minimum.reduceat(waveform, starts)
    high = np.maximum.reduceat(waveform, starts)
    peak = max(float(np.abs(waveform).max()), 1e-9)
    times = (np.arange(columns) + 0.5) * seconds / columns
    axes.fill_between(times, low, high, color=colour, linewidth=0.3)
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
