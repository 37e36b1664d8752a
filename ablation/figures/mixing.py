"""What mixing makes of two utterances: host, partner, mixture."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ablation.figures.attention import draw_waveform
from ablation.figures.canvas import BLUE, INK, NORMAL, ORANGE, SMALL, drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mixed:
    """One mixture and what it was made of; waveforms are (N,) float, each of its own length.

    Attributes:
        classes: Of the host and of the partner.
        host_span: First sample of the mixed span in the host, and one past the last.
        partner_span: The same in the partner.
        mix_ratio: The paper's lambda: the partner's share of the label.
        snr_db: The host's segment over the partner's; nan where the method has none.
    """

    host: NDArray[np.float32]
    partner: NDArray[np.float32]
    mixture: NDArray[np.float32]
    classes: tuple[str, str]
    host_span: tuple[int, int]
    partner_span: tuple[int, int]
    mix_ratio: float
    snr_db: float


def mixing_figure(mixtures: Sequence[Mixed], sample_rate_hz: int, title: str) -> "Figure":
    """Draw three waveforms a mixture, on one scale of time, the mixed span marked in each.

    Raises:
        ValueError: there is no mixture.
    """
    if not mixtures:
        raise ValueError("a picture of mixing needs a mixture at least, got none")
    with drawing(0.4 + 2.3 * len(mixtures)) as figure:
        panels = figure.subplots(3 * len(mixtures), 1, sharex=True)
        for index, each in enumerate(mixtures):
            host, partner = each.classes
            parts = (
                (f"host: {host}", each.host, each.host_span, BLUE),
                (f"partner: {partner}", each.partner, each.partner_span, ORANGE),
                (_mixture(each), each.mixture, each.host_span, INK),
            )
            for axes, (name, waveform, span, colour) in zip(
                panels[3 * index : 3 * index + 3], parts, strict=True
            ):
                draw_waveform(axes, waveform, len(waveform) / sample_rate_hz, colour)
                start, stop = (sample / sample_rate_hz for sample in span)
                axes.axvspan(start, stop, color=ORANGE, alpha=0.22, linewidth=0)
                for edge in (start, stop):
                    axes.axvline(edge, color=ORANGE, linewidth=0.8)
                axes.set_title(name, loc="left", fontsize=SMALL, pad=2)
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                axes.tick_params(axis="x", length=0 if axes is not panels[-1] else 2)
        longest = max(len(w) for each in mixtures for w in (each.host, each.partner, each.mixture))
        panels[-1].set_xlim(0, longest / sample_rate_hz)
        panels[-1].set_xlabel("time in s")
        figure.suptitle(title, fontsize=NORMAL, wrap=True)
    return figure


def _mixture(mixed: Mixed) -> str:
    host, partner = mixed.classes
    snr = "" if isnan(mixed.snr_db) else f", SNR {mixed.snr_db:.1f} dB".replace("-", "−")
    if host == partner:
        label = host
    else:
        label = f"{1 - mixed.mix_ratio:.2f} {host} + {mixed.mix_ratio:.2f} {partner}"
    return f"mixture: λ = {mixed.mix_ratio:.2f}{snr}; label {label}"
