"""What MLflow is told of a search, and holds of it."""

import json
import re
from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient

import ablation.recorder
import ablation.study
from ablation.finished import read_scores
from ablation.grid import Trial
from ablation.interruption import Interrupted
from ablation.logged import Choice, Search
from tests.ablation.mlflow_contents import by_level, runs_of, tracker_of
from tests.ablation.search.studies import FOLDS, archived
from tests.ablation.stand_ins import config_of, result_of, trial_of

RUN, OTHER = "0123456789ab", "f" * 12


class Spy:
    """Takes the place of a tracker: notes what it is told, whoever opens it."""

    def __init__(self):
        self.finished_runs, self.told, self.open, self.searches = {}, [], 0, []

    def __call__(self, *arguments):
        self.open += 1
        assert self.open == 1, "one writer at a time"
        return self

    def finished(self):
        return dict(self.finished_runs)

    def finish(self, trial, result):
        self.told.append((trial, result))
        self.finished_runs[trial.row, result.run_id] = result.history[-1].finished_at_ms

    def log_search(self, told):
        self.searches.append(told)

    def close(self):
        self.open -= 1

    def __getattr__(self, name):
        return lambda *arguments: None


@pytest.fixture
def spy(studies, monkeypatch):
    """What MLflow is told of a search; the outer folds are another test's."""
    found = Spy()
    monkeypatch.setattr(ablation.study, "Recorder", ablation.recorder.Recorder)
    monkeypatch.setattr(ablation.study, "Tracker", found)
    return found


def test_mlflow_is_told_every_inner_training_once_and_what_was_chosen(studies, spy):
    studies.stop_after = 7
    with pytest.raises(Interrupted):
        studies.start(inner=2)
    studies.stop_after = None
    outcome = studies.start(inner=2)
    assert outcome.tracking_problems == ()
    inner = archived(studies.archive)
    assert len(spy.told) == sum(map(len, inner.values())) == 3 * FOLDS * 2
    for trial, result in spy.told:
        config = result.config
        assert trial.config == config
        assert config.evaluation.inner_fold not in (None, config.fold)
        assert trial.row.endswith(f"inner fold {config.evaluation.inner_fold}")
        said = {item.utterance for item in result.predictions}
        assert said, "an inner fold has utterances"
        sessions = {item.session for item in studies.utterances if item.name in said}
        assert sessions == {str(config.evaluation.inner_fold)}
    (told,) = spy.searches
    found = studies.found()
    places = {(level, name): choice for level, name, choice in told.choices}
    assert len(places) == 1 + FOLDS
    for fold, part in found["folds"].items():
        choice, chosen = places["outer", f"outer fold {fold}"], part["settings"][part["choice"]]
        assert json.loads(choice.tags["chosen"]) == chosen["values"]
        assert choice.figures["inner_ua"] == chosen["ua"]
        assert choice.figures["inner_ua_defaults"] == part["settings"][0]["ua"]
    whole = places["search", "search"]
    assert json.loads(whole.tags["chosen"]) == found["overall"]["values"]
    assert json.loads(whole.tags["search"])["space"] == found["space"]
    assert whole.figures["inner_ua"] == found["overall"]["ua"]
    assert {path.name for path in told.files} >= {"search.md", "chosen.yaml", "search.png"}
    studies.start(inner=2)
    assert len(spy.told) == 3 * FOLDS * 2


def test_a_setting_that_is_judged_for_another_fold_is_called_after_it(studies, spy):
    studies.start(method="asha", trials=9)
    rows = [trial.row for trial, _ in spy.told]
    assert all(re.fullmatch(r"setting \d( of fold \d)?, inner fold \d", row) for row in rows)
    assert any(" of fold " in row for row in rows)


def inner_training(run_id=RUN, fold=1, inner_fold=2):
    """A setting of a search, scored inside a fold's training side: its trial and its result."""
    config = config_of(fold)
    config = replace(config, evaluation=replace(config.evaluation, inner_fold=inner_fold))
    trial = Trial(row=f"setting 3, inner fold {inner_fold}", config=config)
    plain = [replace(epoch, oracle=None) for epoch in result_of().history]
    return trial, replace(result_of(run_id), config=config, history=tuple(plain))


