"""Audio that is in a corpus folder more than once, by name or by content."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from hashlib import file_digest
from pathlib import Path

from core.corpora.utterance import Utterance

VIDEO_PREFIX, AUDIO_PREFIX = "utd-improv-", "msp-improv-"  # of MSP-IMPROV: one turn, two names


def describe_copies(copies: Sequence[Path], utterances: Sequence[Utterance]) -> list[str]:
    """Say of each further file of one name which file is used, and whether it holds the same."""
    used = {utterance.name.lower(): utterance.path for utterance in utterances}
    described = []
    for path in copies:
        kept = next((used[name] for name in _names(path) if name in used), None)
        if kept is None:
            described.append(f"{path}: a second file of this name")
            continue
        held = "the same bytes" if _groups([path, kept], _digest) else "other bytes"
        described.append(f"{path}: a second file of this name, {held} as in {kept}, which is used")
    return described


def second_links(files: Iterable[Path]) -> list[Path]:
    """Find links to one file that stand beside each other in different folders under one name.

    Parsers take them for the same file. A link to a file that is here itself is an alias and no
    copy, and a folder that can be reached in several ways holds its entries once.

    Args:
        files: Those that are used before all others.
    """
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    folders: dict[Path, str] = {}
    found = []
    for path in files:
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
        target = os.path.realpath(path)
        entries = seen[target, path.stem.lower()]
        entry = os.path.join(folders[path.parent], path.name)
        if entries and entries.isdisjoint((entry, target)):
            found.append(path)
        entries.add(entry)
    return found


def identical(utterances: Iterable[Utterance]) -> list[list[Utterance]]:
    """Group the utterances whose files hold the very same bytes; only files of equal size are read.

    Parts of one file are not copies of it.
    """
    files = {item.path: item for item in utterances if item.start_s is None and item.end_s is None}
    sized = _groups(files, lambda path: path.stat().st_size)
    same = [group for paths in sized for group in _groups(paths, _digest)]
    return [[files[path] for path in group] for group in same]


def _groups(paths: Iterable[Path], key: Callable[[Path], object]) -> list[list[Path]]:
    """Put together what shares a key; who shares it with none, or can't be read, is left out."""
    groups: dict[object, list[Path]] = defaultdict(list)
    for path in paths:
        with suppress(OSError):
            groups[key(path)].append(path)
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _names(path: Path) -> tuple[str, str]:
    """The names that a parser may have given this file: its own, or with its folder's before."""
    stem = path.stem.lower()
    return stem.replace(VIDEO_PREFIX, AUDIO_PREFIX), f"{path.parent.name.lower()}_{stem}"
