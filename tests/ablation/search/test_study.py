"""A study with a search: what is trained, what is chosen, and what no test fold has a part in."""

import io
import json
import random
import re
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

import pytest
import yaml
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score

import ablation.recorder
import ablation.search.report
import ablation.search.study
import ablation.study
import runner
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.interruption import Interrupted
from ablation.options import Options
from ablation.report import Report
from ablation.scores import FoldScore
from ablation.search.outcome import with_choices
from core.corpora.catalog import IEMOCAP
from core.fold import run_fold
from core.result import EpochMetrics, FoldResult, Prediction
from tests.core.small_folds import of
from tests.core.small_speech import CLASSES, CPU, tones

FOLDS = 5  # of IEMOCAP, whose classes and sessions the tones have
TEXT = """
name: tones
corpora: [iemocap]
selection: {selection}
base:
  encoder.name: logmel-small
  training.epochs: {epochs}
  training.batch_size: 4
  training.learning_rate: {rate}
  training.precision: float32
  mixup.method: none
  pooling.method: mean
  losses.terms: [kl, focal]
  losses.weighting: fixed
search:
  method: {method}
  trials: {trials}
  inner_folds: {inner}
  space:
    losses.focal_gamma: {{uniform: [0, 5]}}
    training.learning_rate: {{loguniform: [1e-4, 0.05]}}
    pooling.method: {{choice: [mean, max]}}
"""


class Silent:
    """Takes the place of MLflow."""

    def __init__(self, *arguments):
        self.problems = []

    def __getattr__(self, name):
        return lambda *arguments: None


def made_up(name, config, corpus):
    """A fold's result that no training gave: its answers follow from its run id alone."""
    chance = random.Random(name)
    scored = config.evaluation.inner_fold or config.fold
    predictions = tuple(
        Prediction(
            utterance=item.name,
            speaker=item.speaker,
            label=CLASSES.index(item.label),
            probabilities=tuple(float(place == guess) for place in range(len(CLASSES))),
        )
        for item in corpus.utterances
        if item.session == str(scored)
        for guess in (chance.randrange(len(CLASSES)),)
    )
    epoch = EpochMetrics(
        epoch=1,
        losses={"total": 1.0},
        learning_rate=1e-3,
        validation=None,
        oracle=None,
        seconds=60.0,
        finished_at_ms=1,
    )
    return FoldResult(
        run_id=name,
        config=config,
        corpus_fingerprint=corpus.store.fingerprint,
        encoder_fingerprint="0" * 16,
        classes=corpus.classes,
        loss_weights={},
        history=(epoch,),
        best_epoch=1,
        predictions=predictions,
        seconds=60.0,
        device="cpu",
        left_out=0,
    )


def really(name, config, corpus):
    return run_fold(config, corpus, device=CPU)


