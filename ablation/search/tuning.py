"""Ray Tune's own searcher and scheduler, asked in a fixed order.

Tune asks them as trials come in, so that what they say depends on who is done first. Here trials
are told in the order of their numbers, a rung or a batch at a time: ASHA decides as it would on a
machine that runs one trial at a time, and TPE proposes the same settings again for the same scores.
What runs at once, is retried and is interrupted is still Tune's work, in `ablation.trials`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ray import tune
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from ablation.search.nested import AT_ONCE, SECONDS_AN_HOUR, Budget, Drawn, Halving, Sampler
from ablation.search.space import Dimension, Search

REDUCTION = 3  # O: of the settings at a rung the best third goes on; Li et al. 2020 use 4
UA, INNER_FOLDS = "ua", "inner_folds"


@dataclass(frozen=True, slots=True)
class _Named:
    """All that ASHA asks of a trial."""

    trial_id: str


class Asha:
    """Asynchronous successive halving (Li et al. 2020) whose resource is the inner folds."""

    def __init__(self, inner_folds: int) -> None:
        self._scheduler = ASHAScheduler(
            time_attr=INNER_FOLDS,
            metric=UA,
            mode="max",
            max_t=inner_folds,
            grace_period=1,
            reduction_factor=REDUCTION,
        )
        milestones = [1]
        while milestones[-1] * REDUCTION < inner_folds:
            milestones.append(milestones[-1] * REDUCTION)
        self.rungs = (*(each for each in milestones if each < inner_folds), inner_folds)
        self._known: set[int] = set()

    def goes_on(self, number: int, inner_folds: int, ua: float) -> bool:
        """Whether a setting belongs to the best third of those told at this rung before it."""
        trial = cast(Any, _Named(str(number)))
        controller = cast(Any, None)
        if number not in self._known:
            self._known.add(number)
            self._scheduler.on_trial_add(controller, trial)
        told = {INNER_FOLDS: inner_folds, UA: ua}
        action = self._scheduler.on_trial_result(controller, trial, told)
        return bool(action == TrialScheduler.CONTINUE)


class Tpe:
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), through Tune."""

    def __init__(self, space: Sequence[Dimension], seed: int) -> None:
        from ray.tune.search.optuna import OptunaSearch

        self._dimensions = {str(place): each for place, each in enumerate(space)}
        domains = {name: _domain(each) for name, each in self._dimensions.items()}
        self._searcher = OptunaSearch(domains, metric=UA, mode="max", seed=seed)
        self._asked: dict[int, str] = {}

    def ask(self, number: int, attempt: int) -> dict[str, Any]:
        if number in self._asked:  # what it proposed before contradicts itself
            self._searcher.on_trial_complete(self._asked[number], error=True)
        self._asked[number] = f"{number}.{attempt}"
        found = self._searcher.suggest(self._asked[number]) or {}
        return {
            each.key: each.rounded(each.choices[found[name]])
            if each.kind == "choice"
            else each.rounded(found[name])
            for name, each in self._dimensions.items()
        }

    def tell(self, number: int, ua: float) -> None:
        if number not in self._asked:  # the row's own, which it did not propose
            return
        failed = math.isnan(ua)
        result = None if failed else {UA: ua}
        self._searcher.on_trial_complete(self._asked[number], result, error=failed)


def sampler_of(search: Search) -> Sampler:
    """Who proposes the settings of one outer fold."""
    if search.method == "tpe":
        return Tpe(search.space, search.seed)
    return Drawn(search.space, search.seed)


def halving_of(search: Search, inner_folds: int) -> Halving | None:
    """Who stops the poor ones, if anybody does."""
    return Asha(inner_folds) if search.method == "asha" else None


def budget_of(search: Search, outer_folds: int) -> Budget:
    """What one of so many outer folds may take."""
    hours = search.hours
    seconds = None if hours is None else hours * SECONDS_AN_HOUR / outer_folds
    return Budget(search.trials, seconds, AT_ONCE if search.method == "tpe" else None)


def _domain(dimension: Dimension) -> Any:
    if dimension.kind == "choice":
        return tune.choice(list(range(len(dimension.choices))))
    if dimension.kind == "int":
        return tune.randint(int(dimension.low), int(dimension.high) + 1)
    if dimension.kind == "loguniform":
        return tune.loguniform(dimension.low, dimension.high)
    return tune.uniform(dimension.low, dimension.high)
