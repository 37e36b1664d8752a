"""Thousands of damaged EmoEvaluation files: labels that stand there, or an error by its line."""

import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from core.corpora import iemocap
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

SEED = 20_240_302
DIALOGUES = ("Ses01F_impro01", "Ses02M_script01_1")
TURNS = {
    f"{dialogue}_{sex}00{number}": label
    for dialogue in DIALOGUES
    for sex, labels in {"F": ("neu", "exc", "xxx"), "M": ("ang", "sad", "hap")}.items()
    for number, label in enumerate(labels)
}
LABEL_FILE = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
TURN = re.compile(r"Ses([0-9]{2})[FM]_[A-Za-z0-9_]+_([FM])[A-Z0-9]+")

TIMES = [
    *("[6.2901 - 8.2357]", "[8.2357 - 6.2901]", "[-1.0 - 2.0]", "[NaN - inf]", "[1e999 - 2]", "[]"),
    *("[6.2901 - 8.2357", "6.2901 - 8.2357]", "[[1 - 2]]", "[1 - 2] ]", "[\t]", "[" * 2000, ""),
    *("[" + "9" * 5000 + " - 0]", "[" + " " * 50_000 + "]", "[" + "]" * 50_000, "[1,0 - 2,0]"),
]
NAMES = [
    *("Ses01F_impro01_F000", "Ses01F_impro01_M999", "Ses99F_impro01_F000", "Ses1F_impro01_F000"),
    *(
        "ses01f_impro01_f000",
        "Ses01F_impro01_X000",
        "Ses01F_impro01",
        "",
        "Ses00M__F0",
        "Ses٣٣F_x_F0",
    ),
    *("../Ses01F_impro01_F000", "/etc/passwd", "Ses01F_../../x_F000", "Ses01F_\x1b[2J_F000"),
    *("Ses01F_é_F000", "Ses01F_impro01_F000.wav", "Ses01F_" + "_F0" * 20_000, "x" * 100_000),
    *("Ses01F_" + "a" * 50_000 + "_F0", "Ses01F_impro01_F" + "0" * 50_000, "Ses01F_impro01_F000\0"),
]
LABELS = [
    *("neu", "NEU", "exc", "fru", "xxx", "oth", "sad", "", "0", "n3u", "neutral", "né", "ang;"),
    *("x" * 100_000, "\x1b[31mneu", "neu\x85", "neu\xa0sad", "sad\x0cang", "nеu", "-", "NaN"),
]
ENDS = [
    "\t[2.5000, 2.5000, 2.5000]",
    "",
    "\t",
    "\t[NaN, inf, -1]",
    " " * 20_000,
    "\x00",
    "\tneu\tsad",
]
WHOLE = [
    b"",
    b"\xef\xbb\xbf",
    b"\0" * 1_000_000,
    b"[" * 1_000_000,
    b"[]" * 500_000,
    b"[] " + b" " * 1_000_000,
    b"[] " + b"x " * 500_000,
    b"[] " + b"x" * 1_000_000,
    b"[] Ses01F_" + b"_F0" * 300_000 + b"! neu\n",
    b"[] Ses01F_impro01_F000 " + b"n" * 1_000_000 + b"\n",
    b"[]\n" * 200_000,
    b"\r\n\r" * 300_000,
    b"[1 - 2] Ses01F_impro01_F000 neu\n" * 50_000,
    b"[1 - 2] Ses01F_impro01_F000 neu\n[1 - 2] Ses01F_impro01_F000 sad\n" * 20_000,
    b"".join(b"[1 - 2] Ses01F_impro01_F%d neu\n" % number for number in range(50_000)),
    b"".join(b"[1 - 2] Ses01F_impro01_F000 l%s\n" % (b"a" * number) for number in range(1_000)),
    b"".join(b"[1 - 2] Ses01F_impro01_F%d %s\n" % (n, b"a" * (n + 1)) for n in range(1_000)),
]


def line(name: str, label: str, times: str = TIMES[0], end: str = ENDS[0]) -> str:
    return f"{times}\t{name}\t{label}{end}\n"


def label_text(dialogue: str) -> str:
    """As the release has them: a header, and after each turn what its raters said."""
    blocks = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"]
    for name, label in TURNS.items():
        if name.startswith(dialogue):
            blocks.append(
                line(name, label) + "C-E2:\tSadness;\t()\nA-E3:\tval 3; act 2;\t(\xe9)\n\n"
            )
    return "".join(blocks)


