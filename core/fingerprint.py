"""What a corpus holds, in 16 digits: names, labels, speakers and the audio's own bytes."""

import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import file_digest, sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from core.audio import AudioError, read_audio
from core.corpora.utterance import Utterance
from core.whole_files import whole_file

CACHE_NAME = "hashes.json"
SETTLED_NS = 2_000_000_000  # O: a younger file may change again within its clock's resolution
HASHING_THREADS = 4  # O


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, and the size and time by which a change would show."""

    sha256: str | None  # None: could not be read
    size: int
    mtime_ns: int

    def is_still_in(self, path: Path) -> bool:
        """Whether the file has kept its size and time."""
        return (self.size, self.mtime_ns) == _size_and_time(path)


def fingerprint(utterances: Sequence[Utterance], cache_folder: Path | None = None) -> str:
    """Name what a corpus holds: names, labels, speakers, sessions, folds, spans and audio bytes.

    Equal on every machine; paths, the order and genders don't count.

    Args:
        cache_folder: A store's folder, whose `hashes.json` spares unchanged files; None reads all.
    Returns:
        16 hexadecimal digits.
    Raises:
        AudioError: files that can't be read, all of them.
        ValueError: two utterances have one name.
    """
    contents = hash_files(utterances, cache_folder)
    if unreadable := [path for path, content in contents.items() if content.sha256 is None]:
        raise AudioError(_why_unreadable(path) for path in unreadable)
    return identity(utterances, contents)


def identity(utterances: Sequence[Utterance], contents: Mapping[Path, Content]) -> str:
    """The fingerprint from contents that are known; a file that can't be read counts as such.

    Raises:
        ValueError: two utterances have one name.
    """
    ordered = sorted(utterances, key=lambda item: item.name)
    for item, following in pairwise(ordered):
        if item.name == following.name:
            raise ValueError(f"utterance names must differ, found {item.name!r} twice")
    rows = [
        [item.name, item.label, item.speaker, item.session]
        + [None if second is None else float(second) for second in (item.start_s, item.end_s)]
        + [contents[item.path].sha256, *([item.fold] if item.fold else [])]
        for item in ordered
    ]
    return sha256(json.dumps(rows).encode()).hexdigest()[:16]


def hash_files(utterances: Sequence[Utterance], cache_folder: Path | None) -> dict[Path, Content]:
    """Hash every file once, sparing those whose size and time are in the folder's cache."""
    cache_path = cache_folder / CACHE_NAME if cache_folder else None
    cache = read_json(cache_path) if cache_path else {}
    contents: dict[Path, Content] = {}
    unknown: dict[Path, str] = {}
    for path in dict.fromkeys(item.path for item in utterances):
        resolved = os.path.realpath(path)
        if content := _cached(cache.get(resolved), *_size_and_time(path)):
            contents[path] = content
        else:
            unknown[path] = resolved
    with ThreadPoolExecutor(HASHING_THREADS) as pool:
        contents |= zip(unknown, pool.map(_hash, unknown), strict=True)
    settled_ns = time.time_ns() - SETTLED_NS
    learnt = {
        resolved: [contents[path].size, contents[path].mtime_ns, contents[path].sha256]
        for path, resolved in unknown.items()
        if contents[path].sha256 and contents[path].mtime_ns < settled_ns
    }
    if cache_path and learnt:
        with suppress(OSError):  # the next start hashes again
            write_json(cache_path, read_json(cache_path) | learnt)
    return contents


def _cached(entry: Any, size: int, mtime_ns: int) -> Content | None:
    match entry:
        case [int(known_size), int(known_mtime_ns), str(digest)]:
            if (known_size, known_mtime_ns, len(digest)) == (size, mtime_ns, 64):
                return Content(digest, size, mtime_ns)
    return None


def _hash(path: Path) -> Content:
    size, mtime_ns = _size_and_time(path)  # before the content, so that a change shows
    digest = None
    with suppress(OSError, ValueError):
        if stat.S_ISREG(os.stat(path).st_mode):  # a named pipe would wait for its writer
            with open(path, "rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
    return Content(digest, size, mtime_ns)


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _why_unreadable(path: Path) -> tuple[str, str]:
    try:
        read_audio(path)
    except AudioError as error:
        return error.problems[0]
    return os.fspath(path), "must be a readable file, found one that could not be read at first"


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one for a file that is absent or damaged."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            return content
    return {}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write whole or not at all, and onto the disk."""
    with whole_file(path) as file:
        file.write(json.dumps(content).encode())
