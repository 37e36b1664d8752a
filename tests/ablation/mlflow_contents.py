"""What an MLflow store holds of a study of made-up folds, checked against what was reported."""

from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from ablation.grid import Grid
from ablation.provenance import Provenance
from ablation.tracking import Tracker
from core.result import FoldResult

Fold = tuple[str, str]  # row and run id
FINAL = {"n": 4.0, "wa": 0.75, "ua": 0.75, "best_epoch": 2.0, "weight_kl": 1.0}
FILES = ["config.json", "confusion.json", "confusion.png", "predictions.csv"]


def runs_of(uri: str, study: Grid) -> list[Run]:
    """Every run of the study that is not in the bin."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study.study)
    return list(client.search_runs([experiment.experiment_id], max_results=5000))


def by_level(uri: str, study: Grid, level: str) -> list[Run]:
    return [run for run in runs_of(uri, study) if run.data.tags["level"] == level]


def assert_all_there_once(
    uri: str, study: Grid, finished: Mapping[Fold, FoldResult], failed: Mapping[Fold, str]
) -> None:
    """Each fold is one run, each metric of each epoch one entry, each row one run, nothing open."""
    folds = by_level(uri, study, "fold")
    found = sorted((run.data.tags["row"], run.data.tags["run_id"]) for run in folds)
    assert found == sorted([*finished, *failed])
    rows = by_level(uri, study, "row")
    assert sorted(run.data.tags["row"] for run in rows) == sorted({row for row, _ in found})
    assert {run.info.status for run in rows} == {"FINISHED"}
    parents = {run.data.tags["row"]: run.info.run_id for run in rows}
    for run in folds:
        tags = run.data.tags
        assert tags["mlflow.parentRunId"] == parents[tags["row"]]
        fold = (tags["row"], tags["run_id"])
        if fold in failed:
            assert (run.info.status, tags["failure"]) == ("FAILED", failed[fold])
        else:
            assert run.info.status == "FINISHED"
            assert_whole(uri, run, finished[fold])


def assert_whole(uri: str, run: Run, result: FoldResult) -> None:
    """The run holds the fold's metrics, each once, its settings and its files."""
    client = MlflowClient(uri)
    expected = histories(result)
    assert set(run.data.metrics) == {*expected, *FINAL, "wa_oracle", "ua_oracle", "train_seconds"}
    for name in run.data.metrics:
        entries = client.get_metric_history(run.info.run_id, name)
        told = sorted((entry.step, entry.timestamp, entry.value) for entry in entries)
        if name in expected:
            assert told == expected[name], name
        else:
            last = run.data.metrics[name]
            assert [value for _, _, value in told] == [FINAL.get(name, last)], name
    assert run.data.params["training.epochs"] == str(result.config.training.epochs)
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == FILES


def histories(result: FoldResult) -> dict[str, list[tuple[int, int, float]]]:
    """By metric: step, time in ms, value, as `stand_ins.metrics_of` makes them."""
    found: dict[str, list[tuple[int, int, float]]] = {}
    for epoch in result.history:
        values = {
            "loss_total": epoch.losses["total"],
            "loss_kl": epoch.losses["kl"],
            "learning_rate": 1e-4,
            "epoch_seconds": 2.0,
            "epoch_wa_oracle": 0.5,
            "epoch_ua_oracle": 0.25 * epoch.epoch,
        }
        for name, value in values.items():
            entry = (epoch.epoch, 1_700_000_000_000 + epoch.epoch, value)
            found.setdefault(name, []).append(entry)
    return found


def tracker_of(uri: str, study: Grid, folder: Path) -> Tracker:
    """One that writes a study to MLflow, its artifacts below a folder."""
    return Tracker(uri, study, folder, Provenance("abc123", {"torch": "2.12.1"}))
