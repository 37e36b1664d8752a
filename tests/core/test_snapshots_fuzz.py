"""Thousands of damaged snapshots: refused, or taken as they stand, and never by half."""

import json
import random
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor

from core.fold import Fold, FoldState
from core.snapshots import SnapshotError, read_snapshot, write_snapshot
from core.trainer import Trainer
from tests.core.small_folds import evaluated, of
from tests.core.small_snapshots import TENSORS, VALUES, Values
from tests.core.small_speech import CPU, tones
from tests.mutations import (
    INPUTS,
    ON_BYTES,
    bounded,
    bounded_memory,
    change_tree,
    damaged,
    is_fit_to_print,
    rewrite,
)

SEED = 20_240_306
DIGEST_BYTES = 32
FOLDS = max(INPUTS // 5, 1)  # snapshots of a whole training
VALUES_OF_JSON = [
    *(0, 1, -1, 2, 3, 4, 5, 8, 48, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30, 10**400, 0.5, 1e308),
    *(True, False, None, "", "1", "F32", [], [0], [-1], [2**40], [2**62, 4], {}, {"a": 1}),
    *("BOOL", "U8", "I8", "I16", "I64", "F16", "BF16", "F64", "F8_E4M3", "C64"),
    *([1] * 70, [[1]], [0, 2**63], float("nan"), float("inf"), "\x1b[2J", "x" * 5000),
]
KEYS = ["weight", "scalar", "sha256", "__metadata__", "values", "dtype", "shape", "\x1b", "", "é"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    write_snapshot(folder, 1, VALUES, TENSORS)
    return (folder / "epoch-0001.safetensors").read_bytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The snapshot of a fold, its best weights and its oracle predictions in it."""
    folder = tmp_path_factory.mktemp("saved")
    fold = Fold(evaluated("validation", True), of(*tones()), CPU)
    fold.step()
    fold.save(folder)
    return (folder / "epoch-0001.safetensors").read_bytes()


def damaged_files(whole: bytes) -> Iterator[bytes]:
    """Cut off and changed at every byte of every section, then damaged anyhow."""
    places = range(len(whole))
    yield from (whole[:length] for length in places)
    for place in places:
        yield whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
    yield from (whole + b"\0", whole[1:], b"\0" * len(whole), whole + whole, b"", whole[::-1])
    for index in range(INPUTS):
        yield damaged(whole, ON_BYTES, random.Random(SEED + index))


def forged(whole: bytes, index: int) -> bytes:
    """A snapshot that was changed on purpose: its digest is right."""
    chance = random.Random(SEED + index)
    (length,) = struct.unpack("<Q", whole[:8])
    header, tensors = whole[8 : 8 + length], whole[8 + length : -DIGEST_BYTES]
    match chance.randrange(4):
        case 0:
            content = damaged(whole[:-DIGEST_BYTES], ON_BYTES, chance)
        case 1:
            header = damaged(header, ON_BYTES, chance)
            content = struct.pack("<Q", len(header)) + header + tensors
        case kind:
            tree = json.loads(header)
            values = json.loads(tree["__metadata__"]["values"])
            for _ in range(chance.choice([1, 1, 2])):
                change_tree(tree if kind == 2 else values, chance, KEYS, VALUES_OF_JSON)
            if kind == 3:
                tree["__metadata__"]["values"] = json.dumps(values)
            header = json.dumps(tree).encode()
            header += b" " * (-len(header) % 8 if chance.random() < 0.9 else 1)
            content = struct.pack("<Q", len(header)) + header + tensors
    return content + sha256(content).digest()


def refuse_wrongly_taken(content: bytes, values: Values, tensors: dict[str, Tensor]) -> None:
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert asdict(values) == as_lists(json.loads(header["__metadata__"]["values"]))
    expected = load(content)
    del expected["sha256"]
    assert expected.keys() == tensors.keys()
    for name, tensor in expected.items():
        found = tensors[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        one, other = (item.reshape(-1).view(torch.uint8) for item in (found, tensor))
        assert torch.equal(one, other)


def as_lists(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"rows": tuple(values["rows"])}


def refuse_bad_refusal(error: SnapshotError) -> None:
    assert is_fit_to_print(str(error), 200)
    assert "allocate" not in str(error)  # torch's word where memory was asked for and not had


def test_damage_anywhere_is_seen(tmp_path, whole):
    path = tmp_path / "epoch-0001.safetensors"
    ended: Counter[str] = Counter()
    for content in damaged_files(whole):
        rewrite(path, content)
        try:
            values, tensors = read_snapshot(path, Values)
        except SnapshotError as error:
            ended["refused"] += 1
            message = str(error)
            assert message.startswith("it must end with the SHA-256 of its content"), content
        else:
            ended["read"] += 1
            assert content == whole
            assert values == VALUES
            assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert ended["refused"] > INPUTS
    assert ended["read"] < INPUTS // 20
    assert list(tmp_path.iterdir()) == [path]


def test_a_forged_snapshot_is_taken_as_it_stands_or_refused(tmp_path, whole):
    path = tmp_path / "epoch-0001.safetensors"
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(INPUTS):
            content = forged(whole, index)
            rewrite(path, content)
            with bounded(f"file {index}"):
                try:
                    values, tensors = read_snapshot(path, Values)
                except SnapshotError as error:
                    ended["refused"] += 1
                    refuse_bad_refusal(error)
                except Exception as error:
                    pytest.fail(f"file {index}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
                    refuse_wrongly_taken(content, values, tensors)
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["read"]) > INPUTS // 50, ended
    assert list(tmp_path.iterdir()) == [path]


def state_of(fold: Fold, trainer: Trainer) -> tuple[Any, dict[str, Tensor]]:
    """All that a snapshot of the fold would hold, copied."""
    progress, tensors = trainer.state()
    state = (progress, tuple(fold.history), fold.finished, trainer.epoch, trainer.best_epoch)
    return state, {name: tensor.clone() for name, tensor in tensors.items()}


def as_taken(name: str, tensor: Tensor) -> Tensor:
    """A generator's words take eight bytes each, of which torch reads four."""
    if not name.startswith("generator."):
        return tensor
    generator = torch.Generator()
    generator.set_state(tensor)
    return generator.get_state()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_fold_is_restored_from_a_forged_snapshot_as_it_stands_or_stays_as_it_was(
    tmp_path, trainers, saved
):
    fold = Fold(evaluated("validation", True), of(*tones()), CPU)
    fold.step()
    before, tensors_before = state_of(fold, trainers[0])
    path = tmp_path / "epoch-0001.safetensors"
    ended: Counter[str] = Counter()
    for index in range(FOLDS):
        rewrite(path, forged(saved, index))
        with bounded(f"file {index}"):
            try:
                remarks = fold.resume(tmp_path)
            except Exception as error:
                pytest.fail(f"file {index}: {type(error).__name__}: {error}")
        after, tensors_after = state_of(fold, trainers[0])
        if remarks:
            ended["refused"] += 1
            assert remarks[0].startswith(f"{path} is passed over: "), index
            assert is_fit_to_print("\n".join(remarks)), remarks
            assert after == before, index
            assert same(tensors_after, tensors_before), index
        else:
            ended["read"] += 1
            state, tensors = read_snapshot(path, FoldState)
            assert after[:2] == (state.progress, state.history), index
            taken = {name: as_taken(name, tensor) for name, tensor in tensors.items()}
            assert same(tensors_after, taken), index
            before, tensors_before = after, tensors_after
    assert ended["refused"] > FOLDS // 20, ended
    assert ended["read"] > 0, ended
