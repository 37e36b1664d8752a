"""A manifest: what is read out of it, and that all its defects are named at once."""

import csv
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.corpora.catalog import CORPORA
from core.corpora.folds import split
from core.corpora.groups import fold_schemes
from core.corpora.manifest import LAYOUT, SUFFIXES, manifest_corpus, read_manifest
from core.corpora.utterance import CorpusError, Parsed, Utterance

HEADER = "path,label,speaker\n"
ROWS = "a.wav,angry,s1\nb.wav,sad,s2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with empty audio."""
    for name in ("a.wav", "b.wav", "c.wav", "sub/d.WAV", "e.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def write(folder: Path, content: str | bytes, name: str = "corpus.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes, name: str = "corpus.csv") -> Parsed:
    return read_manifest(write(folder, content, name))


def problems(folder: Path, content: str | bytes, name: str = "corpus.csv") -> list[str]:
    with pytest.raises(CorpusError) as caught:
        read(folder, content, name)
    found = caught.value.problems
    headline = f"{folder / name}: {len(found)} problem{'' if len(found) == 1 else 's'}"
    assert str(caught.value).splitlines()[0] == headline
    return found


def names(parsed: Parsed) -> list[str]:
    return [utterance.name for utterance in parsed.utterances]


def json_lines(*records: object) -> str:
    return "".join(f"{json.dumps(record)}\n" for record in records)


def record(path: str, label: str, speaker: object, **others: object) -> dict[str, object]:
    return {"path": path, "label": label, "speaker": speaker, **others}


A, B = record("a.wav", "angry", "s1"), record("b.wav", "sad", "s2")


# What is read


def test_needed_columns_alone_make_utterances_in_the_order_of_their_names(folder):
    parsed = read(folder, f"{HEADER}sub/d.WAV,sad,s2\nc.wav,angry,s1\n")
    assert parsed == Parsed(
        utterances=[
            Utterance(name="c", path=folder / "c.wav", label="angry", speaker="s1", session="s1"),
            Utterance(
                name="sub/d", path=folder / "sub/d.WAV", label="sad", speaker="s2", session="s2"
            ),
        ],
        notes=[],
        missing=[],
    )


ALL = "path,label,speaker,session,fold,start_s,end_s,gender\n"
SPANS = "a.wav,angry,s1,x,1,0.5,2,F\na.wav,sad,s1,x,1,2,3.25e0,F\nb.wav,sad,s2,y,2,,1.5,M\n"


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


def test_text_beyond_ascii_is_kept(folder):
    (folder / "größe 音.wav").touch()
    parsed = read(folder, f"{HEADER}größe 音.wav,wütend,Žofie\nb.wav,sad,s2\n")
    assert [(u.name, u.label, u.speaker) for u in parsed.utterances][1] == (
        "größe 音",
        "wütend",
        "Žofie",
    )


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.wav", "e.flac", "sub/d.WAV"], ["a", "e", "sub/d"]),
        (["a.wav", "b.wav", "a.flac"], ["a.flac", "a.wav", "b.wav"]),  # suffixes tell two apart
        (["./a.wav", "sub//d.WAV", "sub/../b.wav"], ["a", "sub/../b", "sub/d"]),
        (["take.1", "a.wav"], ["a", "take.1"]),  # no suffix of audio
    ],
)
def test_names_are_paths_as_written_without_suffix_where_that_leaves_them_apart(
    folder, paths, expected
):
    for name in ("a.flac", "take.1"):
        (folder / name).touch()
    rows = "".join(f"{path},{'angry' if n else 'sad'},s{n}\n" for n, path in enumerate(paths))
    assert names(read(folder, HEADER + rows)) == expected


def test_names_do_not_depend_on_where_the_manifest_lies_unless_a_path_is_absolute(folder):
    content = HEADER + f"a.wav,angry,s1\n{folder}/b.wav,sad,s2\n"
    parsed = read(folder, content)
    assert names(parsed) == [f"{folder}/b", "a"]
    assert [u.path for u in parsed.utterances] == [folder / "b.wav", folder / "a.wav"]


