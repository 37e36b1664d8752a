"""The demo grid whole, against the same trainings in one plain loop.

    python tests/benchmarks/bench_demo.py

All 75 folds of grids/table3.yaml on synthetic speech: once by the runner in a fresh folder, with
Ray, MLflow, checkpoints and reports; once by loops over `core.fold.run_fold`, as many processes as
the runner has trials at once, since two threads of one core take each other's time. CPU time is
that of the whole machine, which must be otherwise idle. Before it, in the same folder, a
calibration says how long the runner will take.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
AS_TYPED = dict(os.environ)  # before the runner's switches, which a plain loop's shell has not

import psutil  # noqa: E402
import torch  # noqa: E402

from ablation.corpora import prepare  # noqa: E402
from ablation.demo import demo_corpus  # noqa: E402
from ablation.grid import Overrides  # noqa: E402
from ablation.grid_file import load_grid  # noqa: E402
from ablation.published import load  # noqa: E402
from core.fold import run_fold  # noqa: E402
from tests.benchmarks.paired import HEADER, Line, seconds  # noqa: E402

GRID = ROOT / "grids" / "table3.yaml"
AT_ONCE = os.cpu_count() or 1


def busy(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time, and the CPU time of the whole machine."""
    before, started = psutil.cpu_times(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - started, psutil.cpu_times()
    used = [end.user + end.nice + end.system for end in (before, after)]  # Ray's workers are nice
    return wall, used[1] - used[0]


def runner(folder: Path, *options: str) -> str:
    """As a newcomer starts it; what it prints."""
    command = [sys.executable, "runner.py", str(GRID), "--demo", *options]
    command += ["--runs", str(folder / "runs"), "--reports", str(folder / "reports")]
    how = {"check": True, "cwd": ROOT, "env": AS_TYPED, "stdout": subprocess.PIPE, "text": True}
    return str(subprocess.run(command, **how).stdout)


def foretold_s(folder: Path) -> float:
    """What `--plan` says after a calibration."""
    runner(folder, "--plan", "--calibrate")
    seconds: float = json.loads(runner(folder, "--plan", "--json"))["estimate"]["seconds"]
    return seconds


def plain_loops(folder: Path) -> None:
    """A process a trial that the runner has at once, each with its share of the trainings."""
    command = [sys.executable, __file__, "--loop", str(folder)]
    shares = [f"{place}/{AT_ONCE}" for place in range(AT_ONCE)]
    loops = [subprocess.Popen([*command, share], cwd=ROOT, env=AS_TYPED) for share in shares]
    codes = [loop.wait() for loop in loops]
    if any(codes):
        raise SystemExit("a plain loop has failed")


def plain_loop(folder: Path, place: int, others: int) -> None:
    """Corpus, store and every so many trainings, one after another in this process."""
    grid = load_grid(GRID, Overrides(demo=True), load(ROOT / "reports" / "published.yaml"))
    audio = {}
    for name, corpus in grid.corpora.items():
        parsed = corpus.parse(*(demo_corpus(part, folder) for part in corpus.sources))
        audio[name], _ = prepare(
            corpus,
            grid.schemes[name],
            parsed,
            folder / "store",
            workers=AT_ONCE,
            skip_bad_audio=False,
        )
    for trial in grid.trials()[place::others]:
        run_fold(trial.config, audio[trial.config.corpus.name], device=torch.device("cpu"))


def lines() -> Iterator[Line]:
    """Once each: they take minutes."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("runner", "loop"):
            (Path(folder) / name).mkdir()
        foretold = foretold_s(Path(folder) / "runner")
        wall, cpu = busy(lambda: runner(Path(folder) / "runner"))
        plain_wall, plain_cpu = busy(lambda: plain_loops(Path(folder) / "loop"))
    yield Line(
        what="the demo grid, 75 folds: CPU time, against plain loops (one reading)",
        ours=seconds(cpu),
        peer=seconds(plain_cpu),
        ratio=f"{cpu / plain_cpu:.2f}",
        aim="≤ 1.25",
    )
    yield Line(
        what="the same: wall time",
        ours=seconds(wall),
        peer=seconds(plain_wall),
        ratio=f"{plain_wall / wall:.2f}× faster",
        aim="< 180 s",
    )
    yield Line(
        what="the same: as foretold by `--plan --calibrate`, against what it took",
        ours=seconds(foretold),
        peer=seconds(wall),
        ratio=f"{foretold / wall:.2f}",
        aim="0.75 to 1.25",
    )


def main() -> None:
    """Print the lines, or be one of their loops."""
    match sys.argv[1:]:
        case ["--loop", folder, share]:
            plain_loop(Path(folder), *map(int, share.split("/")))
        case _:
            print(HEADER, *lines(), sep="\n")


if __name__ == "__main__":
    main()
