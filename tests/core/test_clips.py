"""What is heard of an utterance: its extent, crop, peak and speed."""

import math

import numpy as np
import pytest
import torch

from core.clips import Clips, at_speed, loud_extent, samples_at, to_peak
from core.config import SAMPLE_RATE_HZ, AudioConfig
from tests.core.small_batches import UNTOUCHED, make_batcher, noise
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


def test_an_utterance_is_cropped_at_its_end():
    short, long = noise([1000, 5000])
    batcher = make_batcher([short, long], AudioConfig(crop_s=0.1, normalise="none"))
    (batch,) = batcher.in_order()
    assert batch.lengths.tolist() == [1000, 1600]  # a tenth of 16 000
    assert batch.inputs.shape == (2, 1600)
    np.testing.assert_array_equal(batch.inputs[1].numpy(), long[:1600].astype(np.float32))


def test_peaks_are_brought_to_one_and_silence_stays_silence():
    batcher = make_batcher([[0.25, -0.5], [0.0, 0.0, 0.0]], AudioConfig(normalise="peak"))
    (batch,) = batcher.in_order()
    assert batch.inputs.tolist() == [[0.5, -1.0, 0.0], [0.0, 0.0, 0.0]]


def test_to_peak_scales_each_utterance_by_itself():
    waveforms = np.float32([[0.0, 0.1, -0.2], [4.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    expected = np.float32([[0.0, 0.5, -1.0], [1.0, 0.5, -0.25], [0.0, 0.0, 0.0]])
    for waveform, scaled in zip(waveforms, expected, strict=True):
        found = to_peak(waveform)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, scaled)


def test_without_normalisation_the_level_stays():
    batcher = make_batcher([[0.25, -0.5]], UNTOUCHED)
    (batch,) = batcher.in_order()
    assert batch.inputs.tolist() == [[0.25, -0.5]]


def test_what_is_cut_off_does_not_count_as_the_peak():
    loud_end = np.concatenate([np.full(1600, 0.1), np.full(100, 1.0)])
    batcher = make_batcher([loud_end], AudioConfig(crop_s=0.1, normalise="peak"))
    (batch,) = batcher.in_order()
    assert torch.equal(batch.inputs, torch.ones(1, 1600))


def stepped(*levels: float) -> np.ndarray:
    """10 ms at each level: a constant's power is its square."""
    return np.repeat(np.array(levels, dtype=np.float32), 160)


@pytest.mark.parametrize(
    ("levels", "trim_db", "extent"),
    [
        # 0.1 lies 20 dB below 1, and 0.01 lies 40 dB below
        ((0.01, 0.1, 1.0, 0.1, 0.01), 10.0, (320, 480)),
        ((0.01, 0.1, 1.0, 0.1, 0.01), 30.0, (160, 640)),
        ((0.01, 0.1, 1.0, 0.1, 0.01), 50.0, (0, 800)),
        # what is quiet between two sounds stays
        ((1.0, 0.0, 0.0, 1.0, 0.0), 30.0, (0, 640)),
        ((0.0, 0.0, 0.0), 30.0, (0, 480)),  # silence has nothing to cut
    ],
)
def test_an_utterance_is_cut_where_it_is_far_below_its_loudest(levels, trim_db, extent):
    assert loud_extent(stepped(*levels), trim_db) == extent


def test_a_last_frame_that_is_not_whole_is_heard_too():
    waveform = np.concatenate([stepped(0.0, 1.0, 0.0), np.ones(7, dtype=np.float32)])
    assert loud_extent(waveform, 30.0) == (160, 487)
    assert loud_extent(np.ones(1, dtype=np.float32), 30.0) == (0, 1)


def test_trimming_comes_before_the_crop_and_the_peak():
    audio = AudioConfig(trim_db=30.0, crop_s=0.02)
    waveform = stepped(0.0, 0.25, 0.5, 0.5, 0.0)
    (batch,) = make_batcher([waveform], audio).in_order()
    assert batch.lengths.tolist() == [320]
    assert batch.inputs[0].tolist() == [0.5] * 160 + [1.0] * 160
    (whole,) = make_batcher([waveform], AudioConfig(crop_s=0.02)).in_order()
    assert whole.inputs[0].tolist() == [0.0] * 160 + [1.0] * 160
