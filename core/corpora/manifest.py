"""The user's own corpus, given as a manifest: one utterance a row, in CSV or JSON Lines.

Columns `path`, `label` and `speaker` are needed; `session`, `fold`, `start_s`, `end_s` and `gender`
(F or M) may stand beside them.
"""

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.corpora.groups import fold_schemes
from core.corpora.records import (
    JSON_SUFFIXES,
    EnoughError,
    Problems,
    Table,
    decimal,
    read_table,
    seconds_of,
    text_of,
)
from core.corpora.utterance import (
    AUDIO_SUFFIXES,
    CorpusError,
    Parsed,
    Utterance,
    printable,
    some_of,
)
from core.schema import show, suggest

SUFFIXES = (".csv", ".tsv", *JSON_SUFFIXES)  # by which a word is taken for a manifest
LAYOUT = "one utterance a row, as CSV or JSON Lines, with columns path, label and speaker"
NEEDED = ("path", "label", "speaker")
TEXTS = (*NEEDED, "session", "fold", "gender")
COLUMNS = (*TEXTS, "start_s", "end_s")
NUMBERED = frozenset({"speaker", "session", "fold"})  # a JSON number names them too
MAX_CHARACTERS = 80  # O: of a label, speaker, session or fold; tables print them
MAX_LINES_SHOWN = 5  # O: of rows that have one thing wrong
MAX_STRANGERS = 50  # O: other columns among which a misspelt one is looked for
CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class _Row:
    """A record as far as it could be checked: what is faulty is empty."""

    line: int
    texts: Mapping[str, str]
    start_s: float | None
    end_s: float | None
    faulty: frozenset[str]  # columns that are wrong here, or that the file lacks

    @property
    def span(self) -> str:
        """How the name of a part of a file ends: "#1.5-3", "#0-3" or "#1.5-"."""
        if self.start_s is None and self.end_s is None:
            return ""
        end = "" if self.end_s is None else decimal(self.end_s)
        return f"#{decimal(self.start_s or 0.0)}-{end}"


def read_manifest(path: Path) -> Parsed:
    """Read a manifest and check every row; audio is looked for and not opened.

    CSV is parted by comma, semicolon or tab, by which the header has the most known columns; a
    file that ends in .jsonl or .ndjson holds one JSON object a line. UTF-8, with or without a byte
    order mark. Blank lines and blanks around a cell don't count; other columns are named in a note.
    Audio paths are relative to the manifest's folder, or absolute.

    An utterance is named by its path as written, without .wav or .flac where no two names then
    coincide, and `#start-end` in seconds where it is part of a file. Its session is its speaker
    where the column is missing or no row fills it. JSON numbers name speakers, sessions and folds
    too: 7 is "7".

    Returns:
        The utterances in the order of their names, whatever that of the rows.
    Raises:
        CorpusError: there is nothing to read, or rows break rules; then `problems` has them all by
            line, the header's being 1, or the first thousand that were found.
    """
    problems, stopped = Problems(), ""
    rows: list[_Row] = []
    names: list[str] = []
    try:
        table = read_table(path, COLUMNS, problems)
        rows = _rows(table, problems)
        _check_audio(rows, path.parent, problems)
        if table.whole:
            _check_variety(rows, problems)
        for column in ("session", "fold"):
            _check_filled(rows, column, problems)
        for column in ("fold", "gender"):
            _check_one_each(rows, column, problems)
        names = _unique_names(rows, path.parent, problems)
    except EnoughError:
        stopped = ", and reading stopped there"
    if found := sorted(problems.found, key=lambda problem: problem[0]):
        count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
        lines = [f"line {line}: {text}" for line, text in found]
        raise CorpusError(f"{printable(path)}: {count}{stopped}", lines)
    made = [_utterance(row, name, path.parent) for row, name in zip(rows, names, strict=True)]
    made.sort(key=lambda utterance: utterance.name)
    return Parsed(utterances=made, notes=_notes(table.columns), missing=[])


