"""What components and axes bring, against computations of their own on constructed predictions."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from ablation.effects import effects_of
from ablation.effects_view import effect_tables, effects_text
from ablation.report import summarise_grid, write_report
from tests.ablation.told import score_told
from tests.ablation.typeset import needs_latex, typeset

CLASSES = 7  # of SAVEE
SPEAKERS = ("DC", "JE", "JK", "KL")
FACTORIAL = (
    "name: study\ncorpora: [savee]\nseeds: 2\n"
    "base: {losses.terms: [kl], mixup.method: none, pooling.method: mean}\n"
)
MATRIX = FACTORIAL + (
    "components: {EAM: {mixup.method: eam}, FLAM: {pooling.method: flam}}\n"
    "matrix: {EAM: [off, on], FLAM: [off, on], training.epochs: [5, 6, 7]}\n"
)
COMPONENTS = FACTORIAL + (
    "components: {EAM: {mixup.method: eam}, FLAM: {pooling.method: flam}, "
    "focal: {losses.terms+: focal}}\nadd_one: true\nleave_one_out: true\n"
)


def lines_of(fold, rights, each=20):
    """70 utterances of every class of the fold's four speakers; `rights` of a class are right."""
    lines = []
    for speaker in SPEAKERS:
        for label in range(CLASSES):
            for number in range(each):
                said = label if number < rights[label] else (label + 1) % CLASSES
                lines.append((f"{fold}{speaker}{label}{number:03}", speaker, label, said))
    return lines


def scores_of(grid, rights_of, **changes):
    """Of every run; `rights_of(row, fold, seed)` says how many of each class's 20 are right."""
    return [
        score_told(
            cell.row,
            lines_of(fold, rights_of(cell.row, fold, seed)),
            CLASSES,
            corpus="savee",
            fold=fold,
            seed=seed,
            **changes,
        )
        for cell in grid.cells
        for fold, seed in cell.runs()
    ]


def measured(grid, scores, figures):
    found = effects_of(summarise_grid(grid, scores, figures), grid.design)
    return {(e.kind, *e.names, e.level): e for e in found}


def rights(grid, row, fold, seed, eam=0, flam=0, both=0, epochs=(0, 0, 0)):
    """10 of 20 in every class, a noise that folds and seeds share, and what is on top of it."""
    has_eam, has_flam, epoch = grid.design.rows[row]
    noise = fold - seed
    more = eam * has_eam + flam * has_flam + both * has_eam * has_flam + epochs[epoch]
    return [10 + noise + more] * CLASSES


def test_a_known_main_effect_and_no_interaction_are_found(grid_of, figures):
    grid = grid_of(MATRIX)
    known = {"eam": 2, "flam": -1, "epochs": (0, 0, 1)}
    found = measured(grid, scores_of(grid, lambda *run: rights(grid, *run, **known)), figures)
    assert {key: e.mean[0] for key, e in found.items()} == pytest.approx(
        {
            ("main", "EAM", "on"): 2 / 20,
            ("main", "FLAM", "on"): -1 / 20,
            ("main", "training.epochs", "6"): 0,
            ("main", "training.epochs", "7"): 1 / 20,
            ("interaction", "EAM", "FLAM", ""): 0,
        }
    )
    for effect in found.values():
        assert effect.pooled == pytest.approx(effect.mean)
        assert effect.runs == effect.wanted
    eam = found["main", "EAM", "on"]
    assert (eam.combinations, eam.runs, eam.against) == (6, 6 * 4 * 2, "off")
    # All speakers are alike, so that no resample differs.
    assert (eam.intervals.wa.low, eam.intervals.wa.high) == pytest.approx((0.1, 0.1))


def test_a_known_interaction_is_a_difference_of_differences(grid_of, figures):
    grid = grid_of(MATRIX)
    known = {"eam": 1, "flam": 2, "both": 3}
    found = measured(grid, scores_of(grid, lambda *run: rights(grid, *run, **known)), figures)
    assert found["interaction", "EAM", "FLAM", ""].mean == pytest.approx((3 / 20, 3 / 20))
    assert found["main", "EAM", "on"].mean == pytest.approx((2.5 / 20, 2.5 / 20))
    assert found["main", "FLAM", "on"].mean == pytest.approx((3.5 / 20, 3.5 / 20))


def drawn(grid, seed=3):
    """Scores of predictions drawn by chance, and the predictions."""
    generator = np.random.default_rng(seed)
    told, scores = {}, []
    for cell in grid.cells:
        for fold, run_seed in cell.runs():
            lines = []
            for speaker in SPEAKERS:
                for number in range(21):
                    said = int(generator.integers(CLASSES)) if generator.random() < 0.5 else 0
                    label = number % CLASSES
                    lines.append((f"{fold}{speaker}{number:02}", speaker, label, said))
            told[cell.row, fold, run_seed] = lines
            made = score_told(cell.row, lines, CLASSES, corpus="savee", fold=fold, seed=run_seed)
            scores.append(made)
    return scores, told


