"""Rows that a grid generates, and the line and the words with which other blocks are refused."""

import pytest

from ablation.grid import GridError
from core.identity import config_key

HEAD = "name: study\ncorpora: [savee]\n"
BASE = "base: {losses.terms: [kl, center], mixup.method: none, pooling.method: mean}\n"  # line 3
COMPONENTS = (
    "components:\n"
    "  EAM: {mixup: {method: eam, probability: 1}}\n"
    "  FLAM: {on: {pooling.method: flam}, off: {pooling.method: max}}\n"
    "  focal: {losses.terms+: focal}\n"
    "  SupCon: {losses.terms+: [supcon]}\n"
)


@pytest.fixture
def refusal(grid_of):
    """The problems as the message lists them, a line each."""

    def of(text: str, **overrides) -> list[str]:
        with pytest.raises(GridError) as caught:
            grid_of(text, **overrides)
        return [str(problem) for problem in caught.value.problems]

    return of


def configs_of(grid):
    return {cell.row: cell.config for cell in grid.cells}


def test_a_matrix_is_the_product_of_its_axes_the_first_slowest(grid_of):
    grid = grid_of(
        HEAD + "matrix:\n  mixup.method: [none, lam]\n  training.epochs: [5, 10]\n"
        "  pooling: {plain: , FLAM: {pooling: {method: flam, heads: 8}}}\n"
    )
    found = {
        row: (config.mixup.method, config.training.epochs, config.pooling.heads)
        for row, config in configs_of(grid).items()
    }
    assert list(found.items()) == [
        ("none+epochs-5+plain", ("none", 5, 16)),
        ("none+epochs-5+FLAM", ("none", 5, 8)),
        ("none+epochs-10+plain", ("none", 10, 16)),
        ("none+epochs-10+FLAM", ("none", 10, 8)),
        ("lam+epochs-5+plain", ("lam", 5, 16)),
        ("lam+epochs-5+FLAM", ("lam", 5, 8)),
        ("lam+epochs-10+plain", ("lam", 10, 16)),
        ("lam+epochs-10+FLAM", ("lam", 10, 8)),
    ]
    assert grid.compared_with == "none+epochs-5+plain"
    assert grid.design.rows["lam+epochs-5+FLAM"] == (1, 0, 1)


@pytest.mark.parametrize(
    ("axes", "names"),
    [
        ("encoder.normalise: [false, true]", ["normalise-false", "normalise-true"]),
        ("encoder.layer: [3, ~]", ["layer-3", "layer-none"]),
        ("encoder.name: [microsoft/wavlm-base, /m/own]", ["wavlm-base", "own"]),
        ("losses.terms: [[kl], [kl, focal]]", ["kl", "kl-focal"]),
        ("losses.focal_gamma: [1e-1, 2]", ["focal_gamma-1e-1", "focal_gamma-2"]),
        # A word that two axes share says whose it is, by the whole key where its end is shared.
        ("mixup.method: [none, lam]\n  audio.normalise: [none]", ["method-none+normalise-none"]),
        (
            "mixup: {none: {mixup.method: none}}\n  x.mixup: {none: {audio.normalise: none}}",
            ["mixup-none+x.mixup-none"],
        ),
    ],
)
def test_a_row_is_named_by_its_levels(grid_of, axes, names):
    grid = grid_of(f"{HEAD}matrix:\n  {axes}\n")
    assert list(grid.rows)[: len(names)] == names


def test_components_are_added_to_none_and_left_out_of_all(grid_of):
    grid = grid_of(HEAD + BASE + COMPONENTS + "add_one: true\nleave_one_out: true\n")
    found = {
        row: (c.mixup.method, c.mixup.probability, c.pooling.method, c.losses.terms)
        for row, c in configs_of(grid).items()
    }
    both = ("kl", "center", "focal", "supcon")
    assert found == {
        "bare": ("none", 0.5, "max", ("kl", "center")),
        "bare+EAM": ("eam", 1.0, "max", ("kl", "center")),
        "bare+FLAM": ("none", 0.5, "flam", ("kl", "center")),
        "bare+focal": ("none", 0.5, "max", ("kl", "center", "focal")),
        "bare+SupCon": ("none", 0.5, "max", ("kl", "center", "supcon")),
        "full": ("eam", 1.0, "flam", both),
        "full-EAM": ("none", 0.5, "flam", both),
        "full-FLAM": ("eam", 1.0, "max", both),
        "full-focal": ("eam", 1.0, "flam", ("kl", "center", "supcon")),
        "full-SupCon": ("eam", 1.0, "flam", ("kl", "center", "focal")),
    }
    assert grid.compared_with == "bare"


