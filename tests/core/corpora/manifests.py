"""Manifests for tests: how they are written, read and refused, and rows that are right."""

import json
from pathlib import Path

import pytest

from core.corpora.manifest import read_manifest
from core.corpora.utterance import CorpusError, Parsed

HEADER = "path,label,speaker\n"
ROWS = "a.wav,angry,s1\nb.wav,sad,s2\n"
ALL = "path,label,speaker,session,fold,start_s,end_s,gender\n"
SPANS = "a.wav,angry,s1,x,1,0.5,2,F\na.wav,sad,s1,x,1,2,3.25e0,F\nb.wav,sad,s2,y,2,,1.5,M\n"


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
AB = json_lines(A, B)
