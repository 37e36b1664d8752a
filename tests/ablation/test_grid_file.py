"""What a grid file may say, and the line and the words with which all else is refused."""

from pathlib import Path

import pytest

from ablation.grid import GridError, Overrides
from ablation.grid_file import load_grid, seeds_of, setting_keys
from core.identity import config_key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def refusal(tmp_path, grid_of):
    """The problems as the message lists them, a line each."""

    def of(text: str, **overrides) -> list[str]:
        with pytest.raises(GridError) as caught:
            grid_of(text, **overrides)
        message = str(caught.value).removeprefix(f"{tmp_path / 'study.yaml'}: ")
        first, *problems = message.split("\n")
        if not problems:
            return [first]
        count = len(problems)
        assert first == f"{count} problem{'s' if count > 1 else ''}"
        return [problem.removeprefix("  ") for problem in problems]

    return of


HEAD = "name: study\ncorpora: [savee]\n"
SMALL = HEAD + "rows:\n  - name: a\n"  # 4 lines


def test_table_3_is_15_rows_on_5_folds(figures):
    grid = load_grid(ROOT / "grids" / "table3.yaml", Overrides(), figures)
    assert len(grid.cells) == 15
    assert [cell.published for cell in grid.cells] == [f"table3.{i}" for i in range(1, 16)]
    assert {cell.folds for cell in grid.cells} == {5}
    assert (grid.name, grid.study, grid.selection) == ("table3", "table3", "last")


@pytest.mark.parametrize("demo", [False, True])
def test_table_3_is_75_different_experiments(figures, demo):
    grid = load_grid(ROOT / "grids" / "table3.yaml", Overrides(demo=demo), figures)
    trials = grid.trials()
    assert len(trials) == 75
    assert len({config_key(trial.config) for trial in trials}) == 75


@pytest.mark.parametrize("path", sorted((ROOT / "grids").glob("*.yaml")), ids=lambda p: p.stem)
@pytest.mark.parametrize("demo", [False, True])
def test_every_grid_of_the_project_is_right(figures, path, demo):
    grid = load_grid(path, Overrides(demo=demo), figures)
    assert grid.name == path.stem
    assert grid.trials()


def test_the_smallest_grid_has_the_defaults(grid_of):
    grid = grid_of(SMALL)
    (cell,) = grid.cells
    assert (grid.name, grid.title, grid.selection, grid.demo) == ("study", "study", "last", False)
    assert (cell.row, cell.published, cell.seeds, cell.folds) == ("a", "", (0,), 4)
    assert cell.config.encoder.name == "wavlm-large"


def test_rows_say_what_they_change_nested_or_dotted(grid_of):
    grid = grid_of(
        HEAD + "base: {training: {epochs: 5}, mixup.method: lam}\n"
        "rows:\n"
        "  - name: dotted\n    mixup.method: none\n"
        "  - name: nested\n    mixup: {method: eam, probability: 1}\n"
        "  - name: base\n"
    )
    configs = {cell.row: cell.config for cell in grid.cells}
    assert [config.mixup.method for config in configs.values()] == ["none", "eam", "lam"]
    assert configs["nested"].mixup.probability == 1.0
    assert {config.training.epochs for config in configs.values()} == {5}


def test_corpora_may_name_their_folds(grid_of):
    grid = grid_of(
        "name: study\ncorpora: [{name: ravdess, folds: luna-jimenez}, savee]\nrows: [{name: a}]\n"
    )
    assert tuple(grid.corpora) == ("ravdess", "savee")
    assert [cell.folds for cell in grid.cells] == [5, 4]
    assert grid.cells[0].config.corpus.folds == "luna-jimenez"


def test_selection_and_oracle_stand_at_the_top(grid_of):
    grid = grid_of("selection: validation\nrecord_oracle: true\n" + SMALL)
    assert grid.selection == "validation"
    assert grid.cells[0].config.evaluation.record_oracle


def test_rows_with_different_selections_make_a_mixed_grid(grid_of):
    text = SMALL + "  - name: b\n    evaluation.selection: oracle\n"
    assert grid_of(text).selection == "mixed"


