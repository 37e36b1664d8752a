"""Folders in which anything may lie: a corpus, or an error that can be printed."""

import os
import random
import shutil
from collections import Counter

import pytest

from core.corpora.catalog import CORPORA
from core.corpora.utterance import CorpusError
from tests.mutations import INPUTS, bounded, is_fit_to_print

SEED = 20_240_304
TREES = max(INPUTS // 20, 1)  # of each corpus; every one is laid out anew
LINES = {
    "iemocap": b"[1.0 - 2.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n"
    b"[2.0 - 3.0]\tSes01F_impro01_M000\tang\t[2.5, 2.5, 2.5]\n",
    "msp_improv": b"UTD-IMPROV-S01A-F01-S-FM01.avi; N; A:3.0;\n"
    b"UTD-IMPROV-S01A-M01-S-FM02.avi; A; A:3.0;\n",
}
RELEASES: dict[str, dict[str, bytes]] = {
    "iemocap": {
        "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": LINES["iemocap"],
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav": b"",
        "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M000.wav": b"",
    },
    "msp_improv": {
        "Evalution.txt": LINES["msp_improv"],
        "session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav": b"",
        "session1/S01A/S/MSP-IMPROV-S01A-M01-S-FM02.wav": b"",
    },
    "ravdess": {f"Actor_0{actor}/03-01-06-01-02-01-0{actor}.wav": b"" for actor in (1, 2)},
    "savee": {f"{speaker}/{clip}.wav": b"" for speaker in ("DC", "JE") for clip in ("a01", "n30")},
}
NAMES = [
    *(
        b"a",
        b".hidden",
        b"...",
        b"-rf",
        b"a b",
        b"a\nb.wav",
        b"\x1b[2J.wav",
        b"\x9b2J.flac",
        b"\xff",
    ),
    *(b"Ses01F_\xe9.txt", b"Ses\x1b[2J.txt", b"Ses01F_impro01_F000.WAV", b"Session2", b"session 1"),
    *(
        b"Evaluation.txt",
        b"evalution.TXT",
        b"UTD-IMPROV-S01A-F01-S-FM01.flac",
        b"x" * 251 + b".wav",
    ),
    *(b"03-01-06-01-02-01-99.wav", b"03-01-06-01-02-01-02.wav", b"03-02-01-01-01-01-01.flac"),
    *(
        b"Actor_\x1b[2J",
        b"Actor_03",
        b"kl",
        b"DC\x07",
        b"DC_a01.wav",
        b"JE_z99.wav",
        b"DC_\x1b.wav",
    ),
    *("Αctor_01".encode(), "٠٣-01.wav".encode(), b"sentences", b"wav", b"dialog", b"EmoEvaluation"),
]
TARGETS = [".", "..", "../..", "/dev/zero", "/etc/passwd", "nowhere"]


def disturb(root: bytes, chance: random.Random) -> None:
    """Rename, remove, copy or replace something, or put something strange beside it."""
    places = sorted(
        os.path.join(folder, name)
        for folder, folders, files in os.walk(root)
        for name in (*folders, *files)
    )
    if not places:
        return
    place = chance.choice(places)
    beside = os.path.join(os.path.dirname(place), chance.choice(NAMES))
    match chance.randrange(7):
        case 0 if not os.path.lexists(beside):
            os.rename(place, beside)
        case 1 if not os.path.lexists(beside):
            os.symlink(chance.choice([*TARGETS, os.path.basename(beside)]), beside)
        case 2 if not os.path.lexists(beside):
            os.mkdir(beside)
        case 3 if not os.path.lexists(beside):
            os.mkfifo(beside)
        case 4 if os.path.isfile(place) and not os.path.lexists(beside):
            os.link(place, beside)
        case 5:
            remove(place)
            replace = chance.choice([os.mkdir, os.mkfifo, lambda path: os.symlink(path, path)])
            replace(place)
        case _:
            remove(place)


def remove(place: bytes) -> None:
    if os.path.isdir(place) and not os.path.islink(place):
        shutil.rmtree(place)
    else:
        os.unlink(place)


@pytest.mark.parametrize("name", RELEASES)
def test_a_disturbed_folder_gives_a_corpus_or_an_error_that_can_be_printed(name, tmp_path, plant):
    ended: Counter[str] = Counter()
    root = tmp_path / "home" / "release"
    for index in range(TREES):
        chance = random.Random(SEED + index)
        plant(root, **RELEASES[name])
        for _ in range(index and chance.choice([1, 2, 4])):
            disturb(os.fsencode(root), chance)
        with bounded(f"tree {index}"):
            try:
                parsed = CORPORA[name].parse(root)
            except CorpusError as error:
                ended["refused"] += 1
                message = str(error)
                assert is_fit_to_print(message, 5000), index
            except Exception as error:
                pytest.fail(f"tree {index}: {type(error).__name__}: {error}")
            else:
                ended["read"] += 1
                assert all(item.path.is_file() for item in parsed.utterances), index
                told = [*parsed.notes, *parsed.problems, *parsed.missing]
                assert all(is_fit_to_print(text, 5000) for text in told), index
        shutil.rmtree(root)
    assert ended.total() == TREES
    assert min(ended["refused"], ended["read"]) > TREES // 20, ended
