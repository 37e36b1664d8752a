"""What pictures need of the archive: epochs and speakers of each finished fold."""

import json
from dataclasses import replace
from math import nan

import pytest

from ablation.archive import Archive
from ablation.courses import Course, read_courses, stacked
from ablation.figures.curves import curves_figure
from ablation.report import summarise_grid
from ablation.scores import FoldScore
from tests.ablation.stand_ins import grid_of, metrics_of, result_of
from tests.ablation.test_report import FIGURES


def test_a_course_holds_epochs_by_term_and_confusion_by_speaker():
    course = Course.from_result(result_of())
    assert course.losses == {"total": (1.5, 1.25), "kl": (3.0, 2.5)}
    assert course.rates == {"oracle": (0.25, 0.5)}  # no group was held out
    assert course.speakers["DC"][:2, :2].tolist() == [[2, 0], [1, 1]]


def test_runs_are_stacked_and_a_rate_that_one_of_them_lacks_is_left_out():
    other = replace(
        result_of(fold=2),
        history=tuple(replace(metrics_of(epoch), oracle=None) for epoch in (1, 2)),
    )
    losses, rates = stacked([Course.from_result(result_of()), Course.from_result(other)])
    assert losses["total"].tolist() == [[1.5, 1.25], [1.5, 1.5]]
    assert rates == {}


def test_a_run_that_stopped_early_is_filled_up_to_the_longest():
    short = replace(result_of(fold=2), history=(metrics_of(1),))
    losses, rates = stacked([Course.from_result(result_of()), Course.from_result(short)])
    assert losses["total"].tolist() == [[1.5, 1.25], [1.5, pytest.approx(nan, nan_ok=True)]]
    assert curves_figure(losses, rates, "").axes[0].lines[0].get_ydata().tolist() == [1.5, 1.25]


@pytest.fixture
def summaries():
    scores = [
        FoldScore.from_result(row, result_of(f"{fold:012x}", fold))
        for row in ("plain", "full")
        for fold in (1, 2)
    ]
    return summarise_grid(grid_of(), scores, FIGURES)


def test_folds_that_are_not_archived_whole_are_left_out(tmp_path, summaries):
    archive = Archive(tmp_path)
    for fold in (1, 2):
        archive.save(result_of(f"{fold:012x}", fold))
    found = read_courses(archive, summaries)
    assert {key: [run.fold for run in runs] for key, runs in found.items()} == {
        ("plain", "savee"): [1, 2],
        ("full", "savee"): [1, 2],  # the same experiment under two names
    }
    path = archive.folder(f"{1:012x}") / "result.json"
    path.write_text(json.dumps({"run_id": "cut off"}))
    assert [run.fold for run in read_courses(archive, summaries)["plain", "savee"]] == [2]
    assert read_courses(Archive(tmp_path / "elsewhere"), summaries)["full", "savee"] == []