def test_the_order_of_the_rows_changes_nothing(folder):
    rows = SPANS.splitlines(keepends=True)
    assert read(folder, ALL + "".join(rows[::-1])) == read(folder, ALL + SPANS)


def test_a_manifest_s_name_may_be_relative(folder, monkeypatch):
    write(folder, HEADER + ROWS)
    monkeypatch.chdir(folder)
    parsed = read_manifest(Path("corpus.csv"))
    assert [u.path for u in parsed.utterances] == [Path("a.wav"), Path("b.wav")]


def test_parts_of_a_file_may_overlap_and_are_told_apart_by_every_digit(folder):
    rows = "a.wav,angry,s1,0,1\na.wav,sad,s2,0.5,1.0000001\na.wav,sad,s2,.5,1.00000011\n"
    assert names(read(folder, "path,label,speaker,start_s,end_s\n" + rows)) == [
        "a#0-1",
        "a#0.5-1.0000001",
        "a#0.5-1.00000011",
    ]


@pytest.mark.parametrize("values", [("", ""), None], ids=["empty", "no column"])
def test_the_session_is_the_speaker_where_none_is_given(folder, values):
    if values is None:
        parsed = read(folder, HEADER + ROWS)
    else:
        parsed = read(folder, "path,label,speaker,session\na.wav,angry,s1,\nb.wav,sad,s2,\n")
    assert [u.session for u in parsed.utterances] == ["s1", "s2"]


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ("text", "1 other column ignored: 'text'"),
        ("text,", "2 other columns ignored: 'text', ''"),
        (
            "sesion,a,b,c,d,e",
            "6 other columns ignored: 'sesion', 'a', 'b', 'c', 'd' and 1 more; "
            "did you mean 'session'?",
        ),
        ("\x1b[2J", r"1 other column ignored: '\x1b[2J'"),
    ],
)
def test_other_columns_are_ignored_with_one_note(folder, columns, note):
    more = "," * columns.count(",")
    content = f"{columns},path,label,speaker\n{more},a.wav,angry,s1\n{more},b.wav,sad,s2\n"
    assert read(folder, content).notes == [note]


def test_other_keys_of_json_lines_are_ignored_whatever_they_hold(folder):
    content = json_lines(A | {"text": ["x", {"y": None}]}, B | {"vote": float("nan")})
    assert read(folder, content, "x.jsonl").notes == ["2 other columns ignored: 'text', 'vote'"]


# What is wrong: files


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


JSON_EMPTY = "line 1: must begin with JSON objects, found an empty file"
CSV_EMPTY = "line 1: must begin with a header, found an empty file"
NO_ROW = "must be a header with rows below it, found no row"
FOUND = "found 'path', 'label', 'speaker'"
NOT_SECONDS = "must be a finite number of seconds, 0 or more, found"
NO_CSV = f"must close each quote and hold at most {csv.field_size_limit()} characters a field"
LONG = "x" * 81


