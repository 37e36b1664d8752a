"""Nodes of a Ray cluster on this machine, each with processes and a loopback address of its own."""

import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.sessions import Session, environment_of, scratch_folder, waited

# Not 127.0.0.1, in whose place Ray puts the machine's address in its network.
HEAD = "127.0.0.2"
MEMORY = ("--object-store-memory", str(80 << 20))


def free_port() -> int:
    """A port on which nothing listens at the head's address."""
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


@contextmanager
def cluster_of(workers: int, *options: str) -> Iterator[tuple[str, list[Session], Path]]:
    """A head that trains nothing and so many nodes beside it, each with these options.

    Yields its address, the nodes, and a scratch folder.
    """
    address = f"{HEAD}:{free_port()}"
    sessions: list[Session] = []
    with scratch_folder() as scratch:
        head = ("--head", "--port", address.split(":")[1], "--num-cpus", "0")
        places = ("--include-dashboard", "false", "--temp-dir", str(scratch / "ray"))
        try:
            sessions.append(node(scratch, HEAD, *head, *places))
            for host in hosts(workers):
                sessions.append(node(scratch, host, "--address", address, *options))
            yield address, sessions[1:], scratch
        finally:
            for session in sessions:
                session.end()


def hosts(workers: int) -> Sequence[str]:
    """The addresses of the nodes beside the head."""
    return [f"127.0.0.{number}" for number in range(3, 3 + workers)]