def test_a_shorthand_takes_the_components_that_it_names(grid_of):
    grid = grid_of(HEAD + BASE + COMPONENTS + "add_one: [FLAM]\nleave_one_out: [EAM, focal]\n")
    assert grid.rows == ("bare", "bare+FLAM", "full", "full-EAM", "full-focal")


def test_of_two_components_no_combination_stands_twice(grid_of):
    two = "components: {a: {mixup.method: eam}, b: {pooling.method: flam}}\n"
    grid = grid_of(HEAD + BASE + two + "add_one: true\nleave_one_out: true\n")
    assert grid.rows == ("bare", "bare+a", "bare+b", "full")


def test_a_component_is_an_axis_of_a_matrix_and_stands_beside_rows(grid_of):
    grid = grid_of(
        HEAD
        + BASE
        + COMPONENTS
        + "rows:\n  - {name: LAM, mixup.method: lam}\nbaseline: EAM+SupCon\n"
        "matrix: {focal: [off, on], EAM: [on, off], SupCon: [on]}\n"
    )
    assert grid.rows == ("LAM", "SupCon", "EAM+SupCon", "focal+SupCon", "focal+EAM+SupCon")
    assert [grid.baseline, configs_of(grid)["SupCon"].mixup.method] == ["EAM+SupCon", "none"]


def test_terms_come_in_one_order_whatever_adds_them(grid_of):
    text = HEAD + "base: {losses.terms: [supcon, kl]}\nmatrix:\n  a: {x: {losses.terms+: center}}\n"
    (config,) = configs_of(grid_of(text)).values()
    assert config.losses.terms == ("kl", "center", "supcon")


def test_values_are_set_before_lists_are_added_to_and_then_taken_from(grid_of):
    grid = grid_of(
        HEAD + "matrix:\n"
        "  less: {kl-only: {losses.terms-: [focal, supcon]}, focal-too: {losses.terms-: supcon}}\n"
        "  more: {focal: {losses.terms+: focal}}\n"
        "  losses.terms: [[kl]]\n"
    )
    terms = {row: config.losses.terms for row, config in configs_of(grid).items()}
    assert terms == {
        "kl-only+focal+kl": ("kl",),
        "focal-too+focal+kl": ("kl", "focal"),
    }


def test_excluded_combinations_are_dropped(grid_of):
    grid = grid_of(
        HEAD + BASE + COMPONENTS + "matrix:\n"
        "  EAM: [off, on]\n  training.epochs: [5, 10, 20]\n  encoder.normalise: [false, true]\n"
        "  exclude:\n"
        "    - {EAM: on, training.epochs: [10, 20]}\n"
        "    - {EAM: off, encoder.normalise: true}\n"
    )
    assert list(grid.rows) == [
        "epochs-5+normalise-false",
        "epochs-10+normalise-false",
        "epochs-20+normalise-false",
        "EAM+epochs-5+normalise-false",
        "EAM+epochs-5+normalise-true",
    ]
    assert grid.design.excluded == 7


def test_what_the_command_line_or_the_demo_makes_equal_is_no_problem(grid_of):
    text = HEAD + "matrix:\n  encoder.name: [wavlm-large, wavlm-base]\n"
    assert len({config_key(c) for c in configs_of(grid_of(text, demo=True)).values()}) == 1
    assert len(grid_of(text, encoder="hubert-base").cells) == 2