# What is wrong: CSV


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", [CSV_EMPTY]),
        ("\ufeff", [CSV_EMPTY]),
        (" \n\n", [CSV_EMPTY]),
        (HEADER, [f"line 1: {NO_ROW}"]),
        (f"\n{HEADER}\n\n", [f"line 2: {NO_ROW}"]),
        (
            "path,labl,speakers\na.wav,angry,s1\n",
            [
                "line 1: must name a column 'label', found 'labl'; did you mean 'label'?",
                "line 1: must name a column 'speaker', found 'speakers'; did you mean 'speaker'?",
            ],
        ),
        (
            "file,label,who\nx,angry,s1\ny,sad,s2\n",
            [
                "line 1: must name a column 'path', found 'file', 'label', 'who'",
                "line 1: must name a column 'speaker', found 'file', 'label', 'who'",
            ],
        ),
        (
            "Path,label,speaker\nx,angry,s1\ny,sad,s2\n",
            ["line 1: must name a column 'path', found 'Path'; did you mean 'path'?"],
        ),
        (
            "file;emotion\nx;y\n",
            [
                f"line 1: must name a column '{name}', found 'file', 'emotion'"
                for name in ("path", "label", "speaker")
            ],
        ),
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
            f"{HEADER}{ROWS}\nc.wav,{'x' * 140_000},s1\nx,y,z\n",
            [f"line 5: {NO_CSV}, found no CSV: field larger than field limit (131072)"],
        ),
        (
            f"path,label,speaker,{'x' * 140_000}\nx,y,z,1\n",
            [f"line 1: {NO_CSV}, found no CSV: field larger than field limit (131072)"],
        ),
        (
            f"{HEADER}{ROWS},\t, \n",
            [
                "line 4: path must be filled, found nothing",
                "line 4: label must be filled, found nothing",
                "line 4: speaker must be filled, found nothing",
            ],
        ),
        (
            f"{HEADER}{ROWS}x.wav,sad,s2\nsub,sad,s2\nsub\\d.WAV,sad,s2\n{'y' * 300},sad,s1\n",
            [
                "line 4: path must name an audio file, found no such file: 'x.wav'",
                "line 5: path must name an audio file, found a folder: 'sub'",
                r"line 6: path must name an audio file, found no such file: 'sub\\d.WAV'; "
                "folders are parted by /",
                f"line 7: path must name an audio file, found no such file: '{'y' * 76}...",
            ],
        ),
        (
            f"{HEADER}{ROWS}c\0.wav,sad,s2\n\x1b[2J,sad,s2\n",
            [
                r"line 4: path must hold no control character, found 'c\x00.wav'",
                r"line 5: path must hold no control character, found '\x1b[2J'",
            ],
        ),
        (
            f"{HEADER.strip()},session,fold\na.wav,an\x1bgry,s1,1,1\nb.wav,sad,s\u200b2,2,2\n"
            "c.wav,sad,s3,3\xa0,\x07\n",
            [
                r"line 2: label must be printable, found 'an\x1bgry'",
                r"line 3: speaker must be printable, found 's\u200b2'",
                r"line 4: session must be printable, found '3\xa0'",
                r"line 4: fold must be printable, found '\x07'",
            ],
        ),
        (
            f"{HEADER.strip()},session,fold\na.wav,{LONG},{LONG},1,1\nb.wav,sad,s2,{LONG},{LONG}\n",
            [
                f"line {line}: {column} must have at most 80 characters, found 81: '{'x' * 76}..."
                for line, column in ((2, "label"), (2, "speaker"), (3, "session"), (3, "fold"))
            ],
        ),
        (
            f"{HEADER}a.wav,angry,s1\n./a.wav,sad,s2\nb.wav,sad,s2\na.wav,sad,s2\n",
            [
                "line 3: path and span must be those of one row, found them on line 2 too: 'a.wav'",
                "line 5: path and span must be those of one row, found them on line 2 too: 'a.wav'",
            ],
        ),
        (
            f"{HEADER}a.wav,angry,s1\nsub/../a.wav,sad,s2\nb.wav,sad,s2\n",
            [
                "line 3: path and span must be those of one row, found them on line 2 too: "
                "'sub/../a.wav'",
            ],
        ),
        (
            f"{HEADER}a.wav,angry,s1\nb.wav,angry,s2\n",
            ["line 2: label must name two classes or more, found 'angry' in every row"],
        ),
        (
            f"{HEADER}a.wav,angry,s1\nb.wav,sad,s1\nnone.wav,sad,s1\n",
            [
                "line 2: speaker must name two speakers or more, found 's1' in every row",
                "line 4: path must name an audio file, found no such file: 'none.wav'",
            ],
        ),
    ],
)
def test_every_defect_of_a_table_is_named_by_its_line(folder, content, expected):
    assert problems(folder, content) == expected


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            "a.wav,angry,s1,-1,2\nb.wav,sad,s2,nan,inf\nc.wav,sad,s2,1_0,0x1\n"
            'e.flac,sad,s2,"1,5",1e999\nsub/d.WAV,sad,s2,one,٣\n',
            [
                f"line 2: start_s {NOT_SECONDS} '-1'",
                f"line 3: start_s {NOT_SECONDS} 'nan'",
                f"line 3: end_s {NOT_SECONDS} 'inf'",
                f"line 4: start_s {NOT_SECONDS} '1_0'",
                f"line 4: end_s {NOT_SECONDS} '0x1'",
                f"line 5: start_s {NOT_SECONDS} '1,5'",
                f"line 5: end_s {NOT_SECONDS} '1e999'",
                f"line 6: start_s {NOT_SECONDS} 'one'",
                f"line 6: end_s {NOT_SECONDS} '٣'",
            ],
        ),
        (
            "a.wav,angry,s1,2,2\nb.wav,sad,s2,2.5,1\nc.wav,sad,s2,,0\ne.flac,sad,s2,3,\n",
            [
                "line 2: end_s must be greater than start_s, which is 2, found 2",
                "line 3: end_s must be greater than start_s, which is 2.5, found 1",
                "line 4: end_s must be greater than start_s, which is 0, found 0",
            ],
        ),
        (
            "a.wav,angry,s1,1,2\nb.wav,sad,s2,,\na.wav,sad,s2,1.0,2\nb.wav,sad,s2,0,\n"
            "c.wav,sad,s2,,3\nc.wav,sad,s2,0,3\n",
            [
                "line 4: path and span must be those of one row, found them on line 2 too: "
                "'a.wav#1-2'",
                "line 5: path and span must be those of one row, found them on line 3 too: "
                "'b.wav#0-'",
                "line 7: path and span must be those of one row, found them on line 6 too: "
                "'c.wav#0-3'",
            ],
        ),
    ],
)
def test_every_defect_of_a_span_is_named_by_its_line(folder, rows, expected):
    assert problems(folder, f"path,label,speaker,start_s,end_s\n{rows}") == expected


