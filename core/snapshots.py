"""Snapshots of a fold under way: what an interrupted training goes on from.

In a fold's folder:
    epoch-0003.safetensors      the newest
    epoch-0002.safetensors      the one before it, should the newest turn out to be damaged
    .epoch-0004.safetensors.*   one that is being written; its writer holds a lock on it

A file gets its name by one rename, so a killed writer leaves nothing that looks whole. The format
is safetensors', which holds tensors and text and no code: the tensors by name, the plain values as
JSON among the metadata, and as the last tensor the SHA-256 of every byte before it.
"""

import json
import os
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from hashlib import sha256
from io import BufferedReader
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from core.schema import show
from core.whole_files import remove_abandoned, whole_file

T = TypeVar("T")

NAME = re.compile(r"epoch-([0-9]{4,9})\.safetensors")
DIGEST = "sha256"
DIGEST_BYTES = 32
LENGTH_BYTES = 8  # safetensors: of the header, little-endian, before it
BLOCK_BYTES = 1 << 20
LARGEST_WHOLE = 2**53  # O: beyond it a float no longer tells neighbours apart

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I32": torch.int32,
    "I64": torch.int64,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F32": torch.float32,
    "F64": torch.float64,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


# What json and torch raise on a header that was made up on purpose, its digest being right.
_OF_HEADERS = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


class SnapshotError(ValueError):
    """A snapshot that can't be gone on from; says what must hold and was found."""


def write_snapshot(folder: Path, epoch: int, values: Any, tensors: Mapping[str, Tensor]) -> None:
    """Write a snapshot whole or not at all, and onto the disk; then drop all but the one before it.

    A snapshot of a later epoch goes, too: this training does not come from it. What killed writers
    left is removed first, since it may fill the disk.

    Args:
        values: A dataclass of plain values.
        tensors: By name, on any device.
    Raises:
        OSError: the disk is full or can't be written; the snapshots that were there are still.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    path = folder / f"epoch-{epoch:04}.safetensors"
    with whole_file(path) as file:
        digest = sha256()
        for block in _content(values, tensors):
            digest.update(block)
            file.write(block)
        file.write(digest.digest())
    _sync(folder)
    before = [other for other in newest_first(folder) if epoch_of(other) < epoch][:1]
    for other in newest_first(folder):
        if other not in (path, *before):
            other.unlink(missing_ok=True)


def read_snapshot(path: Path, kind: type[T]) -> tuple[T, dict[str, Tensor]]:
    """Read a snapshot back; nothing in it is looked at before its digest has been.

    Args:
        kind: The dataclass that was written; the gate that the plain values must pass.
    Returns:
        The values and the tensors, on the CPU.
    Raises:
        SnapshotError: it can't be read, or is not a whole snapshot of such values.
    """
    try:
        if not path.is_file():  # a named pipe would wait for its writer
            raise SnapshotError("it must be a file, found something else")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            _refuse_damage(file, size)
            file.seek(0)
            header, blank = _read_header(file, size)
            values = json.loads(header["__metadata__"]["values"])
            typed = read_as(kind, values, "values")
            return cast(T, typed), {name: _read_tensor(file, blank[name]) for name in blank}
    except OSError as error:
        raise SnapshotError(f"it must be readable, found: {error}") from error
    except SnapshotError:
        raise
    except _OF_HEADERS as error:
        raise SnapshotError(
            f"its header must be a snapshot's, found: {show(str(error))}"
        ) from error


def newest_first(folder: Path) -> list[Path]:
    """The snapshots of a folder, the latest epoch first; none where there is no such folder."""
    found = [path for path in folder.glob("epoch-*") if NAME.fullmatch(path.name)]
    return sorted(found, key=epoch_of, reverse=True)


def epoch_of(path: Path) -> int:
    """The epoch after which a snapshot says, by its name, that it was taken."""
    return int(path.name.removeprefix("epoch-").removesuffix(".safetensors"))


def discard(folder: Path) -> None:
    """Remove the snapshots of a fold that is finished, and what killed writers left.

    Raises:
        OSError: one can't be removed.
    """
    remove_abandoned(folder)
    for path in newest_first(folder):
        path.unlink(missing_ok=True)


def read_as(kind: Any, value: Any, where: str) -> Any:
    """Bring a value of JSON to a declared type, to the letter: nothing is converted or ignored.

    Args:
        kind: A dataclass, int, float (a finite one), str, `tuple[X, ...]`, `dict[str, X]` or
            `X | None`.
        where: What the value is called in an error.
    Raises:
        SnapshotError: it is not of that type.
    """
    if isinstance(kind, types.UnionType):
        return None if value is None else read_as(get_args(kind)[0], value, where)
    match get_origin(kind) or kind, value:
        case found, dict() if is_dataclass(found):
            hints = get_type_hints(found)
            if value.keys() == hints.keys():
                return kind(**{name: read_as(hints[name], value[name], name) for name in hints})
        case found, dict() if found is dict:
            return {name: read_as(get_args(kind)[1], item, where) for name, item in value.items()}
        case found, list() if found is tuple:
            return tuple(read_as(get_args(kind)[0], item, where) for item in value)
        case found, float() if found is float and isfinite(value):
            return value
        case found, int() if found in (int, float) and type(value) is int:
            if abs(value) <= LARGEST_WHOLE:
                return value
        case found, str() if found is str:
            return value
    named = getattr(kind, "__name__", str(kind))
    raise SnapshotError(f"{where} must be a snapshot's {named}, got {show(value)}")


def _content(values: Any, tensors: Mapping[str, Tensor]) -> Iterator[memoryview | bytes]:
    """The file's bytes but for the digest."""
    plain = {"values": json.dumps(asdict(values))}
    header = json.dumps({"__metadata__": plain, **_layout(tensors)}).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)  # safetensors: tensors begin at a multiple of 8
    yield len(header).to_bytes(LENGTH_BYTES, "little") + header
    for tensor in tensors.values():
        yield _bytes_of(tensor.detach().cpu().contiguous())


