"""IEMOCAP: labels in one text file a dialogue, one audio file a turn.

`Session1/dialog/EmoEvaluation/Ses01F_impro01.txt` holds lines such as
`[6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]`; the audio of that turn is
`Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav`.
"""

import re
from collections import Counter
from pathlib import Path

from core.corpora.utterance import (
    AUDIO_SUFFIXES,
    CorpusError,
    Parsed,
    Utterance,
    label_lines,
    not_the_corpus,
    note_on,
    note_on_copies,
    one_file_each,
    printable,
    subfolders,
    visible_files,
    walk_files,
)

TITLE = "IEMOCAP"
LAYOUT = (
    "folders Session1 to Session5 with labels such as "
    "'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt' and audio such as "
    "'Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav'"
)
LABELS = {  # P §3.1: excited is merged into happy
    "ang": "angry",
    "hap": "happy",
    "exc": "happy",
    "sad": "sad",
    "neu": "neutral",
}
# The other five of the release, and what its raters did not agree on.
OTHER_LABELS = frozenset({"fru", "sur", "fea", "dis", "oth", "xxx"})
SEARCH_DEPTH = 3  # O: the sessions lie in the folder given, or up to two folders further down
SESSION_FOLDER = re.compile(r"session ?_?[0-9]+", re.IGNORECASE)
# The speaker is the letter of the last field. The one in Ses01F is the wearer of the motion
# sensors, in half of all turns the other person.
TURN_NAME = re.compile(
    r"Ses(?P<session>[0-9]{2})[FM]_\w{1,40}_(?P<speaker>[FM])[0-9A-Z]{1,9}", re.ASCII
)
TURN_LINE = re.compile(r"\[[^\]]*\]\s+(?P<name>\S+)\s+(?P<label>[A-Za-z]+)(?:\s|$)")


def parse(root: Path) -> Parsed:
    """Read an IEMOCAP release, or a folder that holds it."""
    sessions = _session_folders(root) if root.is_dir() else []
    if not sessions:
        raise not_the_corpus(root, TITLE, LAYOUT)
    labels, problems = _read_labels(sessions)
    if problems:
        raise CorpusError(f"{printable(root)}: the labels of {TITLE} cannot be trusted", problems)
    audio, copies = _find_audio(sessions)
    wanted = sorted(name for name, label in labels.items() if label in LABELS)
    if audio.keys().isdisjoint(wanted):
        raise CorpusError(
            f"{printable(root)}: {TITLE} must hold audio of its turns, such as "
            "'Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav'; "
            f"found none of {len(wanted)}"
        )
    dropped = Counter(label for label in labels.values() if label not in LABELS)
    excited = sum(1 for name in wanted if labels[name] == "exc")
    by_label = ", ".join(f"{label} {count}" for label, count in sorted(dropped.items()))
    unlabelled = sorted(audio.keys() - labels.keys())
    return Parsed(
        utterances=[
            _utterance(name, labels[name], audio[name]) for name in wanted if name in audio
        ],
        notes=[
            *note_on(excited, "turns labelled exc are counted as happy"),
            *note_on(dropped.total(), f"turns of other labels dropped ({by_label})"),
            *note_on(len(unlabelled), "audio files without a label ignored", unlabelled),
            *note_on_copies(copies, root),
        ],
        missing=[name for name in wanted if name not in audio],
        duplicates=copies,
    )


def _session_folders(root: Path) -> list[Path]:
    """Find the session folders nearest to the folder given."""
    level = [root]
    for _ in range(SEARCH_DEPTH):
        level = [below for folder in level for below in subfolders(folder)]
        sessions = [folder for folder in level if SESSION_FOLDER.fullmatch(folder.name)]
        found = [folder for folder in sessions if _label_folder(folder) or _audio_folder(folder)]
        if found:
            return sorted(found)
    return []


def _label_folder(session: Path) -> Path | None:
    return _descend(session, "dialog", "emoevaluation")


def _audio_folder(session: Path) -> Path | None:
    return _descend(session, "sentences", "wav")


def _descend(folder: Path, *names: str) -> Path | None:
    """Follow folder names whatever their case."""
    for name in names:
        below = [path for path in subfolders(folder) if path.name.lower() == name]
        if not below:
            return None
        folder = below[0]
    return folder


def _read_labels(sessions: list[Path]) -> tuple[dict[str, str], list[str]]:
    """Gather the label of every turn, and what keeps them from being trusted."""
    labels: dict[str, str] = {}
    problems: list[str] = []
    for session in sessions:
        folder = _label_folder(session)
        files = visible_files(folder) if folder else []
        dialogues = [path for path in files if _is_dialogue(path)]
        if not dialogues:
            text = "must hold dialog/EmoEvaluation/Ses*.txt; found none"
            problems.append(f"{printable(session)}: {text}")
        for path in dialogues:
            turns, defects = read_dialogue(label_lines(path), printable(path))
            problems += defects
            for name, label in turns.items():
                if labels.setdefault(name, label) != label:
                    text = f"{name} is {label} here, {labels[name]} elsewhere"
                    problems.append(f"{printable(path)}: {text}")
    return labels, problems


def _is_dialogue(path: Path) -> bool:
    """Tell them from other files; Attribute/, Categorical/ and the like are folders."""
    return path.name.startswith("Ses") and path.suffix.lower() == ".txt"


def read_dialogue(lines: list[str], where: str) -> tuple[dict[str, str], list[str]]:
    """Read one file of EmoEvaluation: the label of each turn, and the defects with their lines.

    `lines` are as `label_lines` gives them.
    """
    turns: dict[str, str] = {}
    defects: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.startswith("["):
            continue  # the header, blank lines and the raters' own judgements
        turn = TURN_LINE.match(line)
        name, label = (turn["name"], turn["label"].lower()) if turn else ("", "")
        if not TURN_NAME.fullmatch(name):
            defects.append(
                f"{where}:{number}: a turn must read '[start - end] Ses01F_impro01_F000 neu "
                f"[v, a, d]'; found {line[:80]!r}"
            )
        elif label not in LABELS and label not in OTHER_LABELS:
            known = ", ".join([*LABELS, *sorted(OTHER_LABELS)])
            text = f"the label of {name} must be one of {known}; found {label[:80]!r}"
            defects.append(f"{where}:{number}: {text}")
        elif turns.setdefault(name, label) != label:
            defects.append(f"{where}:{number}: {name} is {label} here, {turns[name]} above")
    if not turns and not defects:
        defects.append(f"{where}: must hold a line for each turn; found none")
    return turns, defects


def _find_audio(sessions: list[Path]) -> tuple[dict[str, Path], list[Path]]:
    folders = [folder for session in sessions if (folder := _audio_folder(session))]
    return one_file_each(
        (path.stem, path)
        for folder in folders
        for path in walk_files(folder, AUDIO_SUFFIXES)
        if TURN_NAME.fullmatch(path.stem)
    )


def _utterance(name: str, label: str, path: Path) -> Utterance:
    turn = TURN_NAME.fullmatch(name)
    assert turn, name  # read_dialogue let no other name through
    return Utterance(
        name=name,
        path=path,
        label=LABELS[label],
        speaker=f"Ses{turn['session']}_{turn['speaker']}",
        session=str(int(turn["session"])),
        gender=turn["speaker"],
    )
