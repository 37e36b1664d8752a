"""Fold schemes of a corpus whose speakers are first met in its manifest."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import lcm
from typing import Literal

from core.corpora.folds import FoldScheme
from core.corpora.utterance import Utterance
from core.schema import show, suggest

COLUMN, SESSIONS, SPEAKERS = "column", "leave-one-session-out", "leave-one-speaker-out"
BALANCED = re.compile(r"([1-9][0-9]{0,5})-groups")
MAX_GROUPS_SUGGESTED = 20  # O: who mistypes `30-groups` is told the form


def fold_schemes(utterances: Sequence[Utterance], folds: str = "") -> dict[str, FoldScheme]:
    """Make the schemes that the utterances allow, by name, the default one first.

    `column` is offered where every utterance has a fold and there are two or more;
    `leave-one-session-out` where a session is more than another word for its speaker, there are
    two or more and no speaker is in two; `leave-one-speaker-out` where there are two speakers.
    Groups stand in natural order.

    Args:
        folds: The scheme that is wanted. `K-groups` is added for it; any other must be offered.
    Raises:
        ValueError: no such scheme, or it can't be made of these utterances; with the reason.
    Source: O; the paper's corpora bring their folds.
    """
    offered: dict[str, FoldScheme] = {}
    refused: dict[str, str] = {}
    kinds: tuple[tuple[str, Literal["fold", "session", "speaker"], str], ...] = (
        (COLUMN, "fold", _why_no_column(utterances)),
        (SESSIONS, "session", _why_no_sessions(utterances)),
        (SPEAKERS, "speaker", _too_few("speaker", utterances)),
    )
    for name, by, reason in kinds:
        if reason:
            refused[name] = reason
        else:
            keys = sorted({getattr(utterance, by) for utterance in utterances}, key=natural_key)
            offered[name] = FoldScheme(name, by, tuple((key,) for key in keys))
    speakers = len({utterance.speaker for utterance in utterances})
    wanted = BALANCED.fullmatch(folds)
    if wanted and 2 <= int(wanted[1]) <= speakers:
        groups = balanced_groups(utterances, int(wanted[1]))
        offered[folds] = FoldScheme(folds, "speaker", groups)
    elif folds and folds not in offered:
        raise ValueError(_no_such_scheme(folds, list(offered), refused, speakers))
    return offered


def _no_such_scheme(
    folds: str, offered: Sequence[str], refused: dict[str, str], speakers: int
) -> str:
    form = f"K-groups with K in 2..{speakers}"
    known = [f"{count}-groups" for count in range(2, min(speakers, MAX_GROUPS_SUGGESTED) + 1)]
    hint = (
        "" if folds in refused or BALANCED.fullmatch(folds) else suggest(folds, [*offered, *known])
    )
    reasons = "".join(f"; {name} is not offered: {reason}" for name, reason in refused.items())
    return f"folds must be one of {', '.join([*offered, form])}, got {show(folds)}{hint}{reasons}"


def _why_no_column(utterances: Sequence[Utterance]) -> str:
    if not any(utterance.fold for utterance in utterances):
        return "no fold column is filled"
    if not all(utterance.fold for utterance in utterances):
        return "the fold column is filled in part only"
    return _too_few("fold", utterances)


def _why_no_sessions(utterances: Sequence[Utterance]) -> str:
    if all(utterance.session == utterance.speaker for utterance in utterances):
        return "no session is given that is more than the speaker"
    if reason := _too_few("session", utterances):
        return reason
    session_of: dict[str, str] = {}
    for utterance in sorted(utterances, key=lambda item: (item.speaker, item.session)):
        first = session_of.setdefault(utterance.speaker, utterance.session)
        if first != utterance.session:
            return (
                f"speaker {show(utterance.speaker)} is in sessions {show(first)} "
                f"and {show(utterance.session)}"
            )
    return ""


def _too_few(by: str, utterances: Sequence[Utterance]) -> str:
    keys = {getattr(utterance, by) for utterance in utterances}
    return "" if len(keys) > 1 else f"{len(keys) or 'no'} {by} only, two are needed"


def balanced_groups(utterances: Sequence[Utterance], count: int) -> tuple[tuple[str, ...], ...]:
    """Part the speakers into groups of like size and like classes, the same on every machine.

    The largest speaker comes first, of equals the first in natural order. Each goes to the group
    where this sum over all groups grows least, of equals the first:
    (group's utterances / all)² + Σ over classes of (group's of the class / all of the class)².

    Args:
        count: Number of groups, 2 to the number of speakers.
    Returns:
        The speakers of each group in natural order; none is empty. The order of the utterances
        doesn't count.
    Raises:
        ValueError: too many or too few groups.
    Source: O.
    """
    labels_of: dict[str, Counter[str]] = defaultdict(Counter)
    for utterance in utterances:
        labels_of[utterance.speaker][utterance.label] += 1
    if not 2 <= count <= len(labels_of):
        raise ValueError(f"groups must lie in 2..{len(labels_of)}, got {count}")
    totals = Counter(utterance.label for utterance in utterances)
    # Whole numbers, so that ties are ties on every machine.
    scale = lcm(totals.total(), *totals.values()) ** 2
    of_size = scale // totals.total() ** 2
    of_label = {label: scale // total**2 for label, total in totals.items()}
    groups: list[list[str]] = [[] for _ in range(count)]
    held: list[Counter[str]] = [Counter() for _ in range(count)]
    sizes = [0] * count
    for speaker in sorted(labels_of, key=lambda key: (-labels_of[key].total(), natural_key(key))):
        labels = labels_of[speaker]
        growths = [  # half of it, less what is the same for every group
            of_size * size * labels.total()
            + sum(of_label[label] * here[label] * n for label, n in labels.items())
            for size, here in zip(sizes, held, strict=True)
        ]
        least = growths.index(min(growths))
        groups[least].append(speaker)
        held[least] += labels
        sizes[least] += labels.total()
    return tuple(tuple(sorted(group, key=natural_key)) for group in groups)


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort whole numbers inside a text by value: 2 before 10. Texts that differ never tie."""
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], text
