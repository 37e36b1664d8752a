"""A whole small study as a user runs it: a grid file, Ray, MLflow, a table. No data, no network."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow.tracking import MlflowClient

import runner
from ablation.archive import Archive

ROOT = Path(__file__).resolve().parents[1]
GRID = """
name: tiny
title: A tiny study
corpora: [savee]
record_oracle: true
base: {training.epochs: 1, encoder.name: logmel-small}
rows:
  - {name: plain, mixup.method: none, pooling.method: mean, losses.terms: [kl]}
  - {name: full, training.batch_size: 24}
"""
ROWS, FOLDS = 2, 4


@dataclass(frozen=True)
class Study:
    """Where one study's files lie."""

    folder: Path

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.runs / 'mlflow.db'}"

    @property
    def grid(self) -> Path:
        return self.folder / "tiny.yaml"

    def words(self, *options: str) -> list[str]:
        places = ["--runs", str(self.runs), "--reports", str(self.folder / "reports")]
        first = [options[0]] if options[:1] == ("report",) else []
        rest = options[len(first) :]
        # One epoch, whatever the demo's own number is.
        short = ["--set", "training.epochs=1"]
        grid = [str(self.grid), "--demo", *places]
        return [sys.executable, str(ROOT / "runner.py"), *first, *grid, *short, *rest]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run(self.words(*options))

    def results(self) -> dict[str, Any]:
        return json.loads(self.results_path.read_text())

    @property
    def results_path(self) -> Path:
        return self.folder / "reports" / "tiny-demo" / "results.json"


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=500, check=False
    )


def new_study(folder: Path, grid: str = GRID) -> Study:
    study = Study(folder)
    folder.mkdir(parents=True, exist_ok=True)
    study.grid.write_text(grid)
    return study


def listeners_abroad(pid: int) -> list[str]:
    """Sockets of a process and its descendants that listen beyond this machine."""
    found = []
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("tcp"):
                address = str(connection.laddr.ip).removeprefix("::ffff:")
                if connection.status == psutil.CONN_LISTEN and address not in ("127.0.0.1", "::1"):
                    found.append(f"{process.name()} on {address}:{connection.laddr.port}")
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, str]:
    study = new_study(tmp_path_factory.mktemp("study"))
    done = study.run("--keep-models", "best")
    assert done.returncode == 0, done.stdout + done.stderr
    return study, done.stdout


def children(study: Study) -> list[Any]:
    client = MlflowClient(study.uri)
    experiment = client.get_experiment_by_name("tiny-demo")
    assert experiment is not None
    return [
        run
        for run in client.search_runs([experiment.experiment_id])
        if run.data.tags["level"] == "fold"
    ]


def test_every_fold_of_every_row_is_in_the_results(finished):
    study, _ = finished
    document = study.results()
    assert document["demo"] is True
    assert [row["row"] for row in document["rows"]] == ["plain", "full"]
    for row in document["rows"]:
        assert row["complete"] is True
        assert [fold["fold"] for fold in row["folds"]] == [1, 2, 3, 4]
        assert sum(fold["n"] for fold in row["folds"]) == 4 * 48  # the demo's SAVEE
        assert row["wa"]["mean"] == pytest.approx(sum(f["wa"] for f in row["folds"]) / FOLDS)
        assert row["published"] is None


def test_the_output_ends_with_the_table_and_where_it_lies(finished):
    study, output = finished
    assert "these numbers say nothing about the paper" in " ".join(output.split()).lower()
    assert f"written: {study.results_path}" in output
    for row in ("plain", "full"):
        assert any(row in line and "4/4" in line for line in output.splitlines())
    markdown = (study.results_path.parent / "table.md").read_text()
    assert "say nothing about the paper" in markdown.splitlines()[0]


def test_each_row_s_best_fold_keeps_its_weights(finished):
    study, _ = finished
    best = {max(row["folds"], key=lambda fold: fold["ua"])["ua"] for row in study.results()["rows"]}
    archive = Archive(study.runs)
    assert len(archive.models()) == ROWS
    assert {archive.load(run_id).scores().ua for run_id in archive.models()} == best


def test_mlflow_holds_folds_under_rows_under_the_study_and_leaves_none_open(finished):
    study, _ = finished
    client = MlflowClient(study.uri)
    experiment = client.get_experiment_by_name("tiny-demo")
    runs = client.search_runs([experiment.experiment_id])
    (top,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    parents = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == top.info.run_id]
    assert sorted(run.data.tags["row"] for run in parents) == ["full", "plain"]
    assert len(runs) == 1 + len(parents) + ROWS * FOLDS
    assert {run.info.status for run in runs} == {"FINISHED"}
    by_id = {run.info.run_id: run for run in parents}
    for child in children(study):
        parent = by_id[child.data.tags["mlflow.parentRunId"]]
        assert parent.data.tags["row"] == child.data.tags["row"] == child.data.params["row"]
    means = {run.data.tags["row"]: run.data.metrics["ua"] for run in parents}
    for row in study.results()["rows"]:
        assert means[row["row"]] == pytest.approx(row["ua"]["mean"])


