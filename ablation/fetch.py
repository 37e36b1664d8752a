"""Corpora from where they are published: RAVDESS by download, the others by application."""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from ablation.check import CheckReport, check_corpus
from ablation.complaints import complain
from ablation.corpora import corpus_folder
from ablation.download import (
    WAITS_S,
    DownloadError,
    Remote,
    download,
    exclusive,
    md5_of,
    megabytes,
)
from ablation.progress import bar
from ablation.unpack import unpack
from core.corpora import ravdess
from core.corpora.catalog import CORPORA
from core.corpora.utterance import CorpusError, some_of

DONE, FAILED, WRONG_USAGE = 0, 1, 2  # exit statuses
ARCHIVE_NAME = "Audio_Speech_Actors_01-24.zip"
RAVDESS_ARCHIVE = Remote(  # size and checksum as Zenodo publishes them beside the file
    url=f"https://zenodo.org/records/1188976/files/{ARCHIVE_NAME}?download=1",
    size_bytes=208_468_073,
    md5="bc696df654c87fed845eb13823edef8a",
)
LICENCE = """\
RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song, is © Livingstone and Russo
(2018), https://doi.org/10.5281/zenodo.1188976, and licensed under CC BY-NC-SA 4.0: name its
authors, no commercial use, share what you make of it alike.
https://creativecommons.org/licenses/by-nc-sa/4.0/"""
CLIPS = {  # file name in the archive -> path in the corpus folder
    f"{clip}.wav": f"Actor_{actor}/{clip}.wav"
    for actor in ravdess.ACTORS
    for clip in ravdess.clip_names(actor)
}
PROBLEMS_SHOWN = 5  # O: of a folder that `check` shows in full


class FetchError(ValueError):
    """A corpus that could not be put where it belongs."""


class LicenceError(ValueError):
    """A licence that must be accepted first."""


