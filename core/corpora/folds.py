"""Cross-validation folds over groups of sessions or speakers, never with a speaker on two sides."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.corpora.utterance import Utterance, some_of


@dataclass(frozen=True, slots=True)
class FoldScheme:
    """A named assignment of sessions, speakers or a fold column's values to groups, in fold order.

    Each group is the test side once; of a cross-corpus scheme only the first `tested` are.
    """

    name: str
    by: Literal["session", "speaker", "fold"]
    groups: tuple[tuple[str, ...], ...]
    tested: int | None = None

    @property
    def folds(self) -> int:
        """How many folds the scheme makes."""
        return len(self.groups) if self.tested is None else self.tested

    def __post_init__(self) -> None:
        counts = Counter(key for group in self.groups for key in group)
        if doubled := sorted(key for key, count in counts.items() if count > 1):
            raise ValueError(
                f"folds {self.name!r}: a {self.by} must belong to one group, {doubled} to several"
            )


@dataclass(frozen=True, slots=True)
class Split:
    """The utterances of one fold, each list in the order given; validation may be empty."""

    train: list[Utterance]
    validation: list[Utterance]
    test: list[Utterance]

    @property
    def sizes(self) -> dict[str, int]:
        """Utterances by side: train, validation, test."""
        sides = {"train": self.train, "validation": self.validation, "test": self.test}
        return {side: len(utterances) for side, utterances in sides.items()}


def split(
    utterances: Sequence[Utterance],
    scheme: FoldScheme,
    fold: int,
    hold_out_validation: bool,
    inner_fold: int | None = None,
) -> Split:
    """Make one fold, counted from 1: its group is the test side.

    With `hold_out_validation` the next group in fold order, the first after the last, leaves the
    training side (O: the paper does not say how an epoch was chosen).

    With `inner_fold` that group is the test side, and the fold's own is on none: what is decided by
    such a split has seen nothing of the fold (nested cross-validation; Varma and Simon 2006).
    """
    count = len(scheme.groups)
    if not 1 <= fold <= scheme.folds:
        raise ValueError(f"folds {scheme.name!r}: fold must lie in 1..{scheme.folds}, got {fold}")
    needed = 2 + hold_out_validation + (inner_fold is not None)
    if count < needed:
        sides = "train, validation and test" if hold_out_validation else "train and test"
        inner = "" if inner_fold is None else " inside a fold"
        raise ValueError(f"folds {scheme.name!r}: {sides}{inner} need {needed} groups, got {count}")
    others = inner_groups(scheme, fold)
    if inner_fold is not None and inner_fold not in others:
        raise ValueError(
            f"folds {scheme.name!r}: an inner fold must be a group of fold {fold}'s training side, "
            f"one of {', '.join(map(str, sorted(others)))}, got {inner_fold}"
        )
    test = fold - 1 if inner_fold is None else inner_fold - 1
    validation = outside = None
    if inner_fold is not None:
        outside = fold - 1
    if hold_out_validation:
        after = (number % count for number in range(test + 1, test + count))
        validation = next(group for group in after if group != outside)
    made = Split(train=[], validation=[], test=[])
    for utterance, group in zip(utterances, _groups(utterances, scheme), strict=True):
        if group == outside:
            continue
        if group == test:
            made.test.append(utterance)
        elif group == validation:
            made.validation.append(utterance)
        else:
            made.train.append(utterance)
    _check_speakers(made, fold)
    return made


def inner_groups(scheme: FoldScheme, fold: int) -> list[int]:
    """The groups of a fold's training side, counted from 1: the next in fold order comes first."""
    count = len(scheme.groups)
    return [(fold + step) % count + 1 for step in range(count - 1)]


def _groups(utterances: Sequence[Utterance], scheme: FoldScheme) -> list[int]:
    """Find the group of each utterance; none may be left over and no group empty."""
    group_of = {key: index for index, group in enumerate(scheme.groups) for key in group}
    keys = [getattr(utterance, scheme.by) for utterance in utterances]
    if strangers := [key for key in keys if key not in group_of]:
        raise ValueError(
            f"folds {scheme.name!r}: every utterance must belong to a group by its {scheme.by}; "
            f"{len(strangers)} do not, of {scheme.by} {some_of(sorted(set(strangers)))}"
        )
    groups = [group_of[key] for key in keys]
    if empty := set(range(len(scheme.groups))) - set(groups):
        first = min(empty)
        raise ValueError(
            f"folds {scheme.name!r}: every group must hold utterances; group {first + 1}, "
            f"{scheme.by} {some_of(scheme.groups[first])}, holds none"
        )
    return groups


def _check_speakers(made: Split, fold: int) -> None:
    sides = {"train": made.train, "validation": made.validation, "test": made.test}
    speakers = {side: {u.speaker for u in utterances} for side, utterances in sides.items()}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        if shared := speakers[one] & speakers[other]:
            raise ValueError(
                f"fold {fold} is not speaker-independent: {sorted(shared)} in {one} and {other}"
            )