def test_a_file_that_is_named_like_a_part_of_another_is_refused(folder):
    (folder / "a.wav#1-2").touch()
    rows = "a.wav,angry,s1,1,2\na.wav#1-2,sad,s2,,\n"
    assert problems(folder, f"path,label,speaker,start_s,end_s\n{rows}") == [
        "line 3: path and span must be those of one row, found them on line 2 too: 'a.wav#1-2'"
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (
            "a.wav,angry,s1,1,,\nb.wav,sad,s2,,,\nc.wav,sad,s2,2,,\n",
            [
                "line 3: fold must be filled in every row or in none, "
                "found '1' on line 2 and nothing on line 3"
            ],
        ),
        (
            "a.wav,angry,s1,,,\nb.wav,sad,s2,,,\nc.wav,sad,s2,,x,\n",
            [
                "line 2: session must be filled in every row or in none, "
                "found 'x' on line 4 and nothing on lines 2, 3"
            ],
        ),
        (
            "a.wav,angry,s1,1,,\nb.wav,sad,s2,2,,\nc.wav,sad,s1,2,,\ne.flac,sad,s1,2,,\n"
            "sub/d.WAV,sad,s1,3,,\n",
            [
                "line 4: speaker 's1' must have one fold, found '2' and, on line 2, '1'",
                "line 6: speaker 's1' must have one fold, found '3' and, on line 2, '1'",
            ],
        ),
        (
            "a.wav,angry,s1,1,,\nb.wav,sad,s2,1,,\n",
            ["line 2: fold must name two folds or more, found '1' in every row"],
        ),
        (
            "a.wav,angry,s1,,,F\nb.wav,sad,s2,,,\nc.wav,sad,s1,,,M\ne.flac,sad,s1,,,M\n",
            ["line 4: speaker 's1' must have one gender, found 'M' and, on line 2, 'F'"],
        ),
        (
            "a.wav,angry,s1,,,f\nb.wav,sad,s2,,,female\nc.wav,sad,s1,,,\x1b\n",
            [
                "line 2: gender must be F, M or empty, found 'f'",
                "line 3: gender must be F, M or empty, found 'female'",
                r"line 4: gender must be F, M or empty, found '\x1b'",
            ],
        ),
    ],
)
def test_every_defect_of_folds_sessions_and_genders_is_named_by_its_lines(folder, rows, expected):
    content = f"path,label,speaker,fold,session,gender\n{rows}"
    assert problems(folder, content) == expected