def _layout(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """safetensors' header: one tensor right behind the other, the digest last."""
    entries: dict[str, Any] = {}
    start = 0
    for name, tensor in tensors.items():
        stop = start + tensor.numel() * tensor.element_size()
        shape, offsets = list(tensor.shape), [start, stop]
        entries[name] = {"dtype": CODES[tensor.dtype], "shape": shape, "data_offsets": offsets}
        start = stop
    offsets = [start, start + DIGEST_BYTES]
    return entries | {DIGEST: {"dtype": "U8", "shape": [DIGEST_BYTES], "data_offsets": offsets}}


def _refuse_damage(file: BufferedReader, size: int) -> None:
    digest, left = sha256(), size - DIGEST_BYTES
    while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
        digest.update(block)
        left -= len(block)
    if left or file.read(DIGEST_BYTES) != digest.digest():
        raise SnapshotError(
            f"it must end with the SHA-256 of its content, found another; its {size} bytes were "
            "cut short or changed, or are no snapshot"
        )


def _read_header(file: BufferedReader, size: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header, and tensors without memory that have the types and shapes it names."""
    length = int.from_bytes(file.read(LENGTH_BYTES), "little")
    written = file.read(min(length, size))
    header = json.loads(written)
    blank = {
        name: torch.empty(entry["shape"], dtype=DTYPES[entry["dtype"]], device="meta")
        for name, entry in header.items()
        if name not in ("__metadata__", DIGEST)
    }
    plain = {"values": header["__metadata__"]["values"]}
    layout = _layout(blank)
    end = LENGTH_BYTES + length + layout[DIGEST]["data_offsets"][1]
    if end != size:
        raise SnapshotError("its tensors must lie one behind the other up to its end, found a gap")
    # To the letter: what json takes for equal, such as 1, 1.0 and true, others may not.
    if written.rstrip() != json.dumps({"__metadata__": plain, **layout}).encode():
        raise SnapshotError("its header must be as a snapshot's is written, found another")
    return header, blank


def _read_tensor(file: BufferedReader, blank: Tensor) -> Tensor:
    tensor = torch.empty(blank.shape, dtype=blank.dtype)
    if file.readinto(_bytes_of(tensor)) != tensor.numel() * tensor.element_size():
        raise SnapshotError("it must hold all its tensors, found its end")
    return tensor


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _sync(folder: Path) -> None:
    """Bring a folder's names onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
