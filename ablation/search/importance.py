"""What of a search mattered: settings against the row itself, and a forest put to the test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ablation.search.space import Dimension, position
from core.config import RunConfig
from core.schema import flatten

ENOUGH = 8  # O: settings; of fewer a forest learns nothing
PARTS = 10  # O: of which each is predicted by a forest on the others
TREES = 100  # O
SHUFFLES = 20  # O
SEED = 0


@dataclass(frozen=True, slots=True)
class Points:
    """Settings that differ from one another, and how they did.

    Attributes:
        values: (n, d) where each stands on each axis; nan for a choice that is not listed.
        gains: (n,) mean UA over its inner folds, minus the row's own on the same.
        own: Which of them is the row's own.
    """

    values: NDArray[np.float64]
    gains: NDArray[np.float64]
    own: int


@dataclass(frozen=True, slots=True)
class Importance:
    """R² of the forest on settings it has not seen, and what of it each setting carries."""

    r2: float
    drops: dict[str, float]


def points_of(space: Sequence[Dimension], row: RunConfig, found: Mapping[str, Any]) -> Points:
    """Every setting once, whichever outer folds judged it.

    Speakers differ more than settings do, so a setting is held against the row itself on the very
    same inner folds; one that was stopped early has fewer of them.

    Args:
        found: As `ablation.search.outcome` describes it.
    """
    defaults = flatten(row.to_dict())
    gains: dict[tuple[float, ...], list[float]] = {}
    own: tuple[float, ...] = ()
    for part in found["folds"].values():
        base = part["settings"][0]["uas"]
        for each in part["settings"]:
            values = {
                dimension.key: each["values"].get(dimension.key, defaults[dimension.key])
                for dimension in space
            }
            place = tuple(
                position(dimension, _hashed(values[dimension.key])) for dimension in space
            )
            own = place if each["number"] == 0 else own
            pairs = [(ua, base[group]) for group, ua in each["uas"].items()]
            known = [ua - zero for ua, zero in pairs if ua is not None and zero is not None]
            gains.setdefault(place, []).extend(known)
    judged = {place: fmean(each) for place, each in gains.items() if each}
    places = np.array(list(judged), dtype=np.float64).reshape(len(judged), len(space))
    index = list(judged).index(own) if own in judged else -1
    return Points(places, np.array(list(judged.values()), dtype=np.float64), index)


def importances(space: Sequence[Dimension], points: Points) -> Importance | None:
    """How much a forest loses of its R², on settings it has not seen, where one is shuffled.

    Source: Breiman 2001, permutation importance, by cross-validation. None for too few settings.
    """
    whole = ~np.isnan(points.values).any(1)
    values, gains = points.values[whole], points.gains[whole]
    if len(gains) < ENOUGH or np.ptp(gains) == 0:
        return None
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    rng = np.random.default_rng(SEED)
    shape = (len(space), SHUFFLES, len(gains))
    said, shuffled = np.empty(len(gains)), np.empty(shape)
    for train, test in KFold(min(PARTS, len(gains)), shuffle=True, random_state=SEED).split(values):
        forest = RandomForestRegressor(TREES, random_state=SEED).fit(values[train], gains[train])
        said[test] = forest.predict(values[test])
        for column in range(len(space)):
            for shuffle in range(SHUFFLES):
                other = values[test].copy()
                other[:, column] = rng.permutation(values[:, column])[: len(test)]
                shuffled[column, shuffle, test] = forest.predict(other)
    r2 = _r2(gains, said)
    drops = {
        dimension.key: r2 - fmean(_r2(gains, each) for each in shuffled[column])
        for column, dimension in enumerate(space)
    }
    return Importance(r2, drops)


def _r2(true: NDArray[np.float64], said: NDArray[np.float64]) -> float:
    return float(1 - ((true - said) ** 2).sum() / ((true - true.mean()) ** 2).sum())


def _hashed(value: Any) -> Any:
    """JSON has lists where settings are tuples; nothing stands at no place."""
    if value is None:
        return math.nan
    return tuple(value) if isinstance(value, list) else value