def test_many_rows_without_a_fold_are_one_problem(folder):
    rows = "".join(f"a.wav,{'angry' if n else 'sad'},s{n},{n},{n + 1},\n" for n in range(9))
    content = f"path,label,speaker,start_s,end_s,fold\nb.wav,sad,s1,,,1\n{rows}"
    assert problems(folder, content) == [
        "line 3: fold must be filled in every row or in none, "
        "found '1' on line 2 and nothing on lines 3, 4, 5, 6, 7 and 4 more"
    ]


def test_a_speaker_may_lack_a_gender_in_some_rows(folder):
    content = f"{HEADER.strip()},gender\na.wav,angry,s1,\nb.wav,sad,s2,M\nc.wav,sad,s1,F\n"
    assert [u.gender for u in read(folder, content).utterances] == ["", "M", "F"]


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


# What is wrong: JSON Lines


AB = json_lines(A, B)
NO_OBJECT = "must be a JSON object, found"


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
            json_lines({"path": "a.wav", "emotion": 1, "speaker": "s1"}, {}),
            [
                "line 1: must name a column 'label', found 'path', 'emotion', 'speaker'",
                "line 2: path must be filled, found nothing",
                "line 2: speaker must be filled, found nothing",
            ],
        ),
        (
            "\n{}\n",
            [f"line 2: must name a column '{name}', found none" for name in A],
        ),
        (
            json_lines({"path": "a.wav", "labels": "x", "speaker": "s1"}),
            [
                "line 1: must name a column 'label', found 'labels'; did you mean 'label'?",
                "line 1: speaker must name two speakers or more, found 's1' in every row",
            ],
        ),
        (
            json_lines(A, {"path": "b.wav", "label": "sad"}),
            ["line 2: speaker must be filled, found nothing"],
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
        (
            AB + json_lines(record("c\ud800.wav", "sa\udc80d", 10**90)),
            [
                r"line 3: path must hold no control character, found 'c\ud800.wav'",
                r"line 3: label must be printable, found 'sa\udc80d'",
                f"line 3: speaker must have at most 80 characters, found 91: '1{'0' * 75}...",
            ],
        ),
        (
            json_lines(A | {"fold": 1}, B | {"fold": "2"}, record("c.wav", "sad", "s2", fold=1)),
            ["line 3: speaker 's2' must have one fold, found '1' and, on line 2, '2'"],
        ),
        (
            AB + json_lines(A),
            [
                "line 3: path and span must be those of one row, found them on line 1 too: 'a.wav'",
            ],
        ),
        (
            json_lines(A, record("gone.wav", "angry", "s1")),
            [
                "line 1: label must name two classes or more, found 'angry' in every row",
                "line 1: speaker must name two speakers or more, found 's1' in every row",
                "line 2: path must name an audio file, found no such file: 'gone.wav'",
            ],
        ),
    ],
)
def test_every_defect_of_json_lines_is_named_by_its_line(folder, content, expected):
    assert problems(folder, content, "x.jsonl") == expected


def test_a_number_of_thousands_of_digits_is_refused(folder):
    (found,) = problems(folder, AB + '{"speaker": ' + "1" * 5000 + "}\n", "x.jsonl")
    assert found.startswith(f"line 3: {NO_OBJECT} Exceeds the limit (4300 digits)")
    assert len(found) < 140


# What is wrong: as a whole


def test_a_file_is_shown_by_its_first_problems_and_the_number_of_the_others(folder):
    rows = "".join(f"x{n}.wav,{'sad' if n else 'angry'},s{n}\n" for n in range(30))
    with pytest.raises(CorpusError) as caught:
        read(folder, HEADER + rows)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder}/corpus.csv: 30 problems"
    assert lines[1] == "  line 2: path must name an audio file, found no such file: 'x0.wav'"
    assert lines[-1] == "  and 10 more"
    assert [int(re.findall(r"\d+", text)[0]) for text in caught.value.problems] == [*range(2, 32)]


def test_reading_stops_after_a_thousand_problems(folder):
    rows = "".join(f"x{n}.wav,{'sad' if n else 'angry'},s{n}\n" for n in range(1200))
    with pytest.raises(CorpusError) as caught:
        read(folder, HEADER + rows)
    assert len(caught.value.problems) == 1000
    headline = str(caught.value).splitlines()[0]
    assert headline == f"{folder}/corpus.csv: 1000 problems, and reading stopped there"