def test_an_inner_training_lies_under_its_outer_fold_with_no_figure_of_a_test_fold(
    uri, study, tmp_path
):
    tracker = tracker_of(uri, study, tmp_path)
    tracker.finish(trial_of(), result_of(OTHER))
    for inner_fold, run_id in ((2, RUN), (3, "e" * 12)):
        trial, result = inner_training(run_id, inner_fold=inner_fold)
        tracker.epoch(trial, run_id, result.history[0])
        tracker.finish(trial, result)
        tracker.finish(trial, result)
    tracker.close()
    levels = {run.info.run_id: run.data.tags["level"] for run in runs_of(uri, study)}
    assert sorted(levels.values()) == ["fold", "inner", "inner", "outer", "row", "search", "study"]
    above = {
        run.data.tags["level"]: levels.get(run.data.tags.get("mlflow.parentRunId"))
        for run in runs_of(uri, study)
    }
    assert above == {
        "study": None,
        "row": "study",
        "fold": "row",
        "search": "study",
        "outer": "search",
        "inner": "outer",
    }
    (first, _) = sorted(by_level(uri, study, "inner"), key=lambda run: run.data.tags["inner_fold"])
    tags = first.data.tags
    assert (tags["fold"], tags["inner_fold"], tags["run_id"]) == ("1", "2", RUN)
    assert (tags["row"], first.info.status) == ("setting 3, inner fold 2", "FINISHED")
    assert first.data.params["evaluation.inner_fold"] == "2"
    assert {name: first.data.metrics[name] for name in ("inner_wa", "inner_ua")} == {
        "inner_wa": 0.75,
        "inner_ua": 0.75,
    }
    assert not {"wa", "ua", "wa_oracle", "ua_oracle"} & first.data.metrics.keys()
    assert not [name for name in tags if name.startswith("score")]
    (data,) = first.inputs.dataset_inputs
    assert {tag.value for tag in data.tags} == {"inner fold 2 of fold 1"}


def test_no_table_is_made_of_inner_trainings_and_none_is_sent_twice(uri, study, tmp_path):
    tracker = tracker_of(uri, study, tmp_path)
    trial, result = inner_training()
    tracker.finish(trial, result)
    assert read_scores(uri, study) == []
    ended = result.history[-1].finished_at_ms
    assert tracker_of(uri, study, tmp_path).finished() == {(trial.row, RUN): ended}
    tracker.fail(*inner_training(OTHER)[:1], OTHER, "loss is nan")
    assert sorted(run.info.status for run in by_level(uri, study, "inner")) == [
        "FAILED",
        "FINISHED",
    ]


def test_a_search_s_runs_hold_what_it_chose_and_its_files(uri, study, tmp_path):
    (tmp_path / "figures").mkdir()
    files = [tmp_path / "search.md", tmp_path / "chosen.yaml", tmp_path / "figures" / "search.svg"]
    for path in files:
        path.write_text("# the search")
    told = Search(
        corpus="savee",
        choices=[
            ("search", "search", Choice({"chosen": "{}"}, {"inner_ua": 0.5})),
            ("outer", "outer fold 1", Choice({"setting": "3"}, {"inner_ua": 0.75, "settings": 4})),
        ],
        text="# the search",
        files=files,
    )
    for _ in range(2):
        tracker = tracker_of(uri, study, tmp_path)
        tracker.finish(*inner_training())
        tracker.log_search(told)
        tracker.log_search(told)
        tracker.close()
    (search,), (outer,) = (by_level(uri, study, level) for level in ("search", "outer"))
    assert {search.info.status, outer.info.status} == {"FINISHED"}
    assert (search.data.tags["chosen"], search.data.metrics) == ("{}", {"inner_ua": 0.5})
    assert search.data.tags["mlflow.note.content"] == "# the search"
    assert outer.data.tags["setting"] == "3"
    assert outer.data.metrics == {"inner_ua": 0.75, "settings": 4.0}
    client = MlflowClient(uri)
    assert len(client.get_metric_history(outer.info.run_id, "inner_ua")) == 1
    names = [file.path for file in client.list_artifacts(search.info.run_id)]
    assert names == ["chosen.yaml", "figures", "search.md"]
    (picture,) = client.list_artifacts(search.info.run_id, "figures")
    assert picture.path == "figures/search.svg"
