"""CSV and JSON Lines: what is read out of them, and what is wrong with them as such."""

import csv
import re
from pathlib import Path

import pytest

from core.corpora.manifest import SUFFIXES, read_manifest
from core.corpora.utterance import CorpusError
from tests.core.corpora.manifests import (
    AB,
    ALL,
    HEADER,
    ROWS,
    SPANS,
    A,
    B,
    json_lines,
    names,
    problems,
    read,
    record,
    write,
)

JSON_EMPTY = "line 1: must begin with JSON objects, found an empty file"
CSV_EMPTY = "line 1: must begin with a header, found an empty file"
NO_ROW = "must be a header with rows below it, found no row"
NOT_SECONDS = "must be a finite number of seconds, 0 or more, found"
NO_CSV = f"must close each quote and hold at most {csv.field_size_limit()} characters a field"
NO_OBJECT = "must be a JSON object, found"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=repr)
def test_all_columns_are_read_whatever_parts_them(folder, delimiter, encoding, ending):
    text = (ALL + SPANS).replace(",", delimiter).replace("\n", ending)
    parsed = read(folder, text.encode(encoding))
    assert [
        (u.name, u.path.name, u.label, u.speaker, u.session, u.fold, u.gender, u.start_s, u.end_s)
        for u in parsed.utterances
    ] == [
        ("a#0.5-2", "a.wav", "angry", "s1", "x", "1", "F", 0.5, 2.0),
        ("a#2-3.25", "a.wav", "sad", "s1", "x", "1", "F", 2.0, 3.25),
        ("b#0-1.5", "b.wav", "sad", "s2", "y", "2", "M", None, 1.5),
    ]


def test_json_lines_read_like_csv_and_numbers_name_speakers_sessions_and_folds(folder):
    content = json_lines(
        record("a.wav", "angry", 7, session=1.0, fold=2.5, start_s=0.5, end_s=2, gender="F"),
        record("b.wav", "sad", "8", session="2", fold=1, start_s=None, end_s="1.5", gender=None),
    )
    parsed = read(folder, "\n" + content.replace("\n", "\n \t\n"), "corpus.jsonl")
    assert [
        (u.name, u.speaker, u.session, u.fold, u.gender, u.start_s, u.end_s)
        for u in parsed.utterances
    ] == [
        ("a#0.5-2", "7", "1", "2.5", "F", 0.5, 2.0),
        ("b#0-1.5", "8", "2", "1", "", None, 1.5),
    ]
    assert read(folder, content, "CORPUS.NDJSON") == parsed


def test_quoted_cells_blank_lines_and_outer_blanks_are_read_as_csv_means_them(folder):
    (folder / 'odd, "name".wav').touch()
    content = ' path ,label,"speaker"\n\n"odd, ""name"".wav", \tangry, "s 1 "\n  \nb.wav,sad,s2\n\n'
    parsed = read(folder, content)
    assert [(u.name, u.label, u.speaker) for u in parsed.utterances] == [
        ("b", "sad", "s2"),
        ('odd, "name"', "angry", "s 1"),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_what_is_no_file_is_refused(folder, suffix):
    (folder / f"sub{suffix}").mkdir()
    rule = "must be a file of CSV or JSON Lines, found "
    for name, found in (("sub", "a folder"), ("nothing", "no such file"), ("a\0b", "no such file")):
        path = folder / f"{name}{suffix}"
        shown = str(path) if "\0" not in name else repr(str(path))
        with pytest.raises(
            CorpusError, match=f"^{re.escape(f'{shown}: {rule}{found}')}$"
        ) as caught:
            read_manifest(path)
        assert caught.value.problems == []


def test_a_file_that_cannot_be_read_is_refused(folder, monkeypatch):
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    path = write(folder, HEADER + ROWS)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CorpusError, match=r"found one that can't be read: Permission denied$"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", [CSV_EMPTY]),
        ("\ufeff", [CSV_EMPTY]),
        (" \n\n", [CSV_EMPTY]),
        (HEADER, [f"line 1: {NO_ROW}"]),
        (f"\n{HEADER}\n\n", [f"line 2: {NO_ROW}"]),
        (
            "path,label,speaker,label,x,x,,\n,a,b,c,d,e,f,g\n",
            [
                "line 1: must name 'label' once, found it 2 times",
                "line 1: must name 'x' once, found it 2 times",
                "line 2: path must be filled, found nothing",
                "line 2: speaker must name two speakers or more, found 'b' in every row",
            ],
        ),
        (
            f"{HEADER}{ROWS}c.wav,sad\n\nc.wav,sad,s1,\n",
            [
                "line 4: must hold 3 fields as the header, found 2",
                "line 6: must hold 3 fields as the header, found 4",
            ],
        ),
        (
            f'{HEADER}{ROWS}"c\n.wav",sad,s2\nc.wav,"s\nad",s2,\nc.wav,sad,\n',
            [
                r"line 4: path must hold no control character, found 'c\n.wav'",
                "line 6: must hold 3 fields as the header, found 4",
                "line 8: speaker must be filled, found nothing",
            ],
        ),
        (
            f'{HEADER}{ROWS}c.wav,"sad,s1\nx,y,z\n',
            [f"line 4: {NO_CSV}, found no CSV: unexpected end of data"],
        ),
        (
            f'{HEADER}{ROWS}c.wav,"s"ad,s1\nx,y,z\n',
            [f"line 4: {NO_CSV}, found no CSV: ',' expected after '\"'"],
        ),
        (
            f'{HEADER}{ROWS}c.wav,"s"ad,s1\n'.replace(",", "\t"),
            [rf"line 4: {NO_CSV}, found no CSV: '\t' expected after '" + "\"'"],
        ),
        (
            f"{HEADER}{ROWS}\nc.wav,{'x' * 140_000},s1\nx,y,z\n",
            [f"line 5: {NO_CSV}, found no CSV: field larger than field limit (131072)"],
        ),
        (
            f"path,label,speaker,{'x' * 140_000}\nx,y,z,1\n",
            [f"line 1: {NO_CSV}, found no CSV: field larger than field limit (131072)"],
        ),
    ],
)
def test_every_defect_of_a_csv_file_is_named_by_its_line(folder, content, expected):
    assert problems(folder, content) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            f"{HEADER}{ROWS}".encode() + b"c.wav,d\xc3\xa9sol\xe9\xff,s1\nnone.wav,\x80,s1\nx\n",
            [
                "line 4: must be UTF-8, found byte 0xe9 at byte 13",
                "line 5: must be UTF-8, found byte 0x80 at byte 10",
                "line 6: must hold 3 fields as the header, found 1",
            ],
        ),
        (
            b"path,lab\xffel,speaker\na.wav,sad,s1\n",
            [
                "line 1: must be UTF-8, found byte 0xff at byte 9",
                r"line 1: must name a column 'label', found 'lab\udcffel'; did you mean 'label'?",
                "line 2: speaker must name two speakers or more, found 's1' in every row",
            ],
        ),
        (
            f"{HEADER}{ROWS}".encode("utf-16"),
            ["line 1: must be UTF-8, found byte 0xff at byte 1, as in UTF-16"],
        ),
    ],
)
def test_what_is_not_utf_8_is_named_by_line_and_byte(folder, content, expected):
    assert problems(folder, content) == expected


