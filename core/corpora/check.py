"""Counts of a corpus beside those that it should have. Pure: no file is opened here."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from core.corpora.utterance import Utterance

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Counts:
    """How many utterances of each class, session and speaker."""

    classes: dict[str, int]
    sessions: dict[str, dict[str, int]]  # id: {total, F, M}
    speakers: dict[str, int]

    @property
    def total(self) -> int:
        """All utterances."""
        return sum(self.classes.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The counts of the paper's corpus, as far as they are known.

    An empty `sessions` or `session_classes` is not compared; a speaker with None must be there,
    however often.
    """

    classes: Mapping[str, int]
    sessions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    session_classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    speakers: Mapping[str, int | None] = field(default_factory=dict)


def count(utterances: Iterable[Utterance]) -> Counts:
    """Count utterances by class, by session and gender, and by speaker."""
    classes: Counter[str] = Counter()
    speakers: Counter[str] = Counter()
    sessions: dict[str, dict[str, int]] = {}
    for utterance in utterances:
        classes[utterance.label] += 1
        speakers[utterance.speaker] += 1
        session = sessions.setdefault(utterance.session, {"total": 0, "F": 0, "M": 0})
        session["total"] += 1
        if utterance.gender:
            session[utterance.gender] += 1
    return Counts(
        classes=dict(sorted(classes.items())),
        sessions=dict(sorted(sessions.items())),
        speakers=dict(sorted(speakers.items())),
    )


def differences(counts: Counts, expected: Expected) -> list[str]:
    """Say in plain words where the counts part from the paper's corpus; empty when they agree."""
    total = sum(expected.classes.values())
    found = _difference("in all", counts.total, total)
    for label in _keys(expected.classes, counts.classes):
        found += _difference(label, counts.classes.get(label, 0), expected.classes.get(label, 0))
    if expected.sessions:
        for session in _keys(expected.sessions, counts.sessions):
            here = counts.sessions.get(session, {})
            paper = expected.sessions.get(session, {})
            for part, name in (("total", ""), ("F", ", women"), ("M", ", men")):
                what = f"session {session}{name}"
                found += _difference(what, here.get(part, 0), paper.get(part, 0))
    for speaker in _keys(expected.speakers, counts.speakers):
        here_n, paper_n = counts.speakers.get(speaker, 0), expected.speakers.get(speaker, 0)
        if paper_n is None:
            found += (
                [] if here_n else [f"speaker {speaker}: no utterance, the paper's corpus has some"]
            )
        else:
            found += _difference(f"speaker {speaker}", here_n, paper_n)
    return found


def class_differences(utterances: Iterable[Utterance], expected: Expected) -> list[str]:
    """Say which classes of which sessions part from the paper's corpus: where a label is wrong."""
    if not expected.session_classes:
        return []
    here = Counter((utterance.session, utterance.label) for utterance in utterances)
    paper = {
        (session, label): number
        for session, classes in expected.session_classes.items()
        for label, number in classes.items()
    }
    return [
        text
        for session, label in _keys(paper, here)
        for text in _difference(
            f"session {session}, {label}", here[session, label], paper.get((session, label), 0)
        )
    ]


def _keys(expected: Iterable[Key], found: Iterable[Key]) -> list[Key]:
    """List the expected keys in their order, then the unexpected ones."""
    return list(dict.fromkeys([*expected, *found]))


def _difference(what: str, here: int, paper: int) -> list[str]:
    if here == paper:
        return []
    noun = "utterance" if here == 1 else "utterances"
    return [f"{what}: {here or 'no'} {noun}, the paper's corpus has {paper or 'none'}"]