def fetch_ravdess(
    data: Path,
    console: Console,
    *,
    accept_licence: bool,
    archive: Remote = RAVDESS_ARCHIVE,
    waits_s: Sequence[float] = WAITS_S,
) -> Path:
    """Download, verify and unpack RAVDESS' speech below `data`, unless it is there already.

    Everything is written beside and gets its name when it is whole: a killed start leaves a part of
    the archive, which the next one completes.

    Returns:
        The corpus folder.
    Raises:
        LicenceError: the licence is not accepted; nothing was downloaded.
        FetchError: the folder holds something else, or the archive is not the published corpus.
        ablation.download.DownloadError: the archive can't be had.
        ablation.unpack.UnpackError: the archive is damaged or hostile.
        OSError: the folder can't be written.
    """
    folder, flaws = _look(data, console)
    if folder and not flaws:
        console.print(Text(f"{folder} holds RAVDESS, complete; nothing to download"))
        return folder
    target = _target(data, folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        found = f"RAVDESS, not as published:\n{flaws}" if folder == target else "other files"
        raise FetchError(
            f"{target}: must be absent or empty to take RAVDESS, nothing was downloaded; "
            f"found {found}"
        )
    if folder:
        console.print(Text(f"{folder} holds RAVDESS, not as published:\n{flaws}"))
    console.print(Text(LICENCE))
    if not accept_licence:
        raise LicenceError(
            "the licence must be accepted with --accept-licence; nothing was downloaded"
        )
    path = target.with_name(ARCHIVE_NAME)
    _bring(archive, path, console, waits_s)
    with open(path, "rb") as file, exclusive(file, path):
        _check_archive(path, archive)
        _install(path, target, console)
    console.print(Text(f"{target}: RAVDESS, {len(CLIPS)} clips. {path} is not needed any more"))
    return target


def where_to_apply(name: str, data: Path | None) -> str:
    """Tell how to get a corpus that is given out on application only."""
    corpus = CORPORA[name]
    home = (data or Path("DIR")) / name
    return (
        f"{corpus.title} is given out by its owners only.\n"
        f"  apply at   {corpus.where_to_get}\n"
        f"  licence    {corpus.licence}\n"
        f"  then put   {corpus.layout},\n"
        f"             as they were sent to you, into {home}\n"
        f"  and check  python runner.py check {name} --data {home.parent}"
    )


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py fetch`; returns the exit status."""
    options = parser().parse_args(arguments)
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)  # stdout is the JSON's
    given = options.data or os.environ.get("SER_DATA")
    data = Path(given) if given else None
    if options.corpus != "ravdess":
        console.print(Text(where_to_apply(options.corpus, data)))
        return _say_where(options, None)
    if data is None:
        complain("the folder for RAVDESS must be given with --data DIR or SER_DATA, got neither")
        return WRONG_USAGE
    try:
        folder = fetch_ravdess(
            data, console, accept_licence=options.accept_licence, archive=RAVDESS_ARCHIVE
        )
    except LicenceError as error:
        complain(str(error))
        return WRONG_USAGE
    except (ValueError, OSError) as error:  # each says where, what must hold and what was found
        complain(str(error))
        return FAILED
    return _say_where(options, folder)


def _say_where(options: argparse.Namespace, folder: Path | None) -> int:
    corpus = CORPORA[options.corpus]
    if options.json:
        where = {"folder": folder and str(folder), "where_to_get": corpus.where_to_get}
        print(json.dumps({"corpus": corpus.name, **where, "licence": corpus.licence}, indent=1))
    return DONE


def _look(data: Path, console: Console) -> tuple[Path | None, str]:
    """Find the folder that holds the corpus already, and say what is wrong with it."""
    if not data.is_dir():
        return None, ""
    folder = corpus_folder("ravdess", data)
    try:
        return folder, _first(_checked(folder, console))
    except CorpusError:
        return None, ""


def _target(data: Path, held: Path | None) -> Path:
    """The folder for the corpus: the one given where it is named so and free, else one in it."""
    named, free = "ravdess" in data.name.lower(), not (data.is_dir() and any(data.iterdir()))
    return data if named and (free or data == held) else data / "ravdess"


def _checked(folder: Path, console: Console) -> CheckReport:
    with bar(console, "checking ravdess") as on_progress:
        return check_corpus(
            CORPORA["ravdess"],
            folder,
            workers=os.cpu_count() or 1,
            limit=PROBLEMS_SHOWN,
            on_progress=on_progress,
        )


def _first(report: CheckReport) -> str:
    shown = [f"  {problem}" for problem in report.problems[:PROBLEMS_SHOWN]]
    rest = len(report.problems) - len(shown)
    return "\n".join([*shown, *([f"  and {rest} more"] if rest else [])])


def _bring(archive: Remote, path: Path, console: Console, waits_s: Sequence[float]) -> None:
    if path.exists():
        console.print(Text(f"{path} is here already"))
        return
    with _byte_bar(console, ARCHIVE_NAME) as on_progress:
        download(
            archive,
            path,
            say=lambda line: console.print(Text(line), soft_wrap=True),
            on_progress=on_progress,
            waits_s=waits_s,
        )


def _check_archive(path: Path, archive: Remote) -> None:
    """Someone may have put it here by hand, or have changed it since."""
    if (size := path.stat().st_size) != archive.size_bytes:
        found = f"{archive.size_bytes} bytes, found {size}"
    elif (digest := md5_of(path)) != archive.md5:
        found = f"the MD5 checksum {archive.md5}, found {digest}"
    else:
        return
    raise DownloadError(f"{path}: must have {found}; move it away to download it anew")


def _install(archive: Path, target: Path, console: Console) -> None:
    """Unpack aside, check what came out, and give it its name."""
    aside = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(aside, ignore_errors=True)  # of a start that was killed
    try:
        if others := unpack(archive, aside, CLIPS):
            noun = "file is" if len(others) == 1 else "files are"
            console.print(
                Text(f"{len(others)} other {noun} left in the archive: {some_of(others)}")
            )
        try:
            report = _checked(aside, console)
        except CorpusError as error:
            raise FetchError(f"{archive}: must hold RAVDESS' speech, found: {error}") from None
        if report.problems:
            raise FetchError(
                f"{archive}: must hold RAVDESS' speech as published; found:\n{_first(report)}"
            )
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _byte_bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the rate on a terminal, a line for every tenth elsewhere."""
    if not console.is_terminal:
        yield _TenthLines(console, what)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class _TenthLines:
    """Prints a line when another tenth has arrived."""

    def __init__(self, console: Console, what: str) -> None:
        self._console = console
        self._what = what
        self._tenths = 0

    def __call__(self, done: int, total: int) -> None:
        tenths = 10 * done // total
        if tenths > self._tenths:
            line = f"{self._what}: {tenths * 10:3d} % of {megabytes(total)}"
            self._console.print(Text(line))
        self._tenths = tenths


def parser() -> argparse.ArgumentParser:
    """What may be typed after the verb."""
    made = argparse.ArgumentParser(
        prog="runner.py fetch",
        description="Download and verify RAVDESS, or say where another corpus is to be had. "
        "Exit status: 0 it is there, or you were told; 1 it could not be had; 2 wrong usage.",
    )
    made.add_argument("corpus", choices=tuple(CORPORA), metavar="CORPUS", help=", ".join(CORPORA))
    made.add_argument(
        "--data", type=Path, metavar="DIR", help="the folder of your corpora (or SER_DATA)"
    )
    made.add_argument(
        "--accept-licence",
        "--accept-license",
        action="store_true",
        help="accept the licence that is shown: CC BY-NC-SA 4.0",
    )
    made.add_argument("--json", action="store_true", help="print where it lies as JSON")
    made.add_argument("--verbose", action="store_true", help="show a traceback with an error")
    return made