def test_an_empty_reference_is_none(grid_of):
    assert grid_of(SMALL + "    published:\n").cells[0].published == ""


def test_a_title_may_hold_any_printable_text(grid_of):
    assert grid_of("title: ' Ünïcode [bold] '\n" + SMALL).title == "Ünïcode [bold]"


def test_the_command_line_chooses_corpora_and_keeps_the_file_s_folds(grid_of):
    text = "name: s\ncorpora: [iemocap, {name: ravdess, folds: emobox}]\nrows: [{name: a}]\n"
    grid = grid_of(text, corpora=("savee", "ravdess", "savee"))
    assert tuple(grid.corpora) == ("savee", "ravdess")
    assert grid.cells[1].config.corpus.folds == "emobox"


def test_the_command_line_chooses_seeds(grid_of):
    assert grid_of("seeds: 5\n" + SMALL, seeds=(7,)).cells[0].seeds == (7,)


@pytest.mark.parametrize(
    ("value", "seeds"),
    [(1, (0,)), (3, (0, 1, 2)), ([7], (7,)), ([4, 2, 2**31 - 1], (4, 2, 2**31 - 1))],
)
def test_seeds_are_a_count_or_a_list(value, seeds):
    assert seeds_of(value) == seeds


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (-1, "-1"),
        (1001, "1001"),
        (True, "true"),
        (None, "nothing"),
        ("3", "'3'"),
        (2.0, "2.0"),
        ([], "[]"),
        ([1, 1], "[1, 1]"),
        ([-1], "[-1]"),
        ([2**31], "[2147483648]"),
        ([0, False], "[0, False]"),
        ([[0]], "[[0]]"),
        ([16**5000], "a list with a whole number of over 20 digits"),
    ],
)
def test_other_seeds_are_refused(value, shown):
    with pytest.raises(ValueError, match="count") as caught:
        seeds_of(value)
    assert str(caught.value) == (
        f"must be a count in 1..1000 or a list of different whole numbers from 0, found {shown}"
    )