class Studies:
    """Starts studies whose trials run in this process, without Ray, MLflow or a corpus on disk."""

    def __init__(self, tmp_path, monkeypatch, grid_of, figures, whole=False):
        self.trained = []
        self.stop_after = None
        self.train = made_up
        self.said = io.StringIO()
        self._tmp_path, self._grid_of, self._figures = tmp_path, grid_of, figures
        self.use(*tones(per_class=3))
        for module in (ablation.study, ablation.search.study):
            monkeypatch.setattr(module, "run_trials", self._run_trials)
        if not whole:  # tables and pictures take their time, and have tests of their own
            monkeypatch.setattr(ablation.study, "train_and_report", self._train_alone)
            monkeypatch.setattr(ablation.search.report, "search_figure", lambda *arguments: None)
            monkeypatch.setattr(ablation.search.report, "save", lambda *arguments: None)
            monkeypatch.setattr(ablation.search.report, "importances", lambda *arguments: None)
        monkeypatch.setattr(ablation.study, "Recorder", Silent)
        monkeypatch.setattr(ablation.study, "read_scores", self._read_scores)
        monkeypatch.setattr(
            ablation.study, "open_corpora", lambda *arguments: {"iemocap": self._corpus}
        )

    def use(self, utterances, clips):
        self.utterances = utterances
        self._corpus = of(utterances, clips)

    def start(self, folder="a", folds=(), fresh=False, **settings):
        self.trained.clear()
        chosen = {"method": "random", "trials": 3, "inner": "all", "epochs": 1, "rate": 0.01}
        text = TEXT.format(**{"selection": "last", **chosen, **settings})
        places = Options(
            runs=self._tmp_path / folder,
            reports=self._tmp_path / folder / "reports",
            folds=folds,
            fresh=fresh,
        )
        self.archive = Archive(places.runs)
        self.grid = with_choices(self._grid_of(text), places.runs)
        arguments = (self.grid, self._figures, places, Resources(cpus=1))
        outcome = ablation.search.study.run_study(*arguments, Console(file=self.said, width=200))
        self.reports = places.reports / "tones"
        return outcome

    def found(self):
        return json.loads((self.reports / "search.json").read_bytes())

    def _run_trials(self, trials, corpora, runs, resources, listener):
        for name, config in trials.items():
            if self.stop_after is not None and len(self.trained) >= self.stop_after:
                raise Interrupted
            self.trained.append(config)
            try:
                result = self.train(name, config, corpora[config.corpus.name])
            except ValueError as error:
                listener.trial_failed(name, str(error))
                continue
            Archive(runs).save(replace(result, run_id=name))
            listener.trial_finished(name)

    def _train_alone(self, grid, figures, corpora, options, resources, console):
        named = ablation.study.trials_by_run_id(grid.trials(), corpora)
        wanted = {
            key: group[0].config
            for key, group in named.items()
            if ablation.study.is_wanted(group, options)
            and (options.fresh or not self.archive.holds(key))
        }
        self._run_trials(wanted, corpora, options.runs, resources, Silent())
        report = Report(summaries=(), files=())
        return ablation.study.Outcome(report=report, failures=(), tracking_problems=())

    def _read_scores(self, uri, grid, run_ids):
        return [
            FoldScore.from_result(trial.row, self.archive.load(key))
            for key, group in run_ids.items()
            if self.archive.holds(key)
            for trial in group
        ]


@pytest.fixture
def studies(tmp_path, monkeypatch, grid_of, figures):
    return Studies(tmp_path, monkeypatch, grid_of, figures)


@pytest.fixture
def whole_studies(tmp_path, monkeypatch, grid_of, figures):
    return Studies(tmp_path, monkeypatch, grid_of, figures, whole=True)


def archived(archive):
    """Every inner training: (outer fold, what was searched) -> [UA by scikit-learn]."""
    found = defaultdict(list)
    for path in archive.folder("x").parent.glob("*/result.json"):
        result = json.loads(path.read_bytes())
        config = result["config"]
        if config["evaluation"]["inner_fold"] is None:
            continue
        labels = [item["label"] for item in result["predictions"]]
        said = [item["probabilities"].index(1.0) for item in result["predictions"]]
        values = (
            config["losses"]["focal_gamma"],
            config["training"]["learning_rate"],
            config["pooling"]["method"],
        )
        found[config["fold"], values].append(balanced_accuracy_score(labels, said))
    return found


def values_of(config):
    return config.losses.focal_gamma, config.training.learning_rate, config.pooling.method


@pytest.mark.parametrize("method", ["random", "asha", "tpe"])
def test_the_choice_is_the_best_mean_of_the_archived_inner_results(studies, method):
    if method == "tpe":
        pytest.importorskip("optuna", reason="needs optuna: [search]")
    studies.start(method=method, trials=4)
    inner = archived(studies.archive)
    found = studies.found()
    grid = with_choices(studies.grid, studies.archive.folder("x").parents[1])
    for fold in range(1, FOLDS + 1):
        listed = found["folds"][str(fold)]["settings"]
        assert len(listed) == 4
        whole = {
            values: fmean(uas)
            for (where, values), uas in inner.items()
            if where == fold and len(uas) == FOLDS - 1
        }
        chosen = listed[found["folds"][str(fold)]["choice"]]
        assert chosen["ua"] == max(each["ua"] for each in listed if len(each["uas"]) == FOLDS - 1)
        values = values_of(grid.cells[1].setting(fold))
        assert whole[values] == pytest.approx(chosen["ua"])
        if method == "random":  # with the others, finalists of other folds are judged here too
            assert max(whole.values()) == whole[values]
    means = defaultdict(list)
    for (_, values), uas in inner.items():
        if len(uas) == FOLDS - 1:
            means[values].append(fmean(uas))
    overall = {values: fmean(uas) for values, uas in means.items() if len(uas) == FOLDS}
    assert found["overall"]["ua"] == pytest.approx(max(overall.values()))
    assert found["overall"]["trainings"] == FOLDS * (FOLDS - 1)


