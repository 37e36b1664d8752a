"""Which parts of a recording a trained model hears, one after the other."""

from dataclasses import dataclass

import numpy as np

from core.clips import loud_extent, to_peak
from core.config import SAMPLE_RATE_HZ, AudioConfig


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A part of a recording, as the model hears it.

    Attributes:
        heard: (N,) float32 at 16 kHz, trimmed and levelled as in training.
    """

    start_s: float
    end_s: float
    heard: np.ndarray


def windows_of(
    waveform: np.ndarray,
    audio: AudioConfig,
    window_s: float | None = None,
    hop_s: float | None = None,
) -> list[Window]:
    """Cut a recording into windows of one length; the last one ends with the recording.

    Silence is trimmed from the recording's ends where training trimmed it from an utterance's, so
    the first window of a test utterance is what the fold was scored on.

    Args:
        waveform: (N,) float32 at 16 kHz, N at least 1.
        window_s: None is the model's crop.
        hop_s: From one start to the next; None is a window, so that nothing is heard twice but by
            the last.
    """
    first, stop = 0, len(waveform)
    if audio.trim_db is not None:
        first, stop = loud_extent(waveform, audio.trim_db)
    length = max(1, round((audio.crop_s if window_s is None else window_s) * SAMPLE_RATE_HZ))
    hop = length if hop_s is None else max(1, round(hop_s * SAMPLE_RATE_HZ))
    last = max(first, stop - length)
    starts = [*range(first, last, hop), last]
    return [_window(waveform, start, min(start + length, stop), audio) for start in starts]


def _window(waveform: np.ndarray, start: int, stop: int, audio: AudioConfig) -> Window:
    heard = waveform[start:stop]
    if audio.normalise == "peak":
        heard = to_peak(heard)
    return Window(start / SAMPLE_RATE_HZ, stop / SAMPLE_RATE_HZ, heard)