NAME_RULE = "must be 1 to 64 lower-case letters, digits, '-' and '_'"
ROW_RULE = "must be a name of up to 80 letters, digits, spaces and . _ + -"
RESERVED = "is set by `corpora`, the folds and `seeds`, not here"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (SMALL.replace("study", "My Study"), f"line 1: name: {NAME_RULE}, found 'My Study'"),
        (SMALL.replace("study", "../x"), f"line 1: name: {NAME_RULE}, found '../x'"),
        (SMALL.removeprefix("name: study\n"), f"line 1: name: {NAME_RULE}, found nothing"),
        (
            SMALL.replace("study", "x-demo"),
            "line 1: name: must not end in '-demo': so the demo of another grid is named, "
            "found 'x-demo'",
        ),
        ("title: 3\n" + SMALL, "line 1: title: must be one line of text, found 3"),
        ('title: "a\\nb"\n' + SMALL, r"line 1: title: must be one line of text, found 'a\nb'"),
        (
            'title: "\\e[31m"\n' + SMALL,
            r"line 1: title: must be one line of text, found '\x1b[31m'",
        ),
        (
            SMALL.replace("[savee]", "[savee, ravdes]"),
            "line 2: corpora[1]: must be one of iemocap, msp_improv, ravdess, savee, "
            "or {manifest: FILE}, found 'ravdes'; did you mean 'ravdess'?",
        ),
        (
            SMALL.replace("[savee]", "savee"),
            "line 2: corpora: must be a list of corpora, found 'savee'",
        ),
        (SMALL.replace("[savee]", "[]"), "line 2: corpora: must be a list of corpora, found []"),
        (
            "name: study\nrows: [{name: a}]\n",
            "line 1: corpora: must be a list of corpora, found nothing",
        ),
        (SMALL.replace("[savee]", "[3]"), "line 2: corpora[0]: must be a name, found 3"),
        (
            SMALL.replace("[savee]", "[savee, savee]"),
            "line 2: corpora[1]: 'savee' stands twice",
        ),
        (
            SMALL.replace("[savee]", "\n  - name: ravdess\n    folds: emobx"),
            "line 4: corpora[0].folds: must be one of consecutive, emobox, luna-jimenez, halves "
            "for ravdess, found 'emobx'; did you mean 'emobox'?",
        ),
        (
            SMALL.replace("[savee]", "\n  - {name: ravdess, fold: 3}"),
            "line 3: corpora[0].fold: unknown key; did you mean 'folds'?",
        ),
        ("sead: 3\n" + SMALL, "line 1: sead: unknown key; did you mean 'seeds'?"),
        (
            "seeds: 0\n" + SMALL,
            "line 1: seeds: must be a count in 1..1000 or a list of different whole numbers "
            "from 0, found 0",
        ),
        (
            "selection: best\n" + SMALL,
            "line 1: selection: must be one of last, validation, oracle, got 'best'",
        ),
        (
            "record_oracle: maybe\n" + SMALL,
            "line 1: record_oracle: must be true or false, got 'maybe'",
        ),
        (
            "selection: last\nbase: {evaluation.selection: oracle}\n" + SMALL,
            "line 1: selection: stands twice, here and as evaluation.selection in `base`",
        ),
        ("base: 3\n" + SMALL, "line 1: base: must be a mapping of settings, found 3"),
        (
            "base:\n  mixup: eam\n" + SMALL,
            "line 2: base.mixup: is a group of settings; give one of alpha, max_share, method, "
            "probability, snr_max_db, snr_min_db",
        ),
        (
            "base:\n  training.epochs: {}\n" + SMALL,
            "line 2: base.training.epochs: must be a whole number, got {}",
        ),
        (
            "base:\n  mixup.method:\n" + SMALL,
            "line 2: base.mixup.method: must be one of none, lam, eam, mixup, got nothing",
        ),
        ("base:\n  seed: 3\n" + SMALL, f"line 2: base.seed: {RESERVED}"),
        ("base:\n  corpus: savee\n" + SMALL, f"line 2: base.corpus: {RESERVED}"),
        (HEAD + "rows: 3\n", "line 3: rows: must be a list of named settings, found 3"),
        (HEAD, "line 1: rows: must be a list of named settings, found nothing"),
        (HEAD + "rows:\n  - a\n", "line 4: rows[0]: must be a mapping, found 'a'"),
        (HEAD + "rows:\n  - {}\n", f"line 4: rows[0].name: {ROW_RULE}, found nothing"),
        (
            HEAD + "rows:\n  - {name: 'a/b'}\n",
            f"line 4: rows[0].name: {ROW_RULE}, found 'a/b'",
        ),
        (SMALL + "  - name: a\n", "line 5: rows[1].name: 'a' stands twice"),
        (
            SMALL + "    published: tabel3.12\n",
            "line 5: rows[0].published: must name a figure of published.yaml, "
            "found 'tabel3.12'; did you mean 'table3.12'?",
        ),
        (
            SMALL + "baseline: b\n",
            "line 5: baseline: must name a row of this grid, found 'b'",
        ),
        (
            SMALL.replace("name: a", "name: full") + "baseline: ful\n",
            "line 5: baseline: must name a row of this grid, found 'ful'; did you mean 'full'?",
        ),
        (
            SMALL + "baseline: [a]\n",
            "line 5: baseline: must name a row of this grid, found ['a']",
        ),
        (
            SMALL + "    published: 0\n",
            "line 5: rows[0].published: must name a figure of published.yaml, found 0",
        ),
        (
            SMALL + "    mixup.probabilty: 0.5\n",
            "line 5: rows[0].mixup.probabilty: unknown key; did you mean 'probability'?",
        ),
        (
            SMALL + "    mixup:\n      probabilty: 0.5\n",
            "line 6: rows[0].mixup.probabilty: unknown key; did you mean 'probability'?",
        ),
        (
            SMALL + "    mixup.method: lam\n    mixup:\n      method: eam\n",
            "line 7: rows[0].mixup.method: stands twice, dotted and nested",
        ),
        (SMALL + "    corpus: {name: ravdess}\n", f"line 5: rows[0].corpus.name: {RESERVED}"),
        (SMALL + "    fold: 3\n", f"line 5: rows[0].fold: {RESERVED}"),
        (
            SMALL + "    encoder.layer: 25\n",
            "line 5: rows[0].encoder.layer: must lie in 0..24 for 'wavlm-large', got 25",
        ),
        (
            SMALL + "    losses.terms: [center]\n",
            "line 5: rows[0].losses.terms: must hold 'kl' or 'focal': nothing else trains the "
            "classifier, got center",
        ),
        (
            SMALL + '    encoder.name: "\\e]0;owned\\a"\n',
            r"line 5: rows[0].encoder.name: must be one line of printable text, "
            r"got '\x1b]0;owned\x07'",
        ),
        (SMALL + "    name: b\n", "line 5: key 'name' stands twice"),
        (SMALL + "\tx: 3\n", "line 5: must be indented with spaces, found a tab"),
    ],
)
def test_a_wrong_file_is_refused_with_line_and_suggestion(refusal, text, problem):
    assert refusal(text) == [problem]


