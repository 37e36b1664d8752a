"""What a search found, as `runs/searches/<study>.json` and `search.json` beside the table have it:

    key        names the search: its block and the row that it searches
    method, trials, hours, inner_folds, seed    as in the grid; trials and hours null: no limit
    space      {setting: in words}
    folds      {outer fold: {choice, groups, settings}}; `choice` is a number of `settings`, each
               {number, values, uas: {inner fold: UA or null}, ua: their mean or null}
    overall    null until every outer fold has a choice, else {values, ua, defaults_ua, trainings}:
               the setting with the best mean over all outer folds' inner folds

Setting 0 is the row's own. UA is a share of 1, null where a training failed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

from ablation.archive import write_whole
from ablation.grid import Cell, Grid
from ablation.search.nested import Judged, best, by_setting, setting
from ablation.search.space import Search
from core.config import RunConfig
from core.identity import config_key
from core.schema import ConfigError


@dataclass(frozen=True, slots=True)
class FoldSearch:
    """One outer fold's: what its inner folds said, and what they chose."""

    fold: int
    groups: tuple[int, ...]
    judged: tuple[Judged, ...]

    @property
    def choice(self) -> Judged:
        """The setting with the best mean UA on the inner folds, the first of equals."""
        return best(self.judged, len(self.groups))


@dataclass(frozen=True, slots=True)
class Overall:
    """The one setting with the best mean over all outer folds' inner folds."""

    values: Mapping[str, Any]
    ua: float
    defaults_ua: float
    trainings: int  # that judged it


def overall(folds: Sequence[FoldSearch]) -> Overall:
    """Of the settings that were judged whole on every outer fold, the best; the first of equals.

    Raises:
        ValueError: there is none.
    """
    means: dict[RunConfig, list[float]] = {}
    values: dict[RunConfig, Mapping[str, Any]] = {}
    for found in folds:
        for config, each in by_setting(found.judged).items():
            if len(each.uas) == len(found.groups):
                means.setdefault(config, []).append(each.ua)
                values.setdefault(config, each.values)
    known = {
        config: fmean(uas)
        for config, uas in means.items()
        if len(uas) == len(folds) and not math.isnan(fmean(uas))
    }
    if not known:
        raise ValueError("one setting at least must have been judged on every outer fold")
    chosen = max(known, key=lambda config: known[config])
    row = folds[0].judged[0].config
    trainings = sum(len(found.groups) for found in folds)
    return Overall(values[chosen], known[chosen], known.get(row, math.nan), trainings)


def document(grid: Grid, folds: Sequence[FoldSearch], whole: Overall | None) -> dict[str, Any]:
    """Plain values for JSON, as the module's docstring says."""
    search, cell = searched(grid)
    return {
        "key": key_of(search, cell),
        **{name: getattr(search, name) for name in ("method", "trials", "hours", "seed")},
        "inner_folds": search.inner_folds or "all",
        "space": {dimension.key: dimension.words() for dimension in search.space},
        "folds": {str(found.fold): _fold(found) for found in folds},
        "overall": whole
        and {
            "values": dict(whole.values),
            "ua": whole.ua,
            "defaults_ua": _plain(whole.defaults_ua),
            "trainings": whole.trainings,
        },
    }


def note(runs: Path, grid: Grid, found: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what has been found, beside what an earlier start found of other outer folds."""
    path = _path(runs, grid)
    kept = _read(path, found["key"])
    folds = dict(kept.get("folds", {})) | dict(found["folds"])
    whole = {
        **found,
        "folds": {fold: folds[fold] for fold in sorted(folds, key=int)},
        "overall": found["overall"] or kept.get("overall"),
    }
    write_whole(path, json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False))
    return whole


def with_choices(grid: Grid, runs: Path) -> Grid:
    """The grid with its searched row as far as it has been chosen, by an earlier start."""
    search, cell = searched(grid)
    folds = _read(_path(runs, grid), key_of(search, cell)).get("folds", {})
    chosen = {}
    for fold, found in folds.items():
        with suppress(ConfigError, LookupError, TypeError, ValueError):  # then it is chosen anew
            values = found["settings"][found["choice"]]["values"]
            chosen[int(fold)] = setting(cell.config, values)
    return choosing(grid, chosen)


def choosing(grid: Grid, chosen: Mapping[int, RunConfig]) -> Grid:
    """The grid with these settings for the outer folds of its searched row."""
    cells = (cell if cell.chosen is None else replace(cell, chosen=chosen) for cell in grid.cells)
    return replace(grid, cells=tuple(cells))


def searched(grid: Grid) -> tuple[Search, Cell]:
    """The search of a grid that has one, and the row that it searches."""
    if grid.search is None:
        raise ValueError(f"{grid.path} must have a `search:`")
    return grid.search, grid.cells[0]


def key_of(search: Search, cell: Cell) -> str:
    """Names a search; what it found is of no other."""
    identity = [asdict(search), config_key(cell.config)]
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _fold(found: FoldSearch) -> dict[str, Any]:
    return {
        "choice": found.choice.number,
        "groups": list(found.groups),
        "settings": [
            {
                "number": each.number,
                "values": each.values,
                "uas": {str(group): _plain(ua) for group, ua in each.uas.items()},
                "ua": _plain(each.ua),
            }
            for each in found.judged
        ],
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _path(runs: Path, grid: Grid) -> Path:
    return runs / "searches" / f"{grid.study}.json"


def _read(path: Path, key: str) -> dict[str, Any]:
    """What is kept of this very search; nothing where there is none, or no whole file."""
    with suppress(OSError, ValueError):
        kept = json.loads(path.read_bytes())
        if isinstance(kept, dict) and kept.get("key") == key and isinstance(kept["folds"], dict):
            return kept
    return {}
