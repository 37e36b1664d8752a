"""Trials beside one another on a GPU, as many as its memory holds."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ablation.cluster import Resources, each
from ablation.costs import kind_of
from core.config import RunConfig
from core.devices import best_device
from core.fold import CorpusAudio
from core.speed import peak_bytes

MARGIN = 0.1  # O: of the measured peak, for fragments and for batches that mixing makes longer
CONTEXT_BYTES = 600 << 20  # O: of a process's CUDA context and libraries; torch does not count it
MOST = 16  # O: beyond it, processes take each other's turns on the chip and gain nothing
STEPS_OF_A_GPU = 10_000  # Ray counts a GPU in ten thousandths


def share_of(peak_bytes: int, free_bytes: int) -> float:
    """The part of a GPU for a trial of this peak: 1, 1/2, 1/3, ..., so that all of it is used.

    Equal parts let an actor take the next trial. What is too large for a whole GPU gets one, and
    halves its micro-batch if it has to.
    """
    needed = peak_bytes * (1 + MARGIN) + CONTEXT_BYTES
    beside = min(max(int(free_bytes / needed), 1), MOST)
    return STEPS_OF_A_GPU // beside / STEPS_OF_A_GPU


def gpu_shares(
    trials: Mapping[str, RunConfig],
    corpora: Mapping[str, CorpusAudio],
    resources: Resources,
    remark: Callable[[str, str], None],
) -> dict[str, float]:
    """The part of a GPU that each trial reserves, by run id.

    Args:
        remark: Told of the first trial of each kind, by run id, what was measured.
    Returns:
        By the peak of each kind of trial, measured in a process that has a whole GPU and then ends.
    """
    kinds = {name: _kind(config) for name, config in trials.items()}
    first = {kind: name for name, kind in reversed(kinds.items())}
    configs = [trials[name] for name in first.values()]
    shared = (corpora, Path.cwd(), resources.micro_batch)
    peaks = each(_measure, configs, shared, (resources.cpus, 1.0), fresh=True)
    parts = {}
    for (kind, name), (peak, free) in zip(first.items(), peaks, strict=True):
        parts[kind] = share_of(peak, free)
        remark(name, described(peak, parts[kind]))
    return {name: parts[kind] for name, kind in kinds.items()}


def _kind(config: RunConfig) -> tuple[str, str, str]:
    return config.encoder.name, config.corpus.name, kind_of(config)


def _measure(
    config: RunConfig, shared: tuple[Mapping[str, CorpusAudio], Path, int | None]
) -> tuple[int, int]:
    """In a worker: the peak of a training's memory on its GPU, and what others have left there."""
    corpora, here, micro_batch = shared
    os.chdir(here)  # relative paths in a grid are meant from where the runner was started
    device = best_device()
    corpus = corpora[config.corpus.name]
    free, _ = torch.cuda.mem_get_info(device)
    return peak_bytes(config, corpus, device, micro_batch=micro_batch), free


def described(peak_bytes: int, share: float) -> str:
    """What was measured of a kind of trial, in words."""
    beside = round(1 / share)
    trials = f"{beside} such trials" if beside > 1 else "one such trial"
    return f"took {peak_bytes / 1e9:.1f} GB of a GPU at its peak: {trials} to a GPU"
