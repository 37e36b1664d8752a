"""How time and memory grow with the work, against what the docstrings state.

    python tests/benchmarks/bench_growth.py                 # a few minutes; writes reports/growth/
    python tests/benchmarks/bench_growth.py frames          # one of them alone; nothing is written

Trials: `ablation.trials.run_trials` over folds that the archive holds already, so that each is
started, asked and ended by Ray and trains nothing. Utterances: a store is opened, a batcher made
and the batches of an epoch drawn. Frames: SupCon forward and backward. Every point is a process of
its own; memory is what it took more at its peak. Times of utterances and frames are CPU time.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.paired import peak_bytes, seconds  # noqa: E402

FOLDER = ROOT / "reports" / "growth"
MEBI = 1 << 20
CLASSES, FEATURES, UTTERANCES_OF_A_BATCH = 4, 64, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One thing measured: its sizes, and how its docstring says that it grows.

    Attributes:
        time_power, memory_power: Of the size; for large sizes, beside a constant.
        process_time: Whether CPU time is meant; else wall time.
    """

    name: str
    what: str
    sizes: tuple[int, ...]
    time_power: int
    memory_power: int
    process_time: bool


WORKS = (
    Work(
        name="trials",
        what="trials through Ray, training nothing",
        sizes=(10, 30, 100, 300, 1000),
        time_power=1,
        memory_power=1,
        process_time=False,
    ),
    Work(
        name="utterances",
        what="utterances: store opened, epoch drawn",
        sizes=(500, 1500, 5000, 15_000, 50_000),
        time_power=1,
        memory_power=1,
        process_time=True,
    ),
    Work(
        name="frames",
        what="frames: SupCon and its gradient",
        sizes=(1000, 3000, 10_000, 30_000),
        time_power=2,
        memory_power=1,
        process_time=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Point:
    """One reading."""

    size: int
    seconds: float
    extra_bytes: int


def trials(count: int, folder: Path) -> Callable[[], object]:
    """Everything is imported and archived before; Ray's start is part of the work."""
    from ablation.archive import Archive, write_whole
    from ablation.cluster import Resources
    from ablation.trials import run_trials
    from core.config import RunConfig
    from core.identity import config_key
    from tests.benchmarks.bench_trials import Silence

    first = RunConfig.from_dict({"corpus.name": "savee", "encoder.name": "logmel-small"})
    configs = {}
    for seed in range(count):
        config = first.on_fold(1, seed)
        configs[config_key(config)] = config
        write_whole(Archive(folder).folder(config_key(config)) / "result.json", "{}")
    resources = Resources(cpus=1, gpus=0, checkpoint_epochs=0)
    return lambda: run_trials(configs, {}, folder, resources, Silence())


def utterances(count: int, folder: Path) -> Callable[[], object]:
    """A store of short utterances on the disk, opened as a worker opens it."""
    from core.batches import Batcher, derived_generator
    from core.clips import Clips
    from core.config import RunConfig
    from core.corpora.utterance import Utterance
    from core.store import FORMAT, AudioStore
    from core.whole_files import whole_file

    lengths = {f"u{number:06}": 1000 + 37 * number % 1000 for number in range(count)}
    place = folder / ("0" * 16)
    place.mkdir()
    with whole_file(place / "index.json") as file:
        file.write(json.dumps({"format": FORMAT, "lengths": lengths}).encode())
    with open(place / "samples.f32", "wb") as file:
        file.truncate(4 * sum(lengths.values()))
    labels = ("angry", "happy", "neutral", "sad")
    config = RunConfig.from_dict({"corpus.name": "iemocap"})

    def work(names: Sequence[str] = tuple(lengths)) -> int:
        store = AudioStore.open(folder, "0" * 16)
        listed = [
            Utterance(name=name, path=place, label=labels[at % 4], speaker="s", session="1")
            for at, name in enumerate(names)
        ]
        batcher = Batcher(listed, Clips(store, config.audio), labels, config.training)
        order, mixing = (derived_generator(0, 1, name) for name in ("order", "mixing"))
        drawn = batcher.shuffled(config.mixup, order, mixing)
        return len(next(drawn).utterances) + len(batcher)

    work(list(lengths)[:100])  # what is loaded at the first call is no part of it
    return work


def frames(count: int, folder: Path) -> Callable[[], object]:
    """Sixteen utterances of so many frames in all."""
    import torch

    from core.losses import supervised_contrastive

    def step(total: int) -> float:
        each = total // UTTERANCES_OF_A_BATCH
        torch.manual_seed(0)
        values = torch.randn(UTTERANCES_OF_A_BATCH, each, FEATURES, requires_grad=True)
        mask = torch.ones(UTTERANCES_OF_A_BATCH, each, dtype=torch.bool)
        loss = supervised_contrastive(values, mask, torch.arange(16) % CLASSES, 0.07)
        loss.backward()
        return loss.item()

    torch.set_num_threads(1)
    step(600)  # beyond one block, so that all kernels are loaded
    return lambda: step(count)


def measure(work: Work, size: int) -> Point:
    """In this process."""
    made = {"trials": trials, "utterances": utterances, "frames": frames}[work.name]
    clock = time.process_time if work.process_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        call = made(size, Path(folder))
        before, started = peak_bytes(), clock()
        call()
        return Point(size, clock() - started, peak_bytes() - before)


def alone(work: Work, size: int) -> Point:
    """In a process of its own."""
    command = [sys.executable, __file__, "--alone", work.name, str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    taken, extra = done.stdout.split()[-2:]
    return Point(size, float(taken), int(extra))


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of the size between the two largest points."""
    if min(values[-2:]) <= 0:
        return math.nan
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def table(work: Work, points: Sequence[Point]) -> str:
    """The points of one work in markdown."""
    clock = "CPU time" if work.process_time else "wall time"
    lines = [f"| {work.what} | {clock} | extra memory |", "| ---: | ---: | ---: |"]
    for point in points:
        memory = f"{point.extra_bytes / MEBI:.1f} MiB"
        lines.append(f"| {point.size:,} | {seconds(point.seconds)} | {memory} |".replace(",", " "))
    sizes = [float(point.size) for point in points]
    powers = [
        slope(sizes, [point.seconds for point in points]),
        slope(sizes, [float(point.extra_bytes) for point in points]),
    ]
    found = ["–" if math.isnan(power) else f"{power:.2f}" for power in powers]
    lines.append(f"| power of the size, last two | {found[0]} | {found[1]} |")
    lines.append(f"| stated, for large sizes | {work.time_power} | {work.memory_power} |")
    return "\n".join(lines)


def draw(results: dict[Work, list[Point]], path: Path) -> None:
    """Six panels on logarithmic axes: what was measured, and the stated growth as a thin line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(9.0, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(results), sharex="col", squeeze=False)
    for column, (work, points) in enumerate(results.items()):
        sizes = [point.size for point in points]
        clock = "CPU time, s" if work.process_time else "wall time, s"
        for row, (label, values, power) in enumerate(
            (
                (clock, [point.seconds for point in points], work.time_power),
                ("extra memory, MiB", [p.extra_bytes / MEBI for p in points], work.memory_power),
            )
        ):
            axes = panels[row][column]
            shown = [(size, value) for size, value in zip(sizes, values, strict=True) if value > 0]
            # From a constant, the least that was measured, to the last point.
            (first, _), (last, value) = shown[0], shown[-1]
            least = min(value for _, value in shown)
            stated = [
                least
                + (value - least) * (size**power - first**power) / (last**power - first**power)
                for size in sizes
            ]
            name = "a constant and " + ("linear" if power == 1 else "quadratic")
            axes.plot(sizes, stated, color="0.45", linewidth=0.8, label=f"stated: {name}")
            axes.plot(*zip(*shown, strict=True), "o", color="#1f5fa8", markersize=5)
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(least / 3, 5 * max(value for _, value in shown))
            axes.set_xticks(sizes, [f"{size:,}".replace(",", "\u2009") for size in sizes])
            axes.minorticks_off()
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.set_ylabel(label, fontsize=9)
            axes.tick_params(labelsize=7.5)
            axes.grid(color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.legend(fontsize=8, frameon=False, loc="upper left")
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        panels[0][column].set_title(work.what, fontsize=9)
        panels[1][column].set_xlabel(work.name, fontsize=9)
    figure.savefig(path, dpi=150)


def write(results: dict[Work, list[Point]], folder: Path, note: str = "") -> None:
    """The figure, and the table with a note above it."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder / "growth.png")
    parts = ["# Growth", "`python tests/benchmarks/bench_growth.py`", "![growth](growth.png)"]
    parts += [note] if note else []
    parts += [table(work, points) for work, points in results.items()]
    (folder / "table.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print, and write the figure and the table where everything was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [work.name for work in WORKS]
    parser.add_argument("names", nargs="*", choices=[*names, []], help="which; all by default")
    parser.add_argument("--largest", type=int, help="leave out larger sizes, and write nothing")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR")
    parser.add_argument("--alone", nargs=2, metavar=("NAME", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    works = {work.name: work for work in WORKS}
    if options.alone:
        point = measure(works[options.alone[0]], int(options.alone[1]))
        print(point.seconds, point.extra_bytes)
        return
    results: dict[Work, list[Point]] = {}
    for name in options.names or names:
        work = works[name]
        sizes = [size for size in work.sizes if size <= (options.largest or size)]
        results[work] = [alone(work, size) for size in sizes]
        print(table(work, results[work]), end="\n\n", flush=True)
    if options.names or options.largest:
        return
    write(results, options.out)


if __name__ == "__main__":
    main()