# With BASE, so that the first block stands on line 4.
@pytest.mark.parametrize(
    ("blocks", "problems"),
    [
        (
            "matrix: {mixup.methd: [none], mixup.method: [lma]}\n",
            [
                "line 4: matrix.mixup.methd: must be a setting or a component, or have named "
                "levels, {NAME: {SETTING: VALUE}}; did you mean 'mixup.method'?",
                "line 4: matrix.mixup.method[0]: must be one of none, lam, eam, mixup, got 'lma'; "
                "did you mean 'lam'?",
            ],
        ),
        (
            "matrix:\n  training.epochs: []\n  mixup: 3\n",
            [
                "line 5: matrix.training.epochs: must be a list of levels, or a mapping of named "
                "ones; found []",
                "line 6: matrix.mixup: must be a list of levels, or a mapping of named ones; "
                "found 3",
            ],
        ),
        (
            "matrix:\n  training.epochs: [5, 10, 5]\n",
            ["line 5: matrix.training.epochs[2]: 5 stands twice"],
        ),
        (
            "matrix:\n  encoder.name: [a/x, b/x]\n",
            [
                "line 5: matrix.encoder.name[1]: 'b/x' would be called as 'a/x' is; give both "
                "names, {NAME: {...}}"
            ],
        ),
        (
            "matrix:\n  mixup: {method: [none, eam]}\n",
            [
                "line 5: matrix.mixup.method: must be a bundle of settings; an axis over one is "
                "`mixup.method: [...]`"
            ],
        ),
        (
            "matrix:\n  mixup.method: [{name: eam}]\n",
            [
                "line 5: matrix.mixup.method[0]: must be a value; a level of several settings "
                "needs a name, {NAME: {...}}; found {'name': 'eam'}"
            ],
        ),
        (
            "matrix: {seed: [0, 1]}\n",
            ["line 4: matrix.seed: is set by `corpora`, the folds and `seeds`, not here"],
        ),
        (
            "matrix:\n  a: {x: {losses.trms+: kl}, y: {mixup.method+: eam}}\n",
            [
                "line 5: matrix.a.x.losses.trms+: '+' changes a list: encoder.join_layers, "
                "augment.speeds, augment.noise_colours, losses.terms, evaluation.speeds; "
                "did you mean 'losses.terms'?",
                "line 5: matrix.a.y.mixup.method+: '+' changes a list: encoder.join_layers, "
                "augment.speeds, augment.noise_colours, losses.terms, evaluation.speeds",
            ],
        ),
        (
            "matrix:\n"
            "  a: {x: {mixup.method: eam}, y: }\n  b: {x: {losses.terms: [kl]}, z: }\n"
            "  mixup.method: [none, lam]\n  c: {x: {losses.terms: [focal]}}\n",
            [
                "line 7: mixup.method: is set by 'a' and by 'mixup.method'",
                "line 8: losses.terms: is set by 'b' and by 'c'; add to the list with "
                "losses.terms+",
            ],
        ),
        (
            "matrix:\n  training.epochs: [1, 2, 3]\n"
            "  exclude:\n    - {training.epochs: 1}\n    - {training.epochs: [1]}\n"
            "    - {training.epoch: 1}\n    - {training.epochs: [2, 4]}\n    - 3\n",
            [
                "line 8: matrix.exclude[1]: drops nothing: no combination is left that it holds "
                "for",
                "line 9: matrix.exclude[2].training.epoch: must name an axis; did you mean "
                "'training.epochs'?",
                "line 10: matrix.exclude[3].training.epochs: must name a level, of 1, 2, 3; "
                "found [2, 4]",
                "line 11: matrix.exclude[4]: must map axes to levels, as in {AXIS: LEVEL}; found 3",
            ],
        ),
        (
            "matrix:\n  training.epochs: [1, 2]\n  exclude: [{training.epochs: [1, 2]}]\n",
            ["line 6: matrix.exclude: must leave a combination, drops all of them"],
        ),
        (
            "matrix:\n  training.epochs: [1, 2]\n  losses.focal_gamma: [1, 0.1e1]\n",
            [
                "line 4: matrix[epochs-1+focal_gamma-0.1e1]: has the same settings as "
                "'epochs-1+focal_gamma-1'",
                "line 4: matrix[epochs-2+focal_gamma-0.1e1]: has the same settings as "
                "'epochs-2+focal_gamma-1'",
            ],
        ),
        (
            "rows:\n  - {name: lam}\n  - {name: own, mixup.method: eam}\n"
            "matrix: {mixup.method: [lam, eam]}\n",
            [
                "line 7: matrix[eam]: has the same settings as 'own'",
                "line 7: matrix[lam]: 'lam' is the name of one of `rows` already",
            ],
        ),
        (
            "components:\n  EAM: \n  FLAM: {pooling.method: flam}\n"
            "matrix: {FLAM: [off, no]}\nadd_one: true\n",
            [
                "line 5: components.EAM: must say what turns it on, as in {mixup.method: eam}; "
                "found nothing",
                "line 7: matrix.FLAM: must be [off, on] or one of them, for a component; found "
                "[False, False]",
                "line 8: add_one: can't stand beside `matrix`, which has every combination",
            ],
        ),
        (
            "components: {FLAM: {pooling.method: flam}, EAM: {mixup.method: eam}}\n"
            "add_one: [EMA, FLAM, FLAM]\nleave_one_out: 3\n",
            [
                "line 5: add_one[0]: must name a component, found 'EMA'; did you mean 'EAM'?",
                "line 5: add_one[2]: 'FLAM' stands twice",
                "line 6: leave_one_out: must be true or a list of components, found 3",
            ],
        ),
        (
            "components: {FLAM: {pooling.method: flam}}\n",
            [
                "line 4: components: must be used, by `add_one: true`, `leave_one_out: true`, or "
                "NAME: [off, on] in `matrix`"
            ],
        ),
        ("add_one: true\n", ["line 4: add_one: needs `components`: what can be added or left out"]),
        (
            "matrix: {training.epochs: [1, 2]}\nbaseline: epochs-3\n",
            [
                "line 5: baseline: must name a row of this grid, found 'epochs-3'; did you mean "
                "'epochs-2'?"
            ],
        ),
        (
            f"matrix:\n  training.epochs: {list(range(1, 102))}\n"
            f"  training.batch_size: {list(range(1, 101))}\n",
            ["line 4: matrix: must make at most 10000 rows, found 10100 (101 x 100)"],
        ),
        (
            f"matrix:\n  training.epochs: {list(range(1, 202))}\n",
            ["line 5: matrix.training.epochs: must hold at most 200 levels, found 201"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(refusal, blocks, problems):
    found = refusal(HEAD + BASE + blocks)
    assert len(found) == len(problems)
    for one, expected in zip(found, problems, strict=True):
        assert expected in one


def test_a_contradiction_names_its_first_combination_and_counts_the_others(refusal):
    found = refusal(
        HEAD + BASE + "matrix:\n"
        "  kl: {with: , without: {losses.terms-: kl}}\n"
        "  SupCon: {plain: , SupCon: {losses.terms+: supcon}}\n"
        "  focal: {no-focal: , focal: {losses.terms+: focal}}\n"
        "  mixup.snr_min_db: [-5, 5]\n  mixup.snr_max_db: [10, 0]\n"
    )
    assert found == [
        "line 5: matrix.losses.terms: must hold 'kl' or 'focal': nothing else trains the "
        "classifier, got center, supcon; so in the combination "
        "'without+SupCon+no-focal+snr_min_db--5+snr_max_db-10', and in 3 others",
        "line 5: matrix.losses.terms: must hold 'kl' or 'focal': nothing else trains the "
        "classifier, got center; so in the combination "
        "'without+plain+no-focal+snr_min_db--5+snr_max_db-10', and in 3 others",
        "line 8: matrix.mixup.snr_min_db: must not exceed mixup.snr_max_db = 0, got 5; so in the "
        "combination 'with+plain+no-focal+snr_min_db-5+snr_max_db-0', and in 7 others",
    ]


def test_the_components_of_a_shorthand_contradict_by_name(refusal):
    text = "components: {kl: {on: , off: {losses.terms-: kl}}, S: {losses.terms+: supcon}}\n"
    assert refusal(HEAD + BASE + text + "leave_one_out: true\n") == [
        "line 4: leave_one_out.losses.terms: must hold 'kl' or 'focal': nothing else trains the "
        "classifier, got center, supcon; so in the combination 'full-kl'"
    ]
