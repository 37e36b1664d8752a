"""In this process: Ray's part and the measuring stand in for themselves."""

import io
import itertools
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from rich.console import Console

import ablation.calibrate
from ablation.archive import Archive
from ablation.calibrate import END_S, PICTURES_S, calibrate, end_s
from ablation.cluster import Resources
from ablation.costs import Estimator, kind_of
from ablation.options import Options
from core.identity import config_key
from core.speed import FoldTime

GRID = """\
name: study
corpora: [savee]
seeds: 2
rows:
  - {name: plain, mixup.method: none}
  - {name: again, mixup.method: none}
  - {name: mixed}
"""


@pytest.fixture
def measured(monkeypatch):
    """The configs that were measured; each epoch takes 1 s on fold 1, 2 s on fold 2, ..."""
    seen = []

    def measure_folds(config, corpus, device, micro_batch):
        seen.append(config)
        return [
            FoldTime(fold=fold, epoch_seconds=float(fold), around_seconds=0.5)
            for fold in range(1, corpus.scheme.folds + 1)
        ]

    def each(work, items, shared, share):
        assert share == (1, 0.0)
        return [work(item, shared) for item in items]

    monkeypatch.setattr(ablation.calibrate, "measure_folds", measure_folds)
    monkeypatch.setattr(ablation.calibrate, "each", each)
    monkeypatch.setattr(ablation.calibrate, "warm_up", lambda: None)
    monkeypatch.setattr(ablation.calibrate, "cluster", lambda resources: nullcontext(0.0))
    return seen


def test_each_kind_of_trial_is_measured_once_and_kept_for_every_fold(tmp_path, grid_of, measured):
    grid = grid_of(GRID, demo=True)
    places = Options(runs=tmp_path / "runs", reports=tmp_path / "reports")
    silent = Console(file=io.StringIO())
    calibrate(grid, places, Resources(cpus=1), silent, imports_s=7.0)
    assert sorted(config.mixup.method for config in measured) == ["eam", "none"]
    costs, start_s = Archive(places.runs).calibrated()
    assert 7.0 + end_s(grid) <= start_s < 7.0 + end_s(grid) + 60
    assert sorted(cost.fold for cost in costs) == [1, 1, 2, 2, 3, 3, 4, 4]
    seen = Estimator(costs)
    for cell in grid.cells:  # of either seed: a row's time does not depend on it
        epochs = cell.config.training.epochs
        assert seen.knows(cell.config)
        assert seen.seconds(cell.config, [1, 4]) == pytest.approx(
            [epochs * 1.0 + 0.5 + 0.25, epochs * 4.0 + 0.5 + 0.25]
        )
    keys = {config_key(trial.config) for trial in grid.trials()}
    assert {cost.config_key for cost in costs} <= keys
    assert {cost.kind for cost in costs} == {kind_of(cell.config) for cell in grid.cells}


def test_the_start_of_a_worker_is_not_laid_to_the_first_kind(
    tmp_path, grid_of, measured, monkeypatch
):
    clock = itertools.count(100.0, 1.0)
    order = []
    monkeypatch.setattr(ablation.calibrate, "warm_up", lambda: order.append("warm"))
    ticking = SimpleNamespace(time=lambda: order.append("clock") or next(clock))
    monkeypatch.setattr(ablation.calibrate, "time", ticking)
    places = Options(runs=tmp_path / "runs", reports=tmp_path / "reports", only=("mixed",))
    grid = grid_of(GRID, demo=True)
    calibrate(grid, places, Resources(cpus=1), Console(file=io.StringIO()), imports_s=7.0)
    assert order == ["clock", "warm", "clock"]  # before Ray, then in the worker, once it is warm
    assert Archive(places.runs).calibrated()[1] == pytest.approx(7.0 + 1.0 + end_s(grid))


def test_the_end_of_a_study_grows_with_the_rows_that_have_pictures(grid_of):
    assert end_s(grid_of(GRID)) == pytest.approx(END_S + 3 * PICTURES_S)
    two = grid_of(GRID.replace("[savee]", "[savee, ravdess]"))
    assert end_s(two) == pytest.approx(END_S + 6 * PICTURES_S)
    many = "".join(f"  - {{name: r{i}, losses.focal_gamma: {i / 10}}}\n" for i in range(30))
    head = GRID.partition("rows:")[0]  # of more than 24 rows the first and the last have them
    assert end_s(grid_of(f"{head}rows:\n{many}")) == pytest.approx(END_S + 2 * PICTURES_S)


def test_only_what_is_wanted_and_missing_is_measured(tmp_path, grid_of, measured):
    grid = grid_of(GRID, demo=True)
    places = Options(runs=tmp_path / "runs", reports=tmp_path / "reports", only=("mixed",))
    calibrate(grid, places, Resources(cpus=1), Console(file=io.StringIO()), imports_s=0.0)
    assert [config.mixup.method for config in measured] == ["eam"]
