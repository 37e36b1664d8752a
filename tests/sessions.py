"""Commands run as a user runs them, with every process that comes of them.

A command is started in a process session of its own, which all of Ray's processes stay in whoever
of them dies first. So they are found: by descent, never by their names over the machine.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE_S = 900.0  # of every wait; generous, for a machine under load
STEP_S = 0.05


class Session:
    """A command and all that descends from it; `end` leaves nothing of it."""

    def __init__(self, words: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._log = log
        self._born = time.time()
        with log.open("wb") as file, _interruptible():
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """Everything that was printed so far."""
        return self._log.read_text(errors="replace")

    @property
    def status(self) -> int | None:
        """The command's exit status; None while it runs."""
        return self.process.poll()

    def members(self) -> list[psutil.Process]:
        """The processes of this session that are alive, by process id."""
        found = []
        for pid in sorted(psutil.pids()):
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(pid) == self.process.pid:
                    process = psutil.Process(pid)
                    is_ours = process.create_time() > self._born - 1
                    if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def trials(self) -> list[psutil.Process]:
        """The processes that train folds, or are about to."""
        return [process for process in self.members() if "Trainable" in title(process)]

    def nodes(self) -> list[psutil.Process]:
        """Ray's node manager, or none."""
        return [process for process in self.members() if title(process).endswith("/raylet")]

    def end(self) -> None:
        """Kill all that is left."""
        while members := self.members():
            for process in members:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.poll()
            time.sleep(STEP_S)
        self.process.wait(PATIENCE_S)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Heed SIGINT meanwhile: what a shell starts in the background inherits that it is ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def title(process: psutil.Process) -> str:
    """The first word of a process's command line, which Ray sets to what it does."""
    with suppress(psutil.NoSuchProcess):
        words = process.cmdline()
        return words[0].split(" ")[0] if words else ""
    return ""


def waited(holds: Callable[[], object], limit_s: float = PATIENCE_S) -> bool:
    """Wait until something holds; False where it did not within the limit."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_S)
    return True


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder with a name so short that Ray's sockets fit below it."""
    folder = Path(tempfile.mkdtemp(prefix="ser", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # a dying process may still write to it


def environment_of(scratch: Path) -> dict[str, str]:
    """Where Ray and its workers write below `scratch`, and may take their time to start."""
    places = {"TMPDIR": str(scratch), "RAY_TMPDIR": str(scratch)}
    return {**os.environ, **places, "COLUMNS": "120", "RAY_raylet_start_wait_time_s": "120"}
