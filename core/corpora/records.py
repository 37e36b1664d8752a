"""A text file to records with their lines: CSV with a header, or JSON Lines.

What can't be read is reported by its line and left out; the rest is read on.
"""

import csv
import io
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from core.corpora.utterance import CorpusError, printable
from core.schema import cut, show

JSON_SUFFIXES = (".jsonl", ".ndjson")
DELIMITERS = ",;\t"
BLANKS = " \t"  # around a cell; others, such as the no-break space, belong to it
MAX_PROBLEMS = 1000  # O: nobody mends more by hand
MAX_HEADER = 10_000  # O: characters by which the delimiter is told; csv refuses 131 072 in a field
UNDECODED = re.compile(r"[\udc80-\udcff]")  # a byte, to `surrogateescape`; never found in UTF-8
SECONDS = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


class EnoughError(Exception):
    """So many problems that reading stops."""


@dataclass(slots=True)
class Problems:
    """What is wrong with a file, by line, up to `MAX_PROBLEMS`."""

    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """Report one more.

        Raises:
            EnoughError: it was the last that anybody wants to hear of.
        """
        self.found.append((line, text))
        if len(self.found) >= MAX_PROBLEMS:
            raise EnoughError


@dataclass(slots=True)
class Table:
    """Records by line.

    Attributes:
        columns: In the order in which they are first named.
        line: Where the header stands, or the first record of JSON Lines.
        doubled: Columns that the header names more than once.
        records: (line where it starts, {column: value}), in the order of the file.
        whole: Whether no record had to be left out.
    """

    columns: list[str]
    line: int = 1
    doubled: set[str] = field(default_factory=set)
    records: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    whole: bool = True


def read_table(path: Path, known: Collection[str], problems: Problems) -> Table:
    """Read a file as JSON Lines by its suffix, else as CSV.

    CSV is parted by comma, semicolon or tab, by which the header has the most known columns. Blank
    lines are passed over. Lines end in a line feed, a carriage return or both.

    Args:
        known: Columns that the file may have.
        problems: Takes what is wrong, the records that are left out among it.
    Raises:
        CorpusError: there is no file, or it can't be read.
        EnoughError: by way of `problems`.
    """
    text = _decode(_content(path), problems)
    is_json = path.suffix.lower() in JSON_SUFFIXES
    table = _json_table(text, problems) if is_json else _csv_table(text, known, problems)
    if not table.columns and not table.records and not problems.found:
        what = "JSON objects" if is_json else "a header"
        problems.add(1, f"must begin with {what}, found an empty file")
    return table


def _content(path: Path) -> bytes:
    try:
        if os.path.isfile(path):
            return path.read_bytes()
        found = "a folder" if os.path.isdir(path) else "no such file"
    except OSError as error:
        found = f"one that can't be read: {error.strerror}"
    raise CorpusError(f"{printable(path)}: must be a file of CSV or JSON Lines, found {found}")


