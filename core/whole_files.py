"""Files that no reader and no crash ever meets half written, and folders with one writer."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_PART = re.compile(r"\..+\.[0-9a-f]{16}")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path`; on the disk and under its name only once the block has ended.

    It is `.NAME.` and 16 random hexadecimal digits until then, locked, and is removed if the block
    raises. What a killed writer leaves of it, `remove_abandoned` removes.

    Raises:
        OSError: it can't be written; what stood under the name stands there still.
    """
    # Not tempfile, whose files only their owner may read: others on a cluster must, too.
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with part.open("xb") as file:
            with suppress(OSError):  # a file system without locks: see `remove_abandoned`
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_abandoned(folder: Path, deadline_s: float = 0.0) -> None:
    """Remove what killed writers left in a folder and those in it: parts whose locks are free.

    Another writer can be alive: a process that its driver was lost to trains on for a while. On a
    file system without locks nothing is removed, as no writer can be told from a killed one.

    Args:
        deadline_s: Until when, by the monotonic clock, writers that are alive may yet end.
    """
    for part in folder.rglob(".*"):
        if _PART.fullmatch(part.name):
            while _is_written(part) and time.monotonic() < deadline_s:
                time.sleep(0.02)


def _is_written(part: Path) -> bool:
    """Whether someone is at work on it; if no one is, it is removed."""
    try:
        with part.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
    except BlockingIOError:
        return True
    except OSError:  # gone meanwhile, not ours to remove, or a file system without locks
        pass
    return False


@contextmanager
def only_builder(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread builds here; a killed one's lock is free at once."""
    with open(folder / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
