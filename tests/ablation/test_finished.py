"""Against MLflow's own search of the same database."""

import gc
import sqlite3
from dataclasses import replace

from mlflow.tracking import MlflowClient

from ablation.experiments import finished_folds, search_finished
from ablation.finished import few_collections, read_scores, scores_of
from ablation.provenance import Provenance
from ablation.tracking import Tracker
from tests.ablation.stand_ins import grid_of, metrics_of, result_of, trial_of


def result_at(fold):
    """A fold's result, a minute after that of the fold before."""
    result = result_of(f"{fold:012}", fold)
    return replace(
        result,
        history=tuple(
            replace(epoch, finished_at_ms=epoch.finished_at_ms + 60_000 * fold)
            for epoch in result.history
        ),
    )


def test_the_database_is_read_as_mlflow_searches_it(tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracker = Tracker(uri, grid_of(), tmp_path, Provenance("abc123", {}))
    for fold in (1, 2, 3):
        tracker.finish(trial_of(fold=fold), result_at(fold))
    tracker.epoch(trial_of(fold=4), f"{4:012}", metrics_of(1))  # under way
    tracker.forget(trial_of(fold=2), f"{2:012}")  # in MLflow's bin
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    read = finished_folds(client, uri, experiment)
    monkeypatch.setattr("ablation.experiments.DATABASES", ())  # as of a server
    searched = finished_folds(client, uri, experiment)
    assert [fold.tags["run_id"] for fold in read] == [f"{3:012}", f"{1:012}"]  # newest first
    assert [(fold.run, fold.ended_ms) for fold in read] == [
        (fold.run, fold.ended_ms) for fold in searched
    ]
    for ours, theirs in zip(read, searched, strict=True):
        assert ours.tags.items() <= theirs.tags.items()
        assert {"level", "row", "run_id", "config_key", "score.0"} == ours.tags.keys()


def test_a_file_is_read_without_mlflow_and_as_mlflow_reads_it(tmp_path, monkeypatch):
    uri, study = f"sqlite:///{tmp_path / 'mlflow.db'}", grid_of()
    tracker = Tracker(uri, study, tmp_path, Provenance("abc123", {}))
    for fold in (1, 2):
        tracker.finish(trial_of(fold=fold), result_at(fold))
    scores = scores_of(search_finished(uri, study.study), study, None)
    with monkeypatch.context() as patched:
        patched.delattr("ablation.experiments.MlflowClient")
        assert read_scores(uri, study) == scores
    assert [score.fold for score in scores] == [2, 1]


def test_an_experiment_that_stands_in_several_workspaces_is_left_to_mlflow(tmp_path, monkeypatch):
    database = tmp_path / "mlflow.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table experiments (experiment_id integer, name text)")
        connection.executemany("insert into experiments values (?, 'tiny')", [(1,), (2,)])
    connection.close()
    asked = []
    monkeypatch.setattr(
        "ablation.experiments.search_finished", lambda *told: asked.append(told) or []
    )
    assert read_scores(f"sqlite:///{database}", grid_of()) == []
    assert asked == [(f"sqlite:///{database}", "tiny")]


def test_collections_come_back_whatever_happens():
    assert gc.isenabled()
    try:
        with few_collections():
            assert not gc.isenabled()
            raise RuntimeError
    except RuntimeError:
        assert gc.isenabled()
