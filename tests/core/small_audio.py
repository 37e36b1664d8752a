"""A corpus of a few short audio files of noise, for tests."""

import os
import time
from pathlib import Path

import numpy as np
import soundfile

from core.audio import SAMPLE_RATE_HZ
from core.corpora.utterance import Utterance

YESTERDAY_S = time.time() - 86_400


def write(path: Path, samples: np.ndarray, rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write 16-bit audio that looks a day old, as files of a corpus do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    os.utime(path, (YESTERDAY_S, YESTERDAY_S))


def corpus(folder: Path, count: int = 6, seconds: float = 0.05) -> list[Utterance]:
    """Utterances of different lengths and rates, out of alphabetical order."""
    rng = np.random.default_rng(0)
    found = []
    for number in reversed(range(count)):
        path = folder / f"u{number:03}.{'flac' if number % 3 == 1 else 'wav'}"
        samples = rng.uniform(-0.5, 0.5, round(seconds * SAMPLE_RATE_HZ) + number)
        write(path, samples, 48_000 if number == 2 else SAMPLE_RATE_HZ)
        found.append(
            Utterance(
                name=path.stem,
                path=path,
                label="angry" if number % 2 else "sad",
                speaker=f"s{number % 3}",
                session="1",
            )
        )
    return found


def leftovers(folder: Path) -> list[str]:
    """What a store's folder holds beside stores, verdicts, the cache and the lock."""
    expected = {"hashes.json", ".lock"}
    entries = [entry for entry in folder.iterdir() if entry.name not in expected]
    return [
        entry.name
        for entry in entries
        if not (entry.is_dir() and len(entry.name) == 16) and ".left_out." not in entry.name
    ]