def test_asha_trains_less_and_judges_the_row_itself_whole(studies):
    studies.start(method="asha", trials=9)
    inner = [config for config in studies.trained if config.evaluation.inner_fold]
    assert len(inner) < 9 * FOLDS * (FOLDS - 1) * 0.75
    for part in studies.found()["folds"].values():
        assert len(part["settings"][0]["uas"]) == FOLDS - 1
        assert {len(each["uas"]) for each in part["settings"]} == {1, 3, 4}


@pytest.mark.parametrize("method", ["random", "asha", "tpe"])
def test_the_same_command_trains_nothing_twice_and_chooses_the_same(studies, method):
    if method == "tpe":
        pytest.importorskip("optuna", reason="needs optuna: [search]")
    studies.stop_after = 13
    with pytest.raises(Interrupted, match="folds are finished"):
        studies.start(method=method, trials=3)
    first = list(studies.trained)
    studies.stop_after = None
    studies.start(method=method, trials=3)
    assert not set(first) & set(studies.trained)
    together = set(first) | set(studies.trained)
    found = studies.found()
    studies.start(method=method, trials=3)
    assert studies.trained == []
    assert studies.found() == found
    studies.start("b", method=method, trials=3)
    assert set(studies.trained) == together
    assert studies.found() == found


def test_each_outer_fold_is_trained_once_with_its_own_choice_and_tabled_beside_the_row_itself(
    whole_studies,
):
    studies = whole_studies
    outcome = studies.start(inner=2)
    own, searched = outcome.report.summaries
    assert (own.complete, searched.complete) == (True, True)
    assert searched.statistics.tests.baseline == "defaults"
    assert searched.statistics.tests.difference is not None
    outer = [config for config in studies.trained if config.evaluation.inner_fold is None]
    assert len(outer) == len(set(outer)) <= 2 * FOLDS
    inner = [config for config in studies.trained if config.evaluation.inner_fold]
    assert len(inner) == 3 * FOLDS * 2
    assert all(config.evaluation.inner_fold != config.fold for config in inner)
    text = (studies.reports / "table.md").read_text(encoding="utf-8")
    assert "searched: on each fold the setting with the best mean UA on inner folds" in text
    named = {path.name for path in outcome.report.files}
    assert {"search.md", "search.json", "chosen.yaml", "search.svg", "search.png"} <= named


@pytest.mark.parametrize("method", ["asha", "tpe"])
def test_a_fold_chooses_alone_what_it_chooses_beside_the_others(studies, method):
    """The finalists of the others are judged on its inner folds too, for the overall choice."""
    if method == "tpe":
        pytest.importorskip("optuna", reason="needs optuna: [search]")
    studies.start("all", method=method, trials=6)
    together = studies.found()["folds"]
    studies.start("one", method=method, trials=6, folds=(4,))
    assert studies.found()["folds"] == {"4": together["4"]}


def test_a_search_of_one_fold_is_taken_up_by_the_others(studies):
    studies.start(folds=(2,))
    assert {config.fold for config in studies.trained} == {2}
    assert studies.found()["overall"] is None
    assert not (studies.reports / "chosen.yaml").exists()
    studies.start()
    assert 2 not in {config.fold for config in studies.trained}
    assert sorted(studies.found()["folds"]) == ["1", "2", "3", "4", "5"]


def test_a_fresh_start_trains_inner_and_outer_folds_anew(studies):
    studies.start(inner=1)
    first = list(studies.trained)
    studies.start(inner=1, fresh=True)
    assert studies.trained == first


def test_a_setting_that_fails_is_named_and_not_chosen(studies):
    def failing(name, config, corpus):
        if config.pooling.method == "max":
            raise ValueError("loss is nan")
        return made_up(name, config, corpus)

    studies.train = failing
    outcome = studies.start(trials=6, inner=1)
    chosen = with_choices(studies.grid, studies.archive.folder("x").parents[1]).cells[1].chosen
    assert {config.pooling.method for config in chosen.values()} == {"mean"}
    rows = {trial.row for trial, reason in outcome.failures if reason == "loss is nan"}
    assert rows
    assert all(re.fullmatch(r"setting \d, inner fold \d", row) for row in rows)


