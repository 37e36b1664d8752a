"""Archives, honest and hostile: what is wanted comes out, and nothing else happens."""

import errno
import io
import stat
import warnings
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest

from ablation import unpack as unpacking
from ablation.unpack import UnpackError, unpack

WANTED = {"one.wav": "A/one.wav", "two.wav": "B/two.wav"}
NOISE = bytes(range(256)) * 4


@pytest.fixture
def pack(tmp_path):
    """Write an archive from names, or member records, and contents."""

    def write(*members: tuple[str | ZipInfo, bytes]) -> Path:
        path = tmp_path / "archive.zip"
        with warnings.catch_warnings(), ZipFile(path, "w", ZIP_DEFLATED) as archive:
            warnings.simplefilter("ignore")  # that a name is there twice
            for member, content in members:
                archive.writestr(member, content)
        return path

    return write


def special(name: str, kind: int) -> ZipInfo:
    member = ZipInfo(name)
    member.external_attr = (kind | 0o777) << 16
    return member


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_wanted_files_go_where_they_belong_whatever_their_folder(pack, tmp_path):
    archive = pack(
        ("Actors/", b""),
        ("Actors/one.wav", NOISE),
        ("deep/er/two.wav", b"2"),
        ("README.txt", b"read me"),
        ("__MACOSX/Actors/._one.wav", b"fork"),
        ("one.WAV", b"not its name"),
    )
    others = unpack(archive, tmp_path / "out", WANTED)
    assert others == ["README.txt", "__MACOSX/Actors/._one.wav", "one.WAV"]
    assert files_below(tmp_path / "out") == {"A", "A/one.wav", "B", "B/two.wav"}
    assert (tmp_path / "out/A/one.wav").read_bytes() == NOISE


def test_an_archive_in_the_archive_stays_there(pack, tmp_path):
    inner = io.BytesIO()
    with ZipFile(inner, "w") as archive:
        archive.writestr("two.wav", b"2")
    archive = pack(("one.wav", NOISE), ("two.zip", inner.getvalue()))
    assert unpack(archive, tmp_path / "out", WANTED) == ["two.zip"]
    assert files_below(tmp_path / "out") == {"A", "A/one.wav"}


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("../one.wav", NOISE, "must be a path inside the folder"),
        ("A/../../evil.txt", NOISE, "must be a path inside the folder"),
        ("/etc/one.wav", NOISE, "must be a path inside the folder"),
        ("C:/one.wav", NOISE, "must be a path inside the folder"),
        ("..\\one.wav", NOISE, "must be a path inside the folder"),
        ("A\\one.wav", NOISE, "must be a path inside the folder"),
        (special("one.wav", stat.S_IFLNK), b"/etc/passwd", "found a link or a device"),
        (special("A", stat.S_IFLNK), b"/tmp", "found a link or a device"),
        (special("one.wav", stat.S_IFIFO), b"", "found a link or a device"),
        (special("one.wav", stat.S_IFCHR), b"", "found a link or a device"),
        ("one.wav", bytes(1 << 20), "must not shrink to under a 100th, found 1048576 bytes in"),
        ("bomb.bin", bytes(1 << 20), "must not shrink to under a 100th, found 1048576 bytes in"),
    ],
    ids=range(12),
)
def test_a_hostile_member_condemns_the_archive(pack, tmp_path, member, content, reason):
    archive = pack(("two.wav", b"2"), (member, content))
    before = files_below(tmp_path)
    with pytest.raises(UnpackError) as caught:
        unpack(archive, tmp_path / "out", WANTED)
    assert str(caught.value).startswith(f"{archive}: nothing was unpacked, found:\n  '")
    assert reason in str(caught.value)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("second", ["one.wav", "again/one.wav"])