KEYS = (
    "name, title, corpora, train_on, test_on, class_map, seeds, selection, record_oracle, "
    "baseline, base, rows, matrix, components, add_one, leave_one_out, search"
)


def test_rows_are_compared_with_the_baseline_or_with_the_first(grid_of):
    text = SMALL + "  - {name: b, mixup.method: none}\n"
    assert grid_of(text).compared_with == "a"
    assert grid_of(text + "baseline: b\n").compared_with == "b"


@pytest.mark.parametrize(
    ("text", "found"),
    [("", "nothing"), ("# only a comment", "nothing"), ("[1]", "[1]"), ("x", "'x'")],
)
def test_a_file_that_is_no_mapping_is_refused(refusal, text, found):
    assert refusal(text) == [f"must be a mapping with the keys {KEYS}, found {found}"]


def test_every_problem_of_a_file_is_told_at_once(refusal):
    text = (
        "name: study\n"
        "corpora: [savee]\n"
        "seeds: none\n"
        "base:\n"
        "  training.epochs: 0\n"
        "rows:\n"
        "  - name: a\n"
        "    mixup.method: eem\n"
        "  - name: a\n"
        "    pooling.heads: 3\n"
    )
    assert refusal(text) == [
        "line 3: seeds: must be a count in 1..1000 or a list of different whole numbers from 0, "
        "found 'none'",
        "line 5: base.training.epochs: must lie in 1..10000, got 0",
        "line 8: rows[0].mixup.method: must be one of none, lam, eam, mixup, got 'eem'; "
        "did you mean 'eam'?",
        "line 9: rows[1].name: 'a' stands twice",
    ]


def test_too_many_trials_are_refused_before_they_are_made(refusal):
    rows = "".join(f"  - name: r{i}\n" for i in range(26))
    text = f"name: study\ncorpora: [savee]\nseeds: 1000\nrows:\n{rows}"
    assert refusal(text) == [
        "line 4: rows: must make at most 100000 trials (rows x folds x seeds), found 104000"
    ]


def test_wrong_folds_count_no_trials(refusal):
    assert len(refusal("name: s\ncorpora: [{name: ravdess, folds: x}]\nrows: [{name: a}]\n")) == 1


def test_a_missing_file_suggests_its_neighbour(figures):
    path = ROOT / "grids" / "tabel3.yaml"
    with pytest.raises(GridError) as caught:
        load_grid(path, Overrides(), figures)
    assert str(caught.value) == (
        f"{path}: must be a readable file, found: no such file or directory; "
        "did you mean 'table3.yaml'?"
    )


def test_a_folder_is_no_grid(figures, tmp_path):
    with pytest.raises(GridError) as caught:
        load_grid(tmp_path, Overrides(), figures)
    assert str(caught.value) == f"{tmp_path}: must be a readable file, found: is a directory"


def test_setting_keys_are_those_that_rows_may_change():
    keys = setting_keys()
    assert {"mixup.method", "training.epochs", "encoder.name"} <= set(keys)
    assert not {"corpus.name", "corpus.folds", "fold", "seed"} & set(keys)
