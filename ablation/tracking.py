"""MLflow: one experiment and run a study, in it a run a row, in that a run a fold; one writer.

Everything a table needs travels in tags, so that thousands of runs are read back by one search:

    level            "study", "row" or "fold"; of a search "search", "outer" and "inner"
    study, row, corpus                          the last two "" of a study
    fold, seed, run_id, config_key, score       of a fold; score is a FoldScore as JSON

A search's inner trainings are folds of another level: grid ▸ search ▸ outer fold ▸ inner training.
They have no score, so that no table is ever made of them.
"""

import logging
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunTag
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
from ablation.experiments import experiment_of, finished_folds, make_database, runs_in
from ablation.figures.canvas import SUFFIXES as PICTURES
from ablation.figures.confusion import ConfusionPicture
from ablation.grid import Grid, Trial
from ablation.lineage import data_set_of
from ablation.provenance import Provenance
from ablation.scores import FoldScore
from core.result import EpochMetrics, FoldResult

_Identity = tuple[str, str, str]  # level; row; a fold's run id or a row's corpus

# Which runs others are nested in: of a group's level, the level and name of the one above.
_ABOVE = {"row": ("study", ""), "search": ("study", ""), "outer": ("search", "search")}

# They print a traceback for each failure; ours are told once, by the recorder.
for _library in ("mlflow", "sqlalchemy"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


class Tracker:
    """Writes one study to MLflow. Every method may be repeated, also after a call whose answer got
    lost on its way back; nothing is ever written twice."""

    def __init__(self, uri: str, grid: Grid, runs: Path, provenance: Provenance) -> None:
        make_database(uri)
        self._client = MlflowClient(tracking_uri=uri)
        self._uri = uri
        self._grid = grid
        self._provenance = provenance
        self._experiment = experiment_of(self._client, uri, grid.study, runs)
        self._groups: dict[_Identity, str] = {}  # the study, rows, a search and its outer folds
        self._folds: dict[tuple[str, str], str] = {}  # (row, run id) -> MLflow's id
        self._open: set[str] = set()  # folds under way, by MLflow's id
        self._logged: dict[str, dict[int, EpochMetrics]] = {}  # of these, what has arrived
        self._stale: dict[tuple[str, str], list[str]] = {}  # finished runs that a new one replaces
        self._tried: set[_Identity] = set()  # runs asked for, whether or not the answer arrived
        self._pictures: dict[str, ConfusionPicture] = {}  # of confusions, by corpus
        self._told: dict[tuple[str, str, float], int] = {}  # when a row's mean was first told, ms

    def finished(self) -> dict[tuple[str, str], int]:
        """(row, run id) of every fold that MLflow holds whole; when its last epoch ended, in ms."""
        found = finished_folds(self._client, self._uri, self._experiment, logged.LEVELS)
        return {(fold.tags["row"], fold.tags["run_id"]): fold.ended_ms for fold in found}

    def start(self, trial: Trial, run_id: str, began_ms: int | None = None) -> None:
        """Open a fold's run under its row, an inner training's under its outer fold; what an
        interrupted one left open goes first."""
        key = (trial.row, run_id)
        if key in self._folds:
            return
        config, level = trial.config, logged.level_of(trial.config)
        above = (
            ("outer", logged.outer_name(config)) if level == logged.INNER else ("row", trial.row)
        )
        parent = self._group(*above, config.corpus.name)
        older = self._runs_of(trial, run_id)
        self._stale[key] = [run.info.run_id for run in older if run.info.status == "FINISHED"]
        for run in older:
            if run.info.status != "FINISHED":
                self._client.delete_run(run.info.run_id)
        self._tried.add((level, *key))
        run = self._client.create_run(
            self._experiment,
            began_ms,
            tags={
                MLFLOW_RUN_NAME: logged.fold_name(trial),
                MLFLOW_PARENT_RUN_ID: parent,
                **self._common(level, trial.row, config.corpus.name),
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
        is_fold = logged.level_of(trial.config) == logged.FOLD
        tags = {"device": result.device, **(logged.score_tags(score) if is_fold else {})}
        final = logged.final_metrics(result, score)
        metrics = [metric for epoch in missing for metric in _metrics(epoch)]
        metrics += [Metric(name, float(value), ended, 0) for name, value in final.items()]
        self._client.log_batch(
            run, metrics=metrics, tags=[RunTag(name, text) for name, text in tags.items()]
        )
        self._client.log_inputs(run, [data_set_of(result)])
        if is_fold:  # of inner trainings there are hundreds, and their figures say it all
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
            self._tell(run, figures)

    def log_search(self, told: logged.Search) -> None:
        """Log what a search chose: in its own run with its files, and in each outer fold's."""
        for level, name, choice in told.choices:
            run = self._group(level, name, told.corpus)
            for tag, text in choice.tags.items():
                self._client.set_tag(run, tag, text[: logged.TAG_LIMIT])
            self._tell(run, choice.figures)
        run = self._group("search", "search", told.corpus)
        self._client.set_tag(run, MLFLOW_RUN_NOTE, logged.description(told.text))
        for path in told.files:
            folder = path.parent.name if path.suffix in PICTURES else None
            self._client.log_artifact(run, str(path), folder)

    def log_report(self, folder: Path, summaries: Sequence[Summary]) -> None:
        """Put the table into the description of the study's run, and its files beside it."""
        run = self._group("study")
        note = logged.study_note(summaries, self._grid, self._provenance.git_commit)
        self._client.set_tag(run, MLFLOW_RUN_NOTE, note)
        self._client.log_artifacts(run, str(folder))

    def close(self) -> None:
        """Leave no run open: rows are finished, folds that did not get there are killed, and runs
        whose making was never confirmed are deleted."""
        for run in runs_in(self._client, self._experiment, "status = 'RUNNING'"):
            name = run.info.run_id
            if name in self._open:
                self._terminate(name, "KILLED")
            elif name in self._groups.values():
                self._client.set_terminated(name, "FINISHED")
            elif _identity(run) in self._tried:
                self._client.delete_run(name)

    def _runs_of(self, trial: Trial, run_id: str) -> list[Run]:
        query = f"tags.level = '{logged.level_of(trial.config)}' and tags.run_id = '{run_id}'"
        found = runs_in(self._client, self._experiment, query)
        return [run for run in found if run.data.tags["row"] == trial.row]

    def _tell(self, run: str, figures: Mapping[str, float]) -> None:
        """Log figures on a run; one that it holds already isn't told again."""
        known = self._client.get_run(run).data.metrics
        now = time.time_ns() // 1_000_000
        news = [
            Metric(name, float(value), self._told.setdefault((run, name, value), now), 0)
            for name, value in figures.items()
            if known.get(name) != value  # told again, it would stand twice in the history
        ]
        self._client.log_batch(run, metrics=news)

    def _terminate(self, run: str, status: str, ended_ms: int | None = None) -> None:
        self._client.set_terminated(run, status, end_time=ended_ms)
        self._open.discard(run)
        self._logged.pop(run, None)

    def _common(self, level: str, row: str, corpus: str) -> dict[str, str]:
        own = {"level": level, "study": self._grid.study, "row": row, "corpus": corpus}
        made_by = {MLFLOW_SOURCE_NAME: "runner.py", MLFLOW_GIT_COMMIT: self._provenance.git_commit}
        versions = {f"version.{name}": each for name, each in self._provenance.versions.items()}
        return {**own, **made_by, **versions}

    def _group(self, level: str, row: str = "", corpus: str = "") -> str:
        """The run that others are nested in, made where there is none: the study's, a row's, a
        search's, an outer fold's."""
        key = (level, row, corpus)
        if key not in self._groups:
            query = f"tags.level = '{level}'"
            query += f" and tags.row = '{row}' and tags.corpus = '{corpus}'" if row else ""
            if found := runs_in(self._client, self._experiment, query):
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                self._groups[key] = found[0].info.run_id
                return self._groups[key]
            tags = {MLFLOW_RUN_NAME: f"{row} · {corpus}" if row else self._grid.study}
            if level in _ABOVE:
                above, name = _ABOVE[level]
                tags[MLFLOW_PARENT_RUN_ID] = self._group(above, name, corpus if name else "")
            self._tried.add(key)
            tags |= self._common(*key)
            self._groups[key] = self._client.create_run(self._experiment, tags=tags).info.run_id
        return self._groups[key]

    def _artifacts(self, run: str, result: FoldResult) -> None:
        corpus = result.config.corpus.name
        if corpus not in self._pictures:
            title = logged.picture_title(result)
            self._pictures[corpus] = ConfusionPicture(result.classes, title)
        with tempfile.TemporaryDirectory() as scratch:
            logged.write_artifacts(result, Path(scratch), self._pictures[corpus])
            self._client.log_artifacts(run, scratch)


def _identity(run: Run) -> _Identity:
    tags = run.data.tags
    level = tags.get("level", "")
    last = "run_id" if level in logged.LEVELS else "corpus"
    return level, tags.get("row", ""), tags.get(last, "")


def _metrics(epoch: EpochMetrics) -> list[Metric]:
    return [
        Metric(name, float(value), epoch.finished_at_ms, epoch.epoch)
        for name, value in logged.epoch_metrics(epoch).items()
    ]