def change_fields(text: str, chance: random.Random) -> bytes:
    """Put wrong times, names and labels into lines that stay in form."""
    lines = text.splitlines(keepends=True)
    for _ in range(chance.choice([1, 1, 2, 4])):
        index = chance.choice([n for n, found in enumerate(lines) if found.startswith("[")] or [0])
        _, name, label = [*lines[index].split("\t"), "", "", ""][:3]
        match chance.randrange(5):
            case 0:
                lines[index] = line(name, label, times=chance.choice(TIMES))
            case 1:
                lines[index] = line(chance.choice(NAMES), label)
            case 2:
                lines[index] = line(name, label, end=chance.choice(ENDS))
            case _:
                lines[index] = line(name, chance.choice(LABELS))
    return "".join(lines).encode("latin-1" if chance.random() < 0.5 else "utf-8", "replace")


def label_file(index: int) -> bytes:
    """Label file number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    if index < len(WHOLE):
        return WHOLE[index]
    text = label_text(DIALOGUES[0])
    if chance.random() < 0.5:
        return change_fields(text, chance)
    return damaged(text.encode("latin-1"), ON_TEXT, chance)


@pytest.fixture
def release(tmp_path: Path, plant: Callable[..., Path]) -> Path:
    """Two sessions of six turns, an utterance without a label and links that run in circles."""
    files = {
        f"Session{number}/dialog/EmoEvaluation/{dialogue}.txt": label_text(dialogue).encode(
            "latin-1"
        )
        for number, dialogue in enumerate(DIALOGUES, start=1)
    }
    clips = [
        f"Session{int(name[3:5])}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav"
        for name in (*TURNS, "Ses01F_impro01_M999")
    ]
    root = plant(tmp_path / "release", clips, **files)
    (root / "Session1/sentences/wav/up").symlink_to(root, target_is_directory=True)
    (root / "Session2/circle").symlink_to("circle")
    return root


def refuse_wrongly_read(parsed: Parsed, content: bytes) -> None:
    text = content.decode("latin-1")
    assert len({item.name for item in parsed.utterances}) == len(parsed.utterances) > 0
    for item in parsed.utterances:
        session, sex = TURN.fullmatch(item.name).groups()
        assert (item.speaker, item.session, item.gender) == (f"Ses{session}_{sex}", session[1], sex)
        assert item.path.stem == item.name
        assert item.path.is_file()
        codes = [code for code, label in iemocap.LABELS.items() if label == item.label]
        if session == "01":
            assert re.search(rf"\s{item.name}\s+({'|'.join(codes)})\b", text, re.IGNORECASE)
        else:
            assert TURNS[item.name] in codes
    assert set(parsed.missing).isdisjoint(item.name for item in parsed.utterances)
    assert all(is_fit_to_print(note) for note in parsed.notes)


def refuse_bad_refusal(release: Path, content: bytes, error: CorpusError) -> None:
    headline = f"{release}: the labels of IEMOCAP cannot be trusted"
    assert str(error).split("\n")[0] == headline
    assert is_fit_to_print(str(error))
    last = content.replace(b"\r", b"\n").count(b"\n") + 1
    where = re.compile(rf"{re.escape(str(release / LABEL_FILE))}:(?:(\d+):)? ")
    found = [where.match(text) for text in error.problems]
    assert all(match and 1 <= int(match[1] or 1) <= last for match in found)


def test_the_labels_that_are_damaged_are_valid(release):
    parsed = iemocap.parse(release)
    assert len(parsed.utterances) == 10
    assert parsed.notes[-1] == "1 audio files without a label ignored: 'Ses01F_impro01_M999'"
    refuse_wrongly_read(parsed, label_text(DIALOGUES[0]).encode("latin-1"))


def test_a_damaged_label_file_gives_labels_that_stand_there_or_an_error_by_its_line(release):
    ended: Counter[str] = Counter()
    before = sorted(release.rglob("*"))
    with bounded_memory():
        for index in range(INPUTS):
            content = label_file(index)
            rewrite(release / LABEL_FILE, content)
            with bounded(f"file {index}"):
                try:
                    parsed = iemocap.parse(release)
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
