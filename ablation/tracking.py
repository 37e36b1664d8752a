"""MLflow: one experiment a study, one run a row, one nested run a fold, written by one process.

Everything a table needs travels in tags, so that thousands of runs are read back by one search:

    level            "row" or "fold"
    study, row, corpus
    fold, seed, run_id, config_key, score       of a fold; score is a FoldScore as JSON
"""

import csv
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_SOURCE_NAME,
)

from ablation.aggregate import Summary
from ablation.grid import Grid, Trial
from ablation.plots import confusion_figure, save
from ablation.provenance import Provenance
from ablation.scores import FoldScore
from core.config import config_key
from core.result import EpochMetrics, FoldResult
from core.schema import flatten


class TrackingError(ValueError):
    """MLflow does not answer, or holds what this program did not write."""


# The UI then opens on runs and their metrics, not on its pages for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
TAG_LIMIT = 5000  # MLflow's on a tag's value in every store it supports


class Tracker:
    """Writes one study to MLflow. Every method may be repeated; nothing is ever written twice."""

    def __init__(self, uri: str, grid: Grid, runs: Path, provenance: Provenance) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._grid = grid
        self._provenance = provenance
        self._experiment = self._find_experiment(uri, runs)
        self._rows: dict[tuple[str, str], str] = {}
        self._folds: dict[tuple[str, str], str] = {}  # (row, run id) -> MLflow's id
        self._open: set[str] = set()  # folds under way, by MLflow's id

    def finished(self) -> set[tuple[str, str]]:
        """(row, run id) of every fold that MLflow already holds whole."""
        found = _search(
            self._client, self._experiment, "tags.level = 'fold' and status = 'FINISHED'"
        )
        return {(run.data.tags["row"], run.data.tags["run_id"]) for run in found}

    def start(self, trial: Trial, run_id: str) -> None:
        """Open a fold's run under its row; what an interrupted one left open goes first."""
        if (trial.row, run_id) in self._folds:
            return
        parent = self._row(trial)
        self._delete(trial, run_id, " and status != 'FINISHED'")
        config = trial.config
        run = self._client.create_run(
            self._experiment,
            tags={
                MLFLOW_RUN_NAME: f"{trial.row} · {config.corpus.name} · fold {config.fold} "
                f"· seed {config.seed}",
                MLFLOW_PARENT_RUN_ID: parent,
                **self._common("fold", trial),
                "fold": str(config.fold),
                "seed": str(config.seed),
                "run_id": run_id,
                "config_key": config_key(config),
            },
        )
        params = {"row": trial.row, **flatten(config.to_dict())}
        self._client.log_batch(
            run.info.run_id, params=[Param(key, str(value)) for key, value in params.items()]
        )
        self._folds[trial.row, run_id] = run.info.run_id
        self._open.add(run.info.run_id)

    def forget(self, trial: Trial, run_id: str) -> None:
        """Delete a fold's run, finished or not; MLflow keeps deleted runs in its bin."""
        self._delete(trial, run_id)

    def epoch(self, trial: Trial, run_id: str, metrics: EpochMetrics) -> None:
        """Log one epoch's metrics; logging it again changes nothing."""
        self._client.log_batch(self._folds[trial.row, run_id], metrics=_metrics(metrics))

    def finish(self, trial: Trial, result: FoldResult) -> None:
        """Log a finished fold whole, from its archived result, and close its run."""
        self.start(trial, result.run_id)
        run = self._folds[trial.row, result.run_id]
        score = FoldScore.from_result(trial.row, result)
        self._client.log_batch(
            run, metrics=[metric for epoch in result.history for metric in _metrics(epoch)]
        )
        ended = result.history[-1].finished_at_ms
        final = {"n": score.n, "wa": score.wa, "ua": score.ua, "best_epoch": score.best_epoch}
        if score.ua_oracle is not None and score.wa_oracle is not None:
            final |= {"wa_oracle": score.wa_oracle, "ua_oracle": score.ua_oracle}
        final |= {f"weight_{term}": value for term, value in result.loss_weights.items()}
        final["train_seconds"] = result.seconds
        self._client.log_batch(
            run,
            metrics=[Metric(name, float(value), ended, 0) for name, value in final.items()],
            tags=[RunTag("device", result.device), *self._score_tags(score)],
        )
        self._artifacts(run, result)
        self._terminate(run, "FINISHED", ended)

    def fail(self, trial: Trial, run_id: str, reason: str) -> None:
        """Close a fold's run as failed, with the reason."""
        self.start(trial, run_id)
        run = self._folds[trial.row, run_id]
        self._client.set_tag(run, "failure", reason[:TAG_LIMIT])
        self._terminate(run, "FAILED")

    def log_rows(self, summaries: Iterable[Summary]) -> None:
        """Log each row's means on its run, so that rows compare as folds do."""
        for summary in summaries:
            if not summary.folds:
                continue
            run = self._row(Trial(row=summary.cell.row, config=summary.cell.config))
            figures = {"wa": summary.wa.mean, "ua": summary.ua.mean, "folds": len(summary.folds)}
            known = self._client.get_run(run).data.metrics
            now = time.time_ns() // 1_000_000
            news = [
                Metric(name, float(value), now, 0)
                for name, value in figures.items()
                if known.get(name) != value  # told again, it would stand twice in the history
            ]
            self._client.log_batch(run, metrics=news)

    def close(self) -> None:
        """Leave no run open: rows are finished, folds that did not get there are killed."""
        for run in sorted(self._open):
            self._terminate(run, "KILLED")
        for run in self._rows.values():
            self._client.set_terminated(run, "FINISHED")

    def _delete(self, trial: Trial, run_id: str, which: str = "") -> None:
        query = f"tags.level = 'fold' and tags.run_id = '{run_id}'{which}"
        for run in _search(self._client, self._experiment, query):
            if run.data.tags["row"] == trial.row:
                self._client.delete_run(run.info.run_id)

    def _terminate(self, run: str, status: str, ended_ms: int | None = None) -> None:
        self._client.set_terminated(run, status, end_time=ended_ms)
        self._open.discard(run)

    def _find_experiment(self, uri: str, runs: Path) -> str:
        name = self._grid.study
        experiment: Experiment | None = self._client.get_experiment_by_name(name)
        if experiment is None:
            # A server keeps artifacts where it was told to; beside our own file they lie in runs/.
            local = uri.startswith("sqlite:")
            place = (runs / "artifacts" / name).resolve().as_uri() if local else None
            return str(
                self._client.create_experiment(name, artifact_location=place, tags=EXPERIMENT_TAGS)
            )
        if experiment.lifecycle_stage == "deleted":
            self._client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)

    def _common(self, level: str, trial: Trial) -> dict[str, str]:
        return {
            "level": level,
            "study": self._grid.study,
            "row": trial.row,
            "corpus": trial.config.corpus.name,
            MLFLOW_SOURCE_NAME: "runner.py",
            MLFLOW_GIT_COMMIT: self._provenance.git_commit,
            **{f"version.{name}": value for name, value in self._provenance.versions.items()},
        }

    def _row(self, trial: Trial) -> str:
        key = (trial.row, trial.config.corpus.name)
        if key not in self._rows:
            query = f"tags.level = 'row' and tags.row = '{key[0]}' and tags.corpus = '{key[1]}'"
            found = _search(self._client, self._experiment, query)
            if found:
                self._rows[key] = found[0].info.run_id
                self._client.update_run(self._rows[key], status="RUNNING")
            else:
                tags = {MLFLOW_RUN_NAME: " · ".join(key), **self._common("row", trial)}
                run = self._client.create_run(self._experiment, tags=tags)
                self._rows[key] = run.info.run_id
        return self._rows[key]

    def _score_tags(self, score: FoldScore) -> list[RunTag]:
        text = json.dumps(score.to_dict(), separators=(",", ":"))
        parts = [text[i : i + TAG_LIMIT] for i in range(0, len(text), TAG_LIMIT)]
        return [RunTag(f"score.{index}", part) for index, part in enumerate(parts)]

    def _artifacts(self, run: str, result: FoldResult) -> None:
        scores = result.scores()
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            confusion = {"classes": result.classes, "counts": scores.confusion.tolist()}
            (folder / "confusion.json").write_text(json.dumps(confusion, indent=1))
            title = f"{result.config.corpus.name}, fold {result.config.fold}"
            save(
                confusion_figure(scores.confusion, result.classes, title), folder / "confusion.png"
            )
            (folder / "config.json").write_text(json.dumps(result.config.to_dict(), indent=1))
            _write_predictions(result, folder / "predictions.csv")
            self._client.log_artifacts(run, str(folder))


