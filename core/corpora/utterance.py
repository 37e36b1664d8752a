"""What corpus parsers share: the files of a folder on one side, utterances on the other."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.schema import show

AUDIO_SUFFIXES = frozenset({".wav", ".flac"})
MAX_PROBLEMS_SHOWN = 20  # O: a screenful; the rest is counted
MAX_NAMES_SHOWN = 5  # O: of a folder's entries, or of examples in a note


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One labelled utterance: a whole audio file, or the part between `start_s` and `end_s`."""

    name: str  # unique within a corpus
    path: Path
    # Of the four corpora one of angry, happy, sad, neutral, calm, fearful, disgust, surprised
    label: str
    speaker: str
    session: str
    gender: str = ""  # F, M or unknown
    fold: str = ""  # where a manifest assigns it, or what a cross-corpus study takes it for
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A corpus folder as read.

    `missing` names utterances that the corpus should have and whose audio is absent, `duplicates`
    are further copies of a name already taken, and `problems` are single files left out, each with
    its reason. What makes a corpus unreadable as a whole is raised as `CorpusError` instead.
    """

    utterances: list[Utterance]
    notes: list[str]
    missing: list[str]
    duplicates: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class CorpusError(ValueError):
    """A corpus folder that cannot be read as the corpus it should be."""

    def __init__(self, headline: str, problems: Sequence[str] = ()) -> None:
        self.problems = list(problems)
        shown = [f"  {problem}" for problem in self.problems[:MAX_PROBLEMS_SHOWN]]
        if rest := len(self.problems) - len(shown):
            shown.append(f"  and {rest} more")
        super().__init__("\n".join([headline, *shown]))


class NotTheCorpusError(CorpusError):
    """A folder that holds nothing of the corpus it should be."""


def printable(path: Path | str) -> str:
    """A path as it goes into a message, whole, and quoted where it could steer a terminal."""
    return str(path) if str(path).isprintable() else repr(str(path))


def not_the_corpus(root: Path, title: str, layout: str) -> NotTheCorpusError:
    """Say which layout was expected below a folder and what is there instead."""
    if not root.exists():
        found = "no such folder"
    elif not root.is_dir():
        found = "a file"
    else:
        found = some_of(sorted(path.name for path in root.iterdir())) or "an empty folder"
    return NotTheCorpusError(
        f"{printable(root)} is not {title}: it must hold {layout}; found {found}"
    )


def some_of(names: Sequence[str]) -> str:
    """Quote the first few names, cut where they are long, and count the others."""
    shown = ", ".join(show(name) for name in names[:MAX_NAMES_SHOWN])
    rest = len(names) - MAX_NAMES_SHOWN
    return f"{shown} and {rest} more" if rest > 0 else shown


def label_lines(path: Path) -> list[str]:
    """Read the lines of a label file, whatever their endings, outer blanks removed.

    Latin-1 reads any byte; names and labels are ASCII, accents stand in raters' remarks only.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        text = f"{printable(path)}: must be a label file that can be read: {error}"
        raise CorpusError(text) from error
    text = content.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    return [line.strip() for line in text.replace("\r", "\n").split("\n")]


def walk_files(root: Path, suffixes: Iterable[str]) -> list[Path]:
    """Find the files below a folder that end so, in either case, sorted by path.

    Symbolic links are followed. A folder is entered once for each name it goes by, so links in a
    circle come to an end; true folders go before links, so that a file keeps its own path. Names
    that begin with a dot (AppleDouble `._*`, caches) are left out.
    """
    wanted = tuple(suffixes)
    found: list[Path] = []
    entered: set[tuple[int, int, str]] = set()
    folders, links = [os.fspath(root)], list[str]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        identity, entries = _list_folder(folder)
        if identity in entered:
            continue
        entered.add(identity)
        for entry in entries:
            if _leads_to(entry, folder=True):
                (links if entry.is_symlink() else folders).append(entry.path)
            elif entry.name.lower().endswith(wanted) and _leads_to(entry, folder=False):
                found.append(Path(entry.path))
    return sorted(found)


def subfolders(folder: Path) -> list[Path]:
    """List the folders in a folder, hidden ones left out, links included, sorted by name."""
    entries = _list_folder(os.fspath(folder))[1]
    return [Path(entry.path) for entry in reversed(entries) if _leads_to(entry, folder=True)]


def visible_files(folder: Path) -> list[Path]:
    """List the files in a folder, hidden ones left out, links included, sorted by name."""
    entries = _list_folder(os.fspath(folder))[1]
    return [Path(entry.path) for entry in reversed(entries) if _leads_to(entry, folder=False)]


def _list_folder(folder: str) -> tuple[tuple[int, int, str], list[os.DirEntry[str]]]:
    """Identify a folder and list its visible entries, last name first, as a stack wants them."""
    try:
        status = os.stat(folder)
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        text = f"{printable(folder)}: must be a folder that can be listed: {error}"
        raise CorpusError(text) from error
    visible.sort(key=lambda entry: entry.name, reverse=True)
    return (status.st_dev, status.st_ino, os.path.basename(folder)), visible


def _leads_to(entry: os.DirEntry[str], *, folder: bool) -> bool:
    """Tell folders from files through links; a link to itself leads to neither."""
    try:
        return entry.is_dir() if folder else entry.is_file()
    except OSError:
        return False


def one_file_each(named: Iterable[tuple[str, Path]]) -> tuple[dict[str, Path], list[Path]]:
    """Keep one file for each name and return the copies beside.

    The least deep path goes first, then WAV before FLAC, then the order of paths. A second link
    to the file that was kept is no copy.
    """
    kept: dict[str, Path] = {}
    copies: list[Path] = []
    for name, path in sorted(named, key=_preference):
        if name not in kept:
            kept[name] = path
        elif os.path.realpath(path) != os.path.realpath(kept[name]):
            copies.append(path)
    return kept, copies


def _preference(named: tuple[str, Path]) -> tuple[int, bool, str]:
    path = os.fspath(named[1])
    return path.count(os.sep), not path.lower().endswith(".wav"), path


def note_on(count: int, what: str, examples: Sequence[str] = ()) -> list[str]:
    """Make one remark, or none where there is nothing to count."""
    if not count:
        return []
    return [f"{count} {what}: {some_of(examples)}" if examples else f"{count} {what}"]


def note_on_copies(copies: Sequence[Path], root: Path) -> list[str]:
    """Remark on files whose name another file had already taken."""
    names = [path.relative_to(root).as_posix() for path in copies]
    return note_on(len(copies), "duplicate copies ignored", names)
