"""Damage to bytes, drawn from a seed, and bounds on what a reader of damaged bytes may cost.

FUZZ_INPUTS=50000 pytest -k fuzz
"""

import copy
import os
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]
Weighted = Sequence[tuple[Damage, int]]

INPUTS = int(os.environ.get("FUZZ_INPUTS", "5000"))  # of each kind
SECONDS_EACH = 10.0  # of CPU time; most inputs take a few milliseconds, none takes two seconds
SPARE_BYTES = 1 << 30  # of address space beyond what is in use; no input needs a tenth of it
MOST_DAMAGES = 3  # to one input
STATISTICS = Path("/proc/self/statm")

ODD_BYTES = (
    *(b"\x00", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xe9", b"\x80"),
    *(b"\t", b"\r", b"\n", b"\r\n", b"\x0b", b"\x0c", b"\x1a", b"\x1b[31m", b"\x1b]0;x\x07"),
    *(b"\x7f", b"\x85", b"\x9b2J", b"\xc2\x85", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xe2\x80\xae"),
    *(b'"', b"'", b"\\", b"/", b"../", b";", b",", b"[", b"]", b"{", b"}", b":", b"-", b"0"),
)
ODD_NUMBERS = (0, 1, 2, 3, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "utf-8-sig", "cp037", "utf-7")


def damaged(content: bytes, damages: Weighted, chance: random.Random) -> bytes:
    """The content after one to three damages, each drawn by its weight."""
    kinds, weights = zip(*damages, strict=True)
    for damage in chance.choices(kinds, weights, k=chance.randint(1, MOST_DAMAGES)):
        content = damage(content, chance)
    return content


def flip_bytes(content: bytes, chance: random.Random) -> bytes:
    """Change one byte, or as many as 64."""
    flipped = bytearray(content)
    for _ in range(chance.choice([1, 1, 1, 2, 8, 64]) if content else 0):
        flipped[chance.randrange(len(flipped))] = chance.randrange(256)
    return bytes(flipped)


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    """Change one bit, or two."""
    flipped = bytearray(content)
    for _ in range(chance.choice([1, 1, 2]) if content else 0):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def insert_bytes(content: bytes, chance: random.Random) -> bytes:
    """Put control characters, quotes, byte order marks or halves of characters anywhere."""
    place = chance.randrange(len(content) + 1)
    return content[:place] + chance.choice(ODD_BYTES) + content[place:]


def insert_many(content: bytes, chance: random.Random) -> bytes:
    """Put one and the same thing somewhere a thousand times."""
    place = chance.randrange(len(content) + 1)
    return content[:place] + chance.choice(ODD_BYTES) * 1000 + content[place:]


def cut_off(content: bytes, chance: random.Random) -> bytes:
    """Leave out the end."""
    return content[: chance.randrange(len(content) + 1)]


def cut_out(content: bytes, chance: random.Random) -> bytes:
    """Leave out a part, a short one mostly."""
    start = chance.randrange(len(content) + 1)
    return content[:start] + content[start + chance.choice([1, 1, 2, 4, 30, 500]) :]


def move_part(content: bytes, chance: random.Random) -> bytes:
    """Copy a part to somewhere else, over what is there or between."""
    start, target = (chance.randrange(len(content) + 1) for _ in range(2))
    part = content[start : start + chance.choice([1, 4, 8, 40])]
    over = len(part) if chance.random() < 0.5 else 0
    return content[:target] + part + content[target + over :]


def write_number(content: bytes, chance: random.Random) -> bytes:
    """Write a number over one to eight bytes, 0 and as large as can be among them."""
    size = chance.choice([1, 2, 4, 4, 8])
    number = chance.choice([*ODD_NUMBERS, 2**40, 2**63 - 1, 2**63, 2**64 - 1])
    field = (number % 256**size).to_bytes(size, chance.choice(["little", "big"]))
    place = chance.randrange(len(content) + 1)
    return content[:place] + field + content[place + size :]


def change_lines(content: bytes, chance: random.Random) -> bytes:
    """Delete, double, swap or move lines."""
    lines = content.split(b"\n")
    first, second = sorted(chance.choices(range(len(lines)), k=2))
    match chance.randrange(4):
        case 0:
            del lines[first : first + chance.choice([1, 1, 3])]
        case 1:
            lines.insert(second, lines[first])
        case 2:
            lines[first], lines[second] = lines[second], lines[first]
        case _:
            lines += lines[first:second]
    return b"\n".join(lines)


def end_lines_otherwise(content: bytes, chance: random.Random) -> bytes:
    """Change how lines end, all or one of them."""
    ending = chance.choice([b"\r\n", b"\r", b"\n\n", b"\x85", b"\xe2\x80\xa8", b"\x0c", b""])
    return content.replace(b"\n", ending, chance.choice([-1, 1]))


def lengthen_line(content: bytes, chance: random.Random) -> bytes:
    """Repeat a part of a line until it is very long."""
    lines = content.split(b"\n")
    index = chance.randrange(len(lines))
    place = chance.randrange(len(lines[index]) + 1)
    part = lines[index][place : place + chance.choice([1, 2, 9])] or b" "
    lines[index] = lines[index][:place] + part * chance.choice([100, 2000]) + lines[index][place:]
    return b"\n".join(lines)


def write_otherwise(content: bytes, chance: random.Random) -> bytes:
    """Write a text in another encoding, or some of its letters as Latin-1."""
    if chance.random() < 0.5:
        return content.replace(b"e", "é".encode("latin-1"), chance.randrange(1, 5))
    text = content.decode("utf-8", "replace")
    return text.encode(chance.choice(ENCODINGS), "replace")


ON_TEXT: Weighted = (
    (flip_bytes, 3),
    (flip_bits, 3),
    (insert_bytes, 6),
    (insert_many, 1),
    (cut_off, 1),
    (cut_out, 4),
    (move_part, 4),
    (change_lines, 6),
    (end_lines_otherwise, 1),
    (lengthen_line, 1),
    (write_otherwise, 1),
)
ON_BYTES: Weighted = (
    (flip_bytes, 3),
    (flip_bits, 3),
    (write_number, 6),
    (insert_bytes, 1),
    (cut_off, 1),
    (cut_out, 1),
    (move_part, 1),
)


def rewrite(path: Path, content: bytes) -> None:
    """Write a file in place: one that was emptied first, ext4 sends to the disk at once."""
    with path.open("r+b" if path.exists() else "xb") as file:
        file.write(content)
        file.truncate()


def containers(tree: object) -> Iterator[dict[Any, Any] | list[Any]]:
    """Every mapping and list of a tree."""
    if isinstance(tree, dict | list):
        yield tree
        for value in list(tree.values() if isinstance(tree, dict) else tree):
            yield from containers(value)


def change_tree(
    tree: object, chance: random.Random, keys: Sequence[Any], values: Sequence[Any]
) -> None:
    """Delete, rename, add, copy or replace something in a tree, which stays one."""
    places = list(containers(tree))
    place = chance.choice(places)
    present = list(place) if isinstance(place, dict) else list(range(len(place)))
    key = chance.choice(present) if present else None
    kind = chance.randrange(7)
    if isinstance(place, dict) and (kind == 0 or key is None):
        place[chance.choice(keys)] = copy.deepcopy(chance.choice(values))
    elif isinstance(place, list) and (kind == 0 or key is None):
        place.append(copy.deepcopy(chance.choice(values)))
    elif kind == 1:
        del place[key]
    elif kind == 2 and isinstance(place, dict):
        place[chance.choice(keys)] = place.pop(key)
    elif kind == 3:
        place[key] = copy.deepcopy(chance.choice(places))
    else:
        place[key] = copy.deepcopy(chance.choice(values))


@contextmanager
def bounded(what: object) -> Iterator[None]:
    """Fail where reading takes so long that it hangs, whatever else the machine does."""
    started = time.process_time()
    yield
    assert time.process_time() - started < SECONDS_EACH, what


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let an allocation fail that is out of all proportion to the inputs; on Linux alone."""
    if not STATISTICS.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    held_bytes = int(STATISTICS.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held_bytes + SPARE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def is_fit_to_print(message: str, longest: int = 1000) -> bool:
    """Whether a message can neither steer a terminal nor flood it."""
    lines = message.split("\n")
    return all(line.isprintable() and len(line) <= longest for line in lines) and len(lines) <= 25
