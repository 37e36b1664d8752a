"""What speech may suffer on its way to a model: noise, another gain, a room, a codec.

Waveforms are (N,) float32 at 16 kHz, as they are stored; what comes out is as long and in step with
what came in, and silence stays silence. Constants and their sources are in `core.conditions`.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from core.conditions import (
    BABBLE_VOICES,
    BAND_HZ,
    CODECS,
    FILTER_ORDER,
    FULL_SCALE,
    LOWPASS_HZ,
    TAIL_ENERGY,
    TELEPHONE_HZ,
)
from core.config import SAMPLE_RATE_HZ

Waveform = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a perturbation may take from elsewhere.

    Attributes:
        generator: Of this utterance and kind of perturbation alone; at every level the same.
        others: How many other utterances there are to make babble of.
        other: The waveform of one of them, by its place.
    """

    generator: np.random.Generator
    others: int
    other: Callable[[int], Waveform]


def noisy(waveform: Waveform, noise: NDArray[np.float64], snr_db: float) -> Waveform:
    """Add noise at a ratio of the mean powers of the whole utterance, pauses included.

    The sum isn't clipped: it may exceed full scale.

    Args:
        noise: (N,) float, not silent.
    """
    speech = waveform.astype(np.float64)
    power, noise_power = np.square(speech).mean(), np.square(noise).mean()
    scale = np.sqrt(power / noise_power * 10 ** (-snr_db / 10))
    return (speech + scale * noise).astype(np.float32)


def white(samples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """(N,) of equal power in every band of equal width."""
    return generator.standard_normal(samples)


def pink(samples: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """(N,) of equal power in every octave: its density falls as 1 / f, and there is none at 0."""
    if samples < 2:  # no frequency but 0
        return white(samples, generator)
    spectrum = np.fft.rfft(white(samples, generator))
    places = np.arange(len(spectrum))
    places[0] = 1
    spectrum /= np.sqrt(places)
    spectrum[0] = 0.0
    return np.fft.irfft(spectrum, samples)


def babble(samples: int, around: Surroundings) -> NDArray[np.float64]:
    """(N,) of `BABBLE_VOICES` other utterances, equally loud, each from a drawn place and looped.

    Raises:
        ValueError: there are no other utterances, or silent ones alone.
    """
    mixed = np.zeros(samples)
    voices = 0
    for place in around.generator.permutation(around.others):
        voice = around.other(int(place)).astype(np.float64)
        power = np.square(voice).mean()
        if not power:
            continue
        start = int(around.generator.integers(len(voice)))
        mixed += np.resize(np.roll(voice, -start), samples) / np.sqrt(power)
        voices += 1
        if voices == BABBLE_VOICES:
            break
    if not voices or not mixed.any():
        raise ValueError("babble needs another utterance that is not silent, found none")
    return mixed


def amplified(waveform: Waveform, gain_db: float) -> Waveform:
    """Louder or softer, and clipped at full scale."""
    scaled = waveform.astype(np.float64) * 10 ** (gain_db / 20)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE).astype(np.float32)


def room_response(rt60_s: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """A room's impulse response, of unit energy: the direct sound at 0, then a decaying tail.

    The tail is white noise whose energy falls by 60 dB in `rt60_s` (Polack 1988).
    """
    samples = round(rt60_s * SAMPLE_RATE_HZ)
    decay = 10 ** (-3 * np.arange(samples) / samples)  # of amplitudes: 60 dB are a thousand
    tail = white(samples, generator) * decay
    tail[0] = 0.0
    response = tail * np.sqrt(TAIL_ENERGY / np.square(tail).sum())
    response[0] = 1.0
    return response / np.sqrt(np.square(response).sum())


def reverberant(waveform: Waveform, response: NDArray[np.float64]) -> Waveform:
    """As heard in a room, cut where the utterance ended."""
    heard = signal.fftconvolve(waveform.astype(np.float64), response)
    return heard[: len(waveform)].astype(np.float32)


def coded(waveform: Waveform, codec: str) -> Waveform:
    """Written and read by libsndfile's own codec at its lowest quality.

    Raises:
        ValueError: this libsndfile has no such codec, or gives back another length.
    """
    kind, subtype, level = CODECS[codec]
    return _through(waveform, kind, subtype, SAMPLE_RATE_HZ, compression_level=level)


def telephoned(waveform: Waveform) -> Waveform:
    """Over a telephone: its band, 8 kHz, G.711's mu-law."""
    filters = signal.butter(FILTER_ORDER, BAND_HZ, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")
    narrow = signal.resample_poly(_filtered(waveform, filters), TELEPHONE_HZ, SAMPLE_RATE_HZ)
    line = _through(narrow.astype(np.float32), "WAV", "ULAW", TELEPHONE_HZ)
    wide = signal.resample_poly(line.astype(np.float64), SAMPLE_RATE_HZ, TELEPHONE_HZ)
    return wide[: len(waveform)].astype(np.float32)


def muffled(waveform: Waveform) -> Waveform:
    """Without what is above `LOWPASS_HZ`."""
    filters = signal.butter(FILTER_ORDER, LOWPASS_HZ, "lowpass", fs=SAMPLE_RATE_HZ, output="sos")
    return _filtered(waveform, filters).astype(np.float32)


def perturbed(waveform: Waveform, kind: str, level: float | str, around: Surroundings) -> Waveform:
    """An utterance under one perturbation; silence as it is.

    Args:
        level: dB of noise or gain, seconds of a room, or which codec.
    Raises:
        ValueError: there is nothing to make babble of, or this machine lacks the codec.
    """
    if not waveform.any():
        return waveform
    samples, generator = len(waveform), around.generator
    match kind, level:
        case "white", float():
            return noisy(waveform, white(samples, generator), level)
        case "pink", float():
            return noisy(waveform, pink(samples, generator), level)
        case "babble", float():
            return noisy(waveform, babble(samples, around), level)
        case "gain", float():
            return amplified(waveform, level)
        case "reverb", float():
            return reverberant(waveform, room_response(level, generator))
        case "codec", "telephone":
            return telephoned(waveform)
        case "codec", "lowpass":
            return muffled(waveform)
        case "codec", str():
            return coded(waveform, level)
    raise ValueError(f"a perturbation must be one of core/conditions.py, got {kind!r} at {level!r}")


def _filtered(waveform: Waveform, filters: NDArray[np.float64]) -> NDArray[np.float64]:
    padding = min(3 * FILTER_ORDER * len(filters), len(waveform) - 1)
    return signal.sosfiltfilt(filters, waveform.astype(np.float64), padlen=padding)


def _through(
    waveform: Waveform, kind: str, subtype: str, rate_hz: int, **settings: float
) -> Waveform:
    """Encoded and decoded in memory; what exceeds full scale is scaled for it, and back."""
    peak = max(float(np.abs(waveform).max(initial=0.0)), FULL_SCALE)
    file = io.BytesIO()
    try:
        soundfile.write(file, waveform / peak, rate_hz, format=kind, subtype=subtype, **settings)
        file.seek(0)
        found, _ = soundfile.read(file, dtype="float32")
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise ValueError(
            f"libsndfile must be able to write {kind} ({subtype}), as 1.2 can, found "
            f"{soundfile.__libsndfile_version__}: {error}"
        ) from error
    if len(found) != len(waveform):
        rule = f"{subtype} must give back {len(waveform)} samples"
        raise ValueError(
            f"{rule}, gave {len(found)} (libsndfile {soundfile.__libsndfile_version__})"
        )
    return (found * peak).astype(np.float32)
