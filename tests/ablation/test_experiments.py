"""MLflow's database, and a study's experiment in it."""

import sqlite3

import pytest
from mlflow.tracking import MlflowClient

from ablation.experiments import make_database


def test_a_database_has_its_name_only_once_it_has_all_its_tables(tmp_path, monkeypatch):
    uri, database = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlflow.db"
    search, seen = MlflowClient.search_experiments, []

    def stopped(client, **told):
        search(client, **told)
        seen.extend(tmp_path.glob(".mlflow.db.*"))
        assert not database.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "search_experiments", stopped)
        with pytest.raises(KeyboardInterrupt):
            make_database(uri)
    assert len(seen) == 1
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    make_database(uri)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "mlflow.db"]
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
    connection.close()
    assert {"experiments", "runs", "tags", "alembic_version"} <= tables
    made = database.stat().st_mtime_ns
    assert MlflowClient(tracking_uri=uri).create_experiment("one") != "0"
    make_database(uri)  # leaves alone what is there
    assert MlflowClient(tracking_uri=uri).get_experiment_by_name("one") is not None
    assert database.stat().st_mtime_ns > made


def test_a_server_has_a_database_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_database("http://127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []
