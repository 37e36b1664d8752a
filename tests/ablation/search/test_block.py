"""The block `search:`: every problem with its line, and what must not be searched."""

import importlib.util

import pytest

import ablation.search.block
import runner
from ablation.grid import GridError

HEAD = "name: n\ncorpora: [ravdess]\nrows: [{name: own}]\n"
GOOD = "{trials: 4, space: {losses.focal_gamma: {uniform: [0, 5]}}}"


def problems(grid_of, search, head=HEAD, **overrides):
    with pytest.raises(GridError) as caught:
        grid_of(f"{head}search: {search}\n", **overrides)
    return [f"{problem.key}: {problem.text}" for problem in caught.value.problems]


def only(grid_of, search, **others):
    (problem,) = problems(grid_of, search, **others)
    return problem


def of_space(grid_of, key, values):
    return only(grid_of, f"{{trials: 4, space: {{{key}: {values}}}}}")


def test_the_searched_row_stands_behind_the_row_itself_and_trains_nothing_yet(grid_of):
    grid = grid_of(f"{HEAD}search: {GOOD}\n")
    assert grid.rows == ("own", "searched")
    assert grid.compared_with == "own"
    own, searched = grid.cells
    assert (own.config, len(own.trials())) == (searched.config, 6)
    assert searched.trials() == []
    assert len(searched.runs()) == len(set(searched.config_keys())) == 6


def test_without_rows_the_base_is_searched(grid_of):
    head = "name: n\ncorpora: [ravdess]\nbase: {mixup.method: lam}\n"
    grid = grid_of(f"{head}search: {GOOD}\n")
    assert grid.rows == ("defaults", "searched")
    assert grid.cells[0].config.mixup.method == "lam"


def test_what_is_not_said_has_a_default(grid_of):
    search = grid_of(f"{HEAD}search: {GOOD}\n").search
    assert (search.method, search.trials, search.hours) == ("random", 4, None)
    assert (search.inner_folds, search.seed) == (None, 0)


def test_all_problems_come_at_once_each_with_its_line(grid_of):
    text = """search:
  methd: random
  method: aha
  trials: 0
  hours: .nan
  inner_folds: 9
  seed: -1
  space:
    losses.focal_gama: {uniform: [0, 5]}
    training.learning_rate: {loguniform: [1e-5, 1e2]}
"""
    with pytest.raises(GridError) as caught:
        grid_of(HEAD + text)
    assert str(caught.value).splitlines()[1:] == [
        "  line 5: search.methd: unknown key; did you mean 'method'?",
        "  line 6: search.method: must be one of random, asha, tpe, found 'aha'; "
        "did you mean 'asha'?",
        "  line 7: search.trials: must be a whole number in 1..1000, found 0",
        "  line 8: search.hours: must be a number in 0.001..10000, found nan",
        "  line 9: search.inner_folds: must be at most 5, the groups of a training side, found 9",
        "  line 10: search.seed: must be a whole number in 0..2.14748e+09, found -1",
        "  line 12: search.space.losses.focal_gama: must be a dotted setting of core/config.py, "
        "unknown key; did you mean 'losses.focal_gamma'?",
        "  line 13: search.space.training.learning_rate: must lie above 0 and at most 10, "
        "got 100.0",
    ]


