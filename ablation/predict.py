"""Emotion probabilities of audio files, by a kept or an exported model: the verb `predict`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ablation.archive import Archive
from ablation.argument_groups import add_kept
from ablation.argument_types import count
from ablation.complaints import complain
from ablation.prediction_view import Part, writer_of
from core.audio import AudioError, read_audio
from core.corpora.utterance import AUDIO_SUFFIXES, CorpusError, printable, walk_files

if TYPE_CHECKING:
    from core.classifier import Classifier
    from core.windows import Window

DONE, SOME_UNREADABLE, NOTHING = 0, 1, 2  # exit statuses
STDIN = "-"
LOAD_SAMPLES = 100_000_000  # O: heard together; 400 MB, or some thousand windows
MOST_STDIN_BYTES = 1 << 32  # O: more no WAV can hold
LEFT_OPEN = (0, 0x7FFFF000, 0xFFFFFFFF)  # sizes that sox and others write where a pipe has no end
SHORTEST_S, LONGEST_S = 0.1, 60.0  # as audio.crop_s
RUN_DIGITS = 12


@dataclass(frozen=True, slots=True)
class _Heard:
    name: str
    window: "Window"


class _Listener:
    """Gathers windows and gives the answers in their order, a load at a time."""

    def __init__(self, classifier: "Classifier", options: argparse.Namespace) -> None:
        self.problems: list[str] = []
        self._classifier = classifier
        self._options = options

    def answers(self) -> Iterator[Part]:
        """One for each window of each file that can be heard."""
        load: list[_Heard] = []
        for name, path in self._files():
            load += self._windows(name, path)
            if sum(len(item.window.heard) for item in load) > LOAD_SAMPLES:
                yield from self._answer(load)
                load = []
        yield from self._answer(load)

    def refuse(self, text: str) -> None:
        """Note what can't be heard, and say so at once."""
        self.problems.append(text)
        complain(text)

    def _files(self) -> Iterator[tuple[str, Path]]:
        for word in self._options.files:
            if word == STDIN:
                yield from self._stdin()
            elif os.path.isdir(word):  # os.path, for any text: pathlib raises on some
                yield from ((str(path), path) for path in self._below(word))
            else:
                yield word, Path(word)

    def _below(self, folder: str) -> list[Path]:
        try:
            found = walk_files(Path(folder), AUDIO_SUFFIXES)
        except CorpusError as error:
            self.refuse(str(error))
            return []
        if not found:
            text = f"must hold audio ({', '.join(sorted(AUDIO_SUFFIXES))}), found none"
            self.refuse(f"{printable(folder)}: {text}")
        return found

    def _stdin(self) -> Iterator[tuple[str, Path]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stdin"
            try:
                path.write_bytes(closed_wav(_read_all(sys.stdin.buffer)))
            except ValueError as error:
                self.refuse(f"{STDIN}: {error}")
                return
            yield STDIN, path

    def _windows(self, name: str, path: Path) -> list[_Heard]:
        from core.windows import windows_of

        audio = self._classifier.model.config.audio
        try:
            waveform = read_audio(path)
            found = windows_of(waveform, audio, self._options.window_s, self._options.hop_s)
        except AudioError as error:
            self.refuse(f"{printable(name)}: {error.problems[0][1]}")
            return []
        return [_Heard(name, window) for window in found]

    def _answer(self, load: Sequence[_Heard]) -> Iterator[Part]:
        if not load:
            return
        given = self._classifier.probabilities(
            [item.window.heard for item in load], self._options.batch_size
        )
        for item, row in zip(load, given.tolist(), strict=True):
            window = item.window
            yield Part(
                name=item.name, start_s=window.start_s, end_s=window.end_s, probabilities=row
            )


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py predict`; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        classifier = open_model(options.model, options.runs)
        listener = _Listener(classifier, options)
        write = writer_of(options, classifier.model.facts)
        heard = write(listener.answers(), listener.problems)
    except (ValueError, OSError) as error:  # each says where, what must hold and what was found
        complain(str(error))
        return NOTHING
    if not heard:
        return NOTHING
    return SOME_UNREADABLE if listener.problems else DONE


def open_model(word: str, runs: Path) -> "Classifier":
    """The model that a run id, a beginning of one, or a folder means.

    Raises:
        ValueError: none or several are meant, or the model can't be used.
    """
    folder = Path(word)
    run_id = (
        None if os.path.isdir(word) else find_run(word, runs)
    )  # torch takes seconds: after this
    from core.classifier import kept_classifier
    from core.devices import best_device
    from core.exported import exported_classifier

    if run_id is None:
        return exported_classifier(folder, best_device())
    return kept_classifier(Archive(runs).model(run_id), best_device())


def find_run(word: str, runs: Path) -> str:
    """The one finished run whose id begins so and whose weights were kept.

    Raises:
        ValueError: there is none, or there are several.
    """
    archive = Archive(runs)
    found = [name for name in archive.models() if name.startswith(word)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{word!r} must begin one run's id, found {', '.join(found[:5])}")
    is_id = len(word) <= RUN_DIGITS and set(word) <= set("0123456789abcdef")
    if is_id and any(archive.holds(name) for name in archive.begun(word)):
        raise ValueError(
            f"run {word!r} must have kept its weights, found none: train it with --keep-models all "
            "--fresh"
        )
    raise ValueError(
        f"{printable(word)!r} must be an exported folder, or a run in {runs} whose weights were "
        f"kept (--keep-models), found neither; kept are {', '.join(archive.models()[:8]) or 'none'}"
    )


def closed_wav(content: bytes) -> bytes:
    """A WAV from a pipe, whose writer could not know its size, with the size that it came to.

    Only a size that was left open is filled in: a promise that does not hold is for the decoder to
    refuse.
    """
    place = 12
    while content[:4] == b"RIFF" and place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if content[place : place + 4] == b"data":
            held = len(content) - place - 8
            is_open = size in LEFT_OPEN or (size > held and size >= LEFT_OPEN[1])
            if is_open and 0 < held < 0xFFFFFFFF:
                sized = held.to_bytes(4, "little")
                return content[: place + 4] + sized + content[place + 8 :]
            break
        place += 8 + size + size % 2
    return content


def _read_all(file: BinaryIO) -> bytes:
    content = file.read(MOST_STDIN_BYTES + 1)
    if len(content) > MOST_STDIN_BYTES:
        raise ValueError(f"must hold at most {MOST_STDIN_BYTES} bytes, found more")
    return content


def parser() -> argparse.ArgumentParser:
    """What may be typed after `predict`."""
    made = argparse.ArgumentParser(
        prog="runner.py predict",
        allow_abbrev=False,
        description="Emotion probabilities of audio files by a trained model. Exit status: 0 all "
        "were heard; 1 some could not be read, each named, and the rest were; 2 none.",
    )
    made.add_argument(
        "model", metavar="RUN|FOLDER", help="a run's id or its beginning, or an exported folder"
    )
    made.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="WAV or FLAC files, folders of them, or - for a file's bytes on stdin",
    )
    made.add_argument(
        "--window-s",
        type=_seconds,
        metavar="S",
        help="cut longer recordings into windows of S seconds (default the model's crop)",
    )
    made.add_argument(
        "--hop-s", type=_seconds, metavar="S", help="from one window to the next (default a window)"
    )
    form = made.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV")
    form.add_argument("--jsonl", action="store_true", help="print a line of JSON for each window")
    form.add_argument("--json", action="store_true", help="print all as one JSON document")
    made.add_argument(
        "--batch-size", type=count, metavar="N", help="windows heard at once (default training's)"
    )
    add_kept(made)
    return made


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not SHORTEST_S <= value <= LONGEST_S:
        rule = f"must be a number in {SHORTEST_S:g}..{LONGEST_S:g}"
        raise argparse.ArgumentTypeError(f"{rule}, got {text!r}")
    return value
