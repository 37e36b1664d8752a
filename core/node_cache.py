"""Copies on a node's own disk of large files that all nodes would else map over the network."""

import os
import shutil
from hashlib import sha256
from pathlib import Path

from core.whole_files import only_builder, whole_file

FOLDER = "SER_CACHE"  # the variable that names this node's folder for them; without it, no copies


def near(path: Path) -> Path:
    """This node's copy of a file, made unless it is there; without `SER_CACHE` the file itself.

    Processes of a node take turns: one copies, the others find the copy. A file that was written
    anew is copied anew; nothing is ever removed.

    Raises:
        OSError: there is no such file, or no room for its copy.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return path
    found = path.stat()
    what = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
    copy = Path(folder) / f"{sha256(what.encode()).hexdigest()[:16]}-{path.name}"
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with only_builder(copy.parent):
            if not copy.exists():
                with path.open("rb") as source, whole_file(copy) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    except OSError as error:
        rule = f"{FOLDER} must be a folder with room for the {found.st_size} bytes of {path}"
        raise OSError(error.errno, f"{rule}, found at {folder}: {error.strerror}") from error
    return copy
