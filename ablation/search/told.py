"""What MLflow is told of a search, in the runs that its inner trainings are nested in.

    experiment ▸ study ▸ search ▸ outer fold ▸ inner training
The search's own run has what was searched, the overall choice and the files; an outer fold's what
its inner folds chose. All figures are means over inner folds: none is of an outer test fold.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablation.grid import Grid
from ablation.logged import Choice, Search, outer_name
from ablation.search.outcome import searched

SEARCHED = ("key", "method", "trials", "hours", "inner_folds", "seed", "space")


def search_told(grid: Grid, found: Mapping[str, Any], files: Sequence[Path]) -> Search:
    """From what was found, as `ablation.search.outcome` describes it, and the files that say it."""
    _, cell = searched(grid)
    whole = found["overall"]
    tags = {"search": _json({name: found[name] for name in SEARCHED})}
    figures: dict[str, float | None] = {"outer_folds": len(found["folds"])}
    if whole:
        tags["chosen"] = _json(whole["values"])
        figures |= {"inner_ua": whole["ua"], "inner_ua_defaults": whole["defaults_ua"]}
        figures["trainings"] = whole["trainings"]
    choices = [("search", "search", Choice(tags, _known(figures)))]
    for fold, part in found["folds"].items():
        chosen, own = part["settings"][part["choice"]], part["settings"][0]
        told = {"setting": str(chosen["number"]), "chosen": _json(chosen["values"])}
        rates = {"inner_ua": chosen["ua"], "inner_ua_defaults": own["ua"]}
        name = outer_name(cell.config.on_fold(int(fold), cell.config.seed))
        counts = {"settings": len(part["settings"])}
        choices.append(("outer", name, Choice(told, _known({**rates, **counts}))))
    text = next(path for path in files if path.suffix == ".md").read_text(encoding="utf-8")
    return Search(corpus=cell.corpus.name, choices=choices, text=text, files=files)


def _json(values: Any) -> str:
    return json.dumps(values, ensure_ascii=False)


def _known(figures: Mapping[str, float | None]) -> dict[str, float]:
    """Without those of a setting whose training failed."""
    return {name: value for name, value in figures.items() if value is not None}
