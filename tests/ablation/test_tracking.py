"""Against a real SQLite store: what MLflow holds, not what was sent."""

import json
import random
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow.tracking import MlflowClient

from ablation.archive import Archive
from ablation.backlog import Patience
from ablation.finished import TrackingError, read_scores
from ablation.published import load
from ablation.recorder import Recorder
from ablation.report import summarise_grid
from ablation.scores import FoldScore
from tests.ablation.mlflow_contents import assert_all_there_once, by_level, runs_of, tracker_of
from tests.ablation.stand_ins import metrics_of, result_of, trial_of

WRITES = (
    "create_experiment",
    "create_run",
    "log_batch",
    "log_artifacts",
    "set_tag",
    "set_terminated",
    "update_run",
    "delete_run",
)
FIGURES = load(Path(__file__).resolve().parents[2] / "reports" / "published.yaml")
RUN, OTHER = "0123456789ab", "f" * 12


def test_a_finished_fold_comes_back_as_the_score_it_was(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    tracker.close()
    assert read_scores(uri, study) == [FoldScore.from_result("plain", result_of())]
    assert tracker.finished() == {("plain", RUN): 1_700_000_000_002}
    assert {run.info.status for run in runs_of(uri, study)} == {"FINISHED"}
    (fold,) = by_level(uri, study, "fold")
    # It was trained long before it was sent: two epochs, the first of 2 s until 1 ms past.
    assert (fold.info.start_time, fold.info.end_time) == (1_699_999_998_001, 1_700_000_000_002)


def test_epochs_sent_twice_stand_once(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.start(trial_of(), RUN)
    tracker.epoch(trial_of(), RUN, metrics_of(1))
    tracker.epoch(trial_of(), RUN, metrics_of(1))
    tracker.finish(trial_of(), result_of())
    (fold,) = by_level(uri, study, "fold")
    history = MlflowClient(uri).get_metric_history(fold.info.run_id, "loss_kl")
    assert [(entry.step, entry.value) for entry in history] == [(1, 3.0), (2, 2.5)]


def test_an_epoch_that_has_arrived_is_not_sent_again_at_the_end(uri, study, tmp_path, monkeypatch):
    sent = []

    class Listening(MlflowClient):
        def log_batch(self, run_id, metrics=(), **others):
            sent.extend((metric.key, metric.step) for metric in metrics)
            super().log_batch(run_id, metrics=metrics, **others)

    monkeypatch.setattr("ablation.tracking.MlflowClient", Listening)
    tracker = tracker_of(uri, study, tmp_path)
    tracker.epoch(trial_of(), RUN, metrics_of(1))
    tracker.epoch(trial_of(), RUN, metrics_of(2, loss=9.0))  # since trained once more
    tracker.finish(trial_of(), result_of())
    assert [step for key, step in sent if key == "loss_kl"] == [1, 2, 2]


def test_an_epoch_of_a_fold_whose_start_got_lost_opens_its_run(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.epoch(trial_of(), RUN, metrics_of(2))
    (fold,) = by_level(uri, study, "fold")
    assert fold.info.status == "RUNNING"
    assert fold.data.metrics["loss_kl"] == 3.0
    tracker.close()


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


def test_a_row_s_mean_that_is_told_again_before_mlflow_shows_it_stands_once(
    uri, study, tmp_path, monkeypatch
):
    """A slow server may do the work long after the client has given up on the answer."""
    late = SimpleNamespace(data=SimpleNamespace(metrics={}))
    slow = type("Slow", (MlflowClient,), {"get_run": lambda client, run: late})
    monkeypatch.setattr("ablation.tracking.MlflowClient", slow)
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    summaries = summarise_grid(study, read_scores(uri, study), FIGURES)
    tracker.log_rows(summaries)
    threading.Event().wait(0.01)
    tracker.log_rows(summaries)
    (row,) = by_level(uri, study, "row")
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


def unreliable(fate):
    """MLflow's client whose writes fail as `fate(name)` says: "before" the work, "after" it (the
    answer gets lost on its way back), or not at all."""

    def attempt(name):
        def call(client, *arguments, **named):
            how = fate(name)
            if how == "before":
                raise ConnectionError(f"{name} did not get there")
            answer = getattr(MlflowClient, name)(client, *arguments, **named)
            if how == "after":
                raise ConnectionError(f"the answer to {name} got lost")
            return answer

        return call

    return type("Unreliable", (MlflowClient,), {name: attempt(name) for name in WRITES})


def until_it_arrives(call):
    while True:
        try:
            return call()
        except ConnectionError:
            continue


def test_a_call_whose_answer_gets_lost_is_repeated_and_leaves_nothing_twice(
    uri, study, tmp_path, monkeypatch
):
    """Of each kind of call, the first two answers get lost."""
    lost = dict.fromkeys(WRITES, 2)

    def fate(name):
        lost[name] -= 1
        return "after" if lost[name] >= 0 else None

    monkeypatch.setattr("ablation.tracking.MlflowClient", unreliable(fate))
    killed = until_it_arrives(lambda: tracker_of(uri, study, tmp_path))
    until_it_arrives(lambda: killed.start(trial_of(), RUN))
    tracker = until_it_arrives(lambda: tracker_of(uri, study, tmp_path))
    until_it_arrives(lambda: tracker.start(trial_of(), RUN))
    until_it_arrives(lambda: tracker.epoch(trial_of(), RUN, metrics_of(1)))
    until_it_arrives(lambda: tracker.finish(trial_of(), result_of()))
    until_it_arrives(lambda: tracker.fail(trial_of("full"), OTHER, "why"))
    summaries = summarise_grid(study, read_scores(uri, study), FIGURES)
    until_it_arrives(lambda: tracker.log_rows(summaries))
    until_it_arrives(tracker.close)
    assert [name for name in WRITES if lost[name] == 2] == []
    assert_all_there_once(uri, study, {("plain", RUN): result_of()}, {("full", OTHER): "why"})
    (row, _) = sorted(by_level(uri, study, "row"), key=lambda run: -len(run.data.metrics))
    for name in ("wa", "ua", "folds"):
        assert len(MlflowClient(uri).get_metric_history(row.info.run_id, name)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_whichever_calls_fail_every_fold_arrives_once(uri, study, tmp_path, monkeypatch, seed):
    """Three calls in ten fail, before or after their work, by chance."""
    draw = random.Random(seed)
    fates = ["before", "after", "after", *[None] * 7]
    monkeypatch.setattr(
        "ablation.tracking.MlflowClient", unreliable(lambda name: draw.choice(fates))
    )
    archive = Archive(tmp_path)
    trials = {RUN: [trial_of("plain"), trial_of("full")], OTHER: [trial_of(fold=2)]}
    patience = Patience(first_pause_s=0.001, longest_pause_s=0.002)
    recorder = Recorder(
        lambda: tracker_of(uri, study, tmp_path), trials, archive, patience=patience
    )
    for run in (RUN, OTHER):
        recorder.trial_started(run)
        recorder.epoch_finished(run, metrics_of(1))
    archive.save(result_of())
    recorder.trial_finished(RUN)
    recorder.trial_failed(OTHER, "why")
    recorder.sync()
    recorder.wait()
    summaries = summarise_grid(study, [FoldScore.from_result("plain", result_of())], FIGURES)
    recorder.close(summaries)
    assert recorder.problems == []
    finished = {(row, RUN): result_of() for row in ("plain", "full")}
    assert_all_there_once(uri, study, finished, {("plain", OTHER): "why"})


def test_runs_whose_making_was_never_confirmed_are_gone_at_the_end(
    uri, study, tmp_path, monkeypatch
):
    """The interrupt comes before a lost call can be repeated."""
    fates = {"create_run": "after"}
    monkeypatch.setattr("ablation.tracking.MlflowClient", unreliable(fates.get))
    tracker = tracker_of(uri, study, tmp_path)
    for _ in ("the study's run", "its row"):
        with pytest.raises(ConnectionError):
            tracker.start(trial_of("full"), OTHER)
    fates.clear()
    tracker.start(trial_of(), RUN)
    fates["create_run"] = "after"
    with pytest.raises(ConnectionError):
        tracker.start(trial_of(fold=2), OTHER)  # the fold itself
    tracker.close()
    assert {run.info.status for run in runs_of(uri, study)} == {"KILLED", "FINISHED"}
    assert sorted(run.data.tags["level"] for run in runs_of(uri, study)) == ["fold", "row", "study"]


def test_runs_of_another_runner_stay_open(uri, study, tmp_path):
    other = tracker_of(uri, study, tmp_path)
    other.start(trial_of("full", fold=2), OTHER)
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    tracker.close()
    assert sorted(run.info.status for run in by_level(uri, study, "fold")) == [
        "FINISHED",
        "RUNNING",
    ]


def test_a_fold_that_was_trained_anew_replaces_the_finished_one_when_it_has_finished(
    uri, study, tmp_path
):
    tracker_of(uri, study, tmp_path).finish(trial_of(), result_of())
    tracker = tracker_of(uri, study, tmp_path)
    tracker.start(trial_of(), RUN)
    assert read_scores(uri, study) == [FoldScore.from_result("plain", result_of())]
    again = replace(result_of(), history=(metrics_of(1), metrics_of(3)))
    tracker.finish(trial_of(), again)
    tracker.close()
    assert_all_there_once(uri, study, {("plain", RUN): again}, {})


def test_two_runners_may_create_one_study(uri, study, tmp_path, monkeypatch):
    first = tracker_of(uri, study, tmp_path)
    first.finish(trial_of(), result_of())
    looks = []

    def look(client, name):
        looks.append(name)
        return None if len(looks) == 1 else MlflowClient.get_experiment_by_name(client, name)

    late = type("Late", (MlflowClient,), {"get_experiment_by_name": look})
    monkeypatch.setattr("ablation.tracking.MlflowClient", late)
    assert tracker_of(uri, study, tmp_path).finished() == first.finished()


def test_more_epochs_than_one_request_may_carry_arrive_whole(uri, study, tmp_path):
    """Six metrics an epoch; MLflow takes a thousand at once."""
    long = replace(result_of(), history=tuple(metrics_of(epoch) for epoch in range(1, 171)))
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), long)
    (fold,) = by_level(uri, study, "fold")
    for name in ("loss_kl", "epoch_ua_oracle"):
        history = MlflowClient(uri).get_metric_history(fold.info.run_id, name)
        assert sorted(entry.step for entry in history) == list(range(1, 171))


def test_a_database_that_another_process_locks_costs_nothing(uri, study, tmp_path):
    tracker_of(uri, study, tmp_path)
    archive = Archive(tmp_path)
    archive.save(result_of())
    recorder = Recorder(lambda: tracker_of(uri, study, tmp_path), {RUN: [trial_of()]}, archive)
    lock = sqlite3.connect(uri.removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    recorder.trial_started(RUN)
    recorder.epoch_finished(RUN, metrics_of(1))
    recorder.trial_finished(RUN)
    threading.Event().wait(3)
    lock.execute("COMMIT")
    lock.close()
    recorder.wait()
    recorder.close()
    assert recorder.problems == []
    assert_all_there_once(uri, study, {("plain", RUN): result_of()}, {})


def test_neither_runs_nor_the_study_hold_the_store_s_address(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of())
    experiment = MlflowClient(uri).get_experiment_by_name(study.study)
    told = [experiment.tags]
    for run in runs_of(uri, study):
        told += [run.data.tags, run.data.params]
    assert "mlflow.db" not in str(told)


def test_an_address_is_told_without_its_password(study):
    uri = "http://ser:secret@127.0.0.1:1"
    with pytest.raises(TrackingError, match=r"MLflow at http://\*\*\*@127.0.0.1:1 can't") as found:
        read_scores(uri, study)
    assert "secret" not in str(found.value)


def test_the_study_s_run_holds_its_rows_its_table_and_its_files(uri, study, tmp_path):
    folder = tmp_path / "report"
    (folder / "figures").mkdir(parents=True)
    (folder / "table.md").write_text("# A tiny study\n")
    (folder / "report.html").write_text("<!DOCTYPE html>")
    (folder / "figures" / "1-speakers.svg").write_text("<svg/>")
    summaries = summarise_grid(study, [FoldScore.from_result("plain", result_of())], FIGURES)
    for _ in range(2):  # the second start finds what the first made
        tracker = tracker_of(uri, study, tmp_path)
        tracker.finish(trial_of(), result_of())
        tracker.log_report(folder, summaries)
        tracker.log_report(folder, summaries)
        tracker.close()
    (whole,) = by_level(uri, study, "study")
    assert (whole.info.run_name, whole.info.status) == (study.study, "FINISHED")
    note = whole.data.tags["mlflow.note.content"].split("\n")
    assert note[0] == "**A tiny study.**"
    cells = [
        [cell.replace("&emsp;", "").strip() for cell in line.split("|")[1:-1]] for line in note[2:6]
    ]
    assert cells[0] == ["row", "WA %", "UA %", "DC UA %", "folds"]
    assert note[3] == "| ----- | ------: | ------: | ------: | ----: |"
    assert cells[2] == ["plain", "‡ 75.00", "‡ 75.00", "75.00", "‡ 1/4"]
    assert "- Code: commit abc123." in note
    (row,) = by_level(uri, study, "row")
    assert row.data.tags["mlflow.parentRunId"] == whole.info.run_id
    client = MlflowClient(uri)
    names = [file.path for file in client.list_artifacts(whole.info.run_id)]
    assert names == ["figures", "report.html", "table.md"]
    (picture,) = client.list_artifacts(whole.info.run_id, "figures")
    assert picture.path == "figures/1-speakers.svg"
