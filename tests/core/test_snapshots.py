"""Snapshots on disk: whole or absent, never believed unread, never more than two."""

import errno
import fcntl
import json
import os
import pickle
import resource
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

import core.snapshots
import core.whole_files
from core.snapshots import (
    DTYPES,
    SnapshotError,
    discard,
    epoch_of,
    newest_first,
    read_as,
    read_snapshot,
    write_snapshot,
)
from tests.core.small_snapshots import TENSORS, VALUES, Inner, Values


def write(folder: Path, epoch: int, tensors: dict[str, Tensor] = TENSORS) -> Path:
    write_snapshot(folder, epoch, VALUES, tensors)
    return folder / f"epoch-{epoch:04}.safetensors"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_digest(content: bytes) -> bytes:
    return content + sha256(content).digest()


def made_up(header: Any, tensors: bytes = b"", length: int | None = None) -> bytes:
    """A file whose digest is right, whatever the rest."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return with_digest(struct.pack("<Q", len(text) if length is None else length) + text + tensors)


def test_what_was_written_comes_back_bit_for_bit(tmp_path):
    path = write(tmp_path / "not" / "there", 3)
    values, tensors = read_snapshot(path, Values)
    assert values == VALUES
    assert str(values.rows[1].rate) == "-0.0"
    assert list(tensors) == list(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_type_of_tensor_comes_back(tmp_path, dtype):
    tensors = {"numbers": torch.tensor([0, 1, 2, 1]).to(dtype), "after": torch.ones(1)}
    found = read_snapshot(write(tmp_path, 1, tensors), Values)[1]
    assert found["numbers"].dtype == dtype
    assert torch.equal(found["numbers"], tensors["numbers"])
    assert found["after"].item() == 1


def test_a_snapshot_is_read_by_any_safetensors_and_ends_with_its_sha256(tmp_path):
    path = write(tmp_path, 2)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == {*TENSORS, "sha256"}
        for name, tensor in TENSORS.items():
            assert torch.equal(file.get_tensor(name), tensor)
        digest = bytes(file.get_tensor("sha256").tolist())
        assert json.loads(file.metadata()["values"])["inner"] == {"rate": 0.1 + 0.2}
    content = path.read_bytes()
    assert content[-32:] == digest == sha256(content[:-32]).digest()


def test_the_last_two_are_kept(tmp_path):
    for epoch in range(1, 5):
        write(tmp_path, epoch)
        kept = [f"epoch-{number:04}.safetensors" for number in (epoch - 1, epoch) if number]
        assert names(tmp_path) == kept
    assert [epoch_of(path) for path in newest_first(tmp_path)] == [4, 3]


def test_one_of_a_later_epoch_goes_as_training_does_not_come_from_it(tmp_path):
    for epoch in (7, 8, 2):
        write(tmp_path, epoch)
    assert names(tmp_path) == ["epoch-0002.safetensors"]


def test_epochs_are_ordered_as_numbers(tmp_path):
    for epoch in (9_999, 10_000):
        write(tmp_path, epoch)
    assert [epoch_of(path) for path in newest_first(tmp_path)] == [10_000, 9_999]


def test_other_files_of_the_folder_are_left_alone(tmp_path):
    others = ["result.json", "error.txt", "epoch-1.safetensors", "epoch-0001.pt", ".result.json.ab"]
    for name in others:
        (tmp_path / name).write_text("")
    write(tmp_path, 1)
    write(tmp_path, 2)
    write(tmp_path, 3)
    discard(tmp_path)
    assert names(tmp_path) == sorted(others)


def test_there_are_no_snapshots_where_there_is_no_folder(tmp_path):
    assert newest_first(tmp_path / "none") == []
    discard(tmp_path / "none")


def test_discarding_twice_is_discarding_once(tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2)
    (tmp_path / ".epoch-0003.safetensors.0123456789abcdef").write_bytes(b"half")
    for _ in range(2):
        discard(tmp_path)
        assert names(tmp_path) == []


def test_a_snapshot_has_its_name_only_once_it_is_on_the_disk(tmp_path, monkeypatch):
    """In this order: content synced, renamed, folder synced, the one before last removed."""
    write(tmp_path, 1)
    write(tmp_path, 2)
    done: list[str] = []

    def noted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            is_folder = name == "fsync" and os.path.isdir(f"/proc/self/fd/{args[0]}")
            done.append(f"{name} {'folder' if is_folder else len(newest_first(tmp_path))}")
            return original(*args, **options)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(core.snapshots.os, name, noted(name, getattr(os, name)))
    monkeypatch.setattr(Path, "unlink", noted("unlink", Path.unlink))
    write(tmp_path, 3)
    assert done == ["fsync 2", "replace 2", "fsync folder", "unlink 3"]


@pytest.mark.parametrize("fault", ["write", "fsync", "replace"])
def test_a_full_disk_costs_nothing_but_the_new_snapshot(tmp_path, monkeypatch, fault):
    write(tmp_path, 1)
    write(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        if fault == "write":
            original = core.snapshots._bytes_of
            calls = iter(range(3))
            broken.setattr(
                core.snapshots,
                "_bytes_of",
                lambda tensor: original(tensor) if next(calls) < 2 else full(),
            )
        else:
            broken.setattr(core.snapshots.os, fault, full)
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path, 3)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write(tmp_path, 3)
    assert len(names(tmp_path)) == 2


def test_a_write_that_the_system_cuts_short_leaves_nothing_behind(tmp_path):
    before = write(tmp_path, 1).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, 2, {"weight": torch.zeros(25_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["epoch-0001.safetensors"]
    assert newest_first(tmp_path)[0].read_bytes() == before


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    for name in (f".epoch-0001.safetensors.{'0' * 16}", f".epoch-0009.safetensors.{'a' * 16}"):
        (tmp_path / name).write_bytes(b"half of a snapshot")
    path = write(tmp_path, 1)
    assert names(tmp_path) == [path.name]


def test_what_another_writer_is_writing_is_left_to_it(tmp_path):
    part = tmp_path / ".epoch-0001.safetensors.0011223344556677"
    with part.open("xb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        path = write(tmp_path, 1)
        assert names(tmp_path) == [part.name, path.name]
    write(tmp_path, 1)
    assert names(tmp_path) == [path.name]


def test_a_file_system_without_locks_takes_snapshots_too(tmp_path, monkeypatch):
    def unsupported(*args: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(core.whole_files.fcntl, "flock", unsupported)
    part = tmp_path / ".epoch-0001.safetensors.0011223344556677"
    part.write_bytes(b"of whom?")
    path = write(tmp_path, 1)
    assert names(tmp_path) == [part.name, path.name]


class Bomb:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.witness),)


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_is_never_opened(tmp_path, form, digest):
    path, witness = tmp_path / "epoch-0001.safetensors", tmp_path / "boom"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Bomb(witness)))
    else:
        torch.save({"weights": Bomb(witness)}, path)
    if digest:
        path.write_bytes(with_digest(path.read_bytes()))
    with pytest.raises(SnapshotError):
        read_snapshot(path, Values)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Bomb(witness)))
    assert witness.exists()


SHA = {"sha256": {"dtype": "U8", "shape": [32], "data_offsets": [0, 32]}}
META = {"__metadata__": {"values": "{}"}}


def tensor_entry(**changes: Any) -> dict[str, Any]:
    """The header of one tensor of two floats, changed."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes
    digest = {"dtype": "U8", "shape": [32], "data_offsets": [8, 40]}
    return META | {"a": entry, "sha256": digest}


