"""Wanted files out of a zip archive that nobody needs to trust."""

import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from zipfile import ZipFile, ZipInfo

from core.schema import cut, show

MAX_ENTRIES = 5_000  # O: RAVDESS' speech has 1 440 clips and 24 folders
MAX_FILE_BYTES = 8 << 20  # O: its longest clip takes 1 MB
MAX_TOTAL_BYTES = 1 << 30  # O: all take 0.6 GB
MAX_RATIO = 100  # O: recordings shrink to a half or a third
CHUNK_BYTES = 1 << 18  # O
MAX_PROBLEMS_SHOWN = 5  # O
DRIVE = re.compile(r"[A-Za-z]:")
ENCRYPTED = 0x1  # of a member's flag bits
# Others take as much memory as the archive says, and no corpus needs them.
METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})


class UnpackError(ValueError):
    """An archive that is damaged or does what none should; nothing of it is used."""


def unpack(archive: Path, folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Write the wanted files of an archive below a new folder, all of them or nothing.

    Where a file goes is decided by `wanted` alone, never by a path in the archive; even so, one
    that points elsewhere condemns the whole archive before anything is written.

    Args:
        folder: Made here; must not exist.
        wanted: File name to path below `folder`.
    Returns:
        The members that were left in the archive because nobody wants them, long names cut.
    Raises:
        UnpackError: names every reason.
        OSError: the archive can't be read or the files can't be written.
    """
    with open(archive, "rb") as file, _opened(file, archive) as opened:
        members, others = _choose(archive, opened.infolist(), wanted)
        folder.mkdir(parents=True)
        try:
            for name, member in members.items():
                target = folder / wanted[name]
                target.parent.mkdir(parents=True, exist_ok=True)
                _write(opened, member, target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return others


def _opened(file: BinaryIO, archive: Path) -> ZipFile:
    try:
        return ZipFile(file)
    except Exception as error:  # made-up bytes make zipfile raise half a dozen kinds
        text = f"{archive}: must be an intact zip archive, found: {cut(str(error))}"
        raise UnpackError(text) from None


def _choose(
    archive: Path, members: Sequence[ZipInfo], wanted: Mapping[str, str]
) -> tuple[dict[str, ZipInfo], list[str]]:
    """Find the wanted members by their file names; refuse what an honest archive doesn't hold."""
    if len(members) > MAX_ENTRIES:
        raise UnpackError(f"{archive}: must hold at most {MAX_ENTRIES} files, found {len(members)}")
    flaws = ((member, _flaw(member)) for member in members)
    problems = [f"{show(member.orig_filename)} {flaw}" for member, flaw in flaws if flaw]
    chosen: dict[str, ZipInfo] = {}
    others: list[str] = []
    for member in members:
        name = PurePosixPath(member.filename).name
        if member.filename.endswith("/"):  # `is_dir` would fail on an empty name
            continue
        if name not in wanted:
            others.append(cut(member.filename))
        elif name in chosen:
            first, second = show(chosen[name].orig_filename), show(member.orig_filename)
            problems.append(f"{second} is there twice, also as {first}")
        else:
            chosen[name] = member
    total = sum(member.file_size for member in chosen.values())
    if total > MAX_TOTAL_BYTES:
        problems.append(f"{total} bytes in all, at most {MAX_TOTAL_BYTES} are allowed")
    if problems:
        shown = [f"  {problem}" for problem in problems[:MAX_PROBLEMS_SHOWN]]
        if rest := len(problems) - len(shown):
            shown.append(f"  and {rest} more")
        raise UnpackError("\n".join([f"{archive}: nothing was unpacked, found:", *shown]))
    return chosen, others


def _flaw(member: ZipInfo) -> str:
    """Say what is wrong with a member of an archive, wanted or not."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    outside = name.startswith("/") or DRIVE.match(name) or ".." in re.split(r"[/\\]", name)
    if not name or outside or "\\" in name or "\0" in name:
        return "must be a path inside the folder"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "must be a file or a folder, found a link or a device"
    if member.compress_type not in METHODS:
        return f"must be stored or deflated, found compression {member.compress_type}"
    if member.flag_bits & ENCRYPTED:
        return "must not be encrypted"
    if member.file_size > MAX_FILE_BYTES:
        return f"must take at most {MAX_FILE_BYTES} bytes, found {member.file_size}"
    if member.file_size > MAX_RATIO * max(member.compress_size, 1):
        return (
            f"must not shrink to under a {MAX_RATIO}th, found {member.file_size} bytes in "
            f"{member.compress_size}"
        )
    return ""


def _write(archive: ZipFile, member: ZipInfo, target: Path) -> None:
    """Write one member; `zipfile` gives at most the size that it declares and checks its sum."""
    with open(target, "xb") as file:
        for chunk in _content(archive, member):
            file.write(chunk)
        if file.tell() != member.file_size:
            raise UnpackError(
                f"{archive.filename}: {show(member.orig_filename)} must take {member.file_size} "
                f"bytes, found {file.tell()}"
            )


def _content(archive: ZipFile, member: ZipInfo) -> Iterator[bytes]:
    try:
        with archive.open(member) as source:
            while chunk := source.read(CHUNK_BYTES):
                yield chunk
    except Exception as error:  # as in `_opened`; what writing raises does not come by here
        raise UnpackError(
            f"{archive.filename}: {show(member.orig_filename)} must be intact, "
            f"found: {cut(str(error))}"
        ) from None
