"""What of a grid is to run and how long that takes: the values behind a plan.

Neither torch, Ray nor numpy are imported on the way here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ablation.archive import Archive
from ablation.columns import encoder_name
from ablation.costs import Estimator, makespan
from ablation.grid import Cell, Grid
from ablation.options import Options


@dataclass(frozen=True, slots=True)
class Work:
    """How many folds a cell has, by what is to be done with them."""

    cell: Cell
    finished: int
    runs: tuple[tuple[int, int], ...]  # to run: fold and seed
    shared: int  # to run too, as the same experiment under an earlier row's name

    @property
    def to_run(self) -> int:
        return len(self.runs)

    @property
    def total(self) -> int:
        return self.cell.folds * len(self.cell.seeds)

    @property
    def later(self) -> int:
        """Those that --only and --fold leave out."""
        return self.total - self.finished - self.to_run - self.shared


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of times: from finished folds; from a calibration, and then of a start too."""

    finished: Estimator
    calibrated: Estimator
    start_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long the trials to run will take; 0 seconds by no source where there are none.

    Attributes:
        seconds: None where nothing is known of any of them.
        sources: What it was estimated by.
        unknown: What of the trials it leaves out, by encoder and corpus.
        one_after_another: How many run at once being unknown.
    """

    seconds: float | None
    sources: tuple[str, ...]
    unknown: tuple[str, ...]
    one_after_another: bool


def what_is_to_run(grid: Grid, options: Options) -> tuple[list[Work], Known]:
    """The work of every cell, in the grid's order, and what is known of its time."""
    archive = Archive(options.runs)
    costs, (calibrated, start_s) = archive.costs(), archive.calibrated()
    finished = {cost.config_key for cost in costs}
    planned: set[str] = set()
    works = [_work(cell, options, finished, planned) for cell in grid.cells]
    return works, Known(Estimator(costs), Estimator(calibrated), start_s)


def _work(cell: Cell, options: Options, finished: set[str], planned: set[str]) -> Work:
    runs = cell.runs()
    keys = cell.config_keys()
    open_runs = {
        key: run
        for run, key in zip(runs, keys, strict=True)
        if (options.fresh or key not in finished)
        and (not options.only or cell.row in options.only)
        and (not options.folds or run[0] in options.folds)
    }
    new = tuple(run for key, run in open_runs.items() if key not in planned)
    shared = len(open_runs) - len(new)
    planned.update(open_runs)
    done = sum(key in finished and key not in open_runs for key in keys)
    return Work(cell, finished=done, runs=new, shared=shared)


def forecast(works: Sequence[Work], known: Known, slots: int) -> Forecast:
    """Each row by its own finished folds, else by a calibration, else by the nearest row's.

    Args:
        slots: How many trials run at once; 0 where that is unknown.
    """
    trials: list[float] = []
    unknown: dict[str, None] = {}
    sources: dict[str, None] = {}
    for work in works:
        if not work.runs:
            continue
        source, seconds = _seconds(work, known)
        if seconds is None:
            config = work.cell.config
            unknown[f"{encoder_name(config.encoder.name)} on {config.corpus.name}"] = None
        else:
            sources[source] = None
            trials += seconds
    whole: float | None = None if unknown else 0.0
    if trials:
        whole = known.start_s + (makespan(trials, slots) if slots else sum(trials))
    return Forecast(whole, tuple(sources), tuple(unknown), one_after_another=not slots)


def _seconds(work: Work, known: Known) -> tuple[str, list[float] | None]:
    """By what a row's folds are estimated, and the time of each; None where nothing is known."""
    config, folds = work.cell.config, [fold for fold, _ in work.runs]
    for source, estimator, alike in (
        ("the epochs of finished folds", known.finished, True),
        ("a calibration", known.calibrated, True),
        ("the epochs of finished folds", known.finished, False),
        ("a calibration", known.calibrated, False),
    ):
        if not alike or estimator.knows(config):
            seconds = estimator.seconds(config, folds)
            if seconds is not None:
                return source, seconds
    return "", None
