"""Does the Ray cluster answer that --address names?"""

import re
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ablation.doctor.findings import Finding, ok, problem

ANSWER_S = 5.0
PLACE = re.compile(r"(?:ray://)?(\[[0-9a-fA-F:.]+\]|[^\s\[\]/:@]+)(?::(\d{1,5}))?/?")
CLIENT_PORT = 10_001  # Ray's default for ray://
RECORD = "ray_current_cluster"  # Ray 2.60: `ray start` writes it, `ray stop` removes it
START = "ray start --head on the first machine, then --address with what it says"


def cluster_finding(
    address: str, environment: Mapping[str, str], answers: Callable[[str, int], str] | None = None
) -> Finding:
    """Whether something listens where the cluster should be.

    Args:
        address: host:port, ray://host:port, or auto.
        answers: Why a port does not answer, "" where it does; by default it is tried.
    """
    where = address
    if address == "auto":
        record = ray_folder(environment) / RECORD
        where = environment.get("RAY_ADDRESS") or _read(record)
        if not where:
            text = f"auto finds no cluster: none is recorded in {record}"
            return problem("cluster", text, START)
    place = PLACE.fullmatch(where)
    if place is None or not (place[2] or where.startswith("ray://")):
        text = f"{where} must be auto, host:port or ray://host:port"
        return problem("cluster", text, "--address auto, or leave it out to run on this machine")
    host, port = place[1].strip("[]"), int(place[2] or CLIENT_PORT)
    fault = (answers or _try)(host, port)
    if fault:
        text = f"nothing answers at {host}, port {port}: {fault}"
        return problem("cluster", text, START)
    text = f"{host}, port {port} answers; its nodes must see --runs under the same path"
    return ok("cluster", text)


def ray_folder(environment: Mapping[str, str]) -> Path:
    """Where Ray keeps its sessions."""
    temporary = environment.get("TMPDIR") if sys.platform.startswith("linux") else None
    return Path(environment.get("RAY_TMPDIR") or temporary or "/tmp") / "ray"


def _try(host: str, port: int) -> str:
    try:
        with socket.create_connection((host, port), timeout=ANSWER_S):
            return ""
    except (OSError, OverflowError) as error:
        return str(error)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
