"""Is there room for the planned trials: memory, shared memory, disk; and may folders be written?"""

import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ablation.doctor.cluster import ray_folder
from ablation.doctor.findings import GB, Finding, ok, problem, size, warning

if TYPE_CHECKING:  # it needs packages that may be what is missing
    from ablation.doctor.load import Load

MEMORY = Path("/proc/meminfo")
LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
SHARED = Path("/dev/shm")
STORE_SHARE = 0.3  # Ray 2.60: of the available memory, for its object store
STORE_BYTES = 10 * GB  # Ray 2.60: the most that it puts on a disk without being told to
SPARE_BYTES = 1 * GB  # O: below it, a run soon meets a full disk
# Ray's longest socket, below its folder; the system takes this many bytes of a path.
SOCKET = "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
SOCKET_BYTES = 103 if sys.platform == "darwin" else 107


class Memory(NamedTuple):
    """Bytes of it, a container's limit heeded."""

    available: float
    total: float


def memory(path: Path = MEMORY, limit: Path = LIMIT) -> Memory:
    """What the system says of its memory; where it does not say, all of it counts as available."""
    try:
        lines = re.findall(r"^(\w+): +(\d+) kB", path.read_text(), re.MULTILINE)
        kilobytes = {name: int(number) for name, number in lines}
        found = Memory(1024 * kilobytes["MemAvailable"], 1024 * kilobytes["MemTotal"])
    except (OSError, KeyError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        found = Memory(total, total)
    try:
        most = int(limit.read_text())  # "max" is none
    except (OSError, ValueError):
        return found
    return Memory(min(found.available, most), min(found.total, most))


def memory_finding(found: Memory, load: "Load | None") -> Finding:
    """Whether the trials that run at once fit, as far as can be known before they do."""
    free = f"{size(found.available)} of {size(found.total)} available"
    if load is None or not load.trial_bytes:
        return ok("memory", free)
    trials = max(load.at_once, 1)
    needed = trials * load.trial_bytes
    each = f"{trials} trials at once, each" if trials > 1 else "a trial takes"
    text = f"{free}; {each} about {size(load.trial_bytes)}"
    if load.trial_bytes > found.total:
        remedy = "a smaller encoder or training.batch_size (--encoder, --set), or more memory"
        return problem("memory", text, remedy)
    if needed > found.available:
        fitting = max(int(found.available / load.trial_bytes), 1)
        remedy = "close other programs, or --micro-batch 4"
        if trials > 1:
            remedy = f"--max-concurrent {fitting}, or close other programs"
        return warning("memory", text, remedy)
    return ok("memory", text)


def shared_memory_finding(free_bytes: float | None, found: Memory) -> Finding:
    """Whether Ray's object store fits into shared memory.

    Args:
        free_bytes: None where the system has no such folder.
    """
    name = "shared memory"
    if free_bytes is None:
        return ok(name, "not a folder of this system; Ray uses its temporary one")
    wanted = min(STORE_SHARE * found.available, max(STORE_BYTES, 0.95 * free_bytes))
    text = f"{size(free_bytes)} free in {SHARED}"
    if free_bytes >= wanted:
        return ok(name, f"{text}, enough for Ray's object store")
    text += f"; Ray wants {size(wanted)} and will use its temporary folder on disk"
    remedy = f"in a container, start it with --shm-size={wanted / 2**30 + 0.1:.1f}g; else a larger"
    return warning(name, text, f"{remedy} {SHARED}, or delete what lies there")


def shared_memory_bytes(folder: Path = SHARED) -> float | None:
    """What is free there."""
    return shutil.disk_usage(folder).free if folder.is_dir() else None


def disk_finding(free_bytes: float, runs: Path, load: "Load | None") -> Finding:
    """Whether the disk of --runs takes what the study will write."""
    text = f"{size(free_bytes)} free for {runs}"
    remedy = "--runs DIR on a larger disk, or make room"
    if load is None:
        if free_bytes < SPARE_BYTES:
            return warning("disk", text, remedy)
        return ok("disk", text)
    text += (
        f"; the study takes up to about {size(load.disk_bytes)}: checkpoints "
        f"{size(load.checkpoint_bytes)}, audio {size(load.audio_bytes)}, results "
        f"{size(load.result_bytes)}"
    )
    if load.unknown:
        text += f", without {', '.join(load.unknown)}"
    if load.checkpoint_bytes > load.audio_bytes + load.result_bytes:
        remedy += "; fewer checkpoints: --max-concurrent 1, or --checkpoint-epochs 0 for none"
    if load.disk_bytes > free_bytes:
        return problem("disk", text, remedy)
    if load.disk_bytes + SPARE_BYTES > free_bytes:
        return warning("disk", text, remedy)
    return ok("disk", text)


def folder_finding(name: str, folder: Path, remedy: str) -> Finding:
    """Whether files can be made and locked there; what is tried leaves nothing behind."""
    there = nearest(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".doctor-") as file:
            file.write(b"\0")
            file.flush()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                text = f"{there} takes no file locks: {error.strerror}"
                return problem(name, text, f"{remedy} on a file system with flock")
    except OSError as error:
        return problem(name, f"{there} can't be written: {error.strerror}", remedy)
    if there == folder.absolute():
        return ok(name, f"{folder} can be written")
    return ok(name, f"{folder} can be made in {there}")


def nearest(folder: Path) -> Path:
    """The folder itself, or what there is of the way to it."""
    folder = folder.absolute()
    # A link that leads nowhere is there: nothing can be made in its place.
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def scratch_finding(environment: Mapping[str, str], limit: int = SOCKET_BYTES) -> Finding:
    """Whether Ray's temporary folder can hold its sessions, their sockets above all."""
    folder = ray_folder(environment)
    remedy = "RAY_TMPDIR=DIR, a short path"
    if len(os.fsencode(f"{folder}{SOCKET}")) > limit:
        most = limit - len(SOCKET) - len("/ray")
        text = f"{folder.parent} is too long for Ray's sockets below it: at most {most} bytes"
        return problem("scratch", text, remedy)
    found = folder_finding("scratch", folder, remedy)
    if found.state != "ok":
        return found
    free = shutil.disk_usage(nearest(folder)).free
    text = f"{folder}, for Ray: {size(free)} free"
    return ok("scratch", text) if free > SPARE_BYTES else warning("scratch", text, remedy)
