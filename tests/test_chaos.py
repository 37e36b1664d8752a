"""A study that is killed at random, part by part and whole, ends as if nothing had happened."""

import pytest

from tests.chaos import SHARES, Chaos, planned
from tests.damage import damage
from tests.small_study import FOLDS, Study, run_undisturbed

KILLS, SEED, EPOCHS = 30, 1, 36


def test_a_plan_has_every_kind_of_kill_and_mostly_trials():
    kinds = planned(KILLS, SEED)
    assert len(kinds) == KILLS
    assert set(kinds) == {*SHARES, "trial"}
    assert kinds.count("trial") > KILLS / 2
    assert kinds[0] == "start"
    assert planned(KILLS, SEED) == kinds
    assert planned(KILLS, SEED + 1) != kinds


@pytest.mark.timeout(3600)
def test_a_study_killed_thirty_times_ends_as_the_undisturbed_one(tmp_path):
    undisturbed = Study(tmp_path / "undisturbed", EPOCHS)
    study = Study(tmp_path / "killed", EPOCHS)
    chaos = Chaos(study, run_undisturbed(undisturbed), SEED, tell=print)
    chaos.run(planned(KILLS, SEED))
    assert chaos.faults == []
    assert len(chaos.kills) == KILLS
    assert chaos.epochs >= FOLDS * EPOCHS
    assert not damage(study, undisturbed), damage(study, undisturbed)
