import json
from dataclasses import replace
from pathlib import Path

from ablation.archive import Archive
from ablation.published import load
from ablation.report import summarise_grid, with_answers, write_report
from ablation.scores import FoldScore
from tests.ablation.stand_ins import grid_of, result_of

FIGURES = load(Path(__file__).resolve().parents[2] / "reports" / "published.yaml")


def scores_of(*folds):
    return [FoldScore.from_result("plain", result_of(f"{fold:012x}", fold)) for fold in folds]


def test_summaries_come_in_the_grids_order_with_the_holes_in_them():
    first, second = summarise_grid(grid_of(), scores_of(3, 1), FIGURES)
    assert (first.cell.row, second.cell.row) == ("plain", "full")
    assert [score.fold for score in first.folds] == [1, 3]
    assert first.missing == ((2, 0), (4, 0))
    assert second.folds == ()


def test_a_demo_stands_beside_no_published_figure():
    grid = grid_of(demo=True)
    for cell in grid.cells:
        object.__setattr__(cell, "published", "table2.ours")
    assert all(summary.published is None for summary in summarise_grid(grid, [], FIGURES))


def test_the_files_hold_the_same_figures_and_are_replaced_whole(tmp_path):
    grid = grid_of()
    summaries = summarise_grid(grid, scores_of(1, 2, 3, 4), FIGURES)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "table.md").write_text("old")
    report = write_report(grid, summaries, tmp_path, "abc123")
    names = ["table.md", "table.tex", "table.csv", "results.json"]
    assert [path.name for path in report.files] == names
    assert not report.complete  # the row "full" has not run
    table = (tmp_path / "tiny" / "table.md").read_text()
    assert "75.00 ± 0.00" in table
    assert "abc123" in table
    row = json.loads((tmp_path / "tiny" / "results.json").read_text())["rows"][0]
    assert row["ua"] == {"mean": 0.75, "std": 0.0, "n": 4}
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == sorted(names)


def test_a_demo_is_written_beside_the_real_study_not_over_it(tmp_path):
    grid = grid_of(demo=True)
    report = write_report(grid, summarise_grid(grid, [], FIGURES), tmp_path, "")
    assert {path.parent.name for path in report.files} == {"tiny-demo"}


def test_what_mlflow_was_not_told_of_each_utterance_comes_from_the_archive(tmp_path):
    archive = Archive(tmp_path)
    result = result_of("a" * 12)
    archive.save(result)
    whole = FoldScore.from_result("plain", result)
    old = replace(whole, answers=None)
    elsewhere = replace(old, run_id="b" * 12)
    changed = replace(old, confusion=whole.confusion[::-1])
    assert with_answers([old, elsewhere, changed, whole], archive) == [
        whole,
        elsewhere,
        changed,
        whole,
    ]
    (archive.folder("a" * 12) / "result.json").write_text("{")
    assert with_answers([old], archive) == [old]


def test_without_what_was_said_the_table_says_what_it_lacks(tmp_path):
    grid = grid_of()
    scores = [replace(score, answers=None) for score in scores_of(1, 2, 3, 4)]
    write_report(grid, summarise_grid(grid, scores, FIGURES), tmp_path, "")
    table = (tmp_path / "tiny" / "table.md").read_text()
    text = "What was said of each utterance is not at hand for 4 runs: no intervals and no McNemar"
    assert text in table
