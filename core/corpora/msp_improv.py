"""MSP-IMPROV: one label file for all turns, audio at any depth.

`Evalution.txt` (the release's own spelling) or `Evaluation.txt` holds for each turn a line such as
`UTD-IMPROV-S01A-F01-S-FM01.avi; N; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000;`, then a line
for each rater. In `MSP-IMPROV-S01A-F01-S-FM01`, A is the emotion that the sentence aims at, not
the label; F01 is the speaker, the woman of session 1.
"""

import os
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
    walk_files,
)

TITLE = "MSP-IMPROV"
LAYOUT = (
    "'Evalution.txt' (or 'Evaluation.txt') and audio such as "
    "'session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav', at any depth"
)
PREFIXES = ("MSP-IMPROV-", "UTD-IMPROV-")  # of audio and of video, one turn
LABEL_FILES = frozenset({"evalution.txt", "evaluation.txt"})
LABELS = {"A": "angry", "H": "happy", "S": "sad", "N": "neutral"}
OTHER_LABELS = frozenset({"O", "X", "NAN"})  # another emotion, or no agreement
TURN_NAME = re.compile(
    r"MSP-IMPROV-S[0-9]{2}[A-Z]-(?P<gender>[FM])(?P<session>[0-9]{2})-[A-Z]-[A-Z]{2}\w{1,20}",
    re.ASCII,
)
LABEL_LINE = re.compile(
    r"(?:UTD|MSP)-IMPROV-(?P<turn>[\w-]+)(?:\.\w+)?\s*;\s*(?P<label>[A-Za-z]+)\s*(?:;|$)", re.ASCII
)


def parse(root: Path) -> Parsed:
    """Read an MSP-IMPROV release, or a folder that holds it."""
    if not root.is_dir():
        raise not_the_corpus(root, TITLE, LAYOUT)
    files = walk_files(root, {*AUDIO_SUFFIXES, *LABEL_FILES})
    audio, copies = one_file_each(
        (path.stem.replace("UTD-IMPROV-", "MSP-IMPROV-"), path)
        for path in files
        if path.suffix.lower() in AUDIO_SUFFIXES and path.stem.startswith(PREFIXES)
    )
    label_files, _ = one_file_each(  # a file is read once, whatever links lead to it
        (os.path.realpath(path), path) for path in files if path.name.lower() in LABEL_FILES
    )
    if not label_files:
        raise not_the_corpus(root, TITLE, LAYOUT)
    labels, problems = _read_labels(list(label_files.values()))
    if problems:
        raise CorpusError(f"{printable(root)}: the labels of {TITLE} cannot be trusted", problems)
    wanted = sorted(name for name, label in labels.items() if label in LABELS)
    if audio.keys().isdisjoint(wanted):
        raise CorpusError(
            f"{printable(root)}: {TITLE} must hold audio of its turns, such as "
            "'session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav'; "
            f"found none of {len(wanted)}"
        )
    dropped = Counter(label for label in labels.values() if label not in LABELS)
    by_label = ", ".join(f"{label} {count}" for label, count in sorted(dropped.items()))
    unlabelled = sorted(audio.keys() - labels.keys())
    return Parsed(
        utterances=[
            _utterance(name, labels[name], audio[name]) for name in wanted if name in audio
        ],
        notes=[
            *note_on(dropped.total(), f"turns of other labels dropped ({by_label})"),
            *note_on(len(unlabelled), "audio files without a label ignored", unlabelled),
            *note_on_copies(copies, root),
        ],
        missing=[name for name in wanted if name not in audio],
        duplicates=copies,
    )


def _read_labels(label_files: list[Path]) -> tuple[dict[str, str], list[str]]:
    """Gather the label of every turn from the files that there are, which must agree."""
    labels: dict[str, str] = {}
    problems: list[str] = []
    for path in label_files:
        turns, defects = read_evaluation(label_lines(path), printable(path))
        problems += defects
        for name, label in turns.items():
            if labels.setdefault(name, label) != label:
                text = f"{name} is {label} here, {labels[name]} elsewhere"
                problems.append(f"{printable(path)}: {text}")
    if not labels and not problems:
        names = " and ".join(printable(path) for path in label_files)
        problems.append(f"{names}: must hold lines such as 'UTD-IMPROV-….avi; N; …'; found none")
    return labels, problems


def read_evaluation(lines: list[str], where: str) -> tuple[dict[str, str], list[str]]:
    """Read a label file: the letter of each turn, and the defects with their lines.

    `lines` are as `label_lines` gives them.
    """
    turns: dict[str, str] = {}
    defects: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.startswith(PREFIXES):
            continue  # blank lines and the raters' own judgements
        match = LABEL_LINE.match(line)
        name = f"MSP-IMPROV-{match['turn']}" if match else ""
        label = match["label"].upper() if match else ""
        if not TURN_NAME.fullmatch(name) or label not in LABELS.keys() | OTHER_LABELS:
            defects.append(
                f"{where}:{number}: a label must read 'UTD-IMPROV-S01A-F01-S-FM01.avi; L; …' with "
                f"L one of A, H, S, N, O, X; found {line[:80]!r}"
            )
        elif turns.setdefault(name, label) != label:
            defects.append(f"{where}:{number}: {name} is {label} here, {turns[name]} above")
    return turns, defects


def _utterance(name: str, label: str, path: Path) -> Utterance:
    turn = TURN_NAME.fullmatch(name)
    assert turn, name  # read_evaluation let no other name through
    return Utterance(
        name=name,
        path=path,
        label=LABELS[label],
        speaker=f"{turn['gender']}{turn['session']}",
        session=str(int(turn["session"])),
        gender=turn["gender"],
    )
