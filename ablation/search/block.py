"""The block `search:` of a grid file, read and checked; every problem is reported, none raised."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from types import NoneType, UnionType
from typing import Any, TypeGuard, Union, cast, get_args, get_origin

from ablation.grid import Cell, Overrides
from ablation.search.fit import SEARCHED, Report, check_fit
from ablation.search.space import Dimension, Method, Search
from ablation.yaml_lines import Where
from core.config import RunConfig
from core.schema import leaves, show, suggest

KEYS = ("space", "method", "trials", "hours", "inner_folds", "seed")
METHODS = ("random", "asha", "tpe")
KINDS = ("uniform", "loguniform", "choice", "int")
UNNAMED = "defaults"  # the row that is searched, where the file has only `base`
MAX_TRIALS = 1000  # O: more is a slip
MAX_HOURS = 10_000
MAX_CHOICES = 100
MAX_DIMENSIONS = 50
NOT_SEARCHED = {
    "corpus": "what it is tested on is no setting",
    "fold": "what it is tested on is no setting",
    "seed": "a seed is no setting; the grid's `seeds` give several",
    "evaluation": "how it is judged is no setting",
    "training.threads": "it changes how figures are rounded, not what they are",
}
NO_OPTUNA = "needs Optuna, which is not installed: pip install 'ser-ablation[search]', or use asha"


def read_search(
    top: Mapping[str, Any], report: Report, cells: Sequence[Cell], overrides: Overrides
) -> tuple[Search | None, list[Cell]]:
    """The search of a grid file, and its cells with the searched row behind the row's own.

    Args:
        top: The file's top level.
        report: Takes the place in the file, its name in words and the problem.
        cells: Of the file's rows; none where these have problems of their own.
        overrides: What the command line sets can't be searched.
    """
    if "search" not in top:
        return None, list(cells)
    if not isinstance(top["search"], dict):
        report(("search",), "search", f"must be a mapping, found {show(top['search'])}")
        return None, list(cells)
    search = _Reader(top["search"], report).search()
    if not cells:
        return search, []
    check_fit(cells, search, report, overrides)
    return search, [*cells, replace(cells[0], row=SEARCHED, published="", chosen={})]


class _Reader:
    """The block alone, without the row that it searches."""

    def __init__(self, block: Mapping[Any, Any], report: Report) -> None:
        self._block = block
        self._wrong = report

    def search(self) -> Search:
        """What is right of it; all else has been reported."""
        for key in [key for key in self._block if key not in KEYS][:MAX_DIMENSIONS]:
            self._report((key,), f"unknown key{suggest(str(key), KEYS)}")
        method = self._block.get("method", "random")
        if method not in METHODS:
            rule = f"must be one of {', '.join(METHODS)}"
            hint = suggest(str(method), METHODS)
            self._report(("method",), f"{rule}, found {show(method)}{hint}")
        elif method == "tpe" and find_spec("optuna") is None:
            self._report(("method",), NO_OPTUNA)
        whole = partial(self._number, whole=True)
        if "trials" not in self._block and "hours" not in self._block:
            self._report((), "must say how long, by `trials`, `hours` or both")
        return Search(
            space=tuple(self._space()),
            method=cast(Method, method if method in METHODS else METHODS[0]),
            trials=cast(int | None, whole("trials", 1, MAX_TRIALS)),
            hours=self._number("hours", 1e-3, MAX_HOURS),
            inner_folds=self._inner_folds(),
            seed=int(whole("seed", 0, 2**31 - 1) or 0),
        )

    def _report(self, where: Where, text: str) -> None:
        label = ".".join(("search", *map(str, where)))
        self._wrong(("search", *where), label, text)

    def _number(self, key: str, low: float, high: float, whole: bool = False) -> float | None:
        value = self._block.get(key)
        if key not in self._block:
            return None
        if _is_number(value, whole) and low <= value <= high:
            return value
        what = "a whole number" if whole else "a number"
        self._report((key,), f"must be {what} in {low:g}..{high:g}, found {show(value)}")
        return None

    def _inner_folds(self) -> int | None:
        value = self._block.get("inner_folds", "all")
        if value == "all":
            return None
        if _is_number(value, whole=True) and 1 <= value <= 1000:
            return int(value)
        text = f"must be `all` or a number of groups in 1..1000, found {show(value)}"
        self._report(("inner_folds",), text)
        return None

    def _space(self) -> list[Dimension]:
        space = self._block.get("space")
        if not isinstance(space, dict) or not space:
            rule = "must map settings to where their values lie"
            self._report(("space",), f"{rule}, found {show(space)}")
            return []
        if len(space) > MAX_DIMENSIONS:
            text = f"must hold at most {MAX_DIMENSIONS} settings, found {len(space)}"
            self._report(("space",), text)
            return []
        found = (self._dimension(key, value) for key, value in space.items())
        return [dimension for dimension in found if dimension is not None]

    def _dimension(self, key: Any, value: Any) -> Dimension | None:
        where: Where = ("space", key)
        known = leaves(RunConfig)
        reasons = [why for name, why in NOT_SEARCHED.items() if f"{key}.".startswith(f"{name}.")]
        if reasons:
            self._report(where, f"must not be searched: {reasons[0]}")
            return None
        if key not in known:
            free = [name for name in known if not name.startswith(tuple(NOT_SEARCHED))]
            hint = suggest(str(key), free)
            self._report(where, f"must be a dotted setting of core/config.py, unknown key{hint}")
            return None
        if (
            not isinstance(value, dict)
            or len(value) != 1
            or (kind := next(iter(value))) not in KINDS
        ):
            hint = (
                suggest(str(next(iter(value))), KINDS) if isinstance(value, dict) and value else ""
            )
            rule = f"must be one of {', '.join(KINDS)} with its values, as {{uniform: [0, 1]}}"
            self._report(where, f"{rule}, found {show(value)}{hint}")
            return None
        return self._values(where, str(key), kind, value[kind])

    def _values(self, where: Where, key: str, kind: Any, values: Any) -> Dimension | None:
        if kind == "choice":
            return self._choice(where, key, values)
        wanted = int if kind == "int" else float
        if wanted not in _kinds(leaves(RunConfig)[key]):
            kinds = _kinds(leaves(RunConfig)[key])
            fitting = "int or choice" if int in kinds else "choice"
            fitting = "uniform, loguniform or choice" if float in kinds else fitting
            self._report(where, f"must be drawn by {fitting}, as this setting is, found {kind}")
            return None
        pair = [_real(value) for value in values] if isinstance(values, list) else []
        whole = kind != "int" or all(isinstance(value, int) for value in pair)
        if len(pair) != 2 or None in pair or not whole:
            numbers = "whole numbers" if kind == "int" else "numbers"
            text = f"must be {kind}: [low, high], two {numbers}, found {show(values)}"
            self._report(where, text)
            return None
        low, high = cast(list[float], pair)
        if low >= high:
            self._report(where, f"must rise from low to high, found {show(values)}")
            return None
        if kind == "loguniform" and low <= 0:
            self._report(where, f"must lie above 0 for loguniform, found {show(values)}")
            return None
        return Dimension(key, kind, low=low, high=high)

    def _choice(self, where: Where, key: str, values: Any) -> Dimension | None:
        if not isinstance(values, list) or not 1 <= len(values) <= MAX_CHOICES:
            rule = f"must be choice: [...], a list of 1 to {MAX_CHOICES} values"
            self._report(where, f"{rule}, found {show(values)}")
            return None
        if any(isinstance(value, dict) for value in values):
            self._report(where, f"must choose among values, found {show(values)}")
            return None
        if any(value in values[:place] for place, value in enumerate(values)):
            self._report(where, f"must hold each value once, found {show(values)}")
            return None
        held = (tuple(value) if isinstance(value, list) else value for value in values)
        return Dimension(key, "choice", choices=tuple(held))


def _kinds(leaf: Any) -> set[Any]:
    """The type of a setting, without the None that it may be instead."""
    is_union = get_origin(leaf) in (Union, UnionType)
    return set(get_args(leaf)) - {NoneType} if is_union else {leaf}


def _is_number(value: Any, whole: bool = False) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return False
    return abs(value) < 10**20 and math.isfinite(value)


def _real(value: Any) -> float | None:
    """A number as the file has it; PyYAML follows YAML 1.1, where 1e-4 is a text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return value if _is_number(value) else None
