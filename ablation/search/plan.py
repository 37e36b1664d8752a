"""What a grid with a `search:` would train at most, beside what any grid's plan says.

Neither torch, Ray, numpy nor rich's renderers are imported on the way here.
"""

import json
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from ablation import plan
from ablation.archive import Archive
from ablation.columns import clock
from ablation.costs import Estimator, makespan
from ablation.grid import Grid
from ablation.options import Options
from ablation.plan import Wanted
from ablation.search.fit import SEARCHED
from ablation.search.nested import Drawn, Judged, groups_of, inner, propose
from ablation.search.outcome import searched
from core.identity import config_key

BY_HOURS = "as many as fit into {hours:g} hours of training, one after another"


@dataclass(frozen=True, slots=True)
class Inner:
    """The inner trainings of a search; None is what can't be known from here.

    Attributes:
        most: So many at the most: under `asha` poor settings are stopped before.
        finished: Of these; under `tpe` what is proposed depends on the scores.
        seconds: The likely time of those to run.
    """

    most: int | None
    finished: int | None
    seconds: float | None


def plan_text(grid: Grid, options: Options, wanted: Wanted, width: int) -> str:
    """As `ablation.plan.plan_text`, and what the search trains before it."""
    text = plan.plan_text(grid, options, wanted, width)
    if grid.search is None:
        return text
    found = inner_trainings(grid, options, wanted)
    return "\n".join([text, "", *wrap(_said(grid, found), width, break_on_hyphens=False)])


def plan_json(grid: Grid, options: Options, wanted: Wanted) -> str:
    """As `ablation.plan.plan_json`; under "search" what the search trains before it."""
    text = plan.plan_json(grid, options, wanted)
    if grid.search is None:
        return text
    found = inner_trainings(grid, options, wanted)
    search: dict[str, Any] = {
        "method": grid.search.method,
        "trials": grid.search.trials,
        "hours": grid.search.hours,
        "inner_trainings": found.most,
        "finished": found.finished,
        "seconds": found.seconds,
    }
    return json.dumps(json.loads(text) | {"search": search}, indent=2, ensure_ascii=False)


def inner_trainings(grid: Grid, options: Options, wanted: Wanted) -> Inner:
    """How many inner trainings there are at most, and how long they take."""
    search, cell = searched(grid)
    if options.only and SEARCHED not in options.only:
        return Inner(0, 0, 0.0)
    scheme = cell.corpus.schemes[cell.config.corpus.folds]
    outer = [
        fold for fold in range(1, cell.folds + 1) if not options.folds or fold in options.folds
    ]
    slots, _ = plan.slots_of(wanted, wanted.cpus or cell.config.training.threads)
    if search.trials is None:
        hours = (search.hours or 0.0) * len(outer) / cell.folds
        return Inner(None, None, hours * 3600 / max(slots, 1))
    costs, (calibrated, _) = Archive(options.runs).costs(), Archive(options.runs).calibrated()
    drawn = Drawn(search.space, search.seed)
    settings = [Judged(0, {}, cell.config)]
    if search.method != "tpe":
        settings += [propose(cell.config, drawn, number) for number in range(1, search.trials)]
    keys: dict[str, int] = {}
    for fold in outer:
        for group in groups_of(scheme, fold, search.inner_folds):
            for each in settings:
                keys.setdefault(config_key(inner(each.config, fold, group)), fold)
    finished = set() if options.fresh else keys.keys() & {cost.config_key for cost in costs}
    groups = {fold: len(groups_of(scheme, fold, search.inner_folds)) for fold in outer}
    most = sum(groups.values()) * search.trials
    left = [fold for key, fold in keys.items() if key not in finished]
    if search.method == "tpe":
        left = [fold for fold in outer for _ in range(groups[fold] * search.trials)]
    if not left:
        return Inner(most, len(finished), 0.0)
    times = Estimator(costs).seconds(cell.config, left) or Estimator(calibrated).seconds(
        cell.config, left
    )
    seconds = None if times is None else (makespan(times, slots) if slots else sum(times))
    return Inner(most, None if search.method == "tpe" else len(finished), seconds)


def _said(grid: Grid, found: Inner) -> str:
    search, _ = searched(grid)
    first = f"Before it the search, {search.method} over {len(search.space)} keys:"
    if found.most is None:
        text = f"{first} {BY_HOURS.format(hours=search.hours)}."
        return text if found.seconds is None else f"{text} Time: about {clock(found.seconds)}."
    at_most = "at most " if search.method == "asha" or search.hours else ""
    text = f"{first} {at_most}{found.most} inner trainings"
    if search.hours:
        text += f", or {BY_HOURS.format(hours=search.hours)}"
    if found.finished is not None:
        text += f", {found.finished} of them finished"
    if found.seconds == 0:
        return f"{text}."
    if found.seconds is None:
        return f"{text}. Time: unknown until a first fold has finished."
    return f"{text}. Time: {at_most or 'about '}{clock(found.seconds)}."
