import json

import pytest

from ablation.archive import Archive, write_whole
from ablation.options import Options
from ablation.plan import Wanted
from ablation.search.nested import Drawn, inner, propose
from ablation.search.plan import plan_json, plan_text
from core.identity import config_key

HEAD = "name: n\ncorpora: [ravdess]\nrows: [{name: own}]\n"
SPACE = "space: {losses.focal_gamma: {uniform: [0, 5]}}"


@pytest.fixture
def said(grid_of, tmp_path):
    def of(search, folds=(), only=(), head=HEAD, fresh=False):
        grid = grid_of(f"{head}search: {{{search}, {SPACE}}}\n" if search else head)
        places = Options(runs=tmp_path, reports=tmp_path, folds=folds, only=only, fresh=fresh)
        wanted = Wanted(at_once=1)
        text = " ".join(plan_text(grid, places, wanted, 80).split())
        return text, json.loads(plan_json(grid, places, wanted)), grid

    return of


def note_cost(tmp_path, config, seconds):
    cost = {"config_key": config_key(config), "encoder": "wavlm-large", "corpus": "ravdess"}
    cost |= {"epoch_seconds": seconds / 20, "fold": config.fold}
    folder = Archive(tmp_path).folder(config_key(config))
    write_whole(folder / "cost.json", json.dumps(cost))
    write_whole(folder / "result.json", "{}")


def test_a_grid_without_a_search_is_planned_as_ever(said):
    text, document, _ = said("")
    assert "search" not in text
    assert "search" not in document


@pytest.mark.parametrize(
    ("search", "folds", "count"),
    [
        ("trials: 4", (), "4 x 6 x 5: 120"),
        ("trials: 4, inner_folds: 2", (), "4 x 6 x 2: 48"),
        ("trials: 4, inner_folds: 2", (1, 3), "4 x 2 x 2: 16"),
        ("trials: 4, method: asha", (), "4 x 6 x 5: 120"),
    ],
)
def test_the_plan_counts_every_inner_training(said, search, folds, count):
    text, document, _ = said(search, folds)
    trainings = int(count.rpartition(" ")[2])
    assert document["search"]["inner_trainings"] == trainings
    at_most = "at most " if "asha" in search else ""
    assert f"over 1 keys: {at_most}{trainings} inner trainings, 0 of them finished" in text
    assert "Time: unknown until a first fold has finished." in text


def test_what_is_finished_is_counted_and_tells_the_time_of_the_rest(said, tmp_path):
    *_, grid = said("trials: 2, inner_folds: 1")
    search, row = grid.search, grid.cells[0].config
    drawn = propose(row, Drawn(search.space, search.seed), 1).config
    for config in (inner(row, 1, 2), inner(drawn, 1, 2), inner(row, 2, 3)):
        note_cost(tmp_path, config, 100.0)
    text, document, _ = said("trials: 2, inner_folds: 1")
    assert "12 inner trainings, 3 of them finished" in text
    assert document["search"]["seconds"] == pytest.approx(9 * 100, rel=0.05)
    text, document, _ = said("trials: 2, inner_folds: 1", fresh=True)
    assert "12 inner trainings, 0 of them finished" in text
    assert document["search"]["seconds"] == pytest.approx(12 * 100, rel=0.05)


def test_hours_are_a_budget_and_so_the_time_itself(said):
    text, document, _ = said("hours: 3")
    assert "as many as fit into 3 hours of training, one after another. Time: about 3h00m." in text
    assert document["search"]["inner_trainings"] is None
    assert said("hours: 3", folds=(1, 2))[1]["search"]["seconds"] == 3600


def test_without_the_searched_row_nothing_is_searched(said):
    _, document, _ = said("trials: 4", only=("own",))
    assert document["search"]["inner_trainings"] == 0