def read_scores(uri: str, grid: Grid, run_ids: Iterable[str] | None = None) -> list[FoldScore]:
    """The finished folds of a study, from MLflow alone.

    Args:
        uri: MLflow's tracking URI.
        grid: The study; only runs whose whole config is one of its trials' count.
        run_ids: Where the data is at hand, the exact runs; else the newest run of each trial.
    Raises:
        TrackingError: MLflow can't be read, or a run's score is not what this program writes.
    """
    try:
        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(grid.study)
        if experiment is None:
            return []
        # Newest first, as MLflow sorts them.
        runs = _search(
            client, experiment.experiment_id, "tags.level = 'fold' and status = 'FINISHED'"
        )
    except Exception as error:  # MLflow passes on whatever its database or its server raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise TrackingError(f"MLflow at {uri} can't be read: {text}") from error
    wanted = {(trial.row, config_key(trial.config)) for trial in grid.trials()}
    exact = None if run_ids is None else set(run_ids)
    found: dict[tuple[str, str], FoldScore] = {}
    for run in runs:
        tags = run.data.tags
        key = (tags.get("row", ""), tags.get("config_key", ""))
        if key in wanted and key not in found and (exact is None or tags.get("run_id") in exact):
            found[key] = _score(run)
    return list(found.values())


def _score(run: Run) -> FoldScore:
    tags = run.data.tags
    parts: list[str] = []
    while (part := tags.get(f"score.{len(parts)}")) is not None:
        parts.append(part)
    try:
        return FoldScore.from_dict(json.loads("".join(parts)))
    except ValueError as error:
        raise TrackingError(
            f"MLflow run {run.info.run_id} must hold a fold's score: {error}"
        ) from error


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
    values: dict[str, float] = {f"loss_{name}": value for name, value in epoch.losses.items()}
    values["learning_rate"] = epoch.learning_rate
    values["epoch_seconds"] = epoch.seconds
    for part, scores in (("validation", epoch.validation), ("oracle", epoch.oracle)):
        values |= {f"epoch_{name}_{part}": value for name, value in (scores or {}).items()}
    return [
        Metric(name, float(value), epoch.finished_at_ms, epoch.epoch)
        for name, value in values.items()
    ]


def _write_predictions(result: FoldResult, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["utterance", "speaker", "label", "predicted", *result.classes])
        for item in result.predictions:
            classes = (result.classes[item.label], result.classes[item.predicted])
            probabilities = [f"{probability:.6f}" for probability in item.probabilities]
            writer.writerow([item.utterance, item.speaker, *classes, *probabilities])