def test_json_lines_that_are_not_utf_8_are_named_by_line_and_byte(folder):
    content = json_lines(A, B).encode() + b'{"path": "\xe9"}\n'
    assert problems(folder, content, "x.jsonl") == [
        "line 3: must be UTF-8, found byte 0xe9 at byte 11"
    ]
    utf_16 = json_lines(A, B).encode("utf-16")
    assert problems(folder, utf_16, "x.jsonl") == [
        "line 1: must be UTF-8, found byte 0xff at byte 1, as in UTF-16"
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", [JSON_EMPTY]),
        ("\n \n", [JSON_EMPTY]),
        (
            AB + '{"path": \n\n[1]\n7\n"x"\nnull\ntrue\n{"a": "\x1b"}\n',
            [
                f"line 3: {NO_OBJECT} at character 9: Expecting value",
                f"line 5: {NO_OBJECT} a list",
                f"line 6: {NO_OBJECT} 7",
                f"line 7: {NO_OBJECT} 'x'",
                f"line 8: {NO_OBJECT} nothing",
                f"line 9: {NO_OBJECT} true",
                f"line 10: {NO_OBJECT} at character 8: Invalid control character",
            ],
        ),
        (AB + "[" * 100_000 + "\n", [f"line 3: {NO_OBJECT} one nested too deeply"]),
        (
            AB + '{"path": "c.wav", "fold": 1, "fold": 2}\n',
            [f"line 3: {NO_OBJECT} one that names 'fold' twice"],
        ),
        (
            AB
            + json_lines(
                record(3, True, [1]),  # type: ignore[arg-type]
                record("c.wav", "sad", {"id": 1}, session=False, gender=1),
                record("c.wav", "sad", float("inf"), start_s=True, end_s=[2]),
                record("c.wav", "sad", "s1", start_s=float("nan"), end_s=10**400),
                record("c.wav", "sad", "s1", start_s=-(10**400), end_s=-0.5),
            ),
            [
                "line 3: path must be a text, found 3",
                "line 3: label must be a text, found true",
                "line 3: speaker must be a text or a finite number, found a list",
                "line 4: speaker must be a text or a finite number, found an object",
                "line 4: session must be a text or a finite number, found false",
                "line 4: gender must be a text, found 1",
                "line 5: speaker must be a text or a finite number, found inf",
                f"line 5: start_s {NOT_SECONDS} true",
                f"line 5: end_s {NOT_SECONDS} a list",
                f"line 6: start_s {NOT_SECONDS} nan",
                f"line 6: end_s {NOT_SECONDS} a whole number of over 20 digits",
                f"line 7: start_s {NOT_SECONDS} a whole number of over 20 digits",
                f"line 7: end_s {NOT_SECONDS} -0.5",
            ],
        ),
    ],
)
def test_every_defect_of_a_file_of_json_lines_is_named_by_its_line(folder, content, expected):
    assert problems(folder, content, "x.jsonl") == expected


def test_a_number_of_thousands_of_digits_is_refused(folder):
    (found,) = problems(folder, AB + '{"speaker": ' + "1" * 5000 + "}\n", "x.jsonl")
    assert found.startswith(f"line 3: {NO_OBJECT} Exceeds the limit (4300 digits)")
    assert len(found) < 140


def test_reading_stops_after_a_thousand_problems(folder):
    rows = "".join(f"x{n}.wav,{'sad' if n else 'angry'},s{n}\n" for n in range(1200))
    with pytest.raises(CorpusError) as caught:
        read(folder, HEADER + rows)
    assert len(caught.value.problems) == 1000
    headline = str(caught.value).splitlines()[0]
    assert headline == f"{folder}/corpus.csv: 1000 problems, and reading stopped there"


def test_the_suffixes_of_manifests_are_those_that_are_read(folder):
    assert SUFFIXES == (".csv", ".tsv", ".jsonl", ".ndjson")
    tabbed = (HEADER + ROWS).replace(",", "\t")
    assert names(read(folder, tabbed, "x.tsv")) == ["a", "b"]