def test_a_file_that_is_there_twice_is_refused(pack, tmp_path, second):
    archive = pack(("one.wav", b"1"), (second, b"2"))
    with pytest.raises(UnpackError, match=f"'{second}' is there twice, also as 'one.wav'"):
        unpack(archive, tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


def test_a_name_that_ends_early_is_refused(pack, tmp_path):
    archive = pack(("one.wavX.txt", NOISE))
    archive.write_bytes(archive.read_bytes().replace(b"one.wavX.txt", b"one.wav\0.txt"))
    with pytest.raises(UnpackError, match="must be a path inside the folder"):
        unpack(archive, tmp_path / "out", WANTED)


def test_an_encrypted_member_is_refused(pack, tmp_path):
    archive = pack(("one.wav", NOISE))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(UnpackError, match=r"'one\.wav' must not be encrypted"):
        unpack(archive, tmp_path / "out", WANTED)


def test_sizes_and_numbers_are_bounded(pack, tmp_path, monkeypatch):
    archive = pack(("one.wav", NOISE), ("two.wav", NOISE))
    monkeypatch.setattr(unpacking, "MAX_TOTAL_BYTES", 2047)
    with pytest.raises(UnpackError, match="2048 bytes in all, at most 2047 are allowed"):
        unpack(archive, tmp_path / "out", WANTED)
    monkeypatch.setattr(unpacking, "MAX_FILE_BYTES", 1023)
    with pytest.raises(UnpackError, match="must take at most 1023 bytes, found 1024"):
        unpack(archive, tmp_path / "out", WANTED)
    monkeypatch.setattr(unpacking, "MAX_ENTRIES", 1)
    with pytest.raises(UnpackError, match="must hold at most 1 files, found 2"):
        unpack(archive, tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


def test_many_reasons_are_counted(pack, tmp_path):
    archive = pack(*((f"../{n}", b"") for n in range(9)))
    with pytest.raises(UnpackError, match=r"and 4 more$"):
        unpack(archive, tmp_path / "out", WANTED)


def declare(archive: Path, offset: int, number: int) -> None:
    """Change a four-byte field of the first entry in the directory at the archive's end."""
    content = bytearray(archive.read_bytes())
    start = content.index(b"PK\x01\x02") + offset
    content[start : start + 4] = number.to_bytes(4, "little")
    archive.write_bytes(content)


@pytest.mark.parametrize("declared", [10, 2000], ids=["less", "more"])
def test_a_member_that_lies_about_its_size_is_refused(pack, tmp_path, declared):
    archive = pack(("one.wav", NOISE))
    declare(archive, 24, declared)
    with pytest.raises(UnpackError, match=r"'one.wav' must (be intact|take 2000 bytes)"):
        unpack(archive, tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


def test_a_damaged_member_is_refused(pack, tmp_path):
    archive = pack(("one.wav", NOISE))
    with ZipFile(archive) as opened:
        member = opened.getinfo("one.wav")
    content = bytearray(archive.read_bytes())
    content[member.header_offset + 30 + len("one.wav") + 20] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(UnpackError, match=r"'one.wav' must be intact, found: "):
        unpack(archive, tmp_path / "out", WANTED)


def test_what_is_no_archive_is_refused(pack, tmp_path):
    archive = pack(("one.wav", NOISE))
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(UnpackError, match=r"must be an intact zip archive, found: File is not"):
        unpack(archive, tmp_path / "out", WANTED)


def test_nothing_that_is_there_is_written_over(pack, tmp_path):
    archive = pack(("one.wav", NOISE))
    (tmp_path / "out").mkdir()
    with pytest.raises(FileExistsError):
        unpack(archive, tmp_path / "out", WANTED)


@pytest.mark.parametrize("method", [ZIP_BZIP2, ZIP_LZMA, 97])
def test_other_compressions_are_refused(pack, tmp_path, method):
    archive = pack(("one.wav", NOISE))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        content[content.index(signature) + offset] = method
    archive.write_bytes(content)
    expected = f"'one.wav' must be stored or deflated, found compression {method}$"
    with pytest.raises(UnpackError, match=expected):
        unpack(archive, tmp_path / "out", WANTED)


def test_of_an_archive_whose_second_member_is_damaged_nothing_stays(pack, tmp_path):
    archive = pack(("one.wav", NOISE), ("two.wav", NOISE))
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x03\x04") + 40] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(UnpackError, match=r"'two.wav' must be intact, found: "):
        unpack(archive, tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fails_is_no_fault_of_the_archive_and_nothing_stays(
    pack, tmp_path, monkeypatch
):
    archive = pack(("one.wav", NOISE), ("two.wav", NOISE))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("offset", "number"), [(6, 97), (42, 2**32 - 1), (16, 0)])
def test_a_directory_that_zipfile_stumbles_over_is_refused(pack, tmp_path, offset, number):
    archive = pack(("one.wav", NOISE))
    declare(archive, offset, number)
    with pytest.raises(UnpackError, match=r"must be (an intact zip archive|intact), found: "):
        unpack(archive, tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


def test_a_member_without_a_name_is_refused(pack, tmp_path):
    archive = pack((ZipInfo(""), b""), ("one.wav", NOISE))
    with pytest.raises(UnpackError, match="'' must be a path inside the folder"):
        unpack(archive, tmp_path / "out", WANTED)


def test_long_names_are_cut(pack, tmp_path):
    archive = pack(("one.wav", NOISE), ("x" * 60_000, b""))
    assert unpack(archive, tmp_path / "out", WANTED) == ["x" * 77 + "..."]
    archive = pack((f"../{'x' * 60_000}", b""))
    with pytest.raises(UnpackError, match=r"'\.\./x{73}\.\.\. must be a path inside the folder"):
        unpack(archive, tmp_path / "other", WANTED)


def test_an_archive_that_is_not_there_is_no_fault_of_its_content(tmp_path):
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "archive.zip", tmp_path / "out", WANTED)
