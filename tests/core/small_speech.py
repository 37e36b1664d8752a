"""A few short tones in memory, in place of a corpus and its store.

They carry IEMOCAP's classes, speakers and sessions, so that its folds apply; each class has its own
pitch, so that a small encoder learns something within a few steps.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.config import SAMPLE_RATE_HZ, RunConfig
from core.corpora.catalog import IEMOCAP
from core.corpora.utterance import Utterance

CLASSES = IEMOCAP.classes
SESSIONS = ("1", "2", "3", "4", "5")
CPU = torch.device("cpu")


class MemoryStore:
    """Reads as an `AudioStore` does, and notes the names it was asked for."""

    fingerprint = "0123456789abcdef"

    def __init__(self, waveforms: Mapping[str, Sequence[float] | np.ndarray]) -> None:
        self._waveforms = {
            name: np.asarray(samples, np.float32) for name, samples in waveforms.items()
        }
        for samples in self._waveforms.values():
            samples.setflags(write=False)  # as a mapped file is
        self.lengths = {name: len(samples) for name, samples in self._waveforms.items()}
        self.asked: list[str] = []
        self.frames_folder = Path("nowhere")  # a test of stored frames gives it a place

    def __len__(self) -> int:
        return len(self.lengths)

    def waveform(self, name: str) -> np.ndarray:
        self.asked.append(name)
        return self._waveforms[name]


def utterance(name: str, label: str = "angry", session: str = "1") -> Utterance:
    return Utterance(
        name=name, path=Path(name), label=label, speaker=f"Ses0{session}_F", session=session
    )


def tones(per_class: int = 1, seed: int = 0) -> tuple[list[Utterance], MemoryStore]:
    """`per_class` utterances of each class in each session, 0.1 to 0.2 s long."""
    rng = np.random.default_rng(seed)
    utterances, waveforms = [], {}
    for session in SESSIONS:
        for number, label in enumerate(CLASSES):
            for take in range(per_class):
                item = utterance(f"Ses0{session}F_{label}{take}", label, session)
                time_s = np.arange(rng.integers(1600, 3200)) / SAMPLE_RATE_HZ
                tone = np.sin(2 * np.pi * 250 * 2**number * time_s)
                waveforms[item.name] = 0.1 * tone + 0.01 * rng.standard_normal(len(time_s))
                utterances.append(item)
    return utterances, MemoryStore(waveforms)


def small_config(**changes: Any) -> RunConfig:
    """The full method on the smallest encoder; changes as groups, `losses={"terms": ["kl"]}`."""
    training = {"batch_size": 4, "epochs": 2, "precision": "float32"}
    return RunConfig.from_dict(
        {
            "corpus": {"name": "iemocap"},
            "encoder": {"name": "logmel-small"} | changes.pop("encoder", {}),
            "training": training | changes.pop("training", {}),
            **changes,
        }
    )