def test_a_child_run_tells_all_about_its_fold(finished):
    study, _ = finished
    folds = {
        (row["row"], fold["fold"]): fold for row in study.results()["rows"] for fold in row["folds"]
    }
    client = MlflowClient(study.uri)
    for child in children(study):
        tags, metrics = child.data.tags, child.data.metrics
        fold = folds[tags["row"], int(child.data.params["fold"])]
        assert tags["run_id"] == fold["run_id"]
        assert metrics["wa"] == pytest.approx(fold["wa"])
        assert metrics["ua"] == pytest.approx(fold["ua"])
        assert metrics["n"] == fold["n"]
        assert child.data.params["encoder.name"] == "logmel-small"
        assert tags["version.torch"].startswith("2.")
        history = client.get_metric_history(child.info.run_id, "loss_total")
        assert [entry.step for entry in history] == [1]
        names = {file.path for file in client.list_artifacts(child.info.run_id)}
        assert names == {"config.json", "confusion.json", "confusion.png", "predictions.csv"}


def test_predictions_and_confusion_agree_with_the_scores(finished):
    study, _ = finished
    client = MlflowClient(study.uri)
    child = children(study)[0]
    local = Path(client.download_artifacts(child.info.run_id, "predictions.csv"))
    header, *lines = local.read_text().splitlines()
    assert header.startswith("utterance,speaker,label,predicted,angry,")
    right = sum(line.split(",")[2] == line.split(",")[3] for line in lines)
    assert right / len(lines) == pytest.approx(child.data.metrics["wa"])
    confusion = json.loads(
        Path(client.download_artifacts(child.info.run_id, "confusion.json")).read_text()
    )
    counts = confusion["counts"]
    assert sum(counts[i][i] for i in range(len(counts))) == right
    assert sum(map(sum, counts)) == len(lines) == child.data.metrics["n"]


def test_the_same_command_again_trains_nothing_and_changes_nothing(finished):
    study, _ = finished
    before = study.results_path.read_bytes()
    known = {run.info.run_id: run.info.end_time for run in children(study)}
    again = study.run()
    assert again.returncode == 0, again.stderr
    assert "8 of 8 folds are finished already; 0 to train" in again.stdout
    assert study.results_path.read_bytes() == before
    assert {run.info.run_id: run.info.end_time for run in children(study)} == known


def test_the_figures_do_not_depend_on_how_many_trials_run_at_once(finished, tmp_path):
    study, _ = finished
    alone = new_study(tmp_path)
    done = alone.run("--max-concurrent", "1")
    assert done.returncode == 0, done.stderr
    assert alone.results_path.read_bytes() == study.results_path.read_bytes()