def test_a_file_name_steers_no_terminal(folder):
    with pytest.raises(CorpusError) as caught:
        read(folder, "", "a\x1b[2J.csv")
    assert str(caught.value).splitlines()[0] == rf"'{folder}/a\x1b[2J.csv': 1 problem"


# Whatever stands in the file


VALID = {
    ".csv": (ALL + SPANS + 'sub/d.WAV,"sad",s3,z,10,,,\n').encode(),
    ".jsonl": json_lines(
        A | {"fold": 1, "start_s": 0.5, "end_s": 2.0, "gender": "F", "session": None},
        B | {"fold": "2", "text": "désolé 😀"},
        record("c.wav", "sad", 7, fold=3, start_s=None, extra=[1, {"x": True}]),
    ).encode(),
}
TOKENS = [
    *(b"\0", b"\xff", b"\xc3", b'"', b'""', b",", b";", b"\t", b"\n", b"\r", b"\\", b"{", b"}"),
    *(b"[", b"]", b":", b"null", b"true", b"NaN", b"-1", b"1e999", b"Infinity", b"\\ud800"),
    *(b"path", b"label", b"speaker", b"\xef\xbb\xbf", b"\x1b[2J", b"\xe2\x80\xa8", b"a.wav", b"/"),
]
EDITS = st.lists(
    st.tuples(
        st.integers(0, 9999),  # where, in ten-thousandths of the file
        st.integers(0, 3),
        st.one_of(st.sampled_from(TOKENS), st.binary(max_size=2), st.just(b"")),
    ),
    max_size=5,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "sub").mkdir()
    for name in ("a.wav", "b.wav", "c.wav", "sub/d.WAV"):
        (folder / name).touch()
    return folder


