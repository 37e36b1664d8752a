"""Thousands of damaged manifests: each is read or refused by its lines, never a traceback."""

import csv
import io
import json
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from core.corpora.corpus import Corpus
from core.corpora.manifest import manifest_corpus
from core.corpora.utterance import CorpusError
from tests.core.corpora.manifests import ALL, SPANS, A, B, json_lines, record, write
from tests.mutations import (
    INPUTS,
    ON_TEXT,
    bounded,
    bounded_memory,
    damaged,
    is_fit_to_print,
    rewrite,
)

SEED = 20_240_301
VALID = {
    ".csv": f'{ALL}{SPANS}sub/d.WAV,"sad",s3,z,10,,,\n',
    ".tsv": f"{ALL}{SPANS}".replace(",", "\t"),
    ".jsonl": json_lines(
        A | {"fold": 1, "start_s": 0.5, "end_s": 2.0, "gender": "F", "session": None},
        B | {"fold": "2", "text": "désolé 😀"},
        record("c.wav", "sad", 7, fold=3, start_s=None, extra=[1, {"x": True}]),
        record("c.wav", "sad", 7, fold=3, start_s=0, end_s=1.5),
    ),
}
CELLS: list[Any] = [
    *("", " ", "~", "null", "NaN", "nan", "inf", "-inf", "Infinity", "1e999", "-1", "-0.0", "0"),
    *("0.5", "2", "1e-400", "9" * 30, "9" * 5000, "1_000", "0x10", "1,5", "٣", "1e", ".", "+1"),
    *("a.wav", "./a.wav", "sub/../a.wav", "../a.wav", "../../../../etc/passwd", "/etc/passwd"),
    *("loop/loop/loop/a.wav", "loop/" * 200 + "a.wav", "circle.wav", "nowhere.wav", "sub", "pipe"),
    *("a.wav\0", "a.wav/", "a.wav/b", "~/a.wav", "sub\\d.WAV", "C:\\a.wav", "file:///a.wav", "/"),
    *("x" * 81, "x" * 300, "x" * 100_000, "\x1b[2J", "\u202ea", "\u200b", "\x85", "a\nb", "a\tb"),
    *("=cmd|' /C calc'!A0", "'; DROP TABLE", '"', '""', "é", "日本", "\ufeff", "😀", "\ud800"),
    *(None, True, False, 0, -1, 7, 7.0, 2.5, 10**30, 10**400, -(10**400), math.nan, -math.inf),
    *([], {}, [[]], {"a": {"b": 1}}, ["a.wav"], {"path": "a.wav"}),
]
NAMES = ["path", "label", "speaker", "session", "fold", "start_s", "end_s", "gender", "", "Path"]
WHOLE: dict[str, Sequence[bytes]] = {
    ".csv": [
        b"",
        b"\xef\xbb\xbf",
        b"\0" * 1_000_000,
        b"\n" * 1_000_000,
        b"\r" * 1_000_000,
        b'"' * 1_000_001,
        b'"' * 1_000_000,
        b"," * 1_000_000,
        b"\t" * 200_000 + b"\n" + b"\t" * 200_000,
        b"x" * 1_000_000,
        b"path,label,speaker\n" + b"\xff\n" * 200_000,
        b"path,label,speaker\n" + b"a.wav,sad,s1\n" * 20_000,
        b'path,label,speaker\n"' + b"a.wav,sad,s1\n" * 20_000,
        b"path,label,speaker\n" + b"".join(b"a.wav,l%d,s%d\n" % (n, n) for n in range(20_000)),
        b"path,label,speaker,fold\n" + b"".join(b"a.wav,l,s,%d\n" % n for n in range(20_000)),
        b"path,label,speaker\n" + b"../" * 100_000 + b"a.wav,sad,s1\n",
        b"path,label,speaker\n" + b"loop/" * 100_000 + b"a.wav,sad,s1\n",
        ",".join(f"path{n}" for n in range(100_000)).encode() + b"\n",
        f"{ALL}{SPANS}".encode("utf-16"),
        f"{ALL}{SPANS}".encode("utf-16-le"),
        f"{ALL}{SPANS}".encode("utf-32"),
    ],
    ".jsonl": [
        b"",
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'{"path": ' + b"[" * 400 + b"]" * 400 + b"}",
        b'{"path": "' + b"\\" * 1_000_000,
        b'{"path": "' + b"\\ud800" * 100_000 + b'"}',
        b'{"speaker": ' + b"9" * 1_000_000 + b"}",
        b'{"speaker": 1e' + b"9" * 1_000_000 + b"}",
        b"{" + b", ".join(b'"k%d": 0' % n for n in range(100_000)) + b"}",
        b"{" + b'"k": 0, ' * 100_000 + b'"k": 0}',
        b"{}\n" * 200_000,
        b"null\n" * 200_000,
        json_lines(A, B).encode("utf-16"),
        json_lines(A, B).encode("utf-32"),
    ],
}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def change_cells(text: str, chance: random.Random, suffix: str) -> bytes:
    """Put wrong values, columns, rows or spans into what stays a table."""
    json_rows = suffix == ".jsonl"
    delimiter = "\t" if suffix == ".tsv" else ","
    if json_rows:
        rows: list[Any] = [json.loads(line) for line in text.splitlines()]
    else:
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    for _ in range(chance.choice([1, 1, 2, 4])):
        row = chance.choice(rows)
        value = chance.choice(CELLS)
        if not json_rows:
            value = value if isinstance(value, str) else repr(value)
        place = chance.choice(list(row) if json_rows else range(len(row))) if row else None
        match chance.randrange(8):
            case 0:
                rows.insert(chance.randrange(len(rows) + 1), row.copy())
            case 1 if json_rows:
                row[chance.choice(NAMES)] = value
            case 1:
                row.insert(chance.randrange(len(row) + 1), value)
            case 2 if place is not None:
                row.pop(place)
            case 3 if place is not None and not json_rows:
                rows[0][place % len(rows[0]) if rows[0] else 0 :] = [chance.choice(NAMES)]
            case _ if place is not None:
                row[place] = value
    if json_rows:
        return json_lines(*rows).encode()
    written = io.StringIO()
    csv.writer(written, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return written.getvalue().encode("utf-8", "surrogatepass")


def manifest(index: int) -> tuple[str, bytes]:
    """Suffix and content of manifest number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    whole = [(suffix, content) for suffix, contents in WHOLE.items() for content in contents]
    if index < len(whole):
        return whole[index]
    suffix = chance.choice(list(VALID))
    if chance.random() < 0.5:
        return suffix, change_cells(VALID[suffix], chance, suffix)
    return suffix, damaged(VALID[suffix].encode(), ON_TEXT, chance)


def refuse_wrongly_read(corpus: Corpus) -> None:
    parsed = corpus.parse()
    assert len({item.name for item in parsed.utterances}) == len(parsed.utterances) > 0
    for item in parsed.utterances:
        assert item.path.is_file()
        assert item.label in corpus.classes
        assert item.label.isprintable()
        assert item.speaker.isprintable()
        assert item.speaker
        assert item.session
        assert item.gender in ("F", "M", "")
        assert not CONTROL.search(item.name)
        start_s, end_s = item.start_s or 0.0, item.end_s
        assert math.isfinite(start_s)
        assert start_s >= 0
        assert end_s is None or (math.isfinite(end_s) and start_s < end_s)
    assert len(corpus.classes) >= 2
    assert all(scheme.folds >= 2 for scheme in corpus.schemes.values())
    assert all(is_fit_to_print(note) for note in parsed.notes)


def refuse_bad_refusal(path: Path, content: bytes, error: CorpusError) -> None:
    assert str(error).startswith(f"{path}: ")
    assert is_fit_to_print(str(error))
    last = content.replace(b"\r", b"\n").count(b"\n") + 1
    assert error.problems
    for text in error.problems:
        assert text.isprintable()
        found = re.match(r"line (\d+): ", text)
        assert found, text
        assert 1 <= int(found[1]) <= last, text


@pytest.fixture
def crowded(folder: Path) -> Path:
    """A folder with what paths can lead astray by."""
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "circle.wav").symlink_to("circle.wav")
    (folder / "nowhere.wav").symlink_to("nothing")
    return folder


@pytest.mark.parametrize("suffix", VALID)
def test_the_manifests_that_are_damaged_are_valid(crowded, suffix):
    refuse_wrongly_read(manifest_corpus(write(crowded, VALID[suffix], f"valid{suffix}")))


def test_a_damaged_manifest_is_read_or_refused_by_its_lines(crowded):
    ended: Counter[str] = Counter()
    listing = sorted([*crowded.iterdir(), *(crowded / f"fuzzed{suffix}" for suffix in VALID)])
    with bounded_memory():
        for index in range(INPUTS):
            suffix, content = manifest(index)
            path = crowded / f"fuzzed{suffix}"
            rewrite(path, content)
            with bounded(f"manifest {index}"):
                try:
                    corpus = manifest_corpus(path)
                except CorpusError as error:
                    ended["refused"] += 1
                    refuse_bad_refusal(path, content, error)
                except Exception as error:
                    pytest.fail(f"manifest {index}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
                    refuse_wrongly_read(corpus)
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["read"]) > INPUTS // 20, ended
    assert sorted(crowded.iterdir()) == listing