def test_a_report_needs_mlflow_alone(finished, tmp_path):
    study, _ = finished
    copy = new_study(tmp_path)
    copy.runs.mkdir()
    shutil.copy(study.runs / "mlflow.db", copy.runs)
    done = copy.run("report", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == copy.results_path.read_text()
    assert copy.results_path.read_bytes() == study.results_path.read_bytes()


def test_the_seeds_of_a_study_are_asked_whether_they_are_enough(finished, capsys):
    study = finished[0]
    _, _, _, *words = study.words()  # the interpreter, the program, the grid
    status = runner.main(["power", str(study.grid), *words])
    assert status == 1  # one seed: no figure
    printed = capsys.readouterr().out
    assert "full on savee: one seed: how much of its spread the seeds make" in printed
    assert f"runner.py power {study.grid} --demo --seeds 3" in printed


def test_a_lost_mlflow_is_filled_again_from_the_finished_folds(finished, tmp_path):
    study, _ = finished
    copy = new_study(tmp_path)
    shutil.copytree(study.runs, copy.runs, ignore=shutil.ignore_patterns("mlflow.db*", "artifacts"))
    done = copy.run()
    assert done.returncode == 0, done.stderr
    assert "0 to train" in done.stdout
    assert len(children(copy)) == ROWS * FOLDS
    assert copy.results_path.read_bytes() == study.results_path.read_bytes()


def test_a_failed_row_is_named_and_the_others_finish(tmp_path):
    broken = tmp_path / "encoder"
    broken.mkdir()
    settings = {"model_type": "whisper", "d_model": 32, "encoder_layers": 1}
    (broken / "config.json").write_text(json.dumps(settings))
    (broken / "model.safetensors").write_bytes(b"no tensors at all")
    grid = GRID.replace("name: full,", f"name: full, encoder.name: {broken},")
    study = new_study(tmp_path / "study", grid)
    # Not the demo, which would put its own encoder in the row.
    first = new_study(tmp_path / "data")
    assert first.run("--only", "plain", "--fold", "1").returncode == 0
    data = ["--data", str(first.runs / "demo")]
    words = study.words(*data, "--accept-counts", "--fold", "1")
    refused = run([word for word in words if word not in ("--demo", "--accept-counts")])
    assert refused.returncode == 2
    assert "must be SAVEE as the paper has it" in refused.stderr
    assert "in all: 192 utterances, the paper's corpus has 480" in refused.stderr
    done = run([word for word in words if word != "--demo"])
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: full, savee fold 1, seed 0: CheckpointError" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    log = next(study.runs.glob("folds/*/error.txt"))
    assert "CheckpointError" in log.read_text()
    results = json.loads((study.folder / "reports" / "tiny" / "results.json").read_text())
    assert [len(row["folds"]) for row in results["rows"]] == [1, 0]
    client = MlflowClient(study.uri)
    experiment = client.get_experiment_by_name("tiny")
    failed = client.search_runs([experiment.experiment_id], "status = 'FAILED'")
    assert [run.data.tags["row"] for run in failed] == ["full"]
    assert "CheckpointError" in failed[0].data.tags["failure"]


def test_an_interrupted_study_exits_130_and_goes_on_when_repeated(finished, tmp_path):
    undisturbed, _ = finished
    study = new_study(tmp_path)
    process = subprocess.Popen(
        study.words(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not list(study.runs.glob("folds/*/result.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    abroad = listeners_abroad(process.pid)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert abroad == []
    if process.returncode == 0:  # it was quicker than the signal
        pytest.skip("all folds had finished before the signal came")
    assert process.returncode == 130, output + errors
    assert "Traceback" not in output + errors
    told = re.search(r"interrupted: (\d) of 8 folds are finished; \d under way", errors)
    assert told is not None, errors
    # a worker that is about to end may still write the fold that it had just trained
    assert int(told[1]) <= len(list(study.runs.glob("folds/*/result.json")))
    command = re.search(r"to continue: (.*)", errors)
    assert command is not None
    assert shlex.split(command[1]) == ["python", *study.words()[1:]]
    open_runs = [run for run in children(study) if run.info.status == "RUNNING"]
    assert open_runs == []
    assert study.run().returncode == 0
    assert study.results_path.read_bytes() == undisturbed.results_path.read_bytes()
    assert len(children(study)) == ROWS * FOLDS


def test_a_study_killed_with_all_its_processes_goes_on_from_its_checkpoints(tmp_path):
    options = ("--only", "full", "--fold", "1", "2", "--set", "training.epochs=6")
    undisturbed, killed = new_study(tmp_path / "undisturbed"), new_study(tmp_path / "killed")
    assert undisturbed.run(*options).returncode == 0
    process = subprocess.Popen(
        killed.words(*options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(killed.runs.glob("folds/*/checkpoints/epoch-0002.*")):
        assert process.poll() is None, "it must be under way when it is killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for victim in [*psutil.Process(process.pid).children(recursive=True), process]:
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    process.wait(timeout=60)
    again = killed.run(*options)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "goes on after epoch " in again.stdout
    assert killed.results_path.read_bytes() == undisturbed.results_path.read_bytes()
    assert not list(killed.runs.glob("folds/*/checkpoints/epoch-*"))
    assert all(run.info.status == "FINISHED" for run in children(killed))


def test_two_runners_of_one_study_end_with_the_same_table_and_train_no_fold_twice(
    finished, tmp_path
):
    undisturbed, _ = finished
    study = new_study(tmp_path)
    both = [
        subprocess.Popen(study.words(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate(timeout=500) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    waited = [output for output, _ in told if "is at work on tiny-demo" in output]
    assert len(waited) == 1
    assert f"{ROWS * FOLDS} of {ROWS * FOLDS} folds are finished already; 0 to train" in waited[0]
    assert study.results_path.read_bytes() == undisturbed.results_path.read_bytes()
    assert len(children(study)) == ROWS * FOLDS


def test_a_fresh_start_trains_again_what_is_asked_for_and_nothing_else(finished, tmp_path):
    undisturbed, _ = finished
    study = new_study(tmp_path)
    shutil.copytree(undisturbed.runs, study.runs)
    before = {path: path.stat().st_mtime_ns for path in study.runs.glob("folds/*/result.json")}
    done = study.run("--fresh", "--only", "full", "--fold", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    after = {path: path.stat().st_mtime_ns for path in study.runs.glob("folds/*/result.json")}
    assert before.keys() == after.keys()
    assert sum(before[path] != after[path] for path in before) == 1
    assert study.results_path.read_bytes() == undisturbed.results_path.read_bytes()
    assert len(children(study)) == ROWS * FOLDS
