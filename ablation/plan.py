"""What a grid would train, on which resources and for how long, as text or JSON.

Neither torch, Ray, numpy nor rich's renderers are imported on the way here.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from ablation.columns import (
    LOSSES,
    NOTHING,
    Column,
    clock,
    fitting,
    setting_columns,
    setting_text,
    text_lines,
)
from ablation.grid import Cell, Grid
from ablation.options import Options
from ablation.planned import Forecast, Work, forecast, what_is_to_run
from core.schema import flatten

DEMO = "Demo: synthetic speech and small encoders in the place of corpora and weights."
DONE = "done"
UNPACKED = "; --gpus-per-trial auto has no effect without a GPU"
PACKED = "; more to a GPU where their measured memory allows"
# Settings that have a column already, or are said with the folds and seeds.
COVERED = (
    "corpus.",
    "fold",
    "seed",
    "encoder.name",
    "mixup.method",
    "pooling.method",
    "losses.terms",
)
COUNTS = ("total", "finished", "to_run", "shared", "later")
MAX_LISTED = 12  # seeds by number; more are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says of a trial's resources; None is the default."""

    cpus: float | None = None
    gpus: float | None = None
    packed: bool = False  # more to a GPU, by their measured memory
    at_once: int | None = None
    address: str | None = None


def plan_text(grid: Grid, options: Options, wanted: Wanted, width: int) -> str:
    """Every row of the grid with what is to run, and the whole with its likely time."""
    works, known = what_is_to_run(grid, options)
    found = _columns(works)
    chosen = fitting(found, width)
    said = [grid.title, "", *[DEMO] * grid.demo, _sentence(grid.cells), ""]
    summary = [""]
    if hidden := [_plain(column) for column in found if column not in chosen]:
        summary.append(f"A wider terminal also shows {', '.join(hidden)}.")
    slots, resources = slots_of(wanted, _cpus(grid, wanted))
    summary += [_counts(works), resources, _time(forecast(works, known, slots))]
    return "\n".join(
        [*_wrapped(said, width), *text_lines(chosen, width), *_wrapped(summary, width)]
    )