def _rows(table: Table, problems: Problems) -> list[_Row]:
    unusable = set(table.doubled)
    for column in NEEDED if table.columns or table.records else ():
        if column not in table.columns:
            found = "".join(_misspelt(table.columns, [column]))
            found = found or some_of(table.columns) or "none"
            problems.add(table.line, f"must name a column {column!r}, found {found}")
            unusable.add(column)
    return [_row(line, record, unusable, problems) for line, record in table.records]


def _misspelt(columns: Sequence[str], meant: Sequence[str]) -> tuple[str, str]:
    """Find the first unknown column that looks like one that is meant: its name and the hint."""
    strangers = islice((name for name in columns if name not in COLUMNS), MAX_STRANGERS)
    hints = ((show(name), suggest(name, meant)) for name in strangers)
    return next((hint for hint in hints if hint[1]), ("", ""))


def _row(line: int, record: Mapping[str, Any], unusable: set[str], problems: Problems) -> _Row:
    texts, seconds, faulty = dict.fromkeys(TEXTS, ""), dict[str, float | None](), set(unusable)
    for column in COLUMNS:
        if column in unusable:
            continue
        try:
            if column in TEXTS:
                texts[column] = _text(column, record.get(column))
            else:
                seconds[column] = seconds_of(record.get(column))
        except ValueError as error:
            problems.add(line, f"{column} {error}")
            faulty.add(column)
    start, end = seconds.get("start_s"), seconds.get("end_s")
    if end is not None and "start_s" not in faulty and end <= (start or 0.0):
        rule = f"end_s must be greater than start_s, which is {decimal(start or 0.0)}"
        problems.add(line, f"{rule}, found {decimal(end)}")
        faulty.add("end_s")
    return _Row(line, texts, start, end, frozenset(faulty))


def _text(column: str, value: object) -> str:
    text = text_of(value, or_number=column in NUMBERED)
    if not text and column in NEEDED:
        raise ValueError("must be filled, found nothing")
    if column == "path":
        if CONTROL.search(text):
            raise ValueError(f"must hold no control character, found {show(text)}")
    elif column == "gender":
        if text not in ("F", "M", ""):
            raise ValueError(f"must be F, M or empty, found {show(text)}")
    elif not text.isprintable():
        raise ValueError(f"must be printable, found {show(text)}")
    elif len(text) > MAX_CHARACTERS:
        rule = f"must have at most {MAX_CHARACTERS} characters"
        raise ValueError(f"{rule}, found {len(text)}: {show(text)}")
    return text


def _check_audio(rows: Sequence[_Row], folder: Path, problems: Problems) -> None:
    for row in rows:
        path = row.texts["path"]
        file = os.path.join(folder, path)
        if path and not os.path.isfile(file):
            found = "a folder" if os.path.isdir(file) else "no such file"
            hint = "; folders are parted by /" if "\\" in path else ""
            text = f"path must name an audio file, found {found}: {show(path)}{hint}"
            problems.add(row.line, text)


def _check_variety(rows: Sequence[_Row], problems: Problems) -> None:
    """There must be two labels and so on; where one can't be read, it may be the second."""
    for column, what in (("label", "classes"), ("speaker", "speakers"), ("fold", "folds")):
        values = {row.texts[column] for row in rows}
        if len(values) == 1 and "" not in values:
            text = f"{column} must name two {what} or more, found {show(*values)} in every row"
            problems.add(rows[0].line, text)


def _check_filled(rows: Sequence[_Row], column: str, problems: Problems) -> None:
    usable = [row for row in rows if column not in row.faulty]
    filled = next((row for row in usable if row.texts[column]), None)
    empty = [str(row.line) for row in usable if not row.texts[column]]
    if filled and empty:
        more = f" and {len(empty) - MAX_LINES_SHOWN} more" if len(empty) > MAX_LINES_SHOWN else ""
        where = f"line{'s' if len(empty) > 1 else ''} {', '.join(empty[:MAX_LINES_SHOWN])}{more}"
        found = f"{show(filled.texts[column])} on line {filled.line} and nothing on {where}"
        text = f"{column} must be filled in every row or in none, found {found}"
        problems.add(int(empty[0]), text)