@pytest.mark.parametrize(
    "content",
    [
        with_digest(b""),
        with_digest(b"1234567"),
        made_up(b""),
        made_up(b"{"),
        made_up(b"\xff\xfe"),
        made_up(b"[" * 100_000),
        made_up(b'{"a": 1' + b"0" * 5_000 + b"}"),
        made_up([]),
        made_up(None),
        made_up({}),
        made_up(META),
        made_up(SHA),
        made_up(META | SHA, length=2**64 - 1),
        made_up(META | SHA, length=0),
        made_up(META | SHA, b"more"),
        made_up({"__metadata__": None} | SHA),
        made_up({"__metadata__": {"values": "{}", "more": 3}} | SHA),
        made_up(SHA | META),
        made_up(json.dumps(META | SHA).replace("[0, 32]", "[false, 32.0]").encode()),
        made_up(json.dumps(META | SHA).replace("}", "} ", 1).encode()),
        made_up({"__metadata__": {"values": 3}} | SHA),
        made_up({"__metadata__": {"values": "["}} | SHA),
        made_up(META | {"sha256": 3}),
        made_up(META | {"a": 3} | SHA),
        made_up(META | {"a": None} | SHA),
        made_up(tensor_entry()),
        made_up(tensor_entry(), b"\0" * 7),
        made_up(tensor_entry(), b"\0" * 9),
        *(
            made_up(tensor_entry(**{key: value}), b"\0" * 8)
            for key, values in {
                "dtype": ["F8", None, [], {}],
                "shape": [[3], [-2], [2**62, 4], [2**70], [2.0], ["2"], 2, None, [[2]], {"2": 2}],
                "data_offsets": [[0, 4], [4, 12], [8, 0], [0], [-8, 0], None, [0, 2**70]],
                "more": [1],
            }.items()
            for value in values
        ),
    ],
    ids=lambda content: content[8:60].decode("latin-1"),
)
def test_a_header_that_was_made_up_is_refused(tmp_path, content):
    path = tmp_path / "epoch-0001.safetensors"
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"^(its|it|values) "):
        read_snapshot(path, Values)


