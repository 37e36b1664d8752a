"""How busy a cluster's GPUs are kept: thousands of trials that sleep, with faults among them.

    python tests/benchmarks/bench_schedule.py                            # 5 000 trials, ten minutes
    python tests/benchmarks/bench_schedule.py --epoch-s 6                # of 12 s; twenty minutes
    python tests/benchmarks/bench_schedule.py --trials 200 --gpus 8 --nodes 2 --epoch-s 1

Nodes of Ray on this machine hold logical GPUs, and `ablation.trials.run_trials` schedules as in any
study on a cluster; only the trainable is another. Of the trials 1 % fail for good, 1 % raise an
error that passes and 0.2 % lose their process, both of which cost a new process and the epoch.
Busy is what was slept in epochs that were kept, over GPUs x makespan: from the end of a first
trial on each GPU, for which all wait until every process has started, to the end of the last.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.paired import HEADER, Line  # noqa: E402

LASTING, PASSING, KILLED = 0.01, 0.01, 0.002  # shares of the trials
EPOCHS = (1, 2, 3)  # of a third of the trials each


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is simulated."""

    trials: int
    gpus: int
    nodes: int
    epoch_s: float  # the mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        told: Events of each kind that the listener was told of.
        busy: The share of the GPUs' time in which an epoch that was kept was under way.
        steady: The same until a GPU finds no trial left to start.
        start_s: Until a process ran on every GPU, which the shares leave out.
    """

    told: Counter[str]
    busy: float
    steady: float
    makespan_s: float
    start_s: float


class Counting:
    """A listener that counts what it is told of."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def trial_started(self, run_id: str) -> None:
        self.told["started"] += 1

    def trial_remarked(self, run_id: str, remark: str) -> None:
        self.told["remarks"] += 1

    def trial_retried(self, run_id: str, reason: str) -> None:
        self.told["tried again"] += 1

    def epoch_finished(self, run_id: str, metrics: object) -> None:
        self.told["epochs"] += 1

    def trial_finished(self, run_id: str) -> None:
        self.told["finished"] += 1

    def trial_failed(self, run_id: str, reason: str) -> None:
        self.told["failed"] += 1


def plan_of(load: Load) -> dict[str, Any]:
    """Which trials meet which fault, by their seeds; the first ones, one a GPU, meet none."""
    seeds = list(range(load.gpus, load.gpus + load.trials))
    random.Random(0).shuffle(seeds)
    plan: dict[str, Any] = {"first": list(range(load.gpus)), "epoch_s": load.epoch_s}
    for kind, share in (("lasting", LASTING), ("passing", PASSING), ("killed", KILLED)):
        count = round(share * load.trials)
        plan[kind], seeds = sorted(seeds[:count]), seeds[count:]
    return plan


def configs_of(load: Load) -> dict[str, Any]:
    """Trials of one, two and three epochs in the order that a study gives them."""
    from ablation.workload import longest_first
    from core.config import RunConfig
    from core.identity import config_key

    kinds = [
        RunConfig.from_dict({"encoder.name": "logmel-small", "training.epochs": epochs})
        for epochs in EPOCHS
    ]
    first = {seed: kinds[0].on_fold(1, seed) for seed in range(load.gpus)}
    others = {
        config_key(config): config
        for seed in range(load.gpus, load.gpus + load.trials)
        for config in [kinds[seed % len(kinds)].on_fold(1, seed)]
    }
    return {config_key(config): config for config in first.values()} | longest_first(others)


def simulate(load: Load) -> Outcome:
    """Run it, on nodes that are started for it."""
    import ablation.trials
    from tests.benchmarks.sleeper import Sleeper
    from tests.nodes import cluster_of

    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    os.environ.update(RAY_worker_niceness="0")  # else 15: what else is at work would be measured
    each = load.gpus // load.nodes
    listener, configs = Counting(), configs_of(load)
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        for name in ("epochs", "faults", "ready"):
            (runs / name).mkdir()
        (runs / "plan.json").write_text(json.dumps(plan_of(load)))
        before, ablation.trials.FoldTrainable = ablation.trials.FoldTrainable, Sleeper
        try:
            with cluster_of(load.nodes, "--num-cpus", str(each), "--num-gpus", str(each)) as there:
                resources = ablation.trials.Resources(cpus=1, gpus=1, address=there[0])
                began = time.time()
                ablation.trials.run_trials(configs, {}, runs, resources, listener)
        finally:
            ablation.trials.FoldTrainable = before
        return outcome(load, runs, listener.told, began)


def outcome(load: Load, runs: Path, told: Counter[str], began: float) -> Outcome:
    """The shares, from the epochs that were kept."""
    ready = max(path.stat().st_mtime for path in (runs / "ready").iterdir())
    epochs = [
        (float(start), float(end))
        for path in (runs / "epochs").iterdir()
        for start, end in (line.split() for line in path.read_text().splitlines())
    ]
    last = max(end for _, end in epochs)
    starts = [min(start for start, _ in spans) for spans in _by_trial(runs)]
    no_more = max(starts)
    steady = sum(max(0.0, min(end, no_more) - start) for start, end in epochs)
    return Outcome(
        told=told,
        busy=sum(end - start for start, end in epochs) / (load.gpus * (last - ready)),
        steady=steady / (load.gpus * (no_more - ready)),
        makespan_s=last - ready,
        start_s=ready - began,
    )


def _by_trial(runs: Path) -> Iterator[Sequence[tuple[float, float]]]:
    for path in (runs / "epochs").iterdir():
        yield [tuple(map(float, line.split())) for line in path.read_text().splitlines()]  # type: ignore[misc]


def lines(load: Load) -> Iterator[Line]:
    """The share of the whole, and of the time in which there was a trial left for every GPU."""
    found = simulate(load)
    print(f"{dict(found.told)}; all processes at work after {found.start_s:.0f} s", file=sys.stderr)
    what = (
        f"{load.trials} trials of {2 * load.epoch_s:g} s on {load.gpus} GPUs of {load.nodes} nodes"
    )
    for name, share in (("busy", found.busy), ("busy while trials are left", found.steady)):
        yield Line(
            what=f"{what}, {found.makespan_s:.0f} s: {name}",
            ours=f"{100 * share:.1f} %",
            peer="–",
            ratio="–",
            aim="≥ 95 %",
        )


def main() -> None:
    """As typed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--epoch-s", type=float, default=3.0, help="mean seconds of an epoch")
    typed = parser.parse_args()
    load = Load(trials=typed.trials, gpus=typed.gpus, nodes=typed.nodes, epoch_s=typed.epoch_s)
    print(HEADER, *lines(load), sep="\n")


if __name__ == "__main__":
    main()
