"""What a second start trains: only what is new, whichever file asked for the rest before."""

import io

import pytest
from rich.console import Console

import ablation.study
import core.config
import core.identity
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.options import Options
from ablation.study import run_study
from core.result import Prediction
from tests.ablation.stand_ins import untrained_result

FOLDS = 4  # of the demo's SAVEE
PLAIN = "{name: plain, mixup.method: none, losses.terms: [kl]}"
FULL = "{name: full}"


def grid_text(*rows, name="grown", corpora="savee", seeds="[0]", base="{}"):
    lines = "".join(f"  - {row}\n" for row in rows)
    head = f"name: {name}\ntitle: T\ncorpora: [{corpora}]\nseeds: {seeds}\nbase: {base}\n"
    return f"{head}rows:\n{lines}"


def made_up(name, config, corpus):
    """A fold's result that no training gave."""
    sure = tuple(float(place == 0) for place in range(len(corpus.classes)))
    tested = (Prediction(utterance="u", speaker="DC", label=0, probabilities=sure),)
    return untrained_result(name, config, corpus, tested)


class Silent:
    """Takes the place of MLflow."""

    problems = ()

    def __init__(self, *arguments):
        pass

    def __getattr__(self, name):
        return lambda *arguments: None


@pytest.fixture
def start(monkeypatch, tmp_path, grid_of):
    """Start a study of a grid's text; returns the (row settings, fold, seed) that it trained."""
    trained = []

    def run_trials(trials, corpora, runs, resources, listener):
        for name, config in trials.items():
            Archive(runs).save(made_up(name, config, corpora[config.corpus.name]))
            listener.trial_finished(name)
            trained.append(config)

    monkeypatch.setattr(ablation.study, "run_trials", run_trials)
    monkeypatch.setattr(ablation.study, "Recorder", Silent)
    monkeypatch.setattr(ablation.study, "read_scores", lambda *arguments: [])

    def started(text, **options):
        trained.clear()
        grid = grid_of(text, demo=True)
        places = Options(runs=tmp_path / "runs", reports=tmp_path / "reports", **options)
        run_study(grid, None, places, Resources(cpus=1), Console(file=io.StringIO()))
        return list(trained)

    return started


def folds_of(configs):
    return sorted(config.fold for config in configs)


def test_what_is_finished_is_not_trained_again(start):
    text = grid_text(PLAIN, FULL)
    assert len(start(text)) == 2 * FOLDS
    assert start(text) == []


def test_another_file_that_asks_for_the_same_experiment_finds_it_finished(start):
    start(grid_text(PLAIN, FULL))
    renamed = grid_text(FULL.replace("full", "the whole method"), name="another")
    assert start(renamed) == []


def test_a_new_row_trains_alone(start):
    start(grid_text(PLAIN))
    grown = start(grid_text(PLAIN, FULL))
    assert folds_of(grown) == [1, 2, 3, 4]
    assert {config.mixup.method for config in grown} == {"eam"}


def test_a_new_seed_trains_alone(start):
    start(grid_text(PLAIN))
    grown = start(grid_text(PLAIN, seeds="[0, 7]"))
    assert [(config.fold, config.seed) for config in grown] == [(k, 7) for k in (1, 2, 3, 4)]


def test_a_new_corpus_trains_alone(start):
    start(grid_text(PLAIN))
    grown = start(grid_text(PLAIN, corpora="savee, ravdess"))
    assert {config.corpus.name for config in grown} == {"ravdess"}
    assert folds_of(grown) == [1, 2, 3, 4, 5, 6]


def test_a_changed_constant_trains_the_folds_that_it_touches_and_no_other(start):
    start(grid_text(PLAIN, FULL))
    sharper = FULL.replace("}", ", losses.focal_gamma: 3}")
    again = start(grid_text(PLAIN, sharper))
    assert folds_of(again) == [1, 2, 3, 4]
    assert {config.losses.focal_gamma for config in again} == {3.0}
    everywhere = start(grid_text(PLAIN, FULL, base="{audio.normalise: none}"))
    assert len(everywhere) == 2 * FOLDS


def test_a_constant_put_back_finds_its_old_folds(start):
    start(grid_text(FULL))
    start(grid_text(FULL, base="{losses.temperature: 0.1}"))
    assert start(grid_text(FULL)) == []


def test_another_recipe_trains_everything_again(start, monkeypatch):
    start(grid_text(PLAIN))
    monkeypatch.setattr(core.identity, "RECIPE_VERSION", core.config.RECIPE_VERSION + 1)
    assert len(start(grid_text(PLAIN))) == FOLDS


def test_another_audio_trains_everything_again(start, tmp_path):
    start(grid_text(PLAIN))
    clip = min((tmp_path / "runs" / "demo").rglob("*.wav"))
    clip.write_bytes(clip.read_bytes()[:-200] + bytes(200))
    assert len(start(grid_text(PLAIN))) == FOLDS


def test_only_what_is_wanted_now_trains_now_and_the_rest_later(start):
    text = grid_text(PLAIN, FULL)
    first = start(text, only=("full",), folds=(2, 3))
    assert [(config.mixup.method, config.fold) for config in first] == [("eam", 2), ("eam", 3)]
    assert len(start(text)) == 2 * FOLDS - 2


def test_a_fresh_start_trains_what_is_wanted_whatever_is_there(start):
    text = grid_text(PLAIN, FULL)
    start(text)
    again = start(text, only=("plain",), fresh=True)
    assert folds_of(again) == [1, 2, 3, 4]
    assert start(text) == []
