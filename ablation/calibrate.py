"""`--plan --calibrate`: a few steps of every kind of trial, by Ray, as trials themselves run."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ablation.archive import Archive
from ablation.cluster import Resources, cluster, each
from ablation.costs import Cost, kind_of
from ablation.grid import Grid
from ablation.options import Options
from ablation.page.drawings import MOST_DRAWN
from ablation.study import check_encoder, is_wanted, open_corpora, store_frames, trials_by_run_id
from ablation.workload import longest_first
from core.classifiers import NETWORK
from core.config import RunConfig
from core.devices import best_device, use_deterministic_kernels
from core.fold import CorpusAudio
from core.identity import config_key
from core.speed import FoldTime, measure_folds, warm_up

END_S = 3.0  # O: from the last fold to the table: MLflow's last words, the report
PICTURES_S = 0.4  # O: measured, of each row that has its own pictures: its confusion and its curves

_Shared = tuple[Mapping[str, CorpusAudio], Path, Resources]


def calibrate(
    grid: Grid, options: Options, resources: Resources, console: Console, imports_s: float
) -> None:
    """Measure what has not finished yet, one trial of a kind, and keep it under `runs/`.

    Takes the start of a study and nine steps of every kind.

    Args:
        imports_s: What it took to import torch, Ray and MLflow.
    Raises:
        As `ablation.study.run_study`.
    """
    for encoder, pooling in dict.fromkeys((c.config.encoder, c.config.pooling) for c in grid.cells):
        check_encoder(encoder, pooling)
    corpora = open_corpora(grid, options, console)
    archive = Archive(options.runs)
    named = trials_by_run_id(grid.trials(), corpora)
    missing = {
        key: group[0].config
        for key, group in named.items()
        if is_wanted(group, options) and not archive.holds(key)
        if group[0].config.classifier.method == NETWORK  # a baseline has no steps
    }
    kinds = _kinds(longest_first(missing))
    if not kinds:
        return
    store_frames(kinds, corpora, console)
    console.print(Text(f"measuring {len(kinds)} kinds of trial"), soft_wrap=True)
    started = time.time()
    with cluster(resources) as gpus:
        share = (resources.cpus, gpus)
        measured = each(_measure, kinds, (corpora, Path.cwd(), resources), share)
    start_s = imports_s + min(began for began, _ in measured) - started + end_s(grid)
    costs = [
        _cost(config, found)
        for config, (_, folds) in zip(kinds, measured, strict=True)
        for found in folds
    ]
    archive.note_calibration(costs, start_s)


def end_s(grid: Grid) -> float:
    """Seconds from the last fold of a study to its table and its page."""
    rows = Counter(cell.corpus.name for cell in grid.cells)
    pictured = sum(count if count <= MOST_DRAWN else 2 for count in rows.values())
    return END_S + PICTURES_S * pictured


def _kinds(missing: Mapping[str, RunConfig]) -> list[RunConfig]:
    """One config of every encoder, corpus and kind."""
    first: dict[tuple[str, str, str], RunConfig] = {}
    for config in missing.values():
        key = (config.encoder.name, config.corpus.name, kind_of(config))
        first.setdefault(key, config)
    return list(first.values())


def _measure(config: RunConfig, shared: _Shared) -> tuple[float, list[FoldTime]]:
    """In a worker: when it began, and the times."""
    corpora, here, resources = shared
    os.chdir(here)  # relative paths in a grid are meant from where the runner was started
    if resources.deterministic:
        use_deterministic_kernels()
    warm_up()
    began = time.time()
    corpus = corpora[config.corpus.name]
    return began, measure_folds(config, corpus, best_device(), resources.micro_batch)


def _cost(config: RunConfig, found: FoldTime) -> Cost:
    on_fold = config.on_fold(found.fold, config.seed)
    return Cost(
        config_key=config_key(on_fold),
        encoder=config.encoder.name,
        corpus=config.corpus.name,
        epoch_seconds=found.epoch_seconds,
        fold=found.fold,
        kind=kind_of(config),
        around_seconds=found.around_seconds,
    )
