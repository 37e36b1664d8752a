"""One runner at a time on one study: a second waits, and then finds the work done."""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(runs: Path, study: str, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold a study of a `runs/` folder until the end, or until this process ends in any way.

    Args:
        on_wait: Told who is at work, before waiting for them.
    Raises:
        OSError: the folder can't be written, or its file system has no locks.
    """
    runs.mkdir(parents=True, exist_ok=True)
    with (runs / f"{study}.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read(200).strip()
            on_wait(holder if holder.isprintable() and holder else "another process")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
