"""Other corpora than the four, as a user runs them: a manifest, two sides, an absent one."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.corpora.catalog import CORPORA
from core.corpora.synthetic import write_corpus

ROOT = Path(__file__).resolve().parents[1]
ROWS = """
seeds: [0]
base: {encoder.name: logmel-small, training.epochs: 1, training.precision: float32}
rows:
  - {name: plain, mixup.method: none, pooling.method: mean, losses.terms: [kl]}
"""


@pytest.fixture(scope="module")
def savee(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic speech of four speakers and seven classes, in SAVEE's layout."""
    return write_corpus("savee", tmp_path_factory.mktemp("data"), 0, 28)


def run(folder: Path, grid: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "own.yaml").write_text(grid + ROWS)
    words = [sys.executable, str(ROOT / "runner.py"), str(folder / "own.yaml"), *options]
    words += ["--runs", str(folder / "runs"), "--reports", str(folder / "reports")]
    environment = {**os.environ, "COLUMNS": "120"}
    environment.pop("SER_DATA", None)
    return subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=500, check=False
    )


def results(folder: Path, study: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(
        (folder / "reports" / study / "results.json").read_text()
    )["rows"]
    return rows


def write_manifest(path: Path, savee: Path, *, folds: bool) -> None:
    """The same speech under other names and labels, in a layout that no parser knows."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "speaker", *(["fold"] if folds else [])])
        for item in CORPORA["savee"].parse(savee).utterances:
            fold = ["b" if item.speaker in ("DC", "JE") else "a"] if folds else []
            writer.writerow([item.path, f"class {item.label}", f"person {item.speaker}", *fold])


def test_a_manifest_runs_to_a_table_without_a_change_of_code(tmp_path, savee):
    write_manifest(tmp_path / "mine.csv", savee, folds=True)
    grid = f"name: own\ncorpora: [{{manifest: {tmp_path / 'mine.csv'}}}]\n"
    done = run(tmp_path, grid)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = results(tmp_path, "own")
    assert row["corpus"] == "mine"
    assert row["classes"] == [f"class {label}" for label in sorted(CORPORA["savee"].classes)]
    # the fold column, in its own order: a, then b
    assert [sorted(fold["speakers"]) for fold in row["folds"]] == [
        ["person JK", "person KL"],
        ["person DC", "person JE"],
    ]
    assert [fold["n"] for fold in row["folds"]] == [56, 56]
    assert row["published"] is None
    # any grid on the same corpus, chosen on the command line
    again = run(tmp_path, grid, "--corpus", str(tmp_path / "mine.csv"))
    assert again.returncode == 0
    assert "2 of 2 folds are finished already" in again.stdout


def test_a_grid_of_the_paper_runs_on_a_manifest(tmp_path, savee):
    write_manifest(tmp_path / "mine.csv", savee, folds=False)
    grid = "name: own\ncorpora: [iemocap]\n"
    planned = run(tmp_path, grid, "--plan", "--corpus", str(tmp_path / "mine.csv"))
    assert planned.returncode == 0, planned.stderr
    assert "mine" in planned.stdout
    assert "4 folds" in planned.stdout  # leave one speaker out


def test_every_defect_of_a_manifest_is_named_with_its_line(tmp_path):
    (tmp_path / "mine.csv").write_text("path,label,speaker\na.wav,happy,\nb.wav,,2\n")
    done = run(tmp_path, f"name: own\ncorpora: [{{manifest: {tmp_path / 'mine.csv'}}}]\n")
    assert done.returncode == 2
    assert "mine.csv" in done.stderr
    assert "line 2: speaker" in done.stderr
    assert "line 3: label" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_corpus_trains_and_another_tests(tmp_path):
    grid = """
name: across
train_on: ravdess
test_on: [savee, iemocap]
class_map: {ravdess: {calm: neutral}}
"""
    done = run(tmp_path, grid, "--demo", "--set", "training.epochs=1")
    assert done.returncode == 0, done.stdout + done.stderr
    to_savee, to_iemocap = results(tmp_path, "across-demo")
    assert to_savee["corpus"] == "ravdess-to-savee"
    (fold,) = to_savee["folds"]
    assert set(fold["speakers"]) == {f"savee/{who}" for who in ("DC", "JE", "JK", "KL")}
    assert to_iemocap["classes"] == ["neutral", "happy", "sad", "angry"]
    assert "trained on ravdess (neutral, calm as neutral, " in done.stdout


def test_a_corpus_that_is_not_there_is_skipped_and_its_rows_stay(tmp_path, savee):
    grid = "name: two\ncorpora: [savee, iemocap]\n"
    done = run(tmp_path, grid, "--data", str(savee), "--accept-counts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "iemocap: skipped, its rows stay empty: " in done.stdout
    present, absent = results(tmp_path, "two")
    assert (present["corpus"], len(present["folds"])) == ("savee", 4)
    assert (absent["corpus"], absent["folds"]) == ("iemocap", [])
    table = (tmp_path / "reports" / "two" / "table.md").read_text()
    assert "0/5" in table


def test_without_any_of_its_corpora_a_study_does_not_start(tmp_path):
    grid = "name: two\ncorpora: [savee, iemocap]\n"
    (tmp_path / "empty").mkdir()
    done = run(tmp_path, grid, "--data", str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "is not SAVEE: it must hold" in done.stderr
