"""Full-size replicas of the corpora: real names and labels, empty audio files; and a few clips."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path

import pytest

IEMOCAP_TURNS = 10_039  # of the release, all labels
MSP_IMPROV_TURNS = 8_438
# The 11 turns that the public manifest lacks: names made up, counts by scenario as published.
MSP_IMPROV_LACKING = {
    **{f"MSP-IMPROV-S20H-F06-S-FM9{i}": "H" for i in range(2)},
    **{f"MSP-IMPROV-S20N-M06-S-FM9{i}": "N" for i in range(1)},
    **{f"MSP-IMPROV-S20H-F05-P-FM9{i}": "H" for i in range(2)},
    **{f"MSP-IMPROV-S20N-M05-P-FM9{i}": "N" for i in range(6)},
}


@pytest.fixture(scope="session")
def plant() -> Callable[..., Path]:
    """Write files, empty or with content, below a folder."""

    def write(root: Path, names: Iterable[str] = (), **contents: bytes) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        made: set[Path] = set()
        for name, content in {**dict.fromkeys(names, b""), **contents}.items():
            path = root / name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            path.write_bytes(content)
        return root

    return write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with empty audio, for manifests."""
    for name in ("a.wav", "b.wav", "c.wav", "sub/d.WAV", "e.flac"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read_manifest(path: Path, name: str) -> dict[str, str]:
    if not path.is_file():
        pytest.skip(f"needs the manifest {path}")
    with path.open(newline="") as rows:
        return {row[name]: row["label"] for row in csv.DictReader(rows)}


@pytest.fixture(scope="session")
def iemocap_labels(shared: Path) -> dict[str, str]:
    return read_manifest(shared / "data/manifests/iemocap_5531.csv", "utterance")


@pytest.fixture(scope="session")
def msp_improv_paths(shared: Path) -> dict[str, str]:
    manifest = shared / "data/manifests/msp_improv_7787.csv"
    return read_manifest(manifest, "path_without_extension")


def with_distractors(labels: dict[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Group the turns by dialogue and add turns of other labels up to the release's size."""
    dialogues: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, label in labels.items():
        dialogues[name.rpartition("_")[0]].append((name, label))
    others = zip(cycle(dialogues), cycle(("fru", "xxx", "sur", "oth", "fea", "dis", "fru")))
    for number in range(IEMOCAP_TURNS - len(labels)):
        dialogue, label = next(others)
        dialogues[dialogue].append((f"{dialogue}_{'FM'[number % 2]}{500 + number}", label))
    return dialogues


def dialogue_file(turns: list[tuple[str, str]]) -> bytes:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"]
    for second, (name, label) in enumerate(turns):
        lines += [
            f"[{second}.2901 - {second + 1}.2357]\t{name}\t{label}\t[2.5000, NaN, 2.5000]",
            "C-E2:\tSadness;\t()",
            "C-F1:\tNeutral; Anger;\t(d\xe9sol\xe9\x85[1.0 - 2.0]\tnobody\tsad)",
            "A-E3:\tval 3; act 2; dom  2;\t(na\xefve)\n",
        ]
    return "\n".join(lines).encode("latin-1")


@pytest.fixture(scope="session")
def iemocap_replica(
    tmp_path_factory: pytest.TempPathFactory,
    plant: Callable[..., Path],
    iemocap_labels: dict[str, str],
) -> Path:
    """All 10 039 turns, with all that is known to mislead a parser."""
    home = tmp_path_factory.mktemp("iemocap")
    root, elsewhere = home / "as sent" / "IEMOCAP_full_release", home / "other disk"
    decoy = b"[1.0 - 2.0]\tSes01F_impro01_F000\tsad\t[1, 1, 1]\n"
    files: dict[str, bytes] = {"README.txt": b"", "Documentation/phonemes.txt": b""}
    for dialogue, turns in with_distractors(iemocap_labels).items():
        session = f"Session{int(dialogue[3:5])}"
        labels, audio = f"{session}/dialog/EmoEvaluation", f"{session}/sentences/wav/{dialogue}"
        files[f"{labels}/{dialogue}.txt"] = dialogue_file(turns)
        files[f"{labels}/._{dialogue}.txt"] = decoy
        for folder in ("Attribute", "Categorical", "Self-evaluation"):
            contrary = [(name, "ang" if label == "sad" else "sad") for name, label in turns]
            files[f"{labels}/{folder}/{dialogue}.txt"] = dialogue_file(contrary[:3])
        files[f"{session}/dialog/wav/{dialogue}.wav"] = b""
        files[f"{audio}/._{turns[0][0]}.wav"] = b""
        for number, (name, _) in enumerate(turns):
            suffix = "WAV" if session == "Session2" else "flac" if number == 0 else "wav"
            files[f"{audio}/{name}.{suffix}"] = b""
    plant(root, **files)
    (root / "Session5").rename(elsewhere)
    (root / "Session5").symlink_to(elsewhere, target_is_directory=True)
    (root / "Session1/sentences/wav/up again").symlink_to(root / "Session1/sentences")
    return root


@pytest.fixture(scope="session", params=["Evalution.txt", "Evaluation.txt"])
def msp_improv_replica(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    plant: Callable[..., Path],
    msp_improv_paths: dict[str, str],
) -> Path:
    """All 8 438 turns, the label file in either spelling; the audio of 11 turns is absent."""
    root = tmp_path_factory.mktemp("msp") / "MSP IMPROV"
    turns = {path.rpartition("/")[2]: label for path, label in msp_improv_paths.items()}
    turns |= MSP_IMPROV_LACKING
    dropped = {
        f"MSP-IMPROV-S01A-{'FM'[i % 2]}0{i % 6 + 1}-P-FM{100 + i}": "OX"[i % 2]
        for i in range(MSP_IMPROV_TURNS - len(turns))
    }
    forms = cycle(
        (
            "{}.avi; {}; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000;",
            "{}.avi; {}; A:NaN; V:3.500000; D:NaN ; N:NaN;",
            "{}.avi;{};A:3.000000;V:3.500000;D:3.000000",
            "  {}.avi ; {} ;  A:3.000000; V:3.500000; D:3.000000 ;  ",
        )
    )
    lines: list[str] = []
    for name, label in {**turns, **dropped}.items():
        lines.append(next(forms).format(name.replace("MSP", "UTD", 1), label))
        lines += ["Jos\xe9; Angry; Angry,Sad; A:1.0; V:2.0; D:3.0; N:4.0;", "w-2; Other; O;", ""]
    audio = [f"{p if p < 'session4' else f'Audio/{p}'}" for p in msp_improv_paths]
    names = [f"{p}.{'WAV' if 'session2' in p else 'wav'}" for p in audio]
    names += [f"{p}.avi" for p in audio[:50]]
    names += [f"Audio/dropped/{name}.wav" for name in dropped]
    names += [f"{p.rpartition('/')[0]}/._{p.rpartition('/')[2]}.wav" for p in audio[:50]]
    plant(root, names, **{request.param: "\r\n".join(lines).encode("latin-1")})
    plant(root, **{f"._{request.param}": b"UTD-IMPROV-S01A-F01-S-FM01.avi; Q;"})
    return root


@pytest.fixture(scope="session")
def ravdess_names() -> list[str]:
    """Name the 1 440 clips as `Actor_NN/…` without suffix."""
    return [
        f"Actor_{actor:02d}/03-01-{emotion:02d}-{intensity:02d}-{statement:02d}-{take:02d}-{actor:02d}"
        for actor in range(1, 25)
        for emotion in range(1, 9)
        for intensity in ((1,) if emotion == 1 else (1, 2))
        for statement in (1, 2)
        for take in (1, 2)
    ]


@pytest.fixture(scope="session")
def savee_names() -> list[str]:
    """Name the 480 clips as `DC/a01` without suffix."""
    sentences = {"a": 15, "d": 15, "f": 15, "h": 15, "n": 30, "sa": 15, "su": 15}
    return [
        f"{speaker}/{code}{sentence:02d}"
        for speaker in ("DC", "JE", "JK", "KL")
        for code, last in sentences.items()
        for sentence in range(1, last + 1)
    ]
