"""A manifest: what is read out of it, and that all its defects are named at once."""

import re
from pathlib import Path

import pytest

from core.corpora.manifest import read_manifest
from core.corpora.utterance import CorpusError, Parsed, Utterance
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

LONG = "x" * 81


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


# What is wrong


@pytest.mark.parametrize(
    ("content", "expected"),
    [
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
            f"{'x' * 100},{chr(27) * 100},label,speaker\nx,y,angry,s1\nx,y,sad,s2\n",
            [
                f"line 1: must name a column 'path', found '{'x' * 76}..., "
                "'" + r"\x1b" * 19 + "..., 'label', 'speaker'"
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
    ("content", "expected"),
    [
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


def test_a_file_is_shown_by_its_first_problems_and_the_number_of_the_others(folder):
    rows = "".join(f"x{n}.wav,{'sad' if n else 'angry'},s{n}\n" for n in range(30))
    with pytest.raises(CorpusError) as caught:
        read(folder, HEADER + rows)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{folder}/corpus.csv: 30 problems"
    assert lines[1] == "  line 2: path must name an audio file, found no such file: 'x0.wav'"
    assert lines[-1] == "  and 10 more"
    assert [int(re.findall(r"\d+", text)[0]) for text in caught.value.problems] == [*range(2, 32)]


def test_a_file_name_steers_no_terminal(folder):
    with pytest.raises(CorpusError) as caught:
        read(folder, "", "a\x1b[2J.csv")
    assert str(caught.value).splitlines()[0] == rf"'{folder}/a\x1b[2J.csv': 1 problem"