def wa_of(lines):
    return np.mean([label == said for *_, label, said in lines])


def test_effects_and_intervals_are_those_of_an_independent_computation(grid_of, figures):
    grid = grid_of(MATRIX)
    scores, told = drawn(grid)
    found = measured(grid, scores, figures)
    runs = [(fold, seed) for fold in (1, 2, 3, 4) for seed in (0, 1)]
    names = {places: row for row, places in grid.design.rows.items()}
    epochs = range(3)
    corner = {
        (a, b): [told[names[a, b, e], *run] for e in epochs for run in runs]
        for a in (0, 1)
        for b in (0, 1)
    }
    wa = {key: np.array([wa_of(lines) for lines in parts]) for key, parts in corner.items()}
    main = np.mean([wa[1, 0] - wa[0, 0], wa[1, 1] - wa[0, 1]])
    assert found["main", "EAM", "on"].mean[0] == pytest.approx(main)
    apart = np.mean(wa[1, 1] - wa[1, 0] - wa[0, 1] + wa[0, 0])
    assert found["interaction", "EAM", "FLAM", ""].mean[0] == pytest.approx(apart)
    # The interval anew: speakers drawn with replacement, by another generator.
    by_speaker = {
        key: np.array(
            [
                np.mean([wa_of([li for li in lines if li[1] == s]) for lines in parts])
                for s in SPEAKERS
            ]
        )
        for key, parts in corner.items()
    }
    each = by_speaker[1, 1] - by_speaker[1, 0] - by_speaker[0, 1] + by_speaker[0, 0]
    draws = np.random.default_rng(99).integers(4, size=(20_000, 4))
    low, high = np.percentile(each[draws].mean(1), [2.5, 97.5])
    interval = found["interaction", "EAM", "FLAM", ""].intervals.wa
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.004)
    assert interval.low < apart < interval.high


def test_components_are_set_against_the_bare_row_and_the_full_one(grid_of, figures):
    grid = grid_of(COMPONENTS)
    of = {"bare": 5, "bare+EAM": 8, "bare+FLAM": 5, "bare+focal": 4}
    of |= {"full": 15, "full-EAM": 14, "full-FLAM": 15, "full-focal": 17}
    scores = scores_of(grid, lambda row, *_: [of[row]] * CLASSES)
    found = measured(grid, scores, figures)
    assert {key[:2]: effect.mean[1] for key, effect in found.items()} == pytest.approx(
        {
            ("added", "EAM"): 3 / 20,
            ("added", "FLAM"): 0,
            ("added", "focal"): -1 / 20,
            ("left_out", "EAM"): 1 / 20,
            ("left_out", "FLAM"): 0,
            ("left_out", "focal"): -2 / 20,
        }
    )
    (table,) = effect_tables(tuple(found.values()), grid.design)
    headers = [column.header.replace("\n", " ") for column in table.columns]
    assert headers == [
        *("component", "added to none WA", "95 % WA", "added to none UA", "95 % UA", "runs"),
        *("left out of all WA", "95 % WA", "left out of all UA", "95 % UA", "runs"),
    ]
    assert [column.cells[2] for column in table.columns[:3]] == ["focal", "−5.00", "−5.00 to −5.00"]


def test_what_has_not_finished_is_counted_and_never_stands_in(grid_of, figures):
    grid = grid_of(MATRIX)
    scores = scores_of(grid, lambda *run: rights(grid, *run, eam=2, flam=1))
    gone = {("EAM+epochs-5", 1, 0), ("FLAM+epochs-6", 2, 1)}
    kept = [score for score in scores if (score.row, score.fold, score.seed) not in gone]
    found = measured(grid, kept, figures)
    eam, both = found["main", "EAM", "on"], found["interaction", "EAM", "FLAM", ""]
    assert (eam.runs, eam.wanted) == (46, 48)
    assert (both.runs, both.wanted) == (22, 24)
    assert eam.mean == pytest.approx((0.1, 0.1))  # pairs alone: a fold's own level plays no part
    notes = effect_tables(tuple(found.values()), grid.design)[0].notes
    assert "EAM (on) on savee 46 of 48" in notes[-1]


def test_nothing_finished_is_no_figure(grid_of, figures):
    grid = grid_of(MATRIX)
    effects = tuple(measured(grid, [], figures).values())
    assert all(effect.mean is None and effect.intervals is None for effect in effects)
    assert "0 of 48" in effects_text(effects, grid.design, 100)


