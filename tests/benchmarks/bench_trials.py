"""What a trial costs beside its training, against Ray's stock function trainable.

    python tests/benchmarks/bench_trials.py

Both run the same tiny folds one after another on one CPU; a trial's overhead is the slope between
few and many trials, less what the fold takes in a plain loop in this process. Of the stock ones
there are fewer: each starts a process of its own.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ray
import torch
from ray import tune

from ablation.cluster import Resources
from ablation.corpora import prepare
from ablation.demo import demo_corpus
from ablation.trials import run_trials
from core.config import RunConfig
from core.corpora.catalog import CORPORA
from core.fold import CorpusAudio, run_fold
from core.identity import run_id
from core.result import EpochMetrics
from tests.benchmarks.paired import HEADER, Line, seconds

OURS, STOCK, READINGS = (4, 24), (1, 5), 5  # few and many trials


class Silence:
    """A listener that says nothing."""

    def trial_started(self, run_id: str) -> None: ...
    def trial_remarked(self, run_id: str, remark: str) -> None: ...
    def trial_retried(self, run_id: str, reason: str) -> None: ...
    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None: ...
    def trial_finished(self, run_id: str) -> None: ...

    def trial_failed(self, run_id: str, reason: str) -> None:
        raise AssertionError(f"{run_id}: {reason}")


def small_corpus(folder: Path) -> CorpusAudio:
    """The demo's SAVEE."""
    corpus = CORPORA["savee"]
    parsed = corpus.parse(demo_corpus("savee", folder))
    audio, _ = prepare(
        corpus, corpus.default_scheme, parsed, folder / "store", workers=2, skip_bad_audio=False
    )
    return audio


def configs(audio: CorpusAudio, count: int) -> dict[str, RunConfig]:
    """So many different experiments of one short epoch."""
    settings = {"corpus.name": "savee", "encoder.name": "logmel-small", "training.epochs": 1}
    first = RunConfig.from_dict(settings)
    found = {}
    for seed in range(count):
        config = replace(first, seed=seed)
        found[run_id(config, audio.store.fingerprint, "0" * 16)] = config
    return found


def ours(audio: CorpusAudio, count: int, folder: Path) -> None:
    """Through the runner's own trials."""
    resources = Resources(cpus=1, gpus=0, at_once=1, checkpoint_epochs=0)
    runs = Path(tempfile.mkdtemp(dir=folder))
    run_trials(configs(audio, count), {"savee": audio}, runs, resources, Silence())


def stock(audio: CorpusAudio, count: int, folder: Path) -> None:
    """As Ray's documentation has it: a function, a Tuner."""

    def train(config: dict[str, Any]) -> dict[str, float]:
        result = run_fold(RunConfig.from_dict(config["settings"]), audio)
        return {"n": float(len(result.predictions))}

    listed = [config.to_dict() for config in configs(audio, count).values()]
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            param_space={"settings": tune.grid_search(listed)},
            tune_config=tune.TuneConfig(max_concurrent_trials=1),
            run_config=tune.RunConfig(storage_path=tempfile.mkdtemp(dir=folder), verbose=0),
        ).fit()
    finally:
        ray.shutdown()


def overhead(
    run: Callable[[CorpusAudio, int, Path], None],
    counts: tuple[int, int],
    audio: CorpusAudio,
    at: Path,
) -> float:
    """Seconds a trial, its training included."""
    times = []
    for count in counts:
        started = time.perf_counter()
        run(audio, count, at)
        times.append(time.perf_counter() - started)
    return (times[1] - times[0]) / (counts[1] - counts[0])


def lines() -> Iterator[Line]:
    """The overhead, by turns."""
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        audio = small_corpus(at)
        (config, *_) = configs(audio, 1).values()
        plain = []
        for _ in range(READINGS):
            started = time.perf_counter()
            run_fold(config, audio, device=torch.device("cpu"))
            plain.append(time.perf_counter() - started)
        pairs = [
            (overhead(ours, OURS, audio, at), overhead(stock, STOCK, audio, at))
            for _ in range(READINGS)
        ]
        own = median(pair[0] for pair in pairs) - median(plain)
        theirs = median(pair[1] for pair in pairs) - median(plain)
        yield Line(
            what=f"a trial beside its training ({seconds(median(plain))}), against Ray's function",
            ours=seconds(own),
            peer=seconds(theirs),
            ratio=f"{theirs / own:.1f}×",
            aim="≤ 0.3 s",
        )


if __name__ == "__main__":
    print(HEADER, *lines(), sep="\n")
