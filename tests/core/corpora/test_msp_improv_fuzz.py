"""Thousands of damaged label files: labels that stand there, or an error by its line."""

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from core.corpora import msp_improv
from core.corpora.utterance import CorpusError, Parsed
from tests.mutations import (
    INPUTS,
    ON_TEXT,
    bounded,
    bounded_memory,
    damaged,
    is_fit_to_print,
    rewrite,
)

SEED = 20_240_303
TURNS = {
    "S01A-F01-S-FM01": "A",
    "S01A-M01-S-FM02": "N",
    "S02H-F02-T-FF03": "H",
    "S20S-M12-R-MM04": "S",
    "S20N-F06-P-FM10": "O",
    "S03N-M06-P-MM11": "X",
    "S03N-M06-P-MM12": "N",
}
LABEL_FILE = "Evalution.txt"
TURN = re.compile(r"MSP-IMPROV-S[0-9]{2}[A-Z]-([FM])([0-9]{2})-[A-Z]-[A-Z]{2}[A-Za-z0-9_]+")

NAMES = [
    *("UTD-IMPROV-S01A-F01-S-FM01", "MSP-IMPROV-S01A-F01-S-FM01", "UTD-IMPROV-S01A-F99-S-FM01"),
    *("utd-improv-s01a-f01-s-fm01", "UTD-IMPROV-", "UTD-IMPROV", "", "UTD-IMPROV-S01A-X01-S-FM01"),
    *("UTD-IMPROV-S٣٣A-F01-S-FM01", "UTD-IMPROV-S01A-F01-S-FMé", "UTD-IMPROV-S01A-F00-S-FM01"),
    *("UTD-IMPROV-../S01A-F01-S-FM01", "/etc/passwd", "UTD-IMPROV-S01A-F01-S-FM01\0"),
    *("UTD-IMPROV-" + "-" * 50_000, "UTD-IMPROV-S01A-F01-S-FM" + "0" * 50_000, "x" * 100_000),
    *("UTD-IMPROV-\x1b[2J-F01-S-FM01", "UTD-IMPROV-S01A-F01-S-FM01" + " " * 50_000),
]
ENDS = [".avi", ".wav", "", ".", ".a.b", ".\x1b[2J", "." + "a" * 50_000, ".avi" + " " * 50_000]
LABELS = [
    *("A", "a", "N", "H", "S", "O", "X", "NaN", "nan", "", "Q", "Neutral", "AA", "N N", "é", "Α"),
    *("A" * 100_000, "\x1b[31mA", "N\x85", "\xa0N", "-", "0", "1e999", "-inf"),
]
SCORES = [
    "; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000; ",
    *("", ";", "; A:NaN; V:inf; D:-1 ; N:;", ";" * 50_000, "; A:" + "9" * 50_000, " \x00;", " x"),
]
WHOLE = [
    b"",
    b"\xef\xbb\xbf",
    b"\0" * 1_000_000,
    b"UTD-IMPROV-" + b"-" * 1_000_000,
    b"UTD-IMPROV-" + b"a." * 500_000,
    b"UTD-IMPROV-a" + b" " * 1_000_000,
    b"UTD-IMPROV-a;" + b" " * 1_000_000,
    b"UTD-IMPROV-a; A" + b" " * 1_000_000 + b"x",
    b"UTD-IMPROV-S01A-F01-S-FM01; " + b"A" * 1_000_000,
    b"UTD-IMPROV-\n" * 100_000,
    b";\r\n\r" * 300_000,
    b"UTD-IMPROV-S01A-F01-S-FM01.avi; N;\n" * 50_000,
    b"UTD-IMPROV-S01A-F01-S-FM01.avi; N;\nMSP-IMPROV-S01A-F01-S-FM01.wav; A;\n" * 20_000,
    b"".join(b"UTD-IMPROV-S01A-F01-S-FM%d.avi; N;\n" % number for number in range(50_000)),
    b"".join(b"UTD-IMPROV-S01A-F01-S-FM%d.avi; X;\n" % number for number in range(50_000)),
]


def line(name: str, label: str, end: str = ENDS[0], scores: str = SCORES[0]) -> str:
    return f"{name}{end}; {label}{scores}\n"


def label_text() -> str:
    """As the release has it: after each turn its raters."""
    rater = "WORKER1; Jos\xe9; Angry; A:3.0; V:3.0; D:3.0; N:4.0; \n"
    blocks = [line(f"UTD-IMPROV-{turn}", label) + rater for turn, label in TURNS.items()]
    return "\n".join(blocks)


