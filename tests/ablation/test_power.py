"""The verb `power`: components of variance and power against simulations and other libraries."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

import runner
from ablation import power, seeds_needed
from ablation.aggregate import summarise
from ablation.grid import Overrides
from ablation.grid_file import load_grid
from ablation.report import summarise_grid
from ablation.seeds_needed import (
    Outlook,
    outlooks,
    power_of,
    seeds_for,
    shift_needed,
    standard_error,
)
from tests.ablation.test_comparison import cell_of
from tests.ablation.told import score_told


@pytest.mark.parametrize("folds", [2, 3, 6, 24])
@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0, 8.0, 100.0])
def test_power_is_that_of_the_noncentral_t_distribution(folds, shift):
    edge = stats.t.ppf(0.975, folds - 1)
    above = stats.nct.sf(edge, folds - 1, shift) if shift else 0.025
    below = stats.nct.cdf(-edge, folds - 1, shift) if shift else 0.025
    expected = above + (0.0 if math.isnan(below) else below)
    assert power_of(shift, folds) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("folds", [4, 6, 24])
def test_without_a_correction_it_is_the_plain_paired_t_test_s(folds):
    effect = TTestPower().solve_power(nobs=folds, alpha=0.05, power=0.8, effect_size=None)
    assert shift_needed(folds) == pytest.approx(effect * math.sqrt(folds), rel=1e-5)


def simulated(difference, fold_std, seed_std, seeds, folds, ratio, draws=40_000):
    """The share of simulated studies that the corrected t-test calls different.

    The folds' differences share a part, as of models trained on overlapping sets, just so large
    that Nadeau and Bengio's correction is right: r / (1 - r) = test / train.
    """
    generator = np.random.default_rng(5)
    shared = generator.normal(size=(draws, 1)) * math.sqrt(ratio)
    spread = math.sqrt(fold_std**2 + seed_std**2 / seeds)
    figures = difference + spread * (shared + generator.normal(size=(draws, folds)))
    error = figures.std(axis=1, ddof=1) * math.sqrt(1 / folds + ratio)
    return np.mean(np.abs(figures.mean(axis=1) / error) > stats.t.ppf(0.975, folds - 1))


def test_the_seeds_needed_have_that_power_in_a_simulation_and_one_less_has_not():
    fold_std, seed_std, folds, ratio, difference = 0.004, 0.02, 6, 1 / 5, 0.02
    seeds = seeds_for(difference, fold_std, seed_std, folds, ratio)
    assert seeds == 6
    of = (difference, fold_std, seed_std)
    assert simulated(*of, seeds, folds, ratio) == pytest.approx(
        power_of(difference / standard_error(fold_std, seed_std, seeds, folds, ratio), folds),
        abs=0.01,
    )
    assert simulated(*of, seeds, folds, ratio) > 0.8 > simulated(*of, seeds - 1, folds, ratio)


@pytest.mark.parametrize(
    ("fold_std", "seed_std", "seeds"),
    [(0.02, 0.0, None), (0.0, 0.0, 1), (0.001, 0.001, 1), (0.001, 0.5, None)],
)
def test_seeds_do_nothing_for_the_spread_of_folds(fold_std, seed_std, seeds):
    assert seeds_for(0.02, fold_std, seed_std, 6, 1 / 5) == seeds


def summary_of(row, rights, missing=()):
    """A row on five folds; `rights` (folds, seeds) counts the right ones of 80 utterances."""
    cell = cell_of(row, folds=len(rights), seeds=tuple(range(len(rights[0]))))
    scores = []
    for fold, seed in cell.runs():
        if (fold, seed) in missing:
            continue
        right = rights[fold - 1][seed]
        lines = [
            (f"{fold}{n:04}", f"{fold}{'fm'[n % 2]}", n // 2 % 4, (n // 2 + (n >= right)) % 4)
            for n in range(80)
        ]
        scores.append(score_told(row, lines, 4, fold=fold, seed=seed))
    return summarise(cell, scores, None)


def drawn(fold_std=4.0, seed_std=2.0, folds=5, seeds=4, seed=1):
    """Counts of a row whose difference to 40 varies by so much, and the baseline's."""
    generator = np.random.default_rng(seed)
    shifts = generator.normal(4, fold_std, (folds, 1)) + generator.normal(
        0, seed_std, (folds, seeds)
    )
    return (40 + np.rint(shifts)).astype(int), np.full((folds, seeds), 40)


def test_components_of_variance_are_those_of_an_independent_computation():
    rights, base = drawn()
    wa, ua = outlooks([summary_of("base", base), summary_of("row", rights)], "base", [0.01])
    apart = (rights - base) / 80
    within = apart.var(axis=1, ddof=1).mean()
    between = (stats.f_oneway(*apart).statistic - 1) * within / 4  # F = 1 + S * between / within
    assert wa.seed_std == pytest.approx(math.sqrt(within))
    assert wa.fold_std == pytest.approx(math.sqrt(between))
    assert wa.difference == pytest.approx(apart.mean())
    assert (wa.rate, ua.rate, wa.used_folds, wa.used_seeds) == (
        *("wa", "ua"),
        (1, 2, 3, 4, 5),
        (0, 1, 2, 3),
    )
    factor = shift_needed(5) * math.sqrt(1 / 5 + 1 / 4)
    assert wa.smallest_now == pytest.approx(factor * math.sqrt(between + within / 4))
    assert wa.smallest_ever == pytest.approx(factor * math.sqrt(between))