def test_no_memory_is_taken_for_tensors_that_are_not_there(tmp_path):
    path = tmp_path / "epoch-0001.safetensors"
    size = 2**50
    digest = {"dtype": "U8", "shape": [32], "data_offsets": [4 * size, 4 * size + 32]}
    entry = {"dtype": "F32", "shape": [size], "data_offsets": [0, 4 * size]}
    path.write_bytes(made_up(META | {"a": entry, "sha256": digest}))
    with pytest.raises(SnapshotError, match="one behind the other up to its end"):
        read_snapshot(path, Values)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nowhere", "nothing"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "epoch-0001.safetensors"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to nowhere":
            path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(SnapshotError, match="it must be a file, found something else"):
        read_snapshot(path, Values)


def test_a_file_that_the_disk_does_not_give_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, 1)

    def broken(*args: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(core.snapshots, "_refuse_damage", broken)
    with pytest.raises(SnapshotError, match=r"^it must be readable, found: .*Input/output"):
        read_snapshot(path, Values)


PLAIN = {"name": "a", "epoch": 1, "inner": {"rate": 0.5}, "scores": None, "rows": []}


def test_a_value_of_its_declared_type_passes():
    assert read_as(Values, PLAIN, "values") == Values("a", 1, Inner(0.5))
    assert read_as(float, 2, "rate") == 2


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"name": 3}, "name must be a snapshot's str, got 3"),
        ({"name": None}, "name must be a snapshot's str, got nothing"),
        ({"epoch": 1.0}, "epoch must be a snapshot's int, got 1.0"),
        ({"epoch": True}, "epoch must be a snapshot's int, got true"),
        ({"epoch": "1"}, "epoch must be a snapshot's int, got '1'"),
        ({"epoch": 2**60}, f"epoch must be a snapshot's int, got {2**60}"),
        ({"epoch": -(10**400)}, "epoch must be a snapshot's int, got a whole number of over 20"),
        ({"inner": None}, "inner must be a snapshot's Inner, got nothing"),
        ({"inner": {}}, "inner must be a snapshot's Inner, got {}"),
        ({"inner": {"rate": 1.0, "more": 1}}, "inner must be a snapshot's Inner, got"),
        ({"inner": {"rate": float("nan")}}, "rate must be a snapshot's float, got nan"),
        ({"inner": {"rate": float("-inf")}}, "rate must be a snapshot's float, got -inf"),
        ({"inner": {"rate": False}}, "rate must be a snapshot's float, got false"),
        ({"inner": {"rate": 10**400}}, "rate must be a snapshot's float, got a whole number"),
        ({"scores": []}, "scores must be a snapshot's dict, got []"),
        ({"scores": {"ua": None}}, "scores must be a snapshot's float, got nothing"),
        ({"rows": {}}, "rows must be a snapshot's tuple, got {}"),
        ({"rows": [3]}, "rows must be a snapshot's Inner, got 3"),
        ({"rows": "ab"}, "rows must be a snapshot's tuple, got 'ab'"),
        ({"more": 1}, "values must be a snapshot's Values, got"),
        ({"name": "a" * 500, "more": 1}, "..."),
        ({"inner": "\x1b[2J"}, r"inner must be a snapshot's Inner, got '\x1b[2J'"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(changes, found):
    with pytest.raises(SnapshotError) as error:
        read_as(Values, PLAIN | changes, "values")
    assert found in str(error.value)
    assert len(str(error.value)) < 150
