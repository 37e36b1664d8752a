"""The experiment that MLflow holds of a study: made where there is none, and searched for runs."""

import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.store.db.utils import create_sqlalchemy_engine
from mlflow.tracking import MlflowClient
from sqlalchemy import make_url

from ablation.finished import FinishedFold, TrackingError, few_collections, read_finished
from ablation.logged import FOLD
from ablation.outages import described
from ablation.uris import redacted

# The UI then opens on runs and their metrics, not on its pages for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # that MLflow uses without a server


def make_database(uri: str) -> None:
    """Give an SQLite file that isn't there yet all of MLflow's tables before it has its name.

    MLflow makes them one by one, for seconds; what a killed process leaves of them under the name
    itself, no later one could mend.
    """
    database = make_url(uri).database if uri.startswith("sqlite") else None
    if database is None or Path(database).exists():
        return
    path = Path(database).absolute()
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    # Made elsewhere, so that a process killed within these seconds leaves nothing here either.
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, path.name)
        MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments(max_results=1)
        try:
            shutil.copyfile(made, part)
            try:
                os.link(part, path)
            except FileExistsError:  # another runner was faster, and its database is as good
                pass
            except OSError:  # a file system without hard links
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def experiment_of(client: MlflowClient, uri: str, study: str, runs: Path) -> str:
    """MLflow's name of a study's experiment; one in the bin is taken out of it."""
    experiment: Experiment | None = client.get_experiment_by_name(study)
    if experiment is None:
        # A server keeps artifacts where it was told to; beside a database they lie in runs/.
        database = uri.startswith(DATABASES)
        place = (runs / "artifacts" / study).resolve().as_uri() if database else None
        try:
            made = client.create_experiment(study, place, EXPERIMENT_TAGS)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # Another runner was faster, or an answer got lost and the request was repeated.
            return str(client.get_experiment_by_name(study).experiment_id)
        return str(made)
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def finished_folds(
    client: MlflowClient, uri: str, experiment: str, levels: Collection[str] = (FOLD,)
) -> list[FinishedFold]:
    """Every finished fold, newest first: of a database in one query, of a server by its search."""
    if uri.startswith(DATABASES):
        engine = create_sqlalchemy_engine(uri)
        try:
            return read_finished(engine, experiment, levels)
        finally:
            engine.dispose()
    with few_collections():
        found = [
            run
            for level in levels
            for run in runs_in(
                client, experiment, f"tags.level = '{level}' and status = 'FINISHED'"
            )
        ]
        return [FinishedFold(run.info.run_id, run.info.end_time, run.data.tags) for run in found]


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
        return finished_folds(client, uri, experiment.experiment_id)
    except Exception as error:  # MLflow passes on whatever its database or its server raise
        text = f"MLflow at {uri} can't be read: {described(error)}"
        raise TrackingError(redacted(text)) from error


def runs_in(client: MlflowClient, experiment: str, query: str) -> list[Run]:
    """Every run of an experiment that a query of MLflow's finds, newest first."""
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], query, max_results=5000, page_token=token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs
