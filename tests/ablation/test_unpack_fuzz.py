"""Thousands of hostile archives: the wanted files, or an error and nothing at all."""

import io
import random
import stat
import struct
import tarfile
import warnings
from collections import Counter
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED, ZipFile, ZipInfo

import pytest

from ablation.unpack import UnpackError, unpack
from tests.mutations import (
    INPUTS,
    ON_BYTES,
    bounded,
    bounded_memory,
    damaged,
    is_fit_to_print,
    rewrite,
)

SEED = 20_240_309
WANTED = {"one.wav": "A/one.wav", "two.wav": "B/two.wav"}
CONTENTS = {"one.wav": bytes(range(256)) * 4, "two.wav": b"two" * 300}
NAMES = [
    *("Actors/one.wav", "two.wav", "Actors/", "README.txt", "./one.wav", "Actors//two.wav", "sub"),
    *(
        "../one.wav",
        "../../evil.txt",
        "A/../../one.wav",
        "..",
        "/",
        "/etc/one.wav",
        "//host/one.wav",
    ),
    *("C:one.wav", "C:\\one.wav", "..\\one.wav", "A\\one.wav", "\\\\host\\one.wav", "~/one.wav"),
    *(
        "one.wav/",
        "one.wav/two.wav",
        "one.wav\0.txt",
        "\x1b[2J/one.wav",
        "\x1b]0;x\x07",
        "é/one.wav",
    ),
    *("日本/two.wav", "x" * 300 + "/one.wav", "a/" * 5_000 + "one.wav", "x" * 65_000, "", " ", "."),
    *("aux", "con.wav", "one.wav ", "one.wav.", "ONE.WAV", "._one.wav", "__MACOSX/._one.wav"),
]
KINDS = [0, 0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK]
KINDS += [stat.S_IFSOCK, stat.S_IFREG | stat.S_ISUID, 0o170000]
BODIES = [
    *(CONTENTS["one.wav"], CONTENTS["two.wav"], b"", b"/etc/passwd", b"../../evil.txt"),
    *(bytes(200_000), b"\0" * 90_000, bytes(range(256)) * 40),
]
METHODS = [ZIP_DEFLATED, ZIP_DEFLATED, ZIP_STORED, ZIP_BZIP2, ZIP_LZMA]
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"
FIELDS = {  # of an entry of the directory: place and size
    **{"version": (6, 2), "flags": (8, 2), "method": (10, 2), "crc": (16, 4), "packed": (20, 4)},
    **{"size": (24, 4), "name": (28, 2), "extra": (30, 2), "comment": (32, 2), "disk": (34, 2)},
    **{"attributes": (38, 4), "offset": (42, 4)},
}
NUMBERS = [0, 1, 8, 0x0800, 0x2001, 12, 14, 97, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1]


def honest(chance: random.Random) -> bytes:
    """An archive with both wanted files and others."""
    file = io.BytesIO()
    with ZipFile(file, "w", chance.choice([ZIP_DEFLATED, ZIP_STORED])) as archive:
        for name, content in CONTENTS.items():
            archive.writestr(f"{chance.choice(['', 'Actors/', 'deep/er/'])}{name}", content)
        archive.writestr("README.txt", b"read me")
        archive.comment = chance.choice([b"", b"x" * 100])
    return file.getvalue()


def made_up(chance: random.Random) -> bytes:
    """Members of any name, kind, size and method among honest ones."""
    file = io.BytesIO()
    with warnings.catch_warnings(), ZipFile(file, "w", ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # that a name is there twice
        for name, content in CONTENTS.items():
            if chance.random() < 0.7:
                archive.writestr(name, content)
        for _ in range(chance.choice([1, 1, 2, 5])):
            member = ZipInfo(chance.choice(NAMES))
            member.external_attr = (chance.choice(KINDS) | 0o777) << 16
            archive.writestr(member, chance.choice(BODIES), chance.choice(METHODS))
    return file.getvalue()


def changed_entry(content: bytes, chance: random.Random) -> bytes:
    """An untrue number in one of the directory's entries, or in its end."""
    changed = bytearray(content)
    if chance.random() < 0.8:
        starts = [at for at in range(len(content)) if content.startswith(CENTRAL, at)]
        place, size = FIELDS[chance.choice(list(FIELDS))]
        start = chance.choice(starts) + place
    else:
        start, size = content.rindex(END) + chance.choice([4, 6, 8, 10, 12, 16, 20]), 2
    number = chance.choice([*NUMBERS, *(chance.randrange(70_000) for _ in range(3))])
    changed[start : start + size] = (number % 256**size).to_bytes(size, "little")
    return bytes(changed)


def other_archive(chance: random.Random) -> bytes:
    """A tar, a tar in a zip's clothes, a zip behind something else, or two that are one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=chance.choice(["w", "w:gz", "w:bz2"])) as archive:
        member = tarfile.TarInfo(chance.choice(NAMES[:20]) or "x")
        member.type = chance.choice([tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE])
        member.linkname = "../../evil.txt"
        archive.addfile(member)
    content, packed = file.getvalue(), honest(chance)
    end = struct.pack("<4s4H2LH", END, 0, 0, 1, 1, len(content), 0, 0)
    return chance.choice([content, content + end, content + packed, packed + packed, packed * 3])


def archive_file(index: int) -> bytes:
    """Archive number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    whole = honest(random.Random(SEED))
    if index < 2 * len(whole) and index % 2:
        return whole[: index // 2]
    match chance.randrange(8):
        case 0 | 1 | 2:
            return made_up(chance)
        case 3:
            return changed_entry(honest(chance), chance)
        case 4:
            return changed_entry(changed_entry(made_up(chance), chance), chance)
        case 5 | 6:
            return damaged(chance.choice([honest, made_up])(chance), ON_BYTES, chance)
        case _:
            return other_archive(chance)


def refuse_wrongly_unpacked(folder: Path) -> None:
    below = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    assert below.keys() <= {"A", "A/one.wav", "B", "B/two.wav"}
    for name, place in WANTED.items():
        assert f"{place[0]}" in below or place not in below
        if place in below:
            assert below[place].is_file()
            assert not below[place].is_symlink()
            content = below[place].read_bytes()
            assert content in (*BODIES, CONTENTS[name])


def test_a_hostile_archive_gives_wanted_files_or_an_error_and_leaves_nothing(tmp_path):
    archive, folder = tmp_path / "archive.zip", tmp_path / "out"
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(INPUTS):
            rewrite(archive, archive_file(index))
            with bounded(f"archive {index}"):
                try:
                    unpack(archive, folder, WANTED)
                except UnpackError as error:
                    ended["refused"] += 1
                    message = str(error)
                    assert message.startswith(f"{archive}: "), index
                    assert is_fit_to_print(message), index
                    assert not folder.exists(), index
                except Exception as error:
                    pytest.fail(f"archive {index}: {type(error).__name__}: {error}")
                else:
                    ended["unpacked"] += 1
                    refuse_wrongly_unpacked(folder)
                    remove(folder)
            assert {path.name for path in tmp_path.iterdir()} == {archive.name}, index
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["unpacked"]) > INPUTS // 20, ended


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
