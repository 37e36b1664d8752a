"""From a folder on disk to audio that trials share: find, parse, decode once, map."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from core.corpora.catalog import CORPORA
from core.corpora.check import class_differences, count, differences
from core.corpora.utterance import CorpusError, Parsed, Utterance
from core.store import AudioStore, StoreReport, build_store

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusAudio:
    """A corpus ready to train on: what trials share, sent to each worker once."""

    utterances: tuple[Utterance, ...]
    store: AudioStore
    left_out: int
    counts_differ: bool


class NoCorpusError(CorpusError):
    """No folder of this corpus is at hand."""


def corpus_folder(name: str, data: Path | None) -> Path:
    """The folder of one corpus: `data` itself, or its subfolder of that name.

    Raises:
        NoCorpusError: there is none; says what to give.
    """
    corpus = CORPORA[name]
    if data is None:
        raise NoCorpusError(
            f"{corpus.title}: its folder must be given with --data DIR or SER_DATA, got neither; "
            f"--demo runs on synthetic speech without any data"
        )
    if not data.is_dir():
        raise NoCorpusError(f"--data must be a folder, found none at {data}")
    plain = _plain(name)
    below = sorted(path for path in data.iterdir() if path.is_dir() and plain in _plain(path.name))
    exact = [path for path in below if _plain(path.name) == plain]
    return (exact or below or [data])[0]


def count_differences(name: str, utterances: Iterable[Utterance]) -> list[str]:
    """Say where the counts part from the paper's; empty when they agree. Opens no file."""
    utterances = list(utterances)
    expected = CORPORA[name].expected
    return differences(count(utterances), expected) + class_differences(utterances, expected)


def deviations(name: str, parsed: Parsed) -> list[str]:
    """Where a corpus parts from the one that the paper means, in plain words."""
    missing = [f"{utterance}: no audio" for utterance in parsed.missing]
    return [*count_differences(name, parsed.utterances), *parsed.problems, *missing]


def prepare(
    utterances: list[Utterance],
    stores: Path,
    *,
    workers: int,
    skip_bad_audio: bool,
    counts_differ: bool = False,
    on_progress: Progress | None = None,
) -> tuple[CorpusAudio, StoreReport]:
    """Decode a corpus into its store, or find it there, and map it.

    Raises:
        core.audio.AudioError: audio that can't be used, all of it by name.
    """
    report = build_store(
        utterances, stores, workers=workers, on_progress=on_progress, skip_bad_audio=skip_bad_audio
    )
    kept = tuple(item for item in utterances if item.name not in report.left_out)
    store = AudioStore.open(stores, report.fingerprint)
    audio = CorpusAudio(
        utterances=kept,
        store=store,
        left_out=len(report.left_out),
        counts_differ=counts_differ,
    )
    return audio, report


def _plain(name: str) -> str:
    return "".join(mark for mark in name.lower() if mark.isalnum())
