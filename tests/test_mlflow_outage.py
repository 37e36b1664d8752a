"""MLflow's server, or the database behind it, is killed while folds are reported.

Real servers, made-up folds: no training and no Ray. What is asserted is what MLflow holds in the
end: every fold, every metric of every epoch, once.
"""

import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from ablation.archive import Archive
from ablation.backlog import Patience
from ablation.finished import read_scores
from ablation.grid import Trial
from ablation.provenance import Provenance
from ablation.published import load
from ablation.recorder import Recorder
from ablation.report import summarise_grid
from ablation.scores import FoldScore
from ablation.study import ROOT
from ablation.tracking import Tracker
from tests.ablation.mlflow_contents import assert_all_there_once, runs_of
from tests.ablation.mlflow_servers import (
    SECRET,
    NotHereError,
    Server,
    mlflow_server,
    open_folder,
    postgresql,
)
from tests.ablation.stand_ins import config_of, grid_of, metrics_of, result_of

FIGURES = load(ROOT / "reports" / "published.yaml")
EPOCHS = 3
PATIENT = Patience(first_pause_s=0.05, longest_pause_s=0.5, end_s=300, stop_s=3)
IMPATIENT = Patience(first_pause_s=0.05, longest_pause_s=0.5, end_s=0.5, stop_s=3)


@dataclass(frozen=True)
class Backend:
    """An MLflow server and, where there is one apart from it, its database."""

    uri: str
    server: Server
    database_uri: str
    database: Server | None


@pytest.fixture(scope="module")
def backends() -> Iterator[dict[str, Backend | str]]:
    """One of each kind, started side by side; the reason where there is none."""
    with ExitStack() as cleanup:
        found: dict[str, Backend | str] = {}
        for kind in ("sqlite", "postgresql"):
            folder = open_folder()
            cleanup.callback(shutil.rmtree, folder)
            database = None
            store = f"sqlite:///{folder / 'mlflow.db'}"
            if kind == "postgresql":
                place = open_folder()
                cleanup.callback(shutil.rmtree, place)
                try:
                    pytest.importorskip("psycopg2")
                    store, database = postgresql(place)
                except (NotHereError, pytest.skip.Exception) as reason:
                    found[kind] = str(reason)
                    continue
                cleanup.callback(database.kill)
                database.start()
            uri, server = mlflow_server(store, folder)
            cleanup.callback(server.kill)
            server.launch()
            found[kind] = Backend(uri, server, store, database)
        yield found


def backend_of(backends: dict[str, Backend | str], kind: str) -> Backend:
    found = backends[kind]
    if isinstance(found, str):
        pytest.skip(found)
    found.server.wait()
    return found


@pytest.fixture
def study(request):
    """A study of its own for each test; PostgreSQL's column for a folder's name is short."""
    return study_named(request.node.callspec.id)


def study_named(name):
    """One row of four folds and two seeds."""
    grid = grid_of(("plain",))
    return replace(grid, name=name, cells=(replace(grid.cells[0], seeds=(0, 1)),))


def run_of(number):
    return f"{number:012x}"


def trial_of(number):
    """The study's corpus has four folds; those after them are the next seed's."""
    seed, fold = divmod(number - 1, 4)
    return Trial(row="plain", config=config_of(fold + 1, seed))


def fold_of(number):
    history = tuple(metrics_of(epoch, 4.0 / epoch) for epoch in range(1, EPOCHS + 1))
    return replace(result_of(run_of(number)), config=trial_of(number).config, history=history)