@pytest.mark.parametrize(
    ("key", "values", "text"),
    [
        ("losses.focal_gamma", "{uniform: [5, 0]}", "must rise from low to high, found [5, 0]"),
        ("losses.focal_gamma", "{uniform: [1]}", "must be uniform: [low, high], two numbers"),
        ("losses.focal_gamma", "{uniform: [a, 1]}", "must be uniform: [low, high], two numbers"),
        ("losses.focal_gamma", "{int: [1, 2]}", "must be drawn by uniform, loguniform or choice"),
        ("losses.temperature", "{loguniform: [0, 1]}", "must lie above 0 for loguniform"),
        ("losses.temperature", "{uniform: [0, 1]}", "must lie above 0 and at most 100, got 0"),
        ("training.epochs", "{uniform: [1, 5]}", "must be drawn by int or choice"),
        ("training.epochs", "{int: [1, 2.5]}", "must be int: [low, high], two whole numbers"),
        ("pooling.method", "{choice: []}", "must be choice: [...], a list of 1 to 100 values"),
        ("pooling.method", "{choice: [mean, mean]}", "must hold each value once"),
        ("pooling.method", "{choice: [mean, men]}", "got 'men'; did you mean 'mean'?"),
        ("pooling.method", "{uniform: [0, 1]}", "must be drawn by choice"),
        ("losses.terms", "{choice: [[kl], [center]]}", "must hold 'kl' or 'focal'"),
        ("augment.speeds", "{uniform: [0.9, 1.1]}", "must be drawn by choice"),
        ("encoder.layer", "{int: [3, 30]}", "must lie in 0..24 for 'wavlm-large', got 30"),
        ("mixup.probability", "{unifrom: [0, 1]}", "did you mean 'uniform'?"),
        ("mixup.probability", "0.5", "must be one of uniform, loguniform, choice, int"),
        ("corpus.name", "{choice: [savee]}", "must not be searched: what it is tested on is no"),
        ("fold", "{int: [1, 2]}", "must not be searched: what it is tested on is no setting"),
        ("seed", "{int: [0, 9]}", "must not be searched: a seed is no setting"),
        ("evaluation.selection", "{choice: [last]}", "must not be searched: how it is judged is"),
        ("evaluation.inner_fold", "{int: [1, 2]}", "must not be searched: how it is judged is"),
        ("training.threads", "{int: [1, 2]}", "must not be searched: it changes how figures"),
    ],
)
def test_values_that_can_not_be_drawn_are_refused(grid_of, key, values, text):
    problem = of_space(grid_of, key, values)
    assert problem.startswith(f"search.space.{key}: ")
    assert text in problem


def test_a_search_needs_a_budget_and_a_space(grid_of):
    assert problems(grid_of, "{}") == [
        "search: must say how long, by `trials`, `hours` or both",
        "search.space: must map settings to where their values lie, found nothing",
    ]
    assert only(grid_of, "random") == "search: must be a mapping, found 'random'"


@pytest.mark.parametrize(
    ("head", "text"),
    [
        ("rows: [{name: a}, {name: b}]\ncorpora: [ravdess]\n", "must have one row on one corpus"),
        ("rows: [{name: a}]\ncorpora: [ravdess, savee]\n", "must have one row on one corpus"),
        ("rows: [{name: searched}]\ncorpora: [ravdess]\n", "must be another than 'searched'"),
        ("selection: oracle\nrows: [{name: a}]\ncorpora: [savee]\n", "the test fold decides"),
        ("rows: [{name: a}]\ntrain_on: ravdess\ntest_on: savee\n", "must stand beside `corpora`"),
    ],
)
def test_one_row_on_one_corpus_is_searched(grid_of, head, text):
    assert text in only(grid_of, GOOD, head=f"name: n\n{head}")


def test_what_is_searched_is_not_set_by_the_command_line(grid_of):
    text = "losses.focal_gamma: is searched, so that --set losses.focal_gamma must not set it"
    assert text in only(grid_of, GOOD, settings={"losses.focal_gamma": 3.0})


def test_values_that_never_go_together_are_refused(grid_of):
    space = "{mixup.snr_min_db: {uniform: [0, 9]}, mixup.snr_max_db: {uniform: [5, 6]}}"
    assert len(grid_of(f"{HEAD}search: {{trials: 9, space: {space}}}\n").cells) == 2
    space = "{mixup.snr_min_db: {uniform: [8, 9]}, mixup.snr_max_db: {uniform: [9, 9.1]}}"
    grid_of(f"{HEAD}search: {{trials: 9, space: {space}}}\n")
    space = "{mixup.snr_min_db: {uniform: [6, 9]}, mixup.snr_max_db: {uniform: [-5, 5.9]}}"
    found = problems(grid_of, f"{{trials: 9, space: {space}}}")
    assert any("must not exceed mixup.snr_max_db" in text for text in found)


def test_tpe_without_optuna_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        ablation.search.block,
        "find_spec",
        lambda name: None if name == "optuna" else importlib.util.find_spec(name),
    )
    path = tmp_path / "g.yaml"
    path.write_text(f"{HEAD}search: {GOOD.replace('trials', 'method: tpe, trials')}\n")
    assert runner.main([str(path), "--plan"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[1:] == [
        "  line 4: search.method: needs Optuna, which is not installed: "
        "pip install 'ser-ablation[search]', or use asha"
    ]