def plan_json(grid: Grid, options: Options, wanted: Wanted) -> str:
    """The same for scripts, every trial named; null is what can't be known from here."""
    works, known = what_is_to_run(grid, options)
    cpus = _cpus(grid, wanted)
    slots, resources = slots_of(wanted, cpus)
    likely = forecast(works, known, slots)
    document = {
        "study": grid.study,
        "title": grid.title,
        "demo": grid.demo,
        "selection": grid.selection,
        "rows": [_row(work) for work in works],
        **{name: sum(getattr(work, name) for work in works) for name in COUNTS},
        "resources": {
            "cpus_per_trial": cpus,
            "gpus_per_trial": _gpus(wanted),
            "packed": wanted.packed,
            "address": wanted.address,
            "at_once": None if wanted.address and not slots else slots,
            "text": resources,
        },
        "estimate": {
            "seconds": likely.seconds,
            "one_after_another": likely.one_after_another,
            "by": likely.sources,
            "unknown_for": likely.unknown,
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _row(work: Work) -> dict[str, object]:
    return {
        "row": work.cell.row,
        "corpus": work.cell.config.corpus.name,
        "folds": work.cell.folds,
        "seeds": work.cell.seeds,
        **{name: getattr(work, name) for name in COUNTS},
        "trials": [{"fold": fold, "seed": seed} for fold, seed in work.runs],
    }


def _cpus(grid: Grid, wanted: Wanted) -> float:
    return wanted.cpus or max(cell.config.training.threads for cell in grid.cells)


def _gpus(wanted: Wanted) -> float | None:
    """Of each trial; None where a cluster's nodes decide."""
    if wanted.gpus is None and not wanted.address:
        return 1.0 if gpu_count() else 0.0
    return wanted.gpus


def _wrapped(texts: Iterable[str], width: int) -> Iterator[str]:
    for text in texts:
        yield from wrap(text, width, break_on_hyphens=False) or [""]


def _settings(cells: Sequence[Cell]) -> list[Column]:
    """Every column of settings that a plan may have."""
    configs = [cell.config for cell in cells]
    return [
        Column("corpus", tuple(config.corpus.name for config in configs), "left"),
        Column("folds", tuple(str(cell.folds) for cell in cells)),
        *setting_columns(configs),
    ]


def _sentence(cells: Sequence[Cell]) -> str:
    """What is the same in all rows, once."""
    same = {c.header: c.cells[0] for c in _settings(cells) if len(set(c.cells)) == 1}
    seeds = cells[0].seeds
    listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    epochs = {cell.config.training.epochs for cell in cells}
    may_stop = any(cell.config.evaluation.patience is not None for cell in cells)
    selections = {cell.config.evaluation.selection for cell in cells}
    ticked = [header for header in LOSSES.values() if same.get(header)]
    said = [
        f"corpus {same['corpus']}" if "corpus" in same else "",
        f"{same['folds']} folds" if "folds" in same else "",
        listed if len(seeds) <= MAX_LISTED else f"{len(seeds)} seeds",
        f"encoder {same['encoder']}" if "encoder" in same else "",
        f"mixup {same['mixup']}".replace(f"mixup {NOTHING}", "no mixup") if "mixup" in same else "",
        f"aggregation {same['aggregation']}" if "aggregation" in same else "",
        f"losses {' + '.join(ticked)}" if ticked else "",
        f"{'at most ' * may_stop}{max(epochs)} epochs" if len(epochs) == 1 else "",
        f"selection {max(selections)}" if len(selections) == 1 else "",
    ]
    return f"In all rows: {', '.join(filter(None, said))}."


def _columns(works: Sequence[Work]) -> list[Column]:
    """The rows' names, what differs between them, and what is to run."""
    cells = [work.cell for work in works]
    found = [Column("row", tuple(cell.row for cell in cells), "left")]
    found += [column for column in _settings(cells) if len(set(column.cells)) > 1]
    flat = [flatten(cell.config.to_dict()) for cell in cells]
    for key in (key for key in flat[0] if not key.startswith(COVERED)):
        values = tuple(setting_text(settings[key]) for settings in flat)
        if len(set(values)) > 1:  # the last of them goes first where the terminal is narrow
            found.append(Column(key.replace(".", ".\n", 1), values, "left", rank=-len(found)))
    found.append(Column("to run", tuple(map(_to_run, works))))
    return found


def _to_run(work: Work) -> str:
    if work.finished == work.total:
        return DONE
    return f"{work.to_run + work.shared} of {work.total}"


def _counts(works: Sequence[Work]) -> str:
    counts = (sum(getattr(work, name) for work in works) for name in COUNTS)
    total, finished, to_run, shared, later = counts
    text = f"{total} folds: {finished} finished, {to_run} to run"
    if shared:
        text += f", {shared} shared with a row that is the same experiment"
    if later:
        text += f", {later} left for later by --only and --fold"
    return f"{text}."


def slots_of(wanted: Wanted, cpus: float) -> tuple[int, str]:
    """How many trials run beside one another, 0 where unknown or none, and in words."""
    at_once, gpus = wanted.at_once, _gpus(wanted)
    if wanted.address:
        share = "a GPU where there are any" if gpus is None else _count(gpus, "GPU")
        limit = f", at most {at_once} at once" if at_once else ""
        where = f"On the Ray cluster at {wanted.address}"
        text = f"{where}: {_count(cpus, 'CPU')} and {share} for each trial{limit}"
        return at_once or 0, f"{text}{PACKED if wanted.packed else ''}."
    here_cpus, here_gpus = os.cpu_count() or 1, gpu_count()
    slots = int(here_cpus / cpus)
    if gpus:
        slots = min(slots, here_gpus * int(1 / gpus) if gpus < 1 else int(here_gpus / gpus))
    here = f"{cpus:g} of {_count(here_cpus, 'CPU')}"
    here += f" and {gpus:g} of {_count(here_gpus, 'GPU')}" if gpus else ""
    if not slots:
        return 0, f"This machine is too small: a trial would take {here}."
    slots = min(slots, at_once or slots)
    more = (PACKED if here_gpus else UNPACKED) if wanted.packed else ""
    return slots, f"{slots} at once on this machine, each on {here}{more}."


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}{'s' * (number != 1)}"


def gpu_count() -> int:
    """GPUs that this process may use, by NVIDIA's driver; asking torch would take a second."""
    listed = Path("/proc/driver/nvidia/gpus")
    count = sum(1 for _ in listed.iterdir()) if listed.is_dir() else 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return count
    return min(count, sum(name.strip() not in ("", "-1") for name in visible.split(",")))


def _time(likely: Forecast) -> str:
    if likely.seconds is None:
        return f"Time: unknown until a first fold of {', '.join(likely.unknown)} has finished."
    if not likely.sources:
        return "Time: none, nothing is to run."
    text = f"Time: about {clock(likely.seconds)}"
    text += f"{' one after another' * likely.one_after_another}, by {' and '.join(likely.sources)}"
    if likely.unknown:
        text += f", and unknown for {', '.join(likely.unknown)} until a first fold has finished"
    return f"{text}."


def _plain(column: Column) -> str:
    return column.header.replace("\n", "")