class Report:
    """Folds as the driver reports them, and what MLflow has to hold in the end."""

    def __init__(self, uri, study, folder, folds, patience=PATIENT):
        self.uri, self.study = uri, study
        self.remarks: list[str] = []
        self.finished, self.failed = {}, {}
        self._archive = Archive(folder)
        self.recorder = Recorder(
            lambda: Tracker(uri, study, folder, Provenance("abc123", {"torch": "2.12.1"})),
            {run_of(fold): [trial_of(fold)] for fold in range(1, folds + 1)},
            self._archive,
            self.remarks.append,
            patience,
        )

    def starts(self, fold):
        self.recorder.trial_started(run_of(fold))

    def epoch(self, fold, epoch):
        self.recorder.epoch_finished(run_of(fold), fold_of(fold).history[epoch - 1])

    def finishes(self, fold):
        self._archive.save(fold_of(fold))
        self.recorder.trial_finished(run_of(fold))
        self.finished["plain", run_of(fold)] = fold_of(fold)

    def fails(self, fold, reason):
        self.recorder.trial_failed(run_of(fold), reason)
        self.failed["plain", run_of(fold)] = reason

    def whole(self, fold):
        self.starts(fold)
        for epoch in range(1, EPOCHS + 1):
            self.epoch(fold, epoch)
        self.finishes(fold)

    def ends(self):
        self.recorder.sync()
        self.recorder.wait()
        scores = [FoldScore.from_result(row, fold) for (row, _), fold in self.finished.items()]
        self.recorder.close(summarise_grid(self.study, scores, FIGURES))

    def assert_arrived(self):
        assert self.recorder.problems == []
        assert_all_there_once(self.uri, self.study, self.finished, self.failed)
        scores = [FoldScore.from_result(row, fold) for (row, _), fold in self.finished.items()]
        found = sorted(read_scores(self.uri, self.study), key=lambda score: score.run_id)
        assert found == scores
        told = [run.data.tags | run.data.params for run in runs_of(self.uri, self.study)]
        assert SECRET not in str((told, self.remarks))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_that_is_killed_in_mid_run_gets_everything_once(backends, study, tmp_path, kind):
    backend = backend_of(backends, kind)
    report = Report(backend.uri, study, tmp_path / "patient", 5)
    report.whole(1)
    report.starts(2)
    report.epoch(2, 1)
    report.recorder.wait()
    report.starts(3)  # on its way while the server dies
    backend.server.kill()
    report.epoch(2, 2)
    report.epoch(2, 3)
    report.finishes(2)
    report.fails(3, "TrainingError: kl is nan")
    report.starts(4)
    report.epoch(4, 1)
    # Meanwhile a second study begins and ends, and does not wait for the server.
    late = study_named(f"{study.name}-late")
    given_up = Report(backend.uri, late, tmp_path / "late", 1, IMPATIENT)
    given_up.whole(1)
    given_up.ends()
    (problem,) = given_up.recorder.problems
    assert "Connection refused" in problem
    assert problem.endswith("; not sent: 1 fold")
    backend.server.start()
    report.epoch(4, 2)
    report.epoch(4, 3)
    report.finishes(4)
    report.whole(5)
    report.ends()
    report.assert_arrived()
    assert report.remarks[0].startswith("MLflow is out of reach (")
    assert report.remarks[-1] == "MLflow answers again, and what was missing has arrived"
    again = Report(backend.uri, late, tmp_path / "late", 1)  # the same command, later
    again.finished = given_up.finished
    again.ends()
    again.assert_arrived()


@pytest.mark.parametrize("through", ["server", "no server"])
def test_a_database_that_is_killed_in_mid_run_gets_everything_once(
    backends, study, tmp_path, through
):
    """SIGKILL to PostgreSQL and all its processes, four times, at moments that chance chooses."""
    backend = backend_of(backends, "postgresql")
    database = backend.database
    draw = random.Random(0)

    def torment():
        for _ in range(4):
            threading.Event().wait(draw.uniform(0.2, 1.5))
            database.kill()
            threading.Event().wait(draw.uniform(0.0, 0.5))
            database.start()

    uri = backend.uri if through == "server" else backend.database_uri
    report = Report(uri, study, tmp_path, 8)
    tormentor = threading.Thread(target=torment)
    tormentor.start()
    for fold in range(1, 9):
        report.starts(fold)
        for epoch in range(1, EPOCHS + 1):
            report.epoch(fold, epoch)
            threading.Event().wait(draw.uniform(0.0, 0.2))
        if fold % 4 == 0:
            report.fails(fold, "TrainingError: kl is nan")
        else:
            report.finishes(fold)
    tormentor.join()
    report.ends()
    report.assert_arrived()