def change_fields(text: str, chance: random.Random) -> bytes:
    """Put wrong names, labels and scores into lines that stay in form."""
    lines = text.splitlines(keepends=True)
    for _ in range(chance.choice([1, 1, 2, 4])):
        index = chance.choice(
            [n for n, found in enumerate(lines) if found.startswith("UTD")] or [0]
        )
        name, _, rest = lines[index].partition(";")
        name, label = name.removesuffix(".avi"), rest.partition(";")[0].strip()
        match chance.randrange(5):
            case 0:
                lines[index] = line(chance.choice(NAMES), label)
            case 1:
                lines[index] = line(name, label, end=chance.choice(ENDS))
            case 2:
                lines[index] = line(name, label, scores=chance.choice(SCORES))
            case _:
                lines[index] = line(name, chance.choice(LABELS))
    return "".join(lines).encode("latin-1" if chance.random() < 0.5 else "utf-8", "replace")


def label_file(index: int) -> bytes:
    """Label file number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    if index < len(WHOLE):
        return WHOLE[index]
    if chance.random() < 0.5:
        return change_fields(label_text(), chance)
    return damaged(label_text().encode("latin-1"), ON_TEXT, chance)


@pytest.fixture
def release(tmp_path: Path, plant: Callable[..., Path]) -> Path:
    """Seven turns, an utterance without a label and links that run in circles."""
    clips = [f"session1/{turn[:4]}/MSP-IMPROV-{turn}.wav" for turn in (*TURNS, "S04A-F01-S-FM99")]
    root = plant(tmp_path / "release", clips, **{LABEL_FILE: label_text().encode("latin-1")})
    (root / "session1/up").symlink_to(root, target_is_directory=True)
    (root / "session1/circle.wav").symlink_to("circle.wav")
    return root


def refuse_wrongly_read(parsed: Parsed, content: bytes) -> None:
    text = content.decode("latin-1")
    assert len({item.name for item in parsed.utterances}) == len(parsed.utterances) > 0
    for item in parsed.utterances:
        sex, session = TURN.fullmatch(item.name).groups()
        expected = (f"{sex}{session}", str(int(session)), sex)
        assert (item.speaker, item.session, item.gender) == expected
        assert item.path.stem == item.name
        assert item.path.is_file()
        letter = item.label[0]
        turn = item.name.removeprefix("MSP")
        assert re.search(rf"(UTD|MSP){turn}[^;]*;\s*{letter}\s*(;|$)", text, re.I | re.M)
    assert set(parsed.missing).isdisjoint(item.name for item in parsed.utterances)
    assert all(is_fit_to_print(note) for note in parsed.notes)


def refuse_bad_refusal(release: Path, content: bytes, error: CorpusError) -> None:
    lines = str(error).split("\n")
    assert is_fit_to_print(str(error))
    if not error.problems:
        rule = "MSP-IMPROV must hold audio of its turns, such as "
        assert lines[0].startswith(f"{release}: {rule}")
        return
    assert lines[0] == f"{release}: the labels of MSP-IMPROV cannot be trusted"
    last = content.replace(b"\r", b"\n").count(b"\n") + 1
    where = re.compile(rf"{re.escape(str(release / LABEL_FILE))}:(?:(\d+):)? ")
    found = [where.match(text) for text in error.problems]
    assert all(match and 1 <= int(match[1] or 1) <= last for match in found)


def test_the_labels_that_are_damaged_are_valid(release):
    parsed = msp_improv.parse(release)
    assert len(parsed.utterances) == 5
    assert parsed.notes == [
        "2 turns of other labels dropped (O 1, X 1)",
        "1 audio files without a label ignored: 'MSP-IMPROV-S04A-F01-S-FM99'",
    ]
    refuse_wrongly_read(parsed, label_text().encode("latin-1"))


def test_a_damaged_label_file_gives_labels_that_stand_there_or_an_error_by_its_line(release):
    ended: Counter[str] = Counter()
    before = sorted(release.rglob("*"))
    with bounded_memory():
        for index in range(INPUTS):
            content = label_file(index)
            rewrite(release / LABEL_FILE, content)
            with bounded(f"file {index}"):
                try:
                    parsed = msp_improv.parse(release)
                except CorpusError as error:
                    ended["refused"] += 1
                    refuse_bad_refusal(release, content, error)
                except Exception as error:
                    pytest.fail(f"file {index}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
                    refuse_wrongly_read(parsed, content)
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["read"]) > INPUTS // 20, ended
    assert sorted(release.rglob("*")) == before
