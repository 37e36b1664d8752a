"""What an encoder sees of each utterance: its waveform, trimmed, sped up, cropped and levelled."""

from collections.abc import Mapping
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torchaudio.transforms import Resample

from core.config import SAMPLE_RATE_HZ, AudioConfig

TRIM_FRAME_SAMPLES = 160  # O: 10 ms


class Inputs(Protocol):
    """Where batches are cut from: waveforms, or the frames that an encoder made of them."""

    def length(self, name: str, speed: float = 1.0) -> int:
        """How long an utterance is, in samples or frames; at least 1."""

    def read(self, name: str, speed: float = 1.0) -> np.ndarray:
        """An utterance, its length along the first axis; of floats, the same shape beyond it.

        One vector where the frames need be pooled but once (`core.pooled`): then that axis is of 1,
        and batches are cut by the length that there was.
        """


class Waveforms(Protocol):
    """A store of whole utterances at 16 kHz."""

    @property
    def lengths(self) -> Mapping[str, int]: ...
    def waveform(self, name: str) -> np.ndarray: ...


class Clips:
    """The waveforms of a store as a setting has them heard."""

    def __init__(self, store: Waveforms, audio: AudioConfig) -> None:
        self._store = store
        self._audio = audio
        self._crop_samples = round(audio.crop_s * SAMPLE_RATE_HZ)
        self._extents: dict[str, tuple[int, int]] = {}

    def length(self, name: str, speed: float = 1.0) -> int:
        """Samples of an utterance that are heard."""
        start, stop = self._extent(name, speed)
        return samples_at(stop - start, speed)

    def read(self, name: str, speed: float = 1.0) -> np.ndarray:
        """(N,) float32 at 16 kHz; may be a view of read-only memory."""
        waveform = at_speed(self._store.waveform(name)[slice(*self._extent(name, speed))], speed)
        return to_peak(waveform) if self._audio.normalise == "peak" else waveform

    def _extent(self, name: str, speed: float) -> tuple[int, int]:
        """The stored samples that are heard: first, and one past the last."""
        if name not in self._extents:
            self._extents[name] = (0, self._store.lengths[name])
            if self._audio.trim_db is not None:
                self._extents[name] = loud_extent(self._store.waveform(name), self._audio.trim_db)
        start, stop = self._extents[name]
        return start, min(stop, start + cropped_samples(self._crop_samples, speed))


def heard_at(waveform: np.ndarray, speed: float, audio: AudioConfig) -> np.ndarray:
    """What an encoder hears at a speed of what it hears at an utterance's own.

    The same as `Clips.read` where the own is shorter than the crop; faster, a longer one ends
    where the crop at its own speed does.

    Args:
        waveform: (N,) float32, trimmed, cropped and levelled.
    """
    crop_samples = round(audio.crop_s * SAMPLE_RATE_HZ)
    sped = at_speed(waveform[: cropped_samples(crop_samples, speed)], speed)
    return to_peak(sped) if audio.normalise == "peak" else sped


def cropped_samples(crop_samples: int, speed: float) -> int:
    """Stored samples that a crop holds of an utterance at another speed."""
    return max(1, int(crop_samples * speed))


def samples_at(samples: int, speed: float) -> int:
    """How many samples so many become at another speed: their number over the speed, rounded up."""
    return -(-samples * 100 // round(speed * 100))


def at_speed(waveform: np.ndarray, speed: float) -> np.ndarray:
    """Play an utterance faster or slower, its pitch and formants moving along.

    Args:
        waveform: (N,) float32.
        speed: In whole hundredths; 1.1 takes a tenth more samples a second.
    Returns:
        (`samples_at` (N, speed),) float32; the very waveform at speed 1.
    Source: Ko et al. 2015, 3.1; band-limited interpolation as in `core.audio`.
    """
    if speed == 1.0:
        return waveform
    with torch.inference_mode():
        return np.asarray(_resampler(round(speed * 100))(torch.tensor(waveform)))


@cache
def _resampler(hundredths: int) -> Resample:
    return Resample(hundredths, 100)


def to_peak(waveform: np.ndarray) -> np.ndarray:
    """Scale an utterance's largest magnitude to one; silence stays silence.

    Args:
        waveform: (N,) float.
    Returns:
        (N,) float, of the same type.
    Source: C (LAM), before the mix.
    """
    peak = np.abs(waveform).max()
    return waveform / peak if peak > 0 else waveform


def loud_extent(waveform: np.ndarray, trim_db: float) -> tuple[int, int]:
    """Where an utterance begins and ends, silence at either end left out.

    Args:
        waveform: (N,) float at 16 kHz.
        trim_db: How far below the power of the loudest 10 ms another 10 ms still counts as sound.
    Returns:
        The first sample of the first such 10 ms and one past the last of the last; all of a silent
        utterance.
    Source: O.
    """
    frames = -(-len(waveform) // TRIM_FRAME_SAMPLES)
    padded = np.zeros(frames * TRIM_FRAME_SAMPLES, dtype=np.float32)
    padded[: len(waveform)] = waveform
    power = np.square(padded.reshape(frames, TRIM_FRAME_SAMPLES)).sum(1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-trim_db / 10))
    start, stop = int(loud[0]) * TRIM_FRAME_SAMPLES, (int(loud[-1]) + 1) * TRIM_FRAME_SAMPLES
    return start, min(stop, len(waveform))
