"""Studies with a search whose trainings are made up, or real but without Ray."""

import io
import json
import random
from collections import defaultdict
from dataclasses import replace

from rich.console import Console
from sklearn.metrics import balanced_accuracy_score

import ablation.recorder
import ablation.search.report
import ablation.search.study
import ablation.study
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.interruption import Interrupted
from ablation.options import Options
from ablation.report import Report
from ablation.scores import FoldScore
from ablation.search.outcome import with_choices
from core.fold import run_fold
from core.result import Prediction
from tests.ablation.stand_ins import untrained_result
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
    return untrained_result(name, config, corpus, predictions, seconds=60.0)


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
