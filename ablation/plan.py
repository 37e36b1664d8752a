"""What a grid would train, on which resources and for how long; neither torch nor Ray is needed."""

import os
from collections import Counter
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ablation.archive import Archive, Cost
from ablation.grid import Cell, Grid
from ablation.options import Options
from ablation.progress import clock
from core.config import config_key


def print_plan(
    console: Console,
    grid: Grid,
    options: Options,
    cpus_per_trial: float | None,
    gpus_per_trial: float | None,
    at_once: int | None,
) -> None:
    """Print every cell of the grid with what is finished, and the whole with its likely time."""
    costs = Archive(options.runs).costs()
    finished = {cost.config_key for cost in costs}
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for header in ("row", "corpus", "encoder", "mixup", "aggregation", "losses", "folds", "to run"):
        is_number = header in ("folds", "to run")
        table.add_column(header, justify="right" if is_number else "left", no_wrap=True)
    left: Counter[tuple[str, str, int]] = Counter()
    total = 0
    for cell in grid.cells:
        missing = _missing(cell, options, finished)
        config = cell.config
        left[config.encoder.name, config.corpus.name, config.training.epochs] += missing
        total += cell.folds * len(cell.seeds)
        words = (
            cell.row,
            config.corpus.name,
            Path(config.encoder.name).name,
            config.mixup.method,
            config.pooling.method,
            "+".join(config.losses.terms),
        )
        table.add_row(*map(Text, words), str(cell.folds * len(cell.seeds)), str(missing))
    console.print(table)
    threads = max(cell.config.training.threads for cell in grid.cells)
    slots, resources = _slots(cpus_per_trial or threads, gpus_per_trial, at_once)
    missing = sum(left.values())
    console.print()
    console.print(f"{total} folds, {missing} to train; {resources}")
    console.print(_time(left, costs, slots))


def _missing(cell: Cell, options: Options, finished: set[str]) -> int:
    if options.only and cell.row not in options.only:
        return 0
    return sum(
        config_key(trial.config) not in finished
        for trial in cell.trials()
        if not options.folds or trial.config.fold in options.folds
    )


def _slots(cpus: float, gpus: float | None, at_once: int | None) -> tuple[int, str]:
    """How many trials fit on this machine at once, and what each reserves."""
    here_cpus, here_gpus = os.cpu_count() or 1, gpu_count()
    share = (1.0 if here_gpus else 0.0) if gpus is None else gpus
    slots = int(here_cpus / cpus) if cpus else at_once or here_cpus
    if share:
        slots = min(slots, int(here_gpus / share))
    slots = max(1, min(slots, at_once or slots))
    reserved = f"{cpus:g} of {here_cpus} CPUs" + (
        f", {share:g} of {here_gpus} GPUs" if share else ""
    )
    return slots, f"{slots} at once on this machine, each on {reserved}"


def gpu_count() -> int:
    """GPUs that this machine's NVIDIA driver lists; asking torch would take a second."""
    listed = Path("/proc/driver/nvidia/gpus")
    return sum(1 for _ in listed.iterdir()) if listed.is_dir() else 0


def _time(left: Counter[tuple[str, str, int]], costs: list[Cost], slots: int) -> str:
    seconds, unknown = 0.0, set()
    for (encoder, corpus, epochs), trials in left.items():
        if not trials:
            continue
        alike = [c.epoch_seconds for c in costs if (c.encoder, c.corpus) == (encoder, corpus)]
        if alike:
            seconds += median(alike) * epochs * trials / slots
        else:
            unknown.add(f"{Path(encoder).name} on {corpus}")
    if unknown:
        return f"time: unknown until a first fold of {', '.join(sorted(unknown))} has finished"
    return f"time: about {clock(seconds)}, from the epochs of finished folds"
