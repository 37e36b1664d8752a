"""What the value of an option may be: from its text to a number, or to the rule that it breaks.

Imports nothing that takes time: --help answers at once.
"""

from argparse import ArgumentTypeError
from pathlib import Path

from ablation.uris import redacted

AUTO = "auto"
MAX_SHARE = 1024.0  # CPUs or GPUs of one trial
MAX_COUNT = 100_000
MAX_RETRIES = 100
MAX_FOLD = 1000
MAX_PORT = 65_535


def seeds(text: str) -> tuple[int, ...]:
    """A count, which means 0, 1, ... below it, or a list of different seeds."""
    from ablation.grid_file import MAX_SEEDS, seeds_of  # takes time, which --help need not

    words = [word.strip() for word in text.removesuffix(",").split(",")]
    try:
        numbers = [int(word) if word.isdecimal() else -1 for word in words]
        return seeds_of(numbers if "," in text else numbers[0])
    except ValueError:
        rule = (
            f"a count in 1..{MAX_SEEDS} or a list such as 0,1,2 of different whole numbers from 0"
        )
        raise ArgumentTypeError(f"must be {rule}, got {text!r}") from None


def share(text: str) -> float:
    """Of a machine's CPUs or GPUs; 0 is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_SHARE:
        raise ArgumentTypeError(f"must be a number in 0..{MAX_SHARE:g}, got {text!r}")
    return value


def gpu_share(text: str) -> float | str:
    """As `share`, or AUTO: as many trials to a GPU as its memory holds."""
    if text == AUTO:
        return text
    try:
        return share(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(str(error).replace("must be", f"must be {AUTO!r} or", 1)) from None


def share_above_0(text: str) -> float:
    """As `share`, and something at least."""
    value = share(text)
    if not value:
        raise ArgumentTypeError(f"must be above 0, got {text!r}")
    return value


def epochs(text: str) -> int:
    """A number of epochs; 0 is never."""
    return _whole(text, MAX_COUNT, least=0)


def retries(text: str) -> int:
    """How often something is tried again; 0 is never."""
    return _whole(text, MAX_RETRIES, least=0)


def count(text: str) -> int:
    """A number of things, at least one."""
    return _whole(text, MAX_COUNT)


def fold(text: str) -> int:
    """A fold's number."""
    return _whole(text, MAX_FOLD)


def port(text: str) -> int:
    """A TCP port to listen on."""
    return _whole(text, MAX_PORT)


def _whole(text: str, most: int, least: int = 1) -> int:
    if not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
        raise ArgumentTypeError(f"must be a whole number in {least}..{most}, got {text!r}")
    return int(text)


def folder(text: str) -> Path:
    """A path; an address would be taken for one and made here, out of sight of other nodes."""
    if "://" in text:
        rule = "must be a folder, on a cluster one that every node has mounted there"
        raise ArgumentTypeError(f"{rule}, got the address {redacted(text)!r}")
    return Path(text)
