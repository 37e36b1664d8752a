"""SAVEE: four men, the emotion in the letters before the sentence number.

Official `AudioData/DC/a01.wav`, or flat `DC_a01.wav`; both are named `DC_a01` here.
"""

import re
from functools import cache
from pathlib import Path

from core.corpora.utterance import (
    AUDIO_SUFFIXES,
    CorpusError,
    Parsed,
    Utterance,
    not_the_corpus,
    note_on_copies,
    one_file_each,
    printable,
    walk_files,
)

TITLE = "SAVEE"
LAYOUT = "audio such as 'AudioData/DC/a01.wav' or 'DC_a01.wav', at any depth"
LABELS = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}
SPEAKERS = ("DC", "JE", "JK", "KL")
SENTENCES = 15  # of each emotion and speaker
NEUTRAL_SENTENCES = 30
FLAT_NAME = re.compile(rf"({'|'.join(SPEAKERS)})_([a-z]+[0-9]+)", re.IGNORECASE)


def parse(root: Path) -> Parsed:
    """Read a SAVEE folder, or one that holds it."""
    if not root.is_dir():
        raise not_the_corpus(root, TITLE, LAYOUT)
    release = {name for speaker in SPEAKERS for name in clip_names(speaker)}
    named: list[tuple[str, Path]] = []
    problems: list[str] = []
    for path in walk_files(root, AUDIO_SUFFIXES):
        folder = path.parent.name.upper()
        flat = FLAT_NAME.fullmatch(path.stem)
        if not flat and folder not in SPEAKERS:
            continue
        name = f"{flat[1].upper()}_{flat[2].lower()}" if flat else f"{folder}_{path.stem.lower()}"
        if name not in release:
            problems.append(f"{printable(path)}: the release has no clip of this name")
        elif folder in SPEAKERS and folder != name[:2]:
            text = f"the name says speaker {name[:2]}, the folder {folder}"
            problems.append(f"{printable(path)}: {text}")
        else:
            named.append((name, path))
    kept, copies = one_file_each(named)
    if not kept and problems:
        raise CorpusError(f"{printable(root)} holds no clip of {TITLE}", problems)
    if not kept:
        raise not_the_corpus(root, TITLE, LAYOUT)
    present = sorted({name[:2] for name in kept})
    return Parsed(
        utterances=[_utterance(name, path) for name, path in sorted(kept.items())],
        notes=note_on_copies(copies, root),
        missing=[name for speaker in present for name in sorted(clip_names(speaker) - kept.keys())],
        duplicates=copies,
        problems=problems,
    )


@cache
def clip_names(speaker: str) -> frozenset[str]:
    """Name the 120 clips that the release holds of one speaker."""
    return frozenset(
        f"{speaker}_{code}{sentence:02d}"
        for code, label in LABELS.items()
        for sentence in range(1, (NEUTRAL_SENTENCES if label == "neutral" else SENTENCES) + 1)
    )


def _utterance(name: str, path: Path) -> Utterance:
    speaker, clip = name.split("_")
    return Utterance(
        name=name,
        path=path,
        label=LABELS[clip.rstrip("0123456789")],
        speaker=speaker,
        session=speaker,
        gender="M",
    )
