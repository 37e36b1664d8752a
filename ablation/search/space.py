"""What a search may set, and settings drawn from it: pure, the same on every machine."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

DIGITS = 4  # O: of a number that is drawn, so that a grid file holds exactly what was tried

Method = Literal["random", "asha", "tpe"]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting and where its values lie: in low..high, or one of the choices."""

    key: str
    kind: Literal["uniform", "loguniform", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    choices: tuple[Any, ...] = ()

    def value(self, share: float) -> Any:
        """The value at a share in [0, 1) of the way from low to high, or along the choices."""
        if self.kind == "choice":
            return self.choices[int(share * len(self.choices))]
        if self.kind == "int":
            return int(self.low) + int(share * (int(self.high) - int(self.low) + 1))
        if self.kind == "loguniform":
            between = math.log(self.low) + share * (math.log(self.high) - math.log(self.low))
            return self.rounded(math.exp(between))
        return self.rounded(self.low + share * (self.high - self.low))

    def rounded(self, value: Any) -> Any:
        """A number to so many digits, inside its range; any other value as it is."""
        if self.kind in ("choice", "int"):
            return value
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)

    def ends(self) -> tuple[Any, ...]:
        """The values that must all be right for every value to be."""
        if self.kind == "choice":
            return self.choices
        if self.kind == "int":
            return int(self.low), int(self.high)
        return self.low, self.high

    def words(self) -> str:
        """As a grid file has it."""
        if self.kind == "choice":
            return f"choice {', '.join(map(str, self.choices))}"
        return f"{self.kind} {self.low:g} to {self.high:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What a grid searches, on what budget.

    Attributes:
        trials: Settings to judge in each outer fold, the row's own among them; None: no limit.
        hours: Of inner trainings, as if one after another, in all outer folds; None: no limit.
        inner_folds: Groups of each outer training side that judge a setting; None: all of them.
        seed: Of what is drawn.
    """

    space: tuple[Dimension, ...]
    method: Method
    trials: int | None
    hours: float | None
    inner_folds: int | None
    seed: int


def draw(space: Sequence[Dimension], seed: int, number: int, attempt: int = 0) -> dict[str, Any]:
    """Setting `number` of a search: it depends on the space, the seed and the number alone.

    Each key has draws of its own, so that another key in the space changes none of them.

    Args:
        attempt: Another is another setting, where the values of one contradict one another.
    """
    stream = f"{seed}/{number}/{attempt}"
    return {
        dimension.key: dimension.value(random.Random(f"{stream}/{dimension.key}").random())
        for dimension in space
    }


def position(dimension: Dimension, value: Any) -> float:
    """Where a value stands on an axis: its logarithm, its number, its place among the choices."""
    if dimension.kind == "choice":
        return float(dimension.choices.index(value)) if value in dimension.choices else math.nan
    if dimension.kind == "loguniform":
        return math.log10(value) if value > 0 else math.nan
    return float(value)
