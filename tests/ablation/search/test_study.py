"""A study with a search: what is trained, what is chosen, and what no test fold has a part in."""

import json
import re
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

import pytest
import yaml

import runner
from ablation.interruption import Interrupted
from ablation.search.outcome import with_choices
from core.corpora.catalog import IEMOCAP
from tests.ablation.search.studies import FOLDS, archived, made_up, really, values_of
from tests.core.small_speech import CLASSES, tones


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
    assert f"Command: python runner.py {studies.reports / 'chosen.yaml'} --data DIR" in comments
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
