"""The finished folds that MLflow holds, read where its database can be asked directly.

MLflow's own search makes an object of every parameter, metric and tag of every run: a minute for
10 000 folds, of which a report needs ten tags each. One query over its tables takes a second, and
from an SQLite file MLflow, which takes seconds to import, is not needed for it.
"""

import gc
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, column, create_engine, or_, select, table
from sqlalchemy.exc import SQLAlchemyError

from ablation import logged
from ablation.grid import Grid
from ablation.scores import FoldScore

# MLflow's own tables; of their columns, those that are asked for.
_RUNS = table(
    "runs",
    *map(
        column, ("run_uuid", "experiment_id", "status", "lifecycle_stage", "start_time", "end_time")
    ),
)
_TAGS = table("tags", *map(column, ("run_uuid", "key", "value")))
_EXPERIMENTS = table("experiments", *map(column, ("experiment_id", "name")))
_NEEDED = ("level", "row", "run_id", "config_key")


class TrackingError(ValueError):
    """MLflow does not answer, or holds what this program did not write."""


@dataclass(frozen=True, slots=True)
class FinishedFold:
    """A finished fold's run in MLflow, and what its tags say."""

    run: str  # MLflow's name of it
    ended_ms: int
    tags: dict[str, str]


def read_finished(
    engine: Engine, experiment: str, levels: Collection[str] = (logged.FOLD,)
) -> list[FinishedFold]:
    """Every finished fold of an experiment, the newest first, as MLflow sorts them.

    Time and memory grow with the number of folds: 10 000 take about a second and 50 MB.

    Args:
        levels: Of the trainings that are asked for.
    """
    query = (
        select(_RUNS.c.run_uuid, _RUNS.c.end_time, _TAGS.c.key, _TAGS.c.value)
        .join(_TAGS, _TAGS.c.run_uuid == _RUNS.c.run_uuid)
        .where(
            _RUNS.c.experiment_id == int(experiment),
            _RUNS.c.status == "FINISHED",
            _RUNS.c.lifecycle_stage == "active",
            or_(_TAGS.c.key.in_(_NEEDED), _TAGS.c.key.startswith("score.")),
        )
        .order_by(_RUNS.c.start_time.desc(), _RUNS.c.run_uuid)
    )
    found: dict[str, FinishedFold] = {}
    with engine.connect() as connection:
        for run, ended_ms, key, value in connection.execute(query):
            if run not in found:
                found[run] = FinishedFold(run, ended_ms, {})
            found[run].tags[key] = value
    return [fold for fold in found.values() if fold.tags.get("level") in levels]


def read_scores(uri: str, grid: Grid, run_ids: Iterable[str] | None = None) -> list[FoldScore]:
    """The finished folds of a study, from MLflow alone.

    Args:
        uri: MLflow's tracking URI.
        grid: The study; only runs whose whole config is one of its trials' count.
        run_ids: Where the data is at hand, the exact runs; else the newest run of each trial.
    Raises:
        TrackingError: MLflow can't be read, or a run's score is not what this program writes.
    """
    folds = _read_file(uri, grid.study) if uri.startswith("sqlite:") else None
    if folds is None:
        from ablation.experiments import search_finished

        folds = search_finished(uri, grid.study)
    return scores_of(folds, grid, run_ids)


def _read_file(uri: str, study: str) -> list[FinishedFold] | None:
    """A study's finished folds, from an SQLite file; None where MLflow itself must be asked.

    It says what is wrong with a file that is none of its own, and which of several experiments of
    one name, in several of its workspaces, is meant.
    """
    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            named = select(_EXPERIMENTS.c.experiment_id).where(_EXPERIMENTS.c.name == study)
            found = connection.execute(named).scalars().all()
        return read_finished(engine, str(found[0])) if len(found) == 1 else None
    except SQLAlchemyError:
        return None
    finally:
        engine.dispose()


def scores_of(
    folds: Iterable[FinishedFold], grid: Grid, run_ids: Iterable[str] | None
) -> list[FoldScore]:
    """The score of each trial of a grid that is among the folds; of several, the first.

    Raises:
        TrackingError: a run's score is not what this program writes.
    """
    wanted = {(cell.row, key) for cell in grid.cells for key in cell.config_keys()}
    exact = None if run_ids is None else set(run_ids)
    found: dict[tuple[str, str], FoldScore] = {}
    for fold in folds:
        tags = fold.tags
        key = (tags.get("row", ""), tags.get("config_key", ""))
        if key in wanted and key not in found and (exact is None or tags.get("run_id") in exact):
            found[key] = _score(fold)
    return list(found.values())


@contextmanager
def few_collections() -> Iterator[None]:
    """Let Python look for cycles afterwards: among a million new objects it does little else."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _score(fold: FinishedFold) -> FoldScore:
    try:
        return logged.score_of(fold.tags)
    except ValueError as error:
        raise TrackingError(f"MLflow run {fold.run} must hold a fold's score: {error}") from error
