"""What the ear should hear, measured: pitch, tilt, rate and loudness by emotion."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from core.corpora.prosody import PROSODIES, SpeakerVoice, draw_speaker
from core.corpora.voice import HOP_SAMPLES, PEAK, SAMPLE_RATE_HZ, synthesise

UTTERANCES = 12  # of an emotion and a speaker: the scatter of their mean is 0.3 of one utterance's


@pytest.fixture(scope="module", params=["F", "M"])
def speaker(request):
    return draw_speaker(request.param, np.random.default_rng(1))


@cache
def utterances(label: str, speaker: SpeakerVoice) -> list[np.ndarray]:
    return [synthesise(label, speaker, np.random.default_rng([7, n])) for n in range(UTTERANCES)]


def pitch_hz(samples: np.ndarray) -> float:
    """Median over the louder 40 ms frames of the autocorrelation's highest peak in 60-500 Hz."""
    frames = samples[: samples.size // 640 * 640].reshape(-1, 640)
    loud = frames[np.square(frames).mean(1) > np.square(frames).mean()]
    spectra = np.abs(np.fft.rfft(loud * np.hanning(640), 2048)) ** 2
    correlation = np.fft.irfft(spectra)[:, :320]
    correlation /= np.fft.irfft(np.abs(np.fft.rfft(np.hanning(640), 2048)) ** 2)[:320]
    shortest = SAMPLE_RATE_HZ // 500
    lags = shortest + correlation[:, shortest : SAMPLE_RATE_HZ // 60].argmax(1)
    return float(np.median(SAMPLE_RATE_HZ / lags))


def tilt_db(samples: np.ndarray) -> float:
    """Energy above 2 kHz against the energy below."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    split = power.size // 4
    return float(10 * np.log10(power[split:].sum() / power[:split].sum()))


def syllables_per_s(samples: np.ndarray) -> float:
    """Strongest rhythm of the energy between 2 and 9 Hz, weighted."""
    energy = np.sqrt(np.square(samples.reshape(-1, HOP_SAMPLES)).mean(1))
    rhythm = np.abs(np.fft.rfft(energy - energy.mean(), 1024)) ** 2
    rates_hz = np.fft.rfftfreq(1024, HOP_SAMPLES / SAMPLE_RATE_HZ)
    band = (rates_hz > 2) & (rates_hz < 9)
    return float((rates_hz * rhythm)[band].sum() / rhythm[band].sum())


def long_term_slopes(signals: list[np.ndarray]) -> np.ndarray:
    """Change of the average spectrum along 24 steps an octave, without its mean."""
    samples = np.concatenate(signals)
    frames = samples[: samples.size // 512 * 512].reshape(-1, 512) * np.hanning(512)
    power = (np.abs(np.fft.rfft(frames, 4096)) ** 2).mean(0)
    envelope = np.convolve(power, np.hanning(100), mode="same")  # 390 Hz: wider than harmonics
    places_hz = 300 * 2 ** (np.arange(100) / 24)  # up to 5.2 kHz
    bins_hz = np.fft.rfftfreq(4096, 1 / SAMPLE_RATE_HZ)
    slopes = np.diff(np.interp(places_hz, bins_hz, np.log10(envelope)))
    return slopes - slopes.mean()


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.square(samples).mean()))


def mean_of(measure, label: str, speaker: SpeakerVoice) -> float:
    return float(np.mean([measure(samples) for samples in utterances(label, speaker)]))


def test_the_measured_pitch_is_the_speakers(speaker):
    neutral = mean_of(pitch_hz, "neutral", speaker)
    assert abs(12 * np.log2(neutral / speaker.pitch_hz)) < 2.5


@pytest.mark.parametrize("label", ["angry", "happy", "fearful", "surprised"])
def test_aroused_emotions_are_higher_than_sadness(label, speaker):
    interval = mean_of(pitch_hz, label, speaker) / mean_of(pitch_hz, "sad", speaker)
    assert 12 * np.log2(interval) > 2


def test_anger_is_brighter_than_neutral_and_sadness_duller(speaker):
    angry, neutral, sad = (mean_of(tilt_db, each, speaker) for each in ("angry", "neutral", "sad"))
    assert angry > neutral + 2 > sad + 4


def test_anger_is_louder_than_sadness(speaker):
    assert mean_of(level_db, "angry", speaker) > mean_of(level_db, "sad", speaker) + 6


def test_anger_is_faster_than_sadness(speaker):
    angry, sad = (mean_of(syllables_per_s, label, speaker) for label in ("angry", "sad"))
    assert angry > 1.1 * sad


def test_a_tract_shorter_by_a_quarter_octave_moves_the_spectrum_up_by_as_much(speaker):
    short = replace(speaker, tract_cm=speaker.tract_cm / 2**0.25)
    usual, higher = (long_term_slopes(utterances("angry", voice)) for voice in (speaker, short))
    shifts = range(-12, 13)  # of 1/24 octave
    match = [np.corrcoef(usual[12:-12], np.roll(higher, -shift)[12:-12])[0, 1] for shift in shifts]
    assert 4 <= shifts[int(np.argmax(match))] <= 8


@pytest.mark.parametrize("label", PROSODIES)
def test_every_emotion_gives_a_short_clean_signal(label, speaker):
    for samples in utterances(label, speaker):
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert 0.001 < np.abs(samples).max() <= PEAK + 1e-6
        assert 0.7 < samples.size / SAMPLE_RATE_HZ < 3.0
        assert samples.size % HOP_SAMPLES == 0


def test_the_same_stream_gives_the_same_bytes_and_another_does_not(speaker):
    first, again, other = (
        synthesise("happy", speaker, np.random.default_rng(seed)).tobytes() for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_women_speak_higher_with_shorter_tracts_on_average():
    generator = np.random.default_rng(0)
    women, men = ([draw_speaker(sex, generator) for _ in range(50)] for sex in "FM")
    assert 1.5 < np.mean([w.pitch_hz for w in women]) / np.mean([m.pitch_hz for m in men]) < 2.0
    assert 1.5 < np.mean([m.tract_cm for m in men]) - np.mean([w.tract_cm for w in women]) < 3.5


def test_unknown_emotions_and_sexes_are_refused_by_name(speaker):
    with pytest.raises(ValueError, match=r"an emotion is one of neutral, calm, .*, got 'bored'"):
        synthesise("bored", speaker, np.random.default_rng(0))
    with pytest.raises(ValueError, match="the sex of a voice is 'F' or 'M', got 'x'"):
        draw_speaker("x", np.random.default_rng(0))
