"""How soon the command line answers: help, the plan of a large grid, the report of a large study.

    python tests/benchmarks/bench_startup.py

Each is the wall time of a fresh process, the median of several. The report's 10 000 folds lie in an
SQLite database that MLflow made: the project's own Tracker writes one fold, and the rows of the
others are copies of it under their own names.
"""

import argparse
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ablation.grid import Grid, Overrides, Trial  # noqa: E402
from ablation.grid_file import load_grid  # noqa: E402
from ablation.logged import score_tags  # noqa: E402
from ablation.provenance import Provenance  # noqa: E402
from ablation.published import load  # noqa: E402
from ablation.scores import FoldScore  # noqa: E402
from ablation.tracking import Tracker  # noqa: E402
from core.identity import config_key  # noqa: E402
from core.result import EpochMetrics, FoldResult, Prediction  # noqa: E402
from tests.benchmarks.paired import HEADER, Line, seconds  # noqa: E402

FOLDS, SEEDS, EPOCHS, TESTED = 5, 5, 20, 100  # IEMOCAP's folds; epochs and utterances of each
TABLES = ("runs", "tags", "params", "latest_metrics", "metrics")  # that hold a run, by run_uuid
READINGS = 5


def grid_text(rows: int, seeds: int) -> str:
    """A study of so many rows, each another experiment."""
    lines = [f"  - {{name: row-{row:04}, losses.focal_gamma: {row / 1000}}}" for row in range(rows)]
    head = f"name: large\ntitle: A large study\ncorpora: [iemocap]\nseeds: {seeds}\nrows:\n"
    return head + "\n".join(lines) + "\n"


def large_grid(folder: Path, rows: int, seeds: int) -> Path:
    """Write that study."""
    path = folder / f"large_{rows}.yaml"
    path.write_text(grid_text(rows, seeds), encoding="utf-8")
    return path


def result_of(trial: Trial, classes: tuple[str, ...]) -> FoldResult:
    """A finished fold that nobody trained."""
    history = tuple(
        EpochMetrics(
            epoch=epoch,
            losses={"total": 1.0, "kl": 1.0, "center": 1.0, "focal": 1.0, "supcon": 1.0},
            learning_rate=1e-4,
            validation=None,
            oracle={"wa": 0.5, "ua": 0.5},
            seconds=60.0,
            finished_at_ms=1_700_000_000_000 + epoch,
        )
        for epoch in range(1, EPOCHS + 1)
    )
    shares = tuple(float(place == 0) for place in range(len(classes)))
    tested = tuple(
        Prediction(
            utterance=f"u{number:03}",
            speaker="FM"[number % 2],
            label=number % len(classes),
            probabilities=shares,
        )
        for number in range(TESTED)
    )
    return FoldResult(
        run_id=config_key(trial.config),
        config=trial.config,
        corpus_fingerprint="c" * 16,
        encoder_fingerprint="e" * 16,
        classes=classes,
        loss_weights={"kl": 1.0},
        history=history,
        best_epoch=EPOCHS,
        predictions=tested,
        seconds=60.0 * EPOCHS,
        device="cpu",
        left_out=0,
    )


def fill(runs: Path, grid: Grid) -> None:
    """Put every fold of the grid into `runs/mlflow.db`, as if all had finished."""
    first, *others = grid.trials()
    database = runs / "mlflow.db"
    tracker = Tracker(f"sqlite:///{database}", grid, runs, Provenance.here(ROOT))
    result = result_of(first, grid.cells[0].classes)
    tracker.finish(first, result)
    tracker.close()
    score = FoldScore.from_result(first.row, result)
    with sqlite3.connect(database) as connection:
        ((written,),) = connection.execute(
            "select run_uuid from tags where key = 'run_id' and value = ?", [result.run_id]
        )
        for table in TABLES:
            copies = _copies(connection, table, written)
            header, template = next(copies), list(copies)
            marks = ", ".join("?" * len(header))
            connection.executemany(
                f"insert into {table} ({', '.join(header)}) values ({marks})",
                _renamed(table, header, template, others, score),
            )
    connection.close()


def _copies(connection: sqlite3.Connection, table: str, run: str) -> Iterator[tuple[Any, ...]]:
    """The names of a table's columns, then a run's rows in it."""
    cursor = connection.execute(f"select * from {table} where run_uuid = ?", [run])
    yield tuple(f'"{column[0]}"' for column in cursor.description)
    yield from cursor


def _renamed(
    table: str,
    header: tuple[str, ...],
    template: list[tuple[Any, ...]],
    trials: Iterable[Trial],
    score: FoldScore,
) -> Iterator[list[Any]]:
    """One run's rows of a table for every other trial; its name is the number of the trial."""
    at_run = header.index('"run_uuid"')
    for number, trial in enumerate(trials):
        tags = _tags(trial, score) if table == "tags" else {}
        for row in template:
            copied = list(row)
            copied[at_run] = f"{number:032x}"
            if table == "tags":
                at_key, at_value = header.index('"key"'), header.index('"value"')
                copied[at_value] = tags.get(row[at_key], row[at_value])
            yield copied


def _tags(trial: Trial, score: FoldScore) -> dict[str, str]:
    """What differs between two folds' tags."""
    config, key = trial.config, config_key(trial.config)
    own = replace(score, row=trial.row, fold=config.fold, seed=config.seed, run_id=key)
    return {
        "row": trial.row,
        "fold": str(config.fold),
        "seed": str(config.seed),
        "run_id": key,
        "config_key": key,
        **score_tags(own),
    }


def timed(words: list[str], readings: int) -> float:
    """Seconds that a fresh process takes, the median of so many; once unmeasured before."""
    times = []
    for _ in range(readings + 1):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, str(ROOT / "runner.py"), *words],
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        times.append(time.perf_counter() - started)
    return median(times[1:])


def lines(report_folds: int = 10_000) -> Iterator[Line]:
    """Help, plan, report."""

    def line(what: str, words: list[str], aim: str, readings: int = READINGS) -> Line:
        taken = seconds(timed(words, readings))
        return Line(what=what, ours=taken, peer="–", ratio="–", aim=aim)

    yield line("`runner.py --help`", ["--help"], "< 300 ms")
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        places = ["--runs", str(here / "runs"), "--reports", str(here / "reports")]
        path = large_grid(here, 1000, 1)
        yield line("`--plan` of 5 000 trials", [str(path), "--plan", *places], "< 1 s")
        path = large_grid(here, report_folds // (FOLDS * SEEDS), SEEDS)
        (here / "runs").mkdir()
        figures = load(ROOT / "reports" / "published.yaml")
        fill(here / "runs", load_grid(path, Overrides(), figures))
        what = f"`report` of {report_folds:,} folds in MLflow".replace(",", " ")
        yield line(what, ["report", str(path), *places], "< 10 s", readings=3)


def main() -> None:
    """Print the lines, or leave a filled folder behind to look at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fill", type=Path, metavar="DIR", help="write grid and database there")
    parser.add_argument("--folds", type=int, default=10_000, help="of the report's study")
    options = parser.parse_args()
    if options.fill is None:
        print(HEADER, *lines(options.folds), sep="\n")
        return
    (options.fill / "runs").mkdir(parents=True)
    path = large_grid(options.fill, options.folds // (FOLDS * SEEDS), SEEDS)
    figures = load(ROOT / "reports" / "published.yaml")
    fill(options.fill / "runs", load_grid(path, Overrides(), figures))


if __name__ == "__main__":
    main()
