"""How rows become cells, cells become trials, and what a refusal looks like."""

from pathlib import Path

from ablation.grid import (
    SHOWN_PROBLEMS,
    Cell,
    Grid,
    GridError,
    GridProblem,
    Overrides,
    Row,
    Setting,
    expand,
)
from core.config import RunConfig
from core.corpora.catalog import CORPORA
from core.identity import config_key
from tests.ablation.stand_ins import corpus_of

SAVEE = ((CORPORA["savee"], "leave-one-speaker-out"),)


def row_of(name="a", line=7, **settings) -> Row:
    label = "rows[0]"
    return Row(
        name=name,
        published="",
        settings={
            key.replace("__", "."): Setting(value, line + 1, f"{label}.{key.replace('__', '.')}")
            for key, value in settings.items()
        },
        label=label,
        line=line,
    )


def problems_of(*rows, base=None, overrides=None) -> list[str]:
    cells, problems = expand(base or {}, rows, SAVEE, (0,), overrides or Overrides())
    assert not cells
    return [str(problem) for problem in problems]


def cell_of(row="a", folds=2, seeds=(0,), **settings) -> Cell:
    config = RunConfig.from_dict({key.replace("__", "."): v for key, v in settings.items()})
    corpus = corpus_of(config, folds, ("x", "y"))
    return Cell(row=row, published="", config=config, corpus=corpus, seeds=seeds)


def test_trials_are_every_fold_under_every_seed():
    trials = cell_of(folds=2, seeds=(3, 1)).trials()
    assert [(trial.row, trial.config.fold, trial.config.seed) for trial in trials] == [
        *(("a", 1, 3), ("a", 2, 3)),
        *(("a", 1, 1), ("a", 2, 1)),
    ]
    assert len({config_key(trial.config) for trial in trials}) == 4


def test_a_grid_lists_rows_and_corpora_once_in_order():
    cells = [
        cell_of(row, corpus__name=corpus)
        for row in ("late", "early")
        for corpus in ("savee", "iemocap")
    ]
    grid = Grid(
        name="g", title="G", path=Path("g"), demo=True, selection="last", cells=tuple(cells)
    )
    assert grid.rows == ("late", "early")
    assert tuple(grid.corpora) == ("savee", "iemocap")
    assert grid.study == "g-demo"
    assert [trial.row for trial in grid.trials()] == ["late"] * 4 + ["early"] * 4


def test_every_row_is_expanded_on_every_corpus():
    corpora = (
        (CORPORA["iemocap"], "leave-one-session-out"),
        (CORPORA["ravdess"], "luna-jimenez"),
    )
    rows = (row_of("a"), row_of("b", mixup__method="lam"))
    cells, problems = expand({}, rows, corpora, (5, 6), Overrides())
    assert not problems
    assert [(c.row, c.config.corpus.name, c.folds, c.config.mixup.method) for c in cells] == [
        *(("a", "iemocap", 5, "eam"), ("a", "ravdess", 5, "eam")),
        *(("b", "iemocap", 5, "lam"), ("b", "ravdess", 5, "lam")),
    ]
    assert {(c.seeds, c.config.seed, c.config.fold) for c in cells} == {((5, 6), 5, 1)}
    assert cells[0].classes == ("angry", "happy", "sad", "neutral")


def test_the_command_line_wins_over_the_row_and_the_row_over_the_base():
    base = {key: Setting(9, 1, f"base.{key}") for key in ("training.epochs", "training.batch_size")}
    base["training.threads"] = Setting(2, 1, "base.training.threads")
    row = row_of(training__batch_size=8, training__threads=3)
    overrides = Overrides(settings={"training.threads": 4}, encoder="hubert-base")
    (cell,), _ = expand(base, [row], SAVEE, (0,), overrides)
    training = cell.config.training
    assert (training.epochs, training.batch_size, training.threads) == (9, 8, 4)
    assert cell.config.encoder.name == "hubert-base"


def test_a_demo_replaces_encoders_and_keeps_the_method():
    rows = [row_of(encoder__name=name, mixup__method="lam") for name in ("hubert-large", "x/y")]
    (small, base), _ = expand({}, rows, SAVEE, (0,), Overrides(demo=True))
    assert (small.config.encoder.name, base.config.encoder.name) == ("logmel-small", "logmel-base")
    assert small.config.mixup.method == "lam"