def test_an_effect_is_over_the_combinations_that_the_grid_has(grid_of, figures):
    grid = grid_of(MATRIX.replace("7]}", "7], exclude: [{EAM: on, FLAM: on}]}"))
    scores = scores_of(grid, lambda *run: rights(grid, *run, eam=2, flam=1))
    found = measured(grid, scores, figures)
    eam, both = found["main", "EAM", "on"], found["interaction", "EAM", "FLAM", ""]
    assert (eam.combinations, eam.runs, eam.wanted) == (3, 24, 24)
    assert eam.mean == pytest.approx((0.1, 0.1))
    assert (both.combinations, both.runs, both.mean) == (0, 0, None)
    main, between = effect_tables(tuple(found.values()), grid.design)
    assert main.notes[1].startswith("3 combinations of the product left out by the grid")
    assert between.notes[-1] == (
        "No combination has all the rows that it takes: EAM × FLAM on savee."
    )


def test_runs_on_other_utterances_are_left_out_and_said(grid_of, figures):
    grid = grid_of(MATRIX)
    scores = scores_of(grid, lambda *run: rights(grid, *run, eam=2))
    place = next(i for i, s in enumerate(scores) if s.row == "EAM+epochs-5")
    other = score_told(
        "EAM+epochs-5", lines_of(9, [10] * CLASSES), CLASSES, corpus="savee", fold=1, seed=0
    )
    scores[place] = other
    found = measured(grid, scores, figures)
    assert (found["main", "EAM", "on"].apart, found["main", "EAM", "on"].runs) == (1, 47)


def test_a_report_holds_the_effects_below_its_table(grid_of, figures, tmp_path):
    grid = grid_of(COMPONENTS)
    scores = scores_of(grid, lambda row, *_: [10 + len(row)] * CLASSES)
    summaries = summarise_grid(grid, scores, figures)
    report = write_report(grid, summaries, tmp_path, "")
    table = (tmp_path / "study" / "table.md").read_text(encoding="utf-8")
    before, _, after = table.partition("## Components")
    assert "| full-EAM" in before
    assert "| EAM       |           +20.00 |" in after
    document = json.loads(report.results.read_text())["factorial"]
    assert document["rows"]["full-EAM"] == {"EAM": "off", "FLAM": "on", "focal": "on"}
    (first, *_) = document["effects"]
    assert first["ua"]["mean"] == pytest.approx(4 / 20)  # "bare+EAM" is 4 letters longer
    assert first["ua"]["interval"] == pytest.approx([0.2, 0.2])
    plain = write_report(replace(grid, design=None), summaries, tmp_path / "plain", "")
    assert "factorial" not in json.loads(plain.results.read_text())
    assert not [path for path in plain.files if path.name == "effects.csv"]
    assert plain.files[1].read_text().count("begin{table*}") == 1


def test_effects_stand_in_latex_and_csv_with_the_same_figures(grid_of, figures, tmp_path):
    grid = grid_of(MATRIX + "title: Effects on SAVEE\n")
    scores = scores_of(grid, lambda *run: rights(grid, *run, eam=2, flam=-1, both=1))
    kept = [score for score in scores if (score.row, score.fold) != ("EAM+epochs-5", 1)]
    summaries = summarise_grid(grid, kept, figures)
    report = write_report(grid, summaries, tmp_path, "")
    files = {path.name: path.read_text(encoding="utf-8") for path in report.files}
    lines = list(csv.DictReader(io.StringIO(files["effects.csv"])))
    assert [(line["kind"], line["name"], line["with"], line["level"]) for line in lines] == [
        ("main", "EAM", "", "on"),
        ("main", "FLAM", "", "on"),
        ("main", "training.epochs", "", "6"),
        ("main", "training.epochs", "", "7"),
        ("interaction", "EAM", "FLAM", ""),
    ]
    between = lines[-1]
    assert (between["wa_points"], between["ua_points"], between["ua_pooled"]) == ("5.00",) * 3
    assert (between["ua_low_95"], between["ua_high_95"]) == ("5.00", "5.00")
    assert (between["runs_finished"], between["runs_wanted"], between["complete"]) == (
        *("22", "24"),
        "no",
    )
    table, main, interaction = files["table.tex"].split(r"\begin{table*}")[1:]
    assert r"\caption{Main effects. Effects on SAVEE}" in main
    assert r"\label{tab:study-main-effects}" in main
    assert r"\label{tab:study}" in table
    assert re.search(r"EAM \$\\times\$ FLAM & \+5\.00 & .* 22/24", interaction)


@needs_latex
def test_effects_compile_in_latex_in_both_of_their_forms(grid_of, figures, tmp_path):
    for name, text in (("product", MATRIX), ("shorthands", COMPONENTS)):
        grid = grid_of(text)
        scores = scores_of(grid, lambda row, *_: [10 + len(row) % 7] * CLASSES)
        write_report(grid, summarise_grid(grid, scores, figures), tmp_path / name, "")
    typeset(("product/study/table", "shorthands/study/table"), tmp_path)
