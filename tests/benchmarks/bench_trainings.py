"""Eighteen trainings from one command: six folds of RAVDESS, three settings, three epochs.

    python tests/benchmarks/bench_trainings.py

On log-mel bands and on the frames of Whisper base, both stored beforehand; and of a network on
log-mel bands, which computes them anew for each batch, as mixing asks. The aim is autrainer 0.10's
time for as many trainings on this corpus with its log-mel features cached: 36 s.
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

READINGS = 5
GRID = """\
name: eighteen
corpora: [ravdess]
base:
  training.epochs: 3
  audio.trim_db: 35
  mixup.method: none
  losses.terms: [kl]
  losses.weighting: fixed
"""
NETWORK = """\
  encoder.name: logmel-small
  training.precision: float32
rows:
  - {name: mean, pooling.method: mean}
  - {name: EAM, mixup.method: eam, pooling.method: mean}
  - {name: first frame, pooling.method: first}
"""
POOLED = """\
rows:
  - {name: mean, pooling.method: mean}
  - {name: deviation, pooling.method: statistics}
  - {name: max, pooling.method: max}
"""
BANDS = f"""\
  encoder.name: logmel
  encoder.train: frozen
  pooling.standardise: true
  training.learning_rate: 0.003
  training.precision: float32
{POOLED}"""
WHISPER = f"""\
  encoder.name: {SHARED}/models/whisper-base-encoder
  encoder.train: frozen
  encoder.layer: 3
  encoder.normalise: true
  training.learning_rate: 0.001
{POOLED}"""
WAYS = {"log-mel bands": BANDS, "Whisper base's frames": WHISPER, "a network on log-mel": NETWORK}


def command(folder: Path) -> list[str]:
    """As typed."""
    words = [sys.executable, "runner.py", folder / "eighteen.yaml", "--fresh"]
    words += ["--data", SHARED / "data" / "ravdess"]
    return [str(word) for word in (*words, "--runs", folder / "runs", "--reports", folder)]


def lines() -> Iterator[Line]:
    """The command whole, from its start to its table."""
    if not SHARED.is_dir():
        return
    for name, rows in WAYS.items():
        times = []
        with tempfile.TemporaryDirectory() as at:
            folder = Path(at)
            (folder / "eighteen.yaml").write_text(GRID + rows)
            for _ in range(1 + READINGS):  # the first builds the store, and stores the frames
                started = time.perf_counter()
                done = subprocess.run(command(folder), cwd=ROOT, capture_output=True, text=True)
                times.append(time.perf_counter() - started)
                if done.returncode:
                    raise SystemExit(done.stderr)
        yield Line(
            what=f"18 trainings of RAVDESS on {name}, 3 epochs: the whole command",
            ours=seconds(median(times[1:])),
            peer="–",
            ratio=f"{min(times[1:]):.0f} to {max(times[1:]):.0f} s",
            aim="" if rows is NETWORK else "< 36 s",
        )


if __name__ == "__main__":
    print(HEADER, *lines(), sep="\n")
