"""RAVDESS, the speech clips: everything is in the file name.

`Actor_01/03-01-06-01-02-01-12.wav` reads modality-channel-emotion-intensity-statement-repetition-
actor. Audio-only speech is `03-01`; other modalities and song are left out.
"""

import re
from functools import cache
from itertools import product
from pathlib import Path

from core.corpora.utterance import (
    AUDIO_SUFFIXES,
    CorpusError,
    Parsed,
    Utterance,
    not_the_corpus,
    note_on,
    note_on_copies,
    one_file_each,
    printable,
    walk_files,
)

TITLE = "RAVDESS"
LAYOUT = "audio such as 'Actor_01/03-01-06-01-02-01-01.wav', at any depth"
LABELS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
# Two takes that the release holds with the very same bytes; no fault of a copy of it.
IDENTICAL_CLIPS = frozenset({"03-01-03-01-02-01-07", "03-01-03-01-02-02-07"})
ACTORS = tuple(f"{actor:02d}" for actor in range(1, 25))
CLIP = re.compile(r"[0-9]{2}(?:-[0-9]{2}){6}")
ACTOR_FOLDER = re.compile(r"actor_?([0-9]{2})", re.IGNORECASE)


def parse(root: Path) -> Parsed:
    """Read a RAVDESS folder, or one that holds it."""
    if not root.is_dir():
        raise not_the_corpus(root, TITLE, LAYOUT)
    clips = [path for path in walk_files(root, AUDIO_SUFFIXES) if CLIP.fullmatch(path.stem)]
    speech = [path for path in clips if path.stem.startswith("03-01-")]
    problems = {path: problem for path in speech if (problem := _defect(path))}
    kept, copies = one_file_each((path.stem, path) for path in speech if path not in problems)
    if not kept and problems:
        raise CorpusError(f"{printable(root)} holds no clip of {TITLE}", list(problems.values()))
    if not kept:
        raise not_the_corpus(root, TITLE, LAYOUT)
    utterances = [_utterance(name, path) for name, path in sorted(kept.items())]
    present = {utterance.speaker for utterance in utterances}
    return Parsed(
        utterances=utterances,
        notes=[
            *note_on(len(clips) - len(speech), "files of song or video left out"),
            *note_on_copies(copies, root),
        ],
        missing=[
            name for actor in sorted(present) for name in sorted(clip_names(actor) - kept.keys())
        ],
        duplicates=copies,
        problems=list(problems.values()),
    )


@cache
def clip_names(actor: str) -> frozenset[str]:
    """Name the 60 clips that the release holds of one actor."""
    takes = product(LABELS, ("01", "02"), ("01", "02"), ("01", "02"))
    return frozenset(
        f"03-01-{emotion}-{intensity}-{statement}-{repetition}-{actor}"
        for emotion, intensity, statement, repetition in takes
        if not (
            LABELS[emotion] == "neutral" and intensity == "02"
        )  # neutral was never acted strong
    )


def _defect(path: Path) -> str:
    """Say why a speech clip cannot be what its name says, or nothing."""
    actor = path.stem[-2:]
    if actor not in ACTORS or path.stem not in clip_names(actor):
        return f"{printable(path)}: the release has no clip of this name"
    folder = ACTOR_FOLDER.fullmatch(path.parent.name)
    if folder and folder[1] != actor:
        return f"{printable(path)}: the name says actor {actor}, the folder actor {folder[1]}"
    return ""


def _utterance(name: str, path: Path) -> Utterance:
    emotion, actor = name.split("-")[2], name[-2:]
    return Utterance(
        name=name,
        path=path,
        label=LABELS[emotion],
        speaker=actor,
        session=actor,
        gender="M" if int(actor) % 2 else "F",
    )
