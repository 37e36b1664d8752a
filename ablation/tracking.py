"""MLflow: one experiment and run a study, in it a run a row, in that a run a fold; one writer.

Everything a table needs travels in tags, so that thousands of runs are read back by one search:

    level            "study", "row" or "fold"
    study, row, corpus                          the last two "" of a study
    fold, seed, run_id, config_key, score       of a fold; score is a FoldScore as JSON
"""

import logging
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import create_sqlalchemy_engine
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
)

from ablation import logged
from ablation.aggregate import Summary
from ablation.finished import (
    FinishedFold,
    TrackingError,
    few_collections,
    read_finished,
    read_scores,
)
from ablation.grid import Grid, Trial
from ablation.lineage import data_set_of
from ablation.outages import described
from ablation.provenance import Provenance
from ablation.scores import FoldScore
from ablation.uris import redacted
from core.result import EpochMetrics, FoldResult

__all__ = ["Tracker", "TrackingError", "read_scores"]

_Identity = tuple[str, str, str]  # level; row; a fold's run id or a row's corpus


# The UI then opens on runs and their metrics, not on its pages for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # that MLflow uses without a server

# They print a traceback for each failure; ours are told once, by the recorder.
for _library in ("mlflow", "sqlalchemy"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


class Tracker:
    """Writes one study to MLflow. Every method may be repeated, also after a call whose answer got
    lost on its way back; nothing is ever written twice."""

    def __init__(self, uri: str, grid: Grid, runs: Path, provenance: Provenance) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._uri = uri
        self._grid = grid
        self._provenance = provenance
        self._experiment = self._find_experiment(uri, runs)
        self._groups: dict[tuple[str, str], str] = {}  # rows, and as ("", "") the study
        self._folds: dict[tuple[str, str], str] = {}  # (row, run id) -> MLflow's id
        self._open: set[str] = set()  # folds under way, by MLflow's id
        self._logged: dict[str, dict[int, EpochMetrics]] = {}  # of these, what has arrived
        self._stale: dict[tuple[str, str], list[str]] = {}  # finished runs that a new one replaces
        self._tried: set[_Identity] = set()  # runs asked for, whether or not the answer arrived
        self._told: dict[tuple[str, str, float], int] = {}  # when a row's mean was first told, ms

    def finished(self) -> dict[tuple[str, str], int]:
        """(row, run id) of every fold that MLflow holds whole; when its last epoch ended, in ms."""
        found = _finished(self._client, self._uri, self._experiment)
        return {(fold.tags["row"], fold.tags["run_id"]): fold.ended_ms for fold in found}

    def start(self, trial: Trial, run_id: str, began_ms: int | None = None) -> None:
        """Open a fold's run under its row; what an interrupted one left open goes first."""
        key = (trial.row, run_id)
        if key in self._folds:
            return
        parent = self._group("row", trial.row, trial.config.corpus.name)
        older = self._runs_of(trial, run_id)
        self._stale[key] = [run.info.run_id for run in older if run.info.status == "FINISHED"]
        for run in older:
            if run.info.status != "FINISHED":
                self._client.delete_run(run.info.run_id)
        config = trial.config
        self._tried.add(("fold", *key))
        run = self._client.create_run(
            self._experiment,
            began_ms,
            tags={
                MLFLOW_RUN_NAME: logged.fold_name(trial),
                MLFLOW_PARENT_RUN_ID: parent,
                **self._common("fold", trial.row, config.corpus.name),
                **logged.fold_tags(trial, run_id),
            },
        )
        params = [Param(key, text) for key, text in logged.parameters(trial).items()]
        self._client.log_batch(run.info.run_id, params=params)
        self._folds[key] = run.info.run_id
        self._open.add(run.info.run_id)

    def forget(self, trial: Trial, run_id: str) -> None:
        """Delete a fold's run, finished or not; MLflow keeps deleted runs in its bin."""
        for run in self._runs_of(trial, run_id):
            self._client.delete_run(run.info.run_id)

    def epoch(self, trial: Trial, run_id: str, metrics: EpochMetrics) -> None:
        """Log one epoch's metrics; logging it again changes nothing."""
        self.start(trial, run_id)
        run = self._folds[trial.row, run_id]
        self._client.log_batch(run, metrics=_metrics(metrics))
        self._logged.setdefault(run, {})[metrics.epoch] = metrics

    def finish(self, trial: Trial, result: FoldResult) -> None:
        """Log a finished fold whole, from its archived result, and close its run.

        A finished run that it replaces goes last but one: a crash leaves one of them, never both.
        """
        self.start(trial, result.run_id, logged.began_ms(result))
        run = self._folds[trial.row, result.run_id]
        score = FoldScore.from_result(trial.row, result)
        there = self._logged.get(run, {})
        missing = [epoch for epoch in result.history if there.get(epoch.epoch) != epoch]
        ended = result.history[-1].finished_at_ms
        tags = {"device": result.device, **logged.score_tags(score)}
        final = logged.final_metrics(result, score)
        metrics = [metric for epoch in missing for metric in _metrics(epoch)]
        metrics += [Metric(name, float(value), ended, 0) for name, value in final.items()]
        self._client.log_batch(
            run, metrics=metrics, tags=[RunTag(name, text) for name, text in tags.items()]
        )
        self._client.log_inputs(run, [data_set_of(result)])
        self._artifacts(run, result)
        for stale in self._stale.get((trial.row, result.run_id), ()):
            self._client.delete_run(stale)
        self._terminate(run, "FINISHED", ended)

    def fail(self, trial: Trial, run_id: str, reason: str) -> None:
        """Close a fold's run as failed, with the reason."""
        self.start(trial, run_id)
        run = self._folds[trial.row, run_id]
        self._client.set_tag(run, "failure", reason[: logged.TAG_LIMIT])
        self._terminate(run, "FAILED")

    def log_rows(self, summaries: Iterable[Summary]) -> None:
        """Log each row's means on its run, so that rows compare as folds do."""
        for summary in (each for each in summaries if each.folds):
            run = self._group("row", summary.cell.row, summary.corpus)
            figures = {"wa": summary.wa.mean, "ua": summary.ua.mean, "folds": len(summary.folds)}
            known = self._client.get_run(run).data.metrics
            now = time.time_ns() // 1_000_000
            news = [
                Metric(name, float(value), self._told.setdefault((run, name, value), now), 0)
                for name, value in figures.items()
                if known.get(name) != value  # told again, it would stand twice in the history
            ]
            self._client.log_batch(run, metrics=news)

    def log_report(self, folder: Path, summaries: Sequence[Summary]) -> None:
        """Put the table into the description of the study's run, and its files beside it."""
        run = self._group("study")
        note = logged.study_note(summaries, self._grid, self._provenance.git_commit)
        self._client.set_tag(run, MLFLOW_RUN_NOTE, note)
        self._client.log_artifacts(run, str(folder))

    def close(self) -> None:
        """Leave no run open: rows are finished, folds that did not get there are killed, and runs
        whose making was never confirmed are deleted."""
        for run in _search(self._client, self._experiment, "status = 'RUNNING'"):
            name = run.info.run_id
            if name in self._open:
                self._terminate(name, "KILLED")
            elif name in self._groups.values():
                self._client.set_terminated(name, "FINISHED")
            elif _identity(run) in self._tried:
                self._client.delete_run(name)

    def _runs_of(self, trial: Trial, run_id: str) -> list[Run]:
        query = f"tags.level = 'fold' and tags.run_id = '{run_id}'"
        found = _search(self._client, self._experiment, query)
        return [run for run in found if run.data.tags["row"] == trial.row]

    def _terminate(self, run: str, status: str, ended_ms: int | None = None) -> None:
        self._client.set_terminated(run, status, end_time=ended_ms)
        self._open.discard(run)
        self._logged.pop(run, None)

    def _find_experiment(self, uri: str, runs: Path) -> str:
        name = self._grid.study
        experiment: Experiment | None = self._client.get_experiment_by_name(name)
        if experiment is None:
            # A server keeps artifacts where it was told to; beside a database they lie in runs/.
            database = uri.startswith(DATABASES)
            place = (runs / "artifacts" / name).resolve().as_uri() if database else None
            try:
                made = self._client.create_experiment(name, place, EXPERIMENT_TAGS)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                # Another runner was faster, or an answer got lost and the request was repeated.
                return str(self._client.get_experiment_by_name(name).experiment_id)
            return str(made)
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _common(self, level: str, row: str, corpus: str) -> dict[str, str]:
        own = {"level": level, "study": self._grid.study, "row": row, "corpus": corpus}
        made_by = {MLFLOW_SOURCE_NAME: "runner.py", MLFLOW_GIT_COMMIT: self._provenance.git_commit}
        versions = {f"version.{name}": each for name, each in self._provenance.versions.items()}
        return {**own, **made_by, **versions}

    def _group(self, level: str, row: str = "", corpus: str = "") -> str:
        """The run that others are nested in: a row's, or the study's; made where there is none."""
        key = (row, corpus)
        if key not in self._groups:
            query = f"tags.level = '{level}'"
            query += f" and tags.row = '{row}' and tags.corpus = '{corpus}'" if row else ""
            if found := _search(self._client, self._experiment, query):
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                self._groups[key] = found[0].info.run_id
                return self._groups[key]
            tags = {MLFLOW_RUN_NAME: " · ".join(key) if row else self._grid.study}
            if row:
                tags[MLFLOW_PARENT_RUN_ID] = self._group("study")
            self._tried.add((level, *key))
            tags |= self._common(level, *key)
            self._groups[key] = self._client.create_run(self._experiment, tags=tags).info.run_id
        return self._groups[key]

    def _artifacts(self, run: str, result: FoldResult) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            logged.write_artifacts(result, Path(scratch))
            self._client.log_artifacts(run, scratch)


def search_finished(uri: str, study: str) -> list[FinishedFold]:
    """Every finished fold of a study, from whatever MLflow keeps its runs in.

    Raises:
        TrackingError: MLflow can't be read.
    """
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return []
        return _finished(client, uri, experiment.experiment_id)
    except Exception as error:  # MLflow passes on whatever its database or its server raise
        text = f"MLflow at {uri} can't be read: {described(error)}"
        raise TrackingError(redacted(text)) from error


def _finished(client: MlflowClient, uri: str, experiment: str) -> list[FinishedFold]:
    """Every finished fold, newest first: of a database in one query, of a server by its search."""
    if uri.startswith(DATABASES):
        engine = create_sqlalchemy_engine(uri)
        try:
            return read_finished(engine, experiment)
        finally:
            engine.dispose()
    with few_collections():
        found = _search(client, experiment, "tags.level = 'fold' and status = 'FINISHED'")
        return [FinishedFold(run.info.run_id, run.info.end_time, run.data.tags) for run in found]


def _identity(run: Run) -> _Identity:
    tags = run.data.tags
    level = tags.get("level", "")
    return level, tags.get("row", ""), tags.get("run_id" if level == "fold" else "corpus", "")


def _search(client: MlflowClient, experiment: str, query: str) -> list[Run]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], query, max_results=5000, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _metrics(epoch: EpochMetrics) -> list[Metric]:
    return [
        Metric(name, float(value), epoch.finished_at_ms, epoch.epoch)
        for name, value in logged.epoch_metrics(epoch).items()
    ]
