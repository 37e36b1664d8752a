"""The verb `stress`, as a user calls it, on two rows' folds of a demo trained here."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

import runner
from ablation.archive import Archive
from ablation.grid import Overrides
from ablation.grid_file import load_grid
from ablation.options import Options
from ablation.stress import evaluation
from ablation.study import open_corpora, trials_by_run_id
from core.conditions import CLEAN, Condition, conditions
from core.fold import Fold
from core.kept_model import write_model
from tests.core.small_speech import CPU

GRID = """
name: tiny
title: A tiny study
corpora: [savee]
base: {mixup.method: none, pooling.method: mean, losses.terms: [kl]}
rows:
  - {name: plain}
  - {name: first, pooling.method: first}
"""
SETTINGS = {
    "encoder.name": "logmel-small",
    "training.epochs": 1,
    "training.learning_rate": 0.003,
    "audio.crop_s": 3.0,  # in one epoch on half of that, all is one class, with noise and without
}
SET = [f"{key}={value}" for key, value in SETTINGS.items()]
FOLDS = ("1", "2")


@pytest.fixture(scope="module")
def study(tmp_path_factory, figures) -> Path:
    """A folder with a grid and its archive: both rows' folds 1 and 2, their weights kept."""
    folder = tmp_path_factory.mktemp("stress")
    (folder / "tiny.yaml").write_text(GRID)
    grid = load_grid(folder / "tiny.yaml", Overrides(demo=True, settings=SETTINGS), figures)
    options = Options(runs=folder / "runs", reports=folder / "reports")
    corpora = open_corpora(grid, options, Console(file=StringIO()))
    archive = Archive(options.runs)
    for run_id, group in trials_by_run_id(grid.trials(), corpora).items():
        if str(group[0].config.fold) in FOLDS:
            fold = Fold(group[0].config, corpora["savee"], CPU)
            while not fold.finished:
                fold.step()
            archive.save(fold.result())
            write_model(archive.model(run_id), fold.kept_model("all"))
    return folder


@pytest.fixture
def stress(study, capsys):
    """Run the verb: its status, stdout and stderr."""

    def run(*words, folds=FOLDS, workers="1"):
        places = ["--runs", str(study / "runs"), "--reports", str(study / "reports")]
        chosen = ["--demo", "--set", *SET, *(("--fold", *folds) if folds else ())]
        words = ["stress", str(study / "tiny.yaml"), *places, *chosen, "--workers", workers, *words]
        status = runner.main(words)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def written(study):
    return json.loads((study / "reports/tiny-demo/stress.json").read_text())


def test_clean_figures_are_the_archive_s_and_noise_has_its_own(study, stress):
    status, out, _ = stress("--kind", "white", "gain")
    assert status == 0
    document, archive = written(study), Archive(study / "runs")
    assert [row["row"] for row in document["rows"]] == ["plain", "first"]
    results = [archive.load(run_id) for run_id in archive.models()]
    for row in document["rows"]:
        pooling = {"plain": "mean", "first": "first"}[row["row"]]
        folds = [r for r in results if r.config.pooling.method == pooling]
        for rate in ("wa", "ua"):
            mean = sum(getattr(fold.scores(), rate) for fold in folds) / len(folds)
            assert row["conditions"]["clean"][rate]["mean"] == mean
        at = row["conditions"]
        assert list(at) == [one.name for one in conditions(["white", "gain"])]
        # Peak normalisation undoes what no clipping adds to.
        assert at["gain -20 dB"]["ua"] == at["gain -10 dB"]["ua"] == at["clean"]["ua"]
        for name, one in at.items():
            lost = one["pooled"]["wa"] - at["clean"]["pooled"]["wa"]
            assert one["change"]["wa"] == pytest.approx(lost), name
            assert (one["tests"] is None) == (row["row"] == "plain")
        assert at["white 0 dB"]["wa"] != at["clean"]["wa"]
    assert document["statistics"]["baseline"] == "plain"
    assert document["statistics"]["tests"] > len(at)  # one family over all conditions
    assert "white 0 dB" in out
    table = (study / "reports/tiny-demo/stress.md").read_text()
    assert table.startswith("**Demo on synthetic speech")
    pictures = {path.name for path in (study / "reports/tiny-demo/figures").glob("stress*")}
    assert pictures == {f"stress-{rate}.{end}" for rate in ("wa", "ua") for end in ("png", "svg")}


def test_every_fold_s_clean_answers_are_those_it_archived(study, stress):
    stress("--kind", "gain")
    archive = Archive(study / "runs")
    for run_id in archive.models():
        score = evaluation.known_score(archive, run_id, Condition(CLEAN))
        result = archive.load(run_id)
        assert (score.wa, score.ua) == (result.scores().wa, result.scores().ua)
        assert score.answers == evaluation.FoldScore.from_result("", result).answers
    assert not any(note.startswith("clean:") for note in written(study)["notes"])


def test_what_was_heard_is_not_heard_again_but_what_is_damaged_is(study, stress, monkeypatch):
    stress("--kind", "gain", "--only", "plain")
    before = written(study)
    asked = []
    from core import stress as module

    hear = module.hear
    monkeypatch.setattr(module, "hear", lambda *args: (asked.append(args[2].name), hear(*args))[1])
    assert stress("--kind", "gain", "--only", "plain")[0] == 0
    assert asked == []
    path = next((study / "runs/folds").glob(f"*/stress/{Condition('gain', 10.0).key}.json"))
    path.write_text("{}")
    status, out, _ = stress("--kind", "gain")
    assert (status, asked) == (0, ["gain +10 dB"])
    assert "15 of 16 conditions were heard already; 1 to hear" in out
    stress("--kind", "gain", "--only", "plain")
    assert written(study) == before


def test_processes_side_by_side_say_the_same(study, stress):
    stress("--kind", "reverb")
    alone = (study / "reports/tiny-demo/stress.json").read_text()
    status, out, _ = stress("--kind", "reverb", "--fresh", "--json", workers="2")
    assert status == 0
    assert out == alone


def test_folds_without_models_are_counted_with_the_remedy(study, stress):
    status, _, err = stress(folds=())
    assert status == 2
    words = " ".join(err.split())
    assert (
        "every fold must have kept its weights, but 4 of 8 lack theirs (plain 2; first 2)" in words
    )
    assert f"python runner.py {study}/tiny.yaml --demo --keep-models all` and" in words
    archive = Archive(study / "runs")
    model = archive.model(archive.models()[0])
    content = model.read_bytes()
    model.unlink()
    assert "--keep-models all --fresh`" in " ".join(stress()[2].split())
    model.write_bytes(content)


def test_a_row_that_is_none_and_a_kind_that_is_none_are_refused(stress, capsys):
    assert "--only: must be a row of the grid, got 'plane'" in stress("--only", "plane")[2]
    with pytest.raises(SystemExit) as ended:
        stress("--kind", "rain")
    assert ended.value.code == 2
    assert "invalid choice: 'rain'" in capsys.readouterr().err


def test_training_anew_forgets_what_the_old_weights_said(tmp_path):
    archive = Archive(tmp_path)
    archive.stress("a").mkdir(parents=True)
    archive.forget("a")
    assert not archive.stress("a").exists()
