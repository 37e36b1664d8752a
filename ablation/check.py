"""Does a folder hold the corpus that the paper means? Every file is decoded to its end."""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ablation.check_view import render
from ablation.complaints import complain
from ablation.copies import describe_copies, identical, second_links
from ablation.corpora import corpus_folder
from ablation.progress import bar
from core.audio import AudioError, AudioFacts, probe
from core.corpora import ravdess, savee
from core.corpora.catalog import CORPORA
from core.corpora.check import Counts, count
from core.corpora.corpus import Corpus
from core.corpora.manifest import SUFFIXES, manifest_corpus
from core.corpora.utterance import AUDIO_SUFFIXES, CorpusError, Parsed, Utterance, walk_files
from core.schema import suggest

CLEAN, DIFFERS, NOT_THE_CORPUS = 0, 1, 2  # exit statuses
DEFAULT_LIMIT = 20  # O: a screenful of each kind
CLIPS_OF: dict[str, Callable[[str], frozenset[str]]] = {  # names that are known beforehand
    "ravdess": ravdess.clip_names,
    "savee": savee.clip_names,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a folder holds of a corpus, and what is wrong with it.

    Attributes:
        counts: Of the utterances that the paper's classes keep, unreadable ones included.
        audio: Of each file that could be decoded.
        notes: What is worth knowing and no fault.
        problems: Every difference and defect in words, of each kind up to the limit.
    """

    corpus: Corpus
    folder: Path
    counts: Counts
    audio: tuple[AudioFacts, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The part that programs read; its keys are stable."""
        return {
            "corpus": self.corpus.name,
            "utterances": self.counts.total,
            "classes": self.counts.classes,
            "sessions": self.counts.sessions,
            "speakers": self.counts.speakers,
            "problems": list(self.problems),
        }


def check_corpus(
    corpus: Corpus,
    folder: Path,
    *,
    workers: int,
    limit: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Compare a folder with the corpus of the paper, its audio decoded to the end.

    Args:
        corpus: One of `CORPORA`, or a manifest's.
        folder: Of the corpus; or the manifest.
        workers: Threads that decode.
        limit: Problems of one kind that are named; more are counted.
        on_progress: Called with the files decoded and their number.
    Raises:
        CorpusError: the folder is not this corpus at all.
    """
    try:
        parsed = corpus.parse(*[folder for _ in corpus.sources])
    except CorpusError as error:
        if not error.problems:
            raise
        headline = str(error).partition("\n")[0]  # the corpus, but its labels can't be trusted
        parsed = Parsed(utterances=[], notes=[], missing=[], problems=error.problems)
        problems = [headline, *_some(parsed.problems, limit, "of this kind")]
        return _report(corpus, folder, parsed, [], problems)
    audio, unreadable = _decode_all(parsed.utterances, workers, on_progress)
    problems = [
        *_some(parsed.problems, limit, "files under a wrong name"),
        *_some(_stray_clips(corpus, folder), limit, "files under a wrong name"),
        *_some([f"{m}: its audio is missing" for m in _missing(corpus, parsed)], limit, "missing"),
        *_some([f"{path}: {why}" for path, why in unreadable.items()], limit, "unreadable files"),
        *_some(_copies(corpus, folder, parsed), limit, "second files of one name"),
        *_some(_identical(parsed.utterances, unreadable), limit, "groups of identical files"),
        *corpus.count_differences(parsed),
    ]
    return _report(corpus, folder, parsed, audio, problems)


def _report(
    corpus: Corpus,
    folder: Path,
    parsed: Parsed,
    audio: Iterable[AudioFacts],
    problems: Iterable[str],
) -> CheckReport:
    return CheckReport(
        corpus=corpus,
        folder=folder,
        counts=count(parsed.utterances),
        audio=tuple(audio),
        notes=tuple(parsed.notes),
        problems=tuple(problems),
    )


def _some(problems: Sequence[str], limit: int, what: str) -> list[str]:
    """Name as many as the limit lets through and count the others."""
    rest = len(problems) - limit
    return [*problems[:limit], *([f"and {rest} more {what}"] if rest > 0 else [])]


def _decode_all(
    utterances: Iterable[Utterance],
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[list[AudioFacts], dict[Path, str]]:
    """What each file is, and of the unusable ones why."""
    paths = list(dict.fromkeys(utterance.path for utterance in utterances))
    audio: list[AudioFacts] = []
    unreadable: dict[Path, str] = {}
    pool = ThreadPoolExecutor(workers)
    try:
        for done, (path, facts) in enumerate(zip(paths, pool.map(_probe, paths), strict=True), 1):
            if isinstance(facts, AudioFacts):
                audio.append(facts)
            else:
                unreadable[path] = facts
            if on_progress:
                on_progress(done, len(paths))
    finally:
        pool.shutdown(cancel_futures=True)
    return audio, unreadable


def _probe(path: Path) -> AudioFacts | str:
    try:
        return probe(path)
    except AudioError as error:
        return error.problems[0][1]


def _missing(corpus: Corpus, parsed: Parsed) -> list[str]:
    """Name the utterances without audio, those of absent speakers too where names are known."""
    if corpus.name not in CLIPS_OF or corpus.expected is None:
        return parsed.missing
    present = {utterance.speaker for utterance in parsed.utterances}
    absent = [speaker for speaker in corpus.expected.speakers if speaker not in present]
    clips = CLIPS_OF[corpus.name]
    return [*parsed.missing, *(clip for who in absent for clip in sorted(clips(who)))]


def _stray_clips(corpus: Corpus, folder: Path) -> list[str]:
    """Find files that are named almost as a clip of RAVDESS; its parser passes them over."""
    if corpus.name != "ravdess":
        return []
    return [
        f"{path}: must be named as in {ravdess.LAYOUT}"
        for path in walk_files(folder, AUDIO_SUFFIXES)
        if path.stem.startswith("03-01-") and not ravdess.CLIP.fullmatch(path.stem)
    ]


def _copies(corpus: Corpus, folder: Path, parsed: Parsed) -> list[str]:
    if not corpus.sources:  # a manifest says itself what belongs to it
        return []
    kept = {utterance.path for utterance in parsed.utterances}
    linked = second_links(
        sorted(walk_files(folder, AUDIO_SUFFIXES), key=lambda path: (path not in kept, path))
    )
    return describe_copies(
        [*parsed.duplicates, *(path for path in linked if path not in set(parsed.duplicates))],
        parsed.utterances,
    )


def _identical(utterances: Iterable[Utterance], unreadable: Iterable[Path]) -> list[str]:
    """Name recordings that stand under several names, of which one at most can be right."""
    bad = set(unreadable)
    return [
        f"{' and '.join(item.name for item in group)}: the same bytes under {len(group)} names"
        for group in identical(item for item in utterances if item.path not in bad)
        if {item.name for item in group} != ravdess.IDENTICAL_CLIPS
    ]


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py check`; returns the exit status."""
    options = parser().parse_args(arguments)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    data = options.data or os.environ.get("SER_DATA")
    try:
        if options.corpus in CORPORA:
            corpus = CORPORA[options.corpus]
            folder = corpus_folder(corpus.name, Path(data) if data else None)
        else:
            folder = Path(options.corpus)
            corpus = manifest_corpus(folder)
        with bar(errors, f"decoding {corpus.name}") as on_progress:
            report = check_corpus(
                corpus,
                folder,
                workers=os.cpu_count() or 1,
                limit=options.limit,
                on_progress=on_progress,
            )
    except CorpusError as error:
        complain(str(error))
        return NOT_THE_CORPUS
    if options.json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        console = Console(highlight=False)
        console.print(render(report, console.width))
    return DIFFERS if report.problems else CLEAN


def parser() -> argparse.ArgumentParser:
    """What may be typed after the verb."""
    made = argparse.ArgumentParser(
        prog="runner.py check",
        description="Compare a folder with the corpus that the paper means, or read through your "
        "own manifest. Exit status: 0 it is the same; 1 it differs, each difference named; 2 it is "
        "not this corpus, or no manifest.",
    )
    made.add_argument(
        "corpus", type=_corpus, metavar="CORPUS", help=f"{', '.join(CORPORA)}, or a manifest (CSV)"
    )
    made.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the corpus folder, or a folder of corpora (or SER_DATA)",
    )
    made.add_argument("--json", action="store_true", help="print the counts as JSON alone")
    made.add_argument("--verbose", action="store_true", help="show a traceback with an error")
    made.add_argument(
        "--limit",
        type=_limit,
        default=DEFAULT_LIMIT,
        metavar="N",
        help=f"problems of one kind to name; more are counted (default {DEFAULT_LIMIT})",
    )
    return made


def _corpus(text: str) -> str:
    if text in CORPORA or text.lower().endswith(SUFFIXES):
        return text
    rule = f"must be one of {', '.join(CORPORA)}, or a manifest ({', '.join(SUFFIXES)})"
    raise argparse.ArgumentTypeError(f"{rule}, got {text!r}{suggest(text, CORPORA)}")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be a whole number in 1..1000000, got {text!r}")
    return int(text)