def _check_one_each(rows: Sequence[_Row], column: str, problems: Problems) -> None:
    """A speaker has one fold and one gender; each further one is reported once."""
    first: dict[str, _Row] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        speaker, value = row.texts["speaker"], row.texts[column]
        if not speaker or not value or (speaker, value) in seen:
            continue
        seen.add((speaker, value))
        other = first.setdefault(speaker, row)
        if other is not row:
            found = f"{show(value)} and, on line {other.line}, {show(other.texts[column])}"
            problems.add(row.line, f"speaker {show(speaker)} must have one {column}, found {found}")


def _unique_names(rows: Sequence[_Row], folder: Path, problems: Problems) -> list[str]:
    """Name the utterances; no part of a file may come twice, however its path is written."""
    base, first = os.path.abspath(folder), dict[object, int]()
    full, short = list[str](), list[str]()
    for row in rows:
        path = str(PurePosixPath(row.texts["path"]))
        stem, suffix = os.path.splitext(path)
        full.append(f"{path}{row.span}")
        short.append(f"{stem if suffix.lower() in AUDIO_SUFFIXES else path}{row.span}")
        if row.faulty.isdisjoint(("path", "start_s", "end_s")):
            file = os.path.normpath(os.path.join(base, path))
            keys = ((file, row.start_s or 0.0, row.end_s), full[-1])
            line = min(first.setdefault(key, row.line) for key in keys)
            if line < row.line:
                rule = "path and span must be those of one row"
                problems.add(row.line, f"{rule}, found them on line {line} too: {show(full[-1])}")
    return short if len(set(short)) == len(rows) else full


def _utterance(row: _Row, name: str, folder: Path) -> Utterance:
    texts = row.texts
    return Utterance(
        name=name,
        path=folder / texts["path"],
        label=texts["label"],
        speaker=texts["speaker"],
        session=texts["session"] or texts["speaker"],
        gender=texts["gender"],
        fold=texts["fold"],
        start_s=row.start_s,
        end_s=row.end_s,
    )


def _notes(columns: Sequence[str]) -> list[str]:
    others = [name for name in columns if name not in COLUMNS]
    if not others:
        return []
    _, hint = _misspelt(columns, [name for name in COLUMNS if name not in columns])
    what = f"{len(others)} other column{'s' if len(others) > 1 else ''} ignored"
    return [f"{what}: {some_of(others)}{hint}"]


def manifest_corpus(path: Path, name: str = "", folds: str = "") -> Corpus:
    """Make a corpus of a manifest, read once: its classes, folds and rows agree.

    Args:
        name: Lower-case letters, digits, - and _; the file's name by default. One that a corpus
            of the catalog has gets `-manifest`.
        folds: The default scheme instead of `column`, `leave-one-session-out` or
            `leave-one-speaker-out`, the first that is offered; see `fold_schemes`.
    Raises:
        CorpusError: as `read_manifest`.
        ValueError: the name or the scheme can't be used.
    """
    if name and not NAME.fullmatch(name):
        raise ValueError(f"a corpus's name must match {NAME.pattern}, got {show(name)}")
    plain = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-_")[:64]
    name = name or slug or "manifest"
    name = f"{name}-manifest" if name in CORPORA else name
    parsed = read_manifest(path)
    schemes = fold_schemes(parsed.utterances, folds)
    return Corpus(
        name=name,
        title=name,
        classes=tuple(sorted({utterance.label for utterance in parsed.utterances})),
        parse=lambda: parsed,
        sources=(),
        schemes=schemes,
        default_scheme=folds or next(iter(schemes)),
        expected=None,
        where_to_get="",
        layout=LAYOUT,
        licence="",
    )
