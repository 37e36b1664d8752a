"""A small study on a Ray cluster: real processes of three nodes, one of which is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage import damage
from tests.nodes import cluster_of
from tests.sessions import Session, waited
from tests.small_study import FOLDS, Study, run_undisturbed

EPOCHS = 20


@pytest.fixture
def cluster() -> Iterator[tuple[str, list[Session], Path]]:
    """The address of a head that trains nothing, two workers of one CPU, and a scratch folder."""
    with cluster_of(2, "--num-cpus", "1") as nodes:
        yield nodes


def both_are_amid_a_fold(study: Study) -> bool:
    """Whether two folds are under way, and far enough from their ends to be met there."""
    return sum(epoch < EPOCHS / 2 for epoch in study.progress().values()) == 2


@pytest.mark.timeout(3600)
def test_the_trials_of_a_lost_node_move_to_the_other_and_finish(cluster, tmp_path):
    address, (kept, lost), scratch = cluster
    study, undisturbed = Study(tmp_path / "lost", EPOCHS), Study(tmp_path / "undisturbed", EPOCHS)
    runner = study.start(scratch, "--address", address)
    try:
        assert waited(lambda: both_are_amid_a_fold(study) or runner.status is not None)
        assert len(kept.trials()) == len(lost.trials()) == 1
        lost.end()
        assert waited(lambda: runner.status is not None)
        assert runner.status == 0, runner.output
    finally:
        runner.end()
    assert "goes on after epoch" in runner.output
    assert "Traceback" not in runner.output
    assert runner.output.count("epoch 20/20") == FOLDS
    run_undisturbed(undisturbed)
    assert not damage(study, undisturbed), damage(study, undisturbed)
