"""From a folder on disk to audio that trials share: find, parse, decode once, map."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from core.classifiers import EGEMAPS_SVM
from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.corpora.utterance import CorpusError, NotTheCorpusError, Parsed
from core.store import AudioStore, StoreReport, build_store

if TYPE_CHECKING:  # it brings torch, which finding and checking a corpus need not
    from core.config import RunConfig
    from core.fold import CorpusAudio

Progress = Callable[[int, int], None]
EGEMAPS = "eGeMAPS"  # how openSMILE's functionals are called where encoders are named


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


def read_corpus(corpus: Corpus, data: Path | None) -> tuple[list[Path], Parsed]:
    """Find a corpus and parse it: the folders it is read from, and what they hold.

    Raises:
        NoCorpusError: a folder is not at hand, so that a study of several corpora can go on
            without this one.
        CorpusError: a folder is there by the corpus's name and is not the corpus.
    """
    folders = [corpus_folder(source, data) for source in corpus.sources]
    try:
        return folders, corpus.parse(*folders)
    except NotTheCorpusError as error:
        if data in folders:  # nothing there goes by the corpus's name
            raise NoCorpusError(str(error)) from error
        raise


def prepare(
    corpus: Corpus,
    scheme: str,
    parsed: Parsed,
    stores: Path,
    *,
    workers: int,
    skip_bad_audio: bool,
    counts_differ: bool = False,
    on_progress: Progress | None = None,
) -> tuple["CorpusAudio", StoreReport]:
    """Decode a corpus into its store, or find it there, and map it.

    Raises:
        core.audio.AudioError: audio that can't be used, all of it by name.
    """
    from core.fold import CorpusAudio

    utterances = parsed.utterances
    report = build_store(
        utterances, stores, workers=workers, on_progress=on_progress, skip_bad_audio=skip_bad_audio
    )
    audio = CorpusAudio(
        classes=corpus.classes,
        scheme=corpus.schemes[scheme],
        utterances=tuple(item for item in utterances if item.name not in report.left_out),
        store=AudioStore.open(stores, report.fingerprint),
        left_out=len(report.left_out),
        counts_differ=counts_differ,
    )
    return audio, report


def encode(
    configs: Iterable["RunConfig"],
    corpora: Mapping[str, "CorpusAudio"],
    *,
    workers: int,
    show: Callable[[str], AbstractContextManager[Progress]],
) -> list[str]:
    """Let frozen encoders hear, once for all trials, what these settings train on.

    Args:
        show: Opens a progress bar of that title.
    Returns:
        A line on each encoder that had to run.
    Raises:
        As `core.features.build_frames`.
    """
    from core.devices import best_device
    from core.features import build_frames
    from core.functionals import build_functionals

    passes: dict[tuple[str, str], list[RunConfig]] = {}
    for config in configs:
        if config.classifier.method == EGEMAPS_SVM:
            passes.setdefault((config.corpus.name, EGEMAPS), []).append(config)
        elif config.stores_frames:
            passes.setdefault((config.corpus.name, config.encoder.name), []).append(config)
    lines = []
    for (corpus, encoder), group in passes.items():
        name, started = Path(encoder).name, time.monotonic()
        with show(f"encoding {corpus} by {name}") as on_progress:
            store = corpora[corpus].store
            if encoder == EGEMAPS:
                has_run = build_functionals(store, on_progress=on_progress)
            else:
                has_run = build_frames(
                    group, store, best_device(), workers=workers, on_progress=on_progress
                )
        if has_run:
            lines.append(f"{corpus}: encoded by {name} in {time.monotonic() - started:.0f} s")
    return lines


def _plain(name: str) -> str:
    return "".join(mark for mark in name.lower() if mark.isalnum())
