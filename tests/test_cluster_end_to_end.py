"""A small study on a Ray cluster: real processes of three nodes, one of which is lost."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import FOLDS, Study, damage, run_undisturbed
from tests.sessions import Session, environment_of, scratch_folder, waited

# Each node has an address of its own, all of them loopback. Not 127.0.0.1, in whose place Ray puts
# the machine's address in its network.
HEAD, WORKERS = "127.0.0.2", ("127.0.0.3", "127.0.0.4")
EPOCHS = 20
MEMORY = ("--object-store-memory", str(80 << 20))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HEAD, 0))
        return int(probe.getsockname()[1])


def node(scratch: Path, host: str, *options: str) -> Session:
    """Start a node, as `ray start` does, and wait until it has joined."""
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *MEMORY]
    variables = {
        "RAY_AUTH_MODE": "disabled",  # as the runner has it
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    }
    environment = environment_of(scratch) | variables
    log = scratch / f"{host}.log"
    session = Session([*ray, "--node-ip-address", host, *options], environment, log)
    waited(lambda: "Ray runtime started" in session.output or session.status is not None)
    if session.status is not None:
        raise RuntimeError(f"node {host} did not start:\n{session.output}")
    return session


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[Session], Path]]:
    """The address of a head that trains nothing, two workers of one CPU, and a scratch folder."""
    address = f"{HEAD}:{free_port()}"
    sessions: list[Session] = []
    with scratch_folder() as scratch:
        head = ("--head", "--port", address.split(":")[1], "--num-cpus", "0")
        places = ("--include-dashboard", "false", "--temp-dir", str(scratch / "ray"))
        try:
            sessions.append(node(scratch, HEAD, *head, *places))
            for host in WORKERS:
                sessions.append(node(scratch, host, "--address", address, "--num-cpus", "1"))
            yield address, sessions[1:], scratch
        finally:
            for session in sessions:
                session.end()


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
