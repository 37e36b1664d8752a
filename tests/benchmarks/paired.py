"""Timing against a peer: by turns in one process, the median of each and of their ratios."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# As ablation/__init__.py sets it: torch reads it at its first large tensor, on either side.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
HEADER = "| what | ours | peer | ratio | aim |\n| --- | ---: | ---: | ---: | ---: |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table."""

    what: str
    ours: str
    peer: str
    ratio: str
    aim: str

    def __str__(self) -> str:
        return f"| {self.what} | {self.ours} | {self.peer} | {self.ratio} | {self.aim} |"


def timed(work: Callable[[], object]) -> float:
    """Seconds of wall time."""
    gc.collect()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def faster(
    what: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    *,
    aim: str,
    readings: int = 5,
) -> Line:
    """How many times faster ours is: both once unmeasured, then by turns."""
    for work in (ours, peer):
        work()
    pairs = [(timed(ours), timed(peer)) for _ in range(readings)]
    ratios = sorted(theirs / own for own, theirs in pairs)
    return Line(
        what=what,
        ours=seconds(median(own for own, _ in pairs)),
        peer=seconds(median(theirs for _, theirs in pairs)),
        ratio=f"{median(ratios):.1f}× ({ratios[0]:.1f} to {ratios[-1]:.1f})",
        aim=aim,
    )


def seconds(value: float) -> str:
    """A time with three digits or so."""
    return f"{value:.2f} s" if value >= 1 else f"{1000 * value:.3g} ms"


def extra_bytes(script: str, arguments: Sequence[str]) -> int:
    """What a process of its own took more at its peak; it prints `peak_bytes` twice."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    before, after = (int(word) for word in done.stdout.split()[-2:])
    return after - before


def peak_bytes() -> int:
    """The most memory that this program has held so far (getrusage's counts its parent's too)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/self/status must hold VmHWM, found none")


def less(what: str, ours: int, peer: int, *, aim: str) -> Line:
    """The share of a peer's memory that ours takes."""
    mebi = 1 << 20
    return Line(
        what=what,
        ours=f"{ours / mebi:.0f} MiB",
        peer=f"{peer / mebi:.0f} MiB",
        ratio=f"{ours / peer:.3f}",
        aim=aim,
    )
