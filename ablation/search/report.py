"""The files of a search beside its study's table: what was chosen, what mattered, a grid of it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ablation.archive import write_whole
from ablation.figures.canvas import SUFFIXES, save
from ablation.figures.search import search_figure
from ablation.grid import Grid
from ablation.provenance import git_commit
from ablation.search.chosen import chosen_grid
from ablation.search.importance import Importance, importances, points_of
from ablation.search.outcome import searched

TEXT, VALUES, CHOSEN, PICTURE = "search.md", "search.json", "chosen.yaml", "search"


def write_search(grid: Grid, found: Mapping[str, Any], reports: Path, root: Path) -> list[Path]:
    """Write everything that the search has found so far; the grid file once all is chosen.

    Args:
        found: As `ablation.search.outcome` describes it.
        root: The checkout, for its commit.
    """
    search, cell = searched(grid)
    folder = reports / grid.study
    points = points_of(search.space, cell.config, found)
    mattered = importances(search.space, points)
    figure = search_figure(search.space, points, mattered, grid.title)
    pictures = [folder / "figures" / f"{PICTURE}{suffix}" for suffix in SUFFIXES]
    pictures[0].parent.mkdir(parents=True, exist_ok=True)
    for path in pictures:
        save(figure, path)
    files = {TEXT: _text(grid, found, mattered), VALUES: _json(found, mattered)}
    if found["overall"]:
        made = f"{datetime.now(UTC):%Y-%m-%d}, commit {git_commit(root) or 'unknown'}"
        files[CHOSEN] = chosen_grid(grid, found, made, folder / CHOSEN)
    for name, text in files.items():
        write_whole(folder / name, text)
    return [*(folder / name for name in files), *pictures]


def _json(found: Mapping[str, Any], mattered: Importance | None) -> str:
    importance = mattered and {"r2": mattered.r2, "drops": mattered.drops}
    whole = {**found, "importance": importance}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _text(grid: Grid, found: Mapping[str, Any], mattered: Importance | None) -> str:
    search, cell = searched(grid)
    keys = [dimension.key for dimension in search.space]
    lines = [f"# {grid.title}: the search", ""]
    if grid.demo:
        lines += ["Demo: synthetic speech and small encoders; these choices say nothing.", ""]
    lines += [
        f"Method {search.method}, seed {search.seed}. In each outer fold settings were judged by "
        "mean UA on inner folds of its training side alone; the test fold had no part in the "
        f"choice. Setting 0 is the row {cell.row!r} itself.",
        "",
        _line("fold", "settings", "chosen", "inner UA %", f"{cell.row} %", *keys),
        _line("---:", "---:", "---:", "---:", "---:", *["---"] * len(keys)),
    ]
    for fold, part in found["folds"].items():
        chosen, own = part["settings"][part["choice"]], part["settings"][0]
        values = [_value(chosen["values"].get(key, "as it was")) for key in keys]
        lines.append(
            _line(
                fold,
                len(part["settings"]),
                chosen["number"],
                _percent(chosen["ua"]),
                _percent(own["ua"]),
                *values,
            )
        )
    lines += ["", *_overall(cell.row, found), *_importance(mattered)]
    return "\n".join([*lines, "![What mattered](figures/search.png)", ""])


def _overall(row: str, found: Mapping[str, Any]) -> list[str]:
    whole = found["overall"]
    if not whole:
        return ["No overall choice yet: some outer folds are not searched.", ""]
    values = ", ".join(f"`{key}: {_value(value)}`" for key, value in whole["values"].items())
    return [
        f"Overall, by the mean over all {whole['trainings']} inner folds of all outer folds: "
        f"{values or f'{row} as it was'}, inner UA {_percent(whole['ua'])} % ({row}: "
        f"{_percent(whole['defaults_ua'])} %). [chosen.yaml](chosen.yaml) runs it. It was chosen "
        "with every fold in sight: its honest estimate is the row `searched` of the table.",
        "",
    ]


def _importance(mattered: Importance | None) -> list[str]:
    if mattered is None:
        return ["Too few settings to say what mattered.", ""]
    said = ", ".join(f"`{key}` {drop:.2f}" for key, drop in mattered.drops.items())
    return [
        "What mattered, as the loss of R² when one is shuffled, of a random forest on settings "
        f"that it has not seen: {said}. Its R² is {mattered.r2:.2f}; near or below 0 the settings "
        "explain nothing of the score, and these figures are noise.",
        "",
    ]


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.2f}"


def _value(value: Any) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