def test_components_of_variance_are_found_again_on_average():
    found = []
    for seed in range(40):
        rights, base = drawn(seed=seed, folds=6, seeds=3)
        split = seeds_needed.split_spread((rights - base) / 80)
        found.append((split.fold_std**2, split.seed_std**2))
    fold, within = np.sqrt(np.mean(found, axis=0)) * 80
    assert (fold, within) == pytest.approx((4.0, 2.0), rel=0.15)


def test_of_what_has_finished_the_largest_whole_table_is_used():
    rights, base = drawn()
    gone = {(5, 1), (5, 2), (5, 3), (2, 3)}
    row = summary_of("row", rights, gone)
    wa, _ = outlooks([summary_of("base", base), row], "base", [0.01])
    assert (wa.used_folds, wa.used_seeds, wa.left_out) == ((1, 2, 3, 4), (0, 1, 2), 4)
    assert wa.folds == 5  # over which the study's test is


@pytest.mark.parametrize(
    ("seeds", "missing", "why_not"),
    [
        (1, (), "one seed: how much of its spread the seeds make is not known"),
        (2, tuple((f, s) for f in range(1, 6) for s in (0, 1)), "no fold and seed has finished"),
        (2, tuple((f, 1) for f in range(2, 6)), "fewer than two folds have finished under"),
    ],
)
def test_no_number_is_made_up(seeds, missing, why_not):
    rights, base = drawn(seeds=seeds)
    found = outlooks([summary_of("base", base), summary_of("row", rights, missing)], "base", [0.01])
    for one in found:
        assert one.why_not.startswith(why_not)
        assert math.isnan(one.seed_std)
        assert one.needs == ()


GRID = (
    "name: study\ncorpora: [savee]\nseeds: 2\n"
    "rows: [{name: base}, {name: row, mixup.method: lam}]\n"
)


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys, figures):
    """Ask for a study of these outlooks, without MLflow."""
    path = tmp_path / "study.yaml"
    path.write_text(GRID)

    def ask(found, *words):
        grid = load_grid(path, Overrides(), figures)
        monkeypatch.setattr(power, "_measure", lambda _: (grid, found))
        status = runner.main(["power", str(path), *words, "--runs", str(tmp_path / "runs")])
        return status, capsys.readouterr().out

    return ask


def test_the_command_says_what_seeds_show_and_what_they_cannot(asked, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    rights, base = drawn()
    summaries = [summary_of("base", base), summary_of("row", rights)]
    status, text = asked(outlooks(summaries, "base", [0.01, 0.3]), "--difference", "1", "30")
    assert status == power.DONE
    line = next(line for line in text.splitlines() if line.startswith("row  WA"))
    assert line.split()[-4:-2] == ["never", "1"]
    assert "More seeds cannot buy more than `at best`" in text
    assert "noncentral t" in " ".join(text.split())
    assert "is no proof of none" not in text


def test_a_spread_of_folds_that_the_seeds_hide_is_no_proof_of_none(asked):
    rights, base = drawn(fold_std=0.1, seed_std=3.0, seed=4)
    found = outlooks([summary_of("base", base), summary_of("row", rights)], "base", [0.1])
    assert [one.fold_std for one in found] == [0.0, 0.0]
    _, text = asked(found, "--difference", "10")
    assert "is no proof of none" in text


def test_json_has_fractions_and_no_number_that_is_not_known(asked):
    rights, base = drawn()
    summaries = [summary_of("base", base), summary_of("row", rights)]
    known = outlooks(summaries, "base", [0.1])[:1]
    lone = Outlook(row="lone", corpus="savee", rate="wa", folds=4, why_not="one seed")
    status, text = asked([*known, lone], "--difference", "10", "--json")
    document = json.loads(text)
    assert (status, document["baseline"], document["differences_points"]) == (0, "base", [10.0])
    assert document["rows"][0]["needs"] == [{"difference": 0.1, "seeds": known[0].needs[0].seeds}]
    assert document["rows"][1]["seed_std"] is None
    assert document["rows"][1]["why_not"] == "one seed"


def test_one_seed_is_told_what_to_run_instead(asked):
    lone = Outlook(row="row", corpus="savee", rate="wa", folds=4, why_not="one seed")
    status, text = asked([lone], "--seeds", "1")
    assert status == power.NOTHING_KNOWN
    assert "row on savee: one seed." in text
    assert "study.yaml --seeds 3\n" in text


@pytest.mark.parametrize("text", ["0", "-1", "x", "101", "nan"])
def test_a_difference_is_some_points(capsys, text):
    with pytest.raises(SystemExit) as ended:
        runner.main(["power", "grids/table3.yaml", "--difference", text])
    assert ended.value.code == 2
    assert f"must be points above 0 and up to 100, got {text!r}" in capsys.readouterr().err


def test_a_wrong_grid_ends_with_2(capsys, tmp_path):
    assert runner.main(["power", str(tmp_path / "none.yaml")]) == 2
    assert "must be a readable file" in capsys.readouterr().err


def test_a_generated_grid_is_asked_like_any_other(grid_of, figures):
    text = GRID.partition("rows")[0] + "matrix: {mixup.method: [none, lam]}\n"
    grid = grid_of(text)
    found = outlooks(summarise_grid(grid, [], figures), grid.compared_with, [0.01])
    assert [(one.row, one.rate) for one in found] == [("lam", "wa"), ("lam", "ua")]