@pytest.mark.parametrize("selection", ["last", "validation"])
def test_wrong_labels_of_the_outer_test_fold_change_no_inner_score_and_no_choice(
    studies, selection
):
    """Nested cross-validation, with real trainings: the outer labels are poisoned, all else is."""
    utterances, clips = tones(per_class=2)
    studies.use(utterances, clips)
    studies.train = really
    settings = {"folds": (3,), "selection": selection, "inner": 1, "epochs": 8, "rate": 0.001}
    studies.start("clean", **settings)
    clean, chosen = studies.found(), studies.archive
    other = dict(zip(CLASSES, CLASSES[1:] + CLASSES[:1], strict=True))
    poisoned = [
        replace(item, label=other[item.label]) if item.session == "3" else item
        for item in utterances
    ]
    studies.use(poisoned, clips)
    studies.start("poisoned", **settings)
    assert studies.found() == clean
    assert len({each["ua"] for each in clean["folds"]["3"]["settings"]}) > 1
    every = map(chosen.load, chosen.begun(""))
    outer = [result for result in every if result.config.evaluation.inner_fold is None]
    assert outer
    again = [studies.archive.load(result.run_id) for result in outer]
    assert all(
        [item.label for item in one.predictions] != [item.label for item in two.predictions]
        for one, two in zip(outer, again, strict=True)
    )


def test_the_chosen_grid_runs_and_says_where_its_values_come_from(studies, grid_of):
    studies.start(trials=6)
    text = (studies.reports / "chosen.yaml").read_text(encoding="utf-8")
    whole = studies.found()["overall"]
    grid = grid_of(text)
    own, chosen = grid.cells
    assert grid.name == "tones_chosen"
    assert own.config == studies.grid.cells[0].config
    values = {
        "losses.focal_gamma": chosen.config.losses.focal_gamma,
        "training.learning_rate": chosen.config.training.learning_rate,
        "pooling.method": chosen.config.pooling.method,
    }
    assert values == whole["values"]
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert f"UA {100 * whole['ua']:.2f} %" in comments
    assert "Method random, seed 0, 6 settings in each of 5 outer folds" in comments
    assert "means over 20 inner folds" in comments
    assert re.search(r"\d{4}-\d\d-\d\d, commit [0-9a-f]{7}", comments)
    assert yaml.safe_load(text)["corpora"] == [{"name": "iemocap", "folds": IEMOCAP.default_scheme}]


def test_a_small_search_on_the_demo_goes_through_ray_and_mlflow(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "g.yaml"
    path.write_text(
        "name: small\ncorpora: [savee]\nbase: {mixup.method: none, pooling.method: mean, "
        "losses.terms: [kl, focal], losses.weighting: fixed, encoder.name: hubert-large}\n"
        "search: {trials: 2, inner_folds: 1, space: {losses.focal_gamma: {uniform: [0, 5]}}}\n"
    )
    words = [str(path), "--demo", "--fold", "2", "--set", "training.epochs=1"]
    words += ["--runs", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports")]
    assert runner.main(words) == 0
    out = capsys.readouterr().out
    assert "search: 2 inner trainings, 0 finished already" in out
    found = json.loads((tmp_path / "reports" / "small-demo" / "search.json").read_bytes())
    assert sorted(found["folds"]) == ["2"]
    results = json.loads((tmp_path / "reports" / "small-demo" / "results.json").read_bytes())
    assert [len(row["folds"]) for row in results["rows"]] == [1, 1]
    assert runner.main([*words, "--plan"]) == 0
    assert "2 inner trainings, 2 of them finished." in " ".join(capsys.readouterr().out.split())
    assert runner.main(words) == 0
    assert "2 inner trainings, 2 finished already" in capsys.readouterr().out
    assert runner.main(["report", str(path), "--json", *words[1:2], *words[4:]]) == 0
    again = json.loads(capsys.readouterr().out)
    assert [row["wa"] for row in again["rows"]] == [row["wa"] for row in results["rows"]]


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