def test_what_a_demo_replaces_must_be_right_all_the_same():
    assert problems_of(row_of(training__epochs="many"), overrides=Overrides(demo=True)) == [
        "line 8: rows[0].training.epochs: must be a whole number, got 'many'"
    ]


def test_a_problem_is_laid_to_the_line_that_sets_the_value():
    base = {"training.epochs": Setting(0, 3, "base.training.epochs")}
    assert problems_of(row_of(), base=base) == [
        "line 3: base.training.epochs: must lie in 1..10000, got 0"
    ]
    assert problems_of(row_of(training__epochs=-1), base=base) == [
        "line 8: rows[0].training.epochs: must lie in 1..10000, got -1"
    ]


def test_a_contradiction_is_laid_to_the_side_that_the_file_sets():
    assert problems_of(row_of(mixup__snr_max_db=-20)) == [
        "line 8: rows[0].mixup.snr_max_db: mixup.snr_min_db must not exceed "
        "mixup.snr_max_db = -20, got -5"
    ]


def test_a_contradiction_is_laid_to_the_command_line_where_it_has_a_part():
    row = row_of(encoder__layer=24)
    assert problems_of(row, overrides=Overrides(encoder="hubert-base")) == [
        "--encoder: encoder.layer must lie in 0..12 for 'hubert-base', got 24"
    ]
    assert problems_of(row, overrides=Overrides(settings={"encoder.name": "hubert-base"})) == [
        "--set encoder.name: encoder.layer must lie in 0..12 for 'hubert-base', got 24"
    ]


def test_a_wrong_override_is_told_once_for_all_rows():
    overrides = Overrides(settings={"training.epochs": 0})
    _, problems = expand({}, [row_of("a"), row_of("b")], SAVEE, (0,), overrides)
    assert str(GridError(Path("g.yaml"), problems)) == (
        "g.yaml: --set training.epochs: must lie in 1..10000, got 0"
    )


def test_a_row_may_not_set_what_its_baseline_has_no_use_for_but_the_base_may():
    base = {"mixup.method": Setting("lam", 3, "base.mixup.method")}
    row = row_of(classifier__method="linear-probe", mixup__method="eam")
    _, problems = expand(base, [row], SAVEE, (0,), Overrides())
    assert [str(problem) for problem in problems] == [
        "line 8: rows[0].mixup.method: has no effect under classifier.method linear-probe, must "
        "not stand in its row"
    ]
    cells, problems = expand(
        base, [row_of(classifier__method="linear-probe")], SAVEE, (0,), Overrides()
    )
    assert not problems
    assert cells[0].config.mixup.method == "none"


def test_expansion_stops_where_there_are_problems_enough():
    rows = [row_of(str(i), line=i, training__epochs=0) for i in range(1, 1000)]
    assert len(problems_of(*rows)) == 50


def test_an_error_lists_its_problems_by_line_and_each_once():
    problems = [GridProblem(9, "rows[1]", "is wrong"), GridProblem(2, "name", "must be a name")]
    assert str(GridError(Path("grids/x.yaml"), problems * 2)) == (
        "grids/x.yaml: 2 problems\n  line 2: name: must be a name\n  line 9: rows[1]: is wrong"
    )


def test_an_error_of_one_problem_counts_one():
    error = GridError(Path("x.yaml"), [GridProblem(3, "seeds", "must be a count")])
    assert str(error) == "x.yaml: 1 problem\n  line 3: seeds: must be a count"


def test_a_problem_of_the_whole_file_takes_one_line():
    error = GridError(Path("x.yaml"), [GridProblem(0, "", "must be a readable file")])
    assert str(error) == "x.yaml: must be a readable file"


def test_a_long_list_of_problems_is_cut_and_counted():
    lines = str(GridError(Path("x"), [GridProblem(i, "k", "t") for i in range(1, 31)])).split("\n")
    assert len(lines) == 1 + SHOWN_PROBLEMS + 1
    assert lines[0] == "x: 30 problems"
    assert lines[-1] == "  and 10 more"


def test_a_key_can_neither_steer_a_terminal_nor_flood_it():
    assert str(GridProblem(1, "\x1b[31m\nkey", "t")) == r"line 1: \x1b[31m\nkey: t"
    assert str(GridProblem(1, "k" * 1000, "t")) == f"line 1: {'k' * 77}...: t"
