"""The grid file of what a search chose: runs by itself, and says where its values come from."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ablation.aggregate import changed_settings
from ablation.grid import Cell, Grid
from ablation.search.outcome import searched
from ablation.yaml_lines import read
from core.corpora.catalog import CORPORA

SUFFIX = "_chosen"
NAME_LENGTH = 64  # of a grid's name, at most
CHOSEN_ROW = "chosen"


def chosen_grid(grid: Grid, found: Mapping[str, Any], made: str, path: Path) -> str:
    """A grid with the row that was searched, and that row with the chosen values.

    Args:
        found: As `ablation.search.outcome` describes it, with its `overall`.
        made: When, and by which commit.
        path: Where it will lie.
    """
    search, cell = searched(grid)
    whole = found["overall"]
    settings = {len(part["settings"]) for part in found["folds"].values()}
    counts = "–".join(str(count) for count in sorted({min(settings), max(settings)}))
    own = "failed" if whole["defaults_ua"] is None else f"{100 * whole['defaults_ua']:.2f} %"
    data = "--demo" if grid.demo else "--data DIR"
    row = cell.row if cell.row != CHOSEN_ROW else f"{cell.row} before"
    base = {
        key: value
        for key, value in changed_settings(cell.config).items()
        if not key.startswith("corpus.")
    }
    lines = [
        f"# Chosen by the search of {grid.path}, {made}.",
        f"# Method {search.method}, seed {search.seed}, {counts} settings in each of "
        f"{len(found['folds'])} outer folds; searched:",
        *(f"#   {key}: {words}" for key, words in found["space"].items()),
        f"# UA {100 * whole['ua']:.2f} %, the row as it was {own}: means over "
        f"{whole['trainings']} inner folds of all outer folds.",
        "# Every fold had its part in this choice, so that a table of it flatters it; its honest",
        f"# estimate is the row `searched` of the table of {grid.study}.",
        *(["# By a demo: synthetic speech and small encoders; it says nothing."] * grid.demo),
        f"# Command: python runner.py {shlex.quote(path.as_posix())} {data}",
        f"name: {grid.name[: NAME_LENGTH - len(SUFFIX)]}{SUFFIX}",
        f"title: {_yaml(f'{grid.title}: as chosen')}",
        f"corpora: {_corpora(grid, cell)}",
        f"seeds: {_yaml(list(cell.seeds))}",
        "",
        *(["base:"] * bool(base)),
        *(f"  {key}: {_yaml(value)}" for key, value in base.items()),
        "",
        "rows:",
        f"  - name: {_yaml(row)}",
        f"  - name: {CHOSEN_ROW}",
        *(f"    {key}: {_yaml(value)}" for key, value in whole["values"].items()),
    ]
    return "\n".join([*lines, ""])


def _corpora(grid: Grid, cell: Cell) -> str:
    """By name and folds; of a manifest, what the searched grid's file says."""
    corpus = cell.config.corpus
    if corpus.name in CORPORA:
        return _yaml([{"name": corpus.name, "folds": corpus.folds}])
    listed = read(grid.path).value.get("corpora")
    return _yaml(listed) if listed else "[]  # give the manifest: --corpus FILE"


def _yaml(value: Any) -> str:
    """On one line; JSON is YAML, but for numbers like 1e-05, which the gate reads from a text."""
    return json.dumps(value, ensure_ascii=False)
