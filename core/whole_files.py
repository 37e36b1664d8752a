"""Files that no reader and no crash ever meets half written, and folders with one writer."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside `path`; on the disk and under its name only once the block has ended.

    It is `.NAME.` and 16 random hexadecimal digits until then, and is removed if the block raises.

    Raises:
        OSError: it can't be written; what stood under the name stands there still.
    """
    # Not tempfile, whose files only their owner may read: others on a cluster must, too.
    part = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def only_builder(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread builds here; a killed one's lock is free at once."""
    with open(folder / ".lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
