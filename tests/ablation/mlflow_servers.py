"""MLflow servers and PostgreSQL on 127.0.0.1, to be killed and started again by a test."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

PATIENCE_S = 300  # a busy machine takes minutes to import MLflow
SECRET = "a-password-nobody-sees"


class NotHereError(Exception):
    """What can't be started on this machine, and why."""


class Server:
    """A process of our own with its children; it may be killed and started again and again."""

    def __init__(
        self,
        command: list[str],
        answers: Callable[[], bool],
        *,
        log: Path,
        environment: Mapping[str, str],
        user: Mapping[str, Any] | None = None,
    ) -> None:
        self.log = log
        self._command = command
        self._answers = answers
        self._environment = dict(environment)
        self._user = user or {}
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process; `wait` for it before it is used."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.log.parent,
                env=self._environment,
                start_new_session=True,
                **self._user,
            )

    def wait(self) -> None:
        """Return as soon as it answers."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError(f"{self._command} ended:\n{self.log.read_text()[-3000:]}")
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{self._command} takes too long:\n{self.log.read_text()[-3000:]}"
                )
            time.sleep(0.05)

    def start(self) -> None:
        self.launch()
        self.wait()

    def kill(self) -> None:
        """SIGKILL to the process and to all its children, by their ids."""
        if self._process is None:
            return
        children: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGKILL)
        for child in children:
            with suppress(psutil.NoSuchProcess):  # psutil knows a new process with an old id
                child.kill()
        self._process.wait()
        psutil.wait_procs(children)
        self._process = None


def mlflow_server(backend_uri: str, folder: Path) -> tuple[str, Server]:
    """Its address, and the server, not yet started."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=1) as answer:
            return bool(answer.status == 200)
        return False

    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--workers", "1", "--artifacts-destination", str(folder / "artifacts")]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": backend_uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, *words]
    server = Server(command, answers, log=folder / "mlflow.log", environment=environment)
    return address, server


def postgresql(folder: Path) -> tuple[str, Server]:
    """The database's address, and its server, not yet started.

    Raises:
        NotHereError: PostgreSQL is not installed, or can't be run.
    """
    programs = postgresql_programs()
    user = other_user(folder)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    words = ["-D", str(folder / "data"), "-U", "ser", "-A", "trust", "-N", "-E", "UTF8"]
    made = subprocess.run(
        [str(programs / "initdb"), *words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        **user,
    )
    if made.returncode:
        raise NotHereError(f"PostgreSQL's initdb can't be run: {made.stderr.strip()[-300:]}")
    port = free_port()
    at = ["-h", "127.0.0.1", "-p", str(port)]

    def answers() -> bool:
        ask = [str(programs / "pg_isready"), "-q", *at, "-U", "ser"]
        return subprocess.run(ask, env=environment).returncode == 0

    words = ["-D", str(folder / "data"), *at, "-c", "unix_socket_directories="]
    words += ["-c", "fsync=off"]  # a killed process loses nothing that the system has
    server = Server(
        [str(programs / "postgres"), *words],
        answers,
        log=folder / "postgresql.log",
        environment=environment,
        user=user,
    )
    # SQLAlchemy 2.1 takes psycopg 3 where no driver is named, 2.0 took psycopg 2.
    return f"postgresql+psycopg2://ser:{SECRET}@127.0.0.1:{port}/postgres", server


def postgresql_programs() -> Path:
    """Where Debian, or the PATH, has PostgreSQL's programs."""
    packaged = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    found = packaged[-1] if packaged else shutil.which("initdb")
    if found is None:
        raise NotHereError("needs PostgreSQL's server (Debian: apt-get install postgresql)")
    return Path(found).resolve().parent


def other_user(folder: Path) -> dict[str, Any]:
    """PostgreSQL refuses root: for root, as whom to start it; the folder then is that user's."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NotHereError("PostgreSQL refuses root, and there is no user postgres or nobody")


def free_port() -> int:
    """A port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def open_folder() -> Path:
    """A new folder that other users can reach; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="ser-ablation-"))
    folder.chmod(0o755)
    return folder
