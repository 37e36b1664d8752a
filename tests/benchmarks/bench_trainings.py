"""Eighteen trainings from one command: six folds of RAVDESS, three settings, three epochs.

    python tests/benchmarks/bench_trainings.py

A small convolutional network on log-mel bands, the audio store being there already. The aim is
autrainer 0.10's time for as many trainings on this corpus with its features cached: 36 s.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.paired import HEADER, SHARED, Line, seconds  # noqa: E402

READINGS = 3
GRID = """\
name: eighteen
corpora: [ravdess]
base:
  encoder.name: logmel-small
  training.epochs: 3
  audio.trim_db: 35
  losses.terms: [kl]
  losses.weighting: fixed
rows:
  - {name: mean, mixup.method: none, pooling.method: mean}
  - {name: EAM, mixup.method: eam, pooling.method: mean}
  - {name: first frame, mixup.method: none, pooling.method: first}
"""


def command(folder: Path) -> list[str]:
    """As typed."""
    words = [sys.executable, "runner.py", folder / "eighteen.yaml", "--fresh"]
    words += ["--data", SHARED / "data" / "ravdess"]
    return [str(word) for word in (*words, "--runs", folder / "runs", "--reports", folder)]


def lines() -> Iterator[Line]:
    """The command whole, from its start to its table."""
    if not SHARED.is_dir():
        return
    times = []
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        (folder / "eighteen.yaml").write_text(GRID)
        for _ in range(1 + READINGS):  # the first builds the store
            started = time.perf_counter()
            done = subprocess.run(command(folder), cwd=ROOT, capture_output=True, text=True)
            times.append(time.perf_counter() - started)
            if done.returncode:
                raise SystemExit(done.stderr)
    yield Line(
        what="18 trainings of RAVDESS, log-mel, 3 epochs: the whole command",
        ours=seconds(median(times[1:])),
        peer="–",
        ratio=f"{min(times[1:]):.0f} to {max(times[1:]):.0f} s",
        aim="< 36 s",
    )


if __name__ == "__main__":
    print(HEADER, *lines(), sep="\n")
