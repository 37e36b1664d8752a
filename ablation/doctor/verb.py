"""The verb `doctor`: what stands between this machine and a run, each with its remedy.

It answers also where packages are missing or broken: what needs them is imported where it is used,
and torch in a process of its own.
"""

import os
import platform
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from shutil import disk_usage
from typing import TYPE_CHECKING

from ablation.command_line import packs, study_options, wanted_resources
from ablation.doctor.cluster import cluster_finding
from ablation.doctor.findings import INSTALL, Finding, Look, problem
from ablation.doctor.gpu import Wish, gpu_finding, nvidia_driver
from ablation.doctor.machine import (
    disk_finding,
    folder_finding,
    memory,
    memory_finding,
    nearest,
    scratch_finding,
    shared_memory_bytes,
    shared_memory_finding,
)
from ablation.doctor.packages import (
    Requirements,
    packages_finding,
    probe_torch,
    python_finding,
    requirements,
    torch_finding,
)
from ablation.doctor.torch_probe import TorchFacts
from ablation.doctor.tracking import tracking_finding
from ablation.doctor.view import show, show_json
from ablation.options import Options

if TYPE_CHECKING:
    from ablation.doctor.load import Load
    from ablation.grid import Grid

ROOT = Path(__file__).resolve().parent.parent
ANOTHER = "give yourself the right to write there, or another folder:"
READY, NOT_READY = 0, 1  # exit statuses


def examine(options: Namespace, read_grid: Callable[[], "Grid"]) -> int:
    """Look at this machine and print what is found; returns the exit status.

    Args:
        read_grid: Reads the grid that the options name; not called where they name none.
    Raises:
        ablation.grid.GridError: the grid can't be run anywhere.
    """
    grid: Grid | None = None
    looks: list[tuple[str, Look]] = []
    if options.grid is not None:
        try:
            grid = read_grid()
        except ImportError as error:
            text = f"{options.grid} can't be read: {error}"
            unread = problem("grid", text, f"{INSTALL}, then look again")
            looks.append(("grid", lambda: unread))
    looks += _looks(options, grid)
    title = f"this machine for {options.grid or 'any run'}{' --demo' * options.demo}"
    seen = show_json(looks, title) if options.json else show(looks, title)
    return NOT_READY if any(item.state == "problem" for item in seen) else READY


def _looks(options: Namespace, grid: "Grid | None") -> Iterator[tuple[str, Look]]:
    """Every look in the order of the report; what several need is found out once."""
    study = study_options(options)

    @cache
    def required() -> Requirements:
        return requirements(ROOT)

    @cache
    def torch() -> TorchFacts:
        return probe_torch(ROOT)

    @cache
    def load() -> "Load | None":
        return _load(options, grid) if grid else None

    yield "python", lambda: python_finding(required().python, platform.python_version())
    yield "packages", lambda: packages_finding(required().packages)
    yield "torch", lambda: torch_finding(torch(), required().packages)
    if not options.address:
        yield "gpu", lambda: _gpu(options, torch(), load())
        yield "memory", lambda: memory_finding(memory(), load())
        yield "shared memory", lambda: shared_memory_finding(shared_memory_bytes(), memory())
        yield "scratch", lambda: scratch_finding(os.environ)
    yield "runs", lambda: folder_finding("runs", study.runs, f"{ANOTHER} --runs DIR")
    yield "reports", lambda: folder_finding("reports", study.reports, f"{ANOTHER} --reports DIR")
    yield "disk", lambda: disk_finding(disk_usage(nearest(study.runs)).free, study.runs, load())
    yield "tracking", lambda: tracking_finding(study.uri, study.runs, os.environ)
    if options.address:
        yield "cluster", lambda: cluster_finding(options.address, os.environ)
    if grid:
        yield from _grid_looks(study, grid, lambda: _load(options, grid), options.address)
    elif (data := study.data) and options.grid is None:
        yield "corpus", lambda: _data(data)


def _grid_looks(
    study: Options, grid: "Grid", load: Callable[[], "Load"], address: str | None
) -> Iterator[tuple[str, Look]]:
    """What needs the packages: their modules are imported inside each look."""

    def trials() -> Finding:
        from ablation.doctor.study import trials_finding

        return trials_finding(load(), address)

    def encoders() -> Iterable[Finding]:
        from ablation.doctor.study import encoder_findings

        return encoder_findings(grid, study)

    def corpora() -> Iterable[Finding]:
        from ablation.doctor.study import corpus_findings

        return corpus_findings(grid, study)

    yield "trials", trials
    yield "encoder", encoders
    yield "corpus", corpora


def _data(folder: Path) -> Finding:
    from ablation.doctor.study import data_finding

    return data_finding(folder)


def _load(options: Namespace, grid: "Grid") -> "Load":
    from ablation.doctor.load import load_of

    wanted = wanted_resources(options)
    return load_of(grid, study_options(options), wanted, options.checkpoint_epochs)


def _gpu(options: Namespace, facts: TorchFacts, load: "Load | None") -> Finding:
    wish = Wish(
        gpus=None if packs(options) else options.gpus_per_trial,
        large=load.large if load else (),
        micro_batch=options.micro_batch is not None,
    )
    return gpu_finding(facts, nvidia_driver(), os.environ.get("CUDA_VISIBLE_DEVICES"), wish)