def mutated(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for where, dropped, inserted in edits:
        at = where * len(content) // 10_000
        content = content[:at] + inserted + content[at + dropped :]
    return content


def check_refusal(path: Path, problems: list[str]) -> None:
    lines = path.read_bytes().replace(b"\r", b"\n").count(b"\n") + 1
    assert problems
    for text in problems:
        assert text.isprintable()
        found = re.match(r"line (\d+): ", text)
        assert found
        assert 1 <= int(found[1]) <= lines


def check_whatever_is_read(path: Path) -> bool:
    try:
        parsed = read_manifest(path)
    except CorpusError as error:
        check_refusal(path, error.problems)
        return False
    for utterance in parsed.utterances:
        assert utterance.path.is_file()
        assert utterance.label.isprintable()
        assert utterance.label
        assert utterance.speaker
        assert utterance.session
    assert len(set(names(parsed))) == len(parsed.utterances)
    assert all(scheme.folds >= 2 for scheme in fold_schemes(parsed.utterances).values())
    return True


@pytest.mark.parametrize("suffix", VALID)
def test_the_files_that_are_mutated_are_valid(fuzzed, suffix):
    assert check_whatever_is_read(write(fuzzed, VALID[suffix], f"valid{suffix}"))


@settings(max_examples=400, deadline=None)
@given(edits=EDITS, suffix=st.sampled_from(list(VALID)))
def test_any_bytes_are_read_or_refused_and_never_fail_otherwise(fuzzed, edits, suffix):
    check_whatever_is_read(write(fuzzed, mutated(VALID[suffix], edits), f"mutated{suffix}"))


# Large ones


def test_five_thousand_rows_keep_their_order_and_names(tmp_path):
    lines = ["path,label,speaker,session,fold,start_s,end_s,gender"]
    for n in range(5000):
        folder, clip = tmp_path / f"wav/{n // 500}", f"{n:04d}.wav"
        if n % 500 == 0:
            folder.mkdir(parents=True)
        (folder / clip).touch()
        speaker = n % 50
        lines.append(
            f"wav/{n // 500}/{clip},label{n % 7},s{speaker},{speaker // 2},{speaker % 5},"
            f"{n / 100},{n / 100 + 1.5},{'FM'[speaker % 2]}"
        )
    parsed = read(tmp_path, "\n".join(lines))
    assert len(parsed.utterances) == 5000
    assert parsed.utterances[4999].name == "wav/9/4999#49.99-51.49"
    assert list(fold_schemes(parsed.utterances)) == [
        *("column", "leave-one-session-out", "leave-one-speaker-out")
    ]


# As a corpus


def test_a_corpus_has_sorted_classes_the_schemes_and_the_rows(folder):
    path = write(folder, ALL + SPANS, "My Corpus (v2).csv")
    corpus = manifest_corpus(path)
    assert (corpus.name, corpus.title) == ("my-corpus-v2", "my-corpus-v2")
    assert corpus.classes == ("angry", "sad")
    assert list(corpus.schemes) == ["column", "leave-one-session-out", "leave-one-speaker-out"]
    assert corpus.default_scheme == "column"
    assert corpus.sources == ()
    assert corpus.expected is None
    assert (corpus.where_to_get, corpus.layout, corpus.licence) == ("", LAYOUT, "")
    parsed = corpus.parse()
    assert parsed == read_manifest(path)
    assert corpus.deviations(parsed) == []
    made = split(parsed.utterances, corpus.schemes["column"], 2, hold_out_validation=False)
    assert [u.name for u in made.test] == ["b#0-1.5"]


def test_a_corpus_stays_as_it_was_read(folder):
    path = write(folder, HEADER + ROWS)
    corpus = manifest_corpus(path)
    path.write_text(f"{HEADER}a.wav,happy,s1\n")
    assert {u.label for u in corpus.parse().utterances} == set(corpus.classes)


@pytest.mark.parametrize(
    ("stem", "name", "expected"),
    [
        ("emodb", "", "emodb"),
        ("-Émotions_2 ", "", "emotions_2"),
        ("__x.y--z__", "", "x-y--z"),
        ("音声", "", "manifest"),
        ("a" * 70, "", "a" * 64),
        ("IEMOCAP", "", "iemocap-manifest"),
        ("x", "savee", "savee-manifest"),
        ("x", "my-own_1", "my-own_1"),
    ],
)
def test_a_corpus_is_named_by_the_user_or_its_file_and_never_as_one_of_the_catalog(
    folder, stem, name, expected
):
    corpus = manifest_corpus(write(folder, HEADER + ROWS, f"{stem}.csv"), name)
    assert corpus.name == corpus.title == expected
    assert corpus.name not in CORPORA


@pytest.mark.parametrize("name", ["Mine", "-a", "a b", "a\n", "a" * 65, "é"])
def test_a_name_that_is_no_name_is_refused(folder, name):
    shown = repr(name)
    expected = f"a corpus's name must match [a-z0-9][a-z0-9_-]{{0,63}}, got {shown}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        manifest_corpus(write(folder, HEADER + ROWS), name)


def test_the_folds_that_are_asked_for_are_the_default(folder):
    path = write(folder, ALL + SPANS)
    assert manifest_corpus(path, folds="2-groups").default_scheme == "2-groups"
    assert manifest_corpus(path, folds="leave-one-speaker-out").default_scheme == (
        "leave-one-speaker-out"
    )
    plain = write(folder, HEADER + ROWS, "plain.csv")
    assert manifest_corpus(plain).default_scheme == "leave-one-speaker-out"
    expected = (
        "folds must be one of leave-one-speaker-out, K-groups with K in 2..2, got 'column'; "
        "column is not offered: no fold column is filled; leave-one-session-out is not offered: "
        "no session is given that is more than the speaker"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        manifest_corpus(plain, folds="column")


def test_a_broken_manifest_makes_no_corpus(folder):
    with pytest.raises(CorpusError, match="line 1: must name a column 'path'"):
        manifest_corpus(write(folder, "label,speaker\nx,y\n"))


def test_the_suffixes_of_manifests_are_those_that_are_read(folder):
    assert SUFFIXES == (".csv", ".tsv", ".jsonl", ".ndjson")
    tabbed = (HEADER + ROWS).replace(",", "\t")
    assert names(read(folder, tabbed, "x.tsv")) == ["a", "b"]
