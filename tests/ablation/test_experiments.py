"""MLflow's database, and a study's experiment in it."""

import sqlite3

import pytest
from mlflow.tracking import MlflowClient

from ablation.experiments import make_database


def test_a_database_has_its_name_only_once_it_has_all_its_tables(tmp_path, monkeypatch):
    uri, database = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "mlflow.db"
    search = MlflowClient.search_experiments

    def stopped(client, **told):
        search(client, **told)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MlflowClient, "search_experiments", stopped)
        with pytest.raises(KeyboardInterrupt):
            make_database(uri)
    assert list(tmp_path.iterdir()) == []
    make_database(uri)
    assert list(tmp_path.iterdir()) == [database]
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("select name from sqlite_master")}
    connection.close()
    assert {"experiments", "runs", "tags", "alembic_version"} <= tables
    MlflowClient(tracking_uri=uri).create_experiment("one")
    make_database(uri)  # leaves alone what is there
    assert MlflowClient(tracking_uri=uri).get_experiment_by_name("one") is not None


def test_of_two_runners_that_make_it_at_once_the_slower_leaves_the_other_s_alone(
    tmp_path, monkeypatch
):
    database, search = tmp_path / "mlflow.db", MlflowClient.search_experiments

    def overtaken(client, **told):
        search(client, **told)
        database.write_bytes(b"the faster one's")

    monkeypatch.setattr(MlflowClient, "search_experiments", overtaken)
    make_database(f"sqlite:///{database}")
    assert database.read_bytes() == b"the faster one's"
    assert list(tmp_path.iterdir()) == [database]


def test_a_server_has_a_database_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_database("http://127.0.0.1:1")
    assert list(tmp_path.iterdir()) == []