def _decode(content: bytes, problems: Problems) -> str:
    """Read UTF-8. A line's first byte that is none is reported; all become lone surrogates."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        problems.add(1, f"must be UTF-8, found byte 0x{content[0]:02x} at byte 1, as in UTF-16")
        return ""
    text = content.decode("utf-8", "surrogateescape")
    for line, written in enumerate(_lines("" if content.isascii() else text), 1):
        if bad := UNDECODED.search(written):
            place = len(written[: bad.start()].encode()) + 1
            byte = ord(bad[0]) - 0xDC00
            problems.add(line, f"must be UTF-8, found byte 0x{byte:02x} at byte {place}")
    return text.removeprefix("\ufeff")


def _lines(text: str) -> Iterator[str]:
    return io.StringIO(text, newline="")


def _csv_table(text: str, known: Collection[str], problems: Problems) -> Table:
    records = _csv_records(text, _delimiter(text, known), problems)
    line, header = next(records, (1, list[str]()))
    names = [name.strip(BLANKS) for name in header]
    table = Table(list(dict.fromkeys(names)), line)
    for name, times in Counter(names).items():
        if name and times > 1:
            problems.add(line, f"must name {show(name)} once, found it {times} times")
            table.doubled.add(name)
    for line, cells in records:
        if not cells or any(map(UNDECODED.search, cells)):
            table.whole = False  # and reported
        elif len(cells) != len(names):
            problems.add(line, f"must hold {len(names)} fields as the header, found {len(cells)}")
            table.whole = False
        else:
            table.records.append((line, dict(zip(names, cells, strict=True))))
    if header and table.whole and not table.records:
        problems.add(table.line, "must be a header with rows below it, found no row")
    return table


def _csv_records(text: str, delimiter: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, with the line where each starts; what is no CSV has no cells."""
    lines = _lines(text)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rule = f"must close each quote and hold at most {csv.field_size_limit()} characters"
            found = str(error).replace("\t", r"\t")  # it quotes the delimiter
            problems.add(line, f"{rule} a field, found no CSV: {found}")
            yield line, []
            return
        if len(cells) > 1 or any(cell.strip(BLANKS) for cell in cells):
            yield line, cells


def _delimiter(text: str, known: Collection[str]) -> str:
    header = next((line for line in _lines(text) if line.strip()), "")[:MAX_HEADER]

    def columns(delimiter: str) -> tuple[int, int]:
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [""])
        return len({name.strip(BLANKS) for name in names}.intersection(known)), len(names)

    return max(DELIMITERS, key=columns)


def _json_table(text: str, problems: Problems) -> Table:
    table, columns = Table([]), dict[str, None]()
    for line, written in enumerate(_lines(text), 1):
        if not written.strip():
            continue
        record = None if UNDECODED.search(written) else _json_object(line, written, problems)
        if record is None:
            table.whole = False
        else:
            columns |= dict.fromkeys(record)
            table.records.append((line, record))
    table.columns = list(columns)
    table.line = table.records[0][0] if table.records else 1
    return table


def _json_object(line: int, written: str, problems: Problems) -> dict[str, Any] | None:
    try:
        record = json.loads(written.rstrip(), object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        found = f"at character {error.colno}: {error.msg.removesuffix(' at')}"
    except ValueError as error:  # a key twice, or a number of thousands of digits
        found = cut(str(error))
    except RecursionError:
        found = "one nested too deeply"
    else:
        if isinstance(record, dict):
            return record
        found = describe(record)
    problems.add(line, f"must be a JSON object, found {found}")
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(record := dict(pairs)) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"one that names {show(name)} twice")
    return record


def describe(value: object) -> str:
    """A value as it goes into a message; of a list or an object only what it is."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return show(value)


def text_of(value: object, *, or_number: bool) -> str:
    """A cell's text without outer blanks, "" for an empty one; 7 and 7.0 are "7" if `or_number`.

    Raises:
        ValueError: a value of another type, NaN or infinity.
    """
    if value is None or isinstance(value, str):
        return (value or "").strip(BLANKS)
    if or_number and _is_number(value):
        return decimal(value)
    kind = "a text or a finite number" if or_number else "a text"
    raise ValueError(f"must be {kind}, found {describe(value)}")


def seconds_of(value: object) -> float | None:
    """A cell's number of seconds, None for an empty one; a comma is no decimal point.

    Raises:
        ValueError: no number, a negative one, NaN or infinity.
    """
    number = math.nan
    if value is None or isinstance(value, str):
        text = (value or "").strip(BLANKS)
        if not text:
            return None
        if SECONDS.fullmatch(text):
            number = float(text)
    elif _is_number(value) and 0 <= value < sys.float_info.max:
        number = float(value) + 0.0  # no negative zero
    if not math.isfinite(number):
        raise ValueError(f"must be a finite number of seconds, 0 or more, found {describe(value)}")
    return number


def decimal(value: float) -> str:
    """A number in the fewest digits that tell it from all others, whole ones without a point."""
    return repr(value).removesuffix(".0")


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
