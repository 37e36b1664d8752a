"""Which parts of a recording are heard."""

import numpy as np
import pytest

from core.clips import Clips
from core.config import AudioConfig
from core.windows import windows_of
from tests.core.small_speech import MemoryStore

SECOND = 16_000


def times(seconds, **how):
    audio = AudioConfig(crop_s=2.0)
    found = windows_of(np.ones(round(seconds * SECOND), np.float32), audio, **how)
    return [(window.start_s, window.end_s) for window in found]


@pytest.mark.parametrize(
    ("seconds", "how", "expected"),
    [
        (1.5, {}, [(0, 1.5)]),
        (2.0, {}, [(0, 2)]),
        (4.0, {}, [(0, 2), (2, 4)]),
        (5.0, {}, [(0, 2), (2, 4), (3, 5)]),  # the last one ends with the recording
        (3.0, {"hop_s": 0.5}, [(0, 2), (0.5, 2.5), (1, 3)]),
        (3.0, {"window_s": 1.0}, [(0, 1), (1, 2), (2, 3)]),
        (3.0, {"window_s": 1.0, "hop_s": 2.0}, [(0, 1), (2, 3)]),
    ],
)
def test_windows_follow_one_another_up_to_the_end(seconds, how, expected):
    assert times(seconds, **how) == expected


@pytest.mark.parametrize("trim_db", [None, 20.0])
@pytest.mark.parametrize("normalise", ["peak", "none"])
def test_the_first_window_is_what_training_heard(trim_db, normalise):
    rng = np.random.default_rng(0)
    waveform = rng.uniform(-0.4, 0.4, 3 * SECOND).astype(np.float32)
    waveform[: SECOND // 2] *= 1e-3
    audio = AudioConfig(crop_s=1.0, trim_db=trim_db, normalise=normalise)
    clips = Clips(MemoryStore({"a": waveform}), audio)
    first = windows_of(waveform, audio)[0]
    assert np.array_equal(first.heard, clips.read("a"))
    assert first.start_s == (0 if trim_db is None else 0.5)


def test_each_window_is_levelled_by_itself_and_silence_stays_silent():
    waveform = np.concatenate([np.full(SECOND, 0.5), np.full(SECOND, 0.25), np.zeros(SECOND)])
    found = windows_of(waveform.astype(np.float32), AudioConfig(crop_s=1.0))
    assert [window.heard.max() for window in found] == [1, 1, 0]
