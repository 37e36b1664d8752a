"""Clips at another speed: shorter or longer, higher or lower, and cropped as they are heard."""

import math

import numpy as np
import pytest

from core.clips import Clips, at_speed, samples_at
from core.config import SAMPLE_RATE_HZ, AudioConfig
from tests.core.small_speech import MemoryStore


def tone(hz: float, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(samples) / SAMPLE_RATE_HZ).astype(np.float32)


@pytest.mark.parametrize("speed", [0.5, 0.9, 0.97, 1.1, 2.0])
@pytest.mark.parametrize("samples", [1, 7, 100, 16_001])
def test_an_utterance_has_its_samples_over_its_speed(speed, samples):
    assert len(at_speed(tone(200, samples), speed)) == samples_at(samples, speed)
    assert samples_at(samples, speed) == math.ceil(samples * 100 / round(speed * 100))


@pytest.mark.parametrize("speed", [0.8, 0.9, 1.1, 1.25])
def test_a_tone_moves_to_its_frequency_times_the_speed(speed):
    heard = at_speed(tone(400, SAMPLE_RATE_HZ), speed)
    expected = tone(400 * speed, len(heard))
    inner = slice(100, -100)  # the filter sees zeros beyond both ends
    np.testing.assert_allclose(heard[inner], expected[inner], atol=5e-3)


def test_what_would_fold_back_is_gone():
    heard = at_speed(tone(7_000, SAMPLE_RATE_HZ), 1.5)  # 10 500 Hz, beyond half the rate
    assert np.abs(heard[100:-100]).max() < 0.02


def test_at_its_own_speed_an_utterance_is_the_stored_one():
    waveform = tone(200, 50)
    assert at_speed(waveform, 1.0) is waveform


@pytest.mark.parametrize(
    ("speed", "samples"),
    [
        (1.0, 320),  # the crop of 20 ms
        (0.8, 320),  # 256 stored samples fill it
        (1.25, 320),  # 400 do
        (2.0, 240),  # all 480 do not
    ],
)
def test_the_crop_is_of_what_is_heard(speed, samples):
    clips = Clips(MemoryStore({"a": tone(200, 480)}), AudioConfig(crop_s=0.02))
    assert clips.length("a", speed) == len(clips.read("a", speed)) == samples


def test_the_peak_is_of_what_is_heard():
    clips = Clips(MemoryStore({"a": 0.1 * tone(200, 480)}), AudioConfig(normalise="peak"))
    assert np.abs(clips.read("a", 0.9)).max() == 1.0
