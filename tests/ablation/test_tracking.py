"""Against a real SQLite store: what MLflow holds, not what was sent."""

import json
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ablation.provenance import Provenance
from ablation.published import load
from ablation.report import summarise_grid
from ablation.scores import FoldScore
from ablation.tracking import Tracker, TrackingError, read_scores
from tests.ablation.stand_ins import grid_of, metrics_of, result_of, trial_of

FIGURES = load(Path(__file__).resolve().parents[2] / "reports" / "published.yaml")
RUN = "0123456789ab"


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def study(uri, request):
    """A study of its own for each test, in one database: creating one takes seconds."""
    grid = grid_of()
    object.__setattr__(grid, "name", request.node.name[:60])
    return grid


def tracker_of(uri, study, tmp_path):
    return Tracker(uri, study, tmp_path, Provenance("abc123", {"torch": "2.12.1"}))


def runs_of(uri, study):
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(study.study)
    return client.search_runs([experiment.experiment_id])


def by_level(uri, study, level):
    return [run for run in runs_of(uri, study) if run.data.tags["level"] == level]


def test_a_finished_fold_comes_back_as_the_score_it_was(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    tracker.close()
    assert read_scores(uri, study) == [FoldScore.from_result("plain", result_of())]
    assert tracker.finished() == {("plain", RUN)}
    assert {run.info.status for run in runs_of(uri, study)} == {"FINISHED"}


def test_epochs_sent_twice_stand_once(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.start(trial_of(), RUN)
    tracker.epoch(trial_of(), RUN, metrics_of(1))
    tracker.epoch(trial_of(), RUN, metrics_of(1))
    tracker.finish(trial_of(), result_of())
    (fold,) = by_level(uri, study, "fold")
    history = MlflowClient(uri).get_metric_history(fold.info.run_id, "loss_kl")
    assert [(entry.step, entry.value) for entry in history] == [(1, 3.0), (2, 2.5)]


def test_a_failed_fold_is_marked_with_its_reason_and_replaced_when_it_is_run_again(
    uri, study, tmp_path
):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.fail(trial_of(), RUN, "TrainingError: kl is nan")
    (fold,) = by_level(uri, study, "fold")
    assert fold.info.status == "FAILED"
    assert fold.data.tags["failure"] == "TrainingError: kl is nan"
    assert read_scores(uri, study) == []
    again = tracker_of(uri, study, tmp_path)
    again.finish(trial_of(), result_of())
    (fold,) = by_level(uri, study, "fold")
    assert fold.info.status == "FINISHED"
    assert len(by_level(uri, study, "row")) == 1


def test_an_interrupted_fold_ends_killed_and_its_row_finished(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.start(trial_of(), RUN)
    tracker.close()
    assert [run.info.status for run in by_level(uri, study, "fold")] == ["KILLED"]
    assert [run.info.status for run in by_level(uri, study, "row")] == ["FINISHED"]


def test_folds_of_a_row_that_is_no_longer_in_the_grid_do_not_count(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of("gone"), result_of())
    assert read_scores(uri, study) == []


def test_only_the_exact_runs_count_where_the_data_is_at_hand(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    assert read_scores(uri, study, {"f" * 12}) == []
    assert len(read_scores(uri, study, {RUN})) == 1


def test_a_row_carries_the_means_of_its_folds_and_keeps_no_stale_one(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    summaries = summarise_grid(study, read_scores(uri, study), FIGURES)
    tracker.log_rows(summaries)
    tracker.log_rows(summaries)
    (row,) = by_level(uri, study, "row")
    assert row.data.metrics == {"wa": 0.75, "ua": 0.75, "folds": 1.0}
    assert len(MlflowClient(uri).get_metric_history(row.info.run_id, "ua")) == 1


def test_a_long_score_is_split_over_tags_and_put_together_again(uri, study, tmp_path):
    result = result_of()
    many = tuple(
        type(item)(
            utterance=f"u{number}",
            speaker=f"speaker-with-a-long-name-{number:04d}",
            label=item.label,
            probabilities=item.probabilities,
        )
        for number, item in enumerate(result.predictions * 60)
    )
    long = type(result)(**{f: getattr(result, f) for f in result.__slots__} | {"predictions": many})
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), long)
    (fold,) = by_level(uri, study, "fold")
    assert "score.2" in fold.data.tags
    assert read_scores(uri, study) == [FoldScore.from_result("plain", long)]


def test_a_score_that_is_none_is_refused_with_its_run(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    (fold,) = by_level(uri, study, "fold")
    MlflowClient(uri).set_tag(fold.info.run_id, "score.0", json.dumps({"row": "plain"}))
    with pytest.raises(
        TrackingError, match=f"MLflow run {fold.info.run_id} must hold a fold's score"
    ):
        read_scores(uri, study)


def test_a_store_that_can_not_be_read_says_so(study, tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database at all, and long enough to see that")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with pytest.raises(TrackingError, match=r"can't be read: .*file is not a database"):
        read_scores(uri, study)
