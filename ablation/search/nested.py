"""The search inside one outer fold: what to train next, by what has been trained so far; pure.

Nothing here knows of time or of who is done first: equal scores give equal questions, whatever was
interrupted, so that a search that is repeated asks for what the archive holds already.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Protocol

from ablation.search.space import Dimension, draw
from core.config import RunConfig
from core.corpora.folds import FoldScheme, inner_groups
from core.schema import ConfigError, flatten

SECONDS_AN_HOUR = 3600.0
AT_ONCE = (
    4  # O: settings that TPE proposes together; fewer learn more from each, more fill machines
)
ATTEMPTS = 100  # O: draws for one setting, where settings contradict one another


@dataclass(frozen=True, slots=True)
class Need:
    """One inner training: a setting scored on one group of an outer fold's training side."""

    config: RunConfig  # with its fold and inner fold
    number: int
    proposed_in: int | None = None  # the outer fold that has it under this number; None: its own


@dataclass(frozen=True, slots=True)
class Score:
    """What an inner training gave; nan where it failed."""

    ua: float
    seconds: float


@dataclass(slots=True)
class Judged:
    """A setting and its UA on each inner fold that it was trained for."""

    number: int  # 0 is the row's own
    values: dict[str, Any]
    config: RunConfig
    uas: dict[int, float] = field(default_factory=dict)

    @property
    def ua(self) -> float:
        """The mean over its inner folds; nan where one of them failed."""
        return fmean(self.uas.values()) if self.uas else math.nan


class Sampler(Protocol):
    """Proposes settings, another at each attempt; is told how good the last one was."""

    def ask(self, number: int, attempt: int) -> dict[str, Any]: ...
    def tell(self, number: int, ua: float) -> None: ...


class Halving(Protocol):
    """Says which settings are worth another rung."""

    rungs: tuple[int, ...]

    def goes_on(self, number: int, inner_folds: int, ua: float) -> bool: ...


class Drawn:
    """Settings drawn by their number alone."""

    def __init__(self, space: Sequence[Dimension], seed: int) -> None:
        self._space, self._seed = space, seed

    def ask(self, number: int, attempt: int) -> dict[str, Any]:
        return draw(self._space, self._seed, number, attempt)

    def tell(self, number: int, ua: float) -> None:
        """Nothing follows from it."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many settings an outer fold may still judge, all at once or so many at a time."""

    trials: int | None
    seconds: float | None  # of inner trainings, as if one after another
    at_once: int | None = None

    def next(self, judged: int, spent: float) -> int:
        """How many to judge now; 0 at the end."""
        left = math.inf if self.trials is None else self.trials - judged
        if self.seconds is not None:
            if spent >= self.seconds:
                return 0
            # Half of what seems to fit: then as many batches as it takes, none far too long.
            fits = (self.seconds - spent) / (spent / judged) / 2 if judged and spent else 1
            left = min(left, max(1, int(fits)))
        count = min(left, math.inf if self.at_once is None else self.at_once)
        return int(count) if math.isfinite(count) else 1


def groups_of(scheme: FoldScheme, fold: int, inner_folds: int | None) -> list[int]:
    """The groups of an outer training side that judge settings: the next in fold order."""
    return inner_groups(scheme, fold)[:inner_folds]


def setting(row: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """The row with other values.

    Raises:
        ConfigError: they contradict one another.
    """
    return RunConfig.from_dict(flatten(row.to_dict()) | dict(values)) if values else row


def inner(config: RunConfig, fold: int, group: int) -> RunConfig:
    """The training of a setting that is scored on a group of the fold's training side."""
    evaluation = replace(config.evaluation, inner_fold=group, record_oracle=False)
    return replace(config, fold=fold, evaluation=evaluation)


def search_fold(
    row: RunConfig,
    place: tuple[int, Sequence[int]],
    sampler: Sampler,
    budget: Budget,
    halving: Halving | None = None,
) -> Generator[list[Need], Mapping[RunConfig, Score], list[Judged]]:
    """Search inside one outer fold: yields what must be trained, is sent the scores.

    Args:
        row: Setting 0.
        place: The outer fold, and the groups of its training side that judge.
        sampler: Proposes all other settings.
        budget: How many.
        halving: Stops poor settings after their first inner folds; without it each has all.
    Returns:
        Every setting, with the inner folds that it was trained for.
    """
    fold, groups = place
    rungs = halving.rungs if halving else (len(groups),)
    every: list[Judged] = []
    spent = 0.0
    while count := budget.next(len(every), spent):
        batch = [propose(row, sampler, len(every) + step) for step in range(count)]
        every += batch
        alive = batch
        for rung in rungs:
            if not alive:
                break
            new = groups[len(alive[0].uas) : rung]
            wanted = {
                (each.number, group): inner(each.config, fold, group)
                for each in alive
                for group in new
            }
            scores = yield [Need(config, number) for (number, _), config in wanted.items()]
            spent += sum(scores[config].seconds for config in dict.fromkeys(wanted.values()))
            for each in alive:
                for group in new:
                    each.uas[group] = scores[wanted[each.number, group]].ua
            if halving and rung < len(groups):
                alive = [
                    each
                    for each in alive
                    if not math.isnan(each.ua) and halving.goes_on(each.number, rung, each.ua)
                ]
        for each in batch:
            sampler.tell(each.number, each.ua if len(each.uas) == len(groups) else math.nan)
    return every


def best(judged: Sequence[Judged], inner_folds: int) -> Judged:
    """The setting with the highest mean over all inner folds; the first of equals.

    Raises:
        ValueError: none was trained on all of them.
    """
    whole = [each for each in judged if len(each.uas) == inner_folds and not math.isnan(each.ua)]
    if not whole:
        raise ValueError("one setting at least must have been trained on every inner fold")
    return max(whole, key=lambda each: (each.ua, -each.number))


def by_setting(judged: Sequence[Judged]) -> dict[RunConfig, Judged]:
    """Each setting once, in order; of equal ones, which were drawn twice, the first."""
    found: dict[RunConfig, Judged] = {}
    for each in judged:
        found.setdefault(each.config, each)
    return found


def propose(row: RunConfig, sampler: Sampler, number: int) -> Judged:
    """Setting `number`, not judged yet.

    Raises:
        ValueError: what is proposed contradicts itself again and again.
    """
    if number == 0:
        return Judged(0, {}, row)
    problem: ConfigError | None = None
    for attempt in range(ATTEMPTS):
        values = sampler.ask(number, attempt)
        try:
            return Judged(number, values, setting(row, values))
        except ConfigError as error:  # each value is right alone, as the grid's gate has seen
            problem = error
    raise ValueError(f"must hold settings that go together; {ATTEMPTS} in a row did not: {problem}")
