"""Folds as Ray Tune trials: one epoch a step, actors reused, a failed fold never stops the rest.

Tune schedules and retries; what is finished is decided by the archive, not by Tune's own state.
"""

import os
import signal
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ray import tune
from ray.tune.callback import Callback
from ray.tune.experiment import Trial as TuneTrial

from ablation.archive import Archive, write_whole
from ablation.cluster import Resources, cluster
from core.config import RunConfig
from core.fold import CorpusAudio, Fold, best_device
from core.result import EpochMetrics
from core.snapshots import discard


class Interrupted(BaseException):
    """The user asked to stop; a BaseException, which Tune does not take for a trial's failure."""


class Listener(Protocol):
    """Who follows the trials; every call comes from the driver's own thread."""

    def trial_started(self, run_id: str) -> None: ...
    def trial_remarked(self, run_id: str, remark: str) -> None: ...
    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None: ...
    def trial_finished(self, run_id: str) -> None: ...
    def trial_failed(self, run_id: str, reason: str) -> None: ...


class FoldTrainable(tune.Trainable):
    """One fold in an actor. `config["trial"]` holds `run_id` and the config as plain values."""

    def setup(
        self,
        config: dict[str, Any],
        corpora: Mapping[str, CorpusAudio],
        runs: Path,
        here: Path,
        resources: Resources,
    ) -> None:
        """Tune may set up an actor for a trial that already runs in another: nothing is written."""
        os.chdir(here)  # relative paths in a grid are meant from where the runner was started
        self._corpora = corpora
        self._archive = Archive(runs)
        self._checkpoint_epochs = resources.checkpoint_epochs
        self._fold: Fold | None = None
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process, imports and mapped audio kept."""
        self._assign(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch; after the last one, score and archive the fold."""
        if self._archive.holds(self._run_id):
            return {"done": True}
        try:
            return self._step()
        except Exception as error:  # the trial's own failure: it is reported, the others go on
            self._fold = None
            log = self._archive.folder(self._run_id) / "error.txt"
            write_whole(log, traceback.format_exc())
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return {"done": True, "failure": f"{reason} (see {log})"}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: Tune's checkpoints are off."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: Tune's checkpoints are off."""

    def _assign(self, config: dict[str, Any]) -> None:
        self._run_id: str = config["trial"]["run_id"]
        self._config = RunConfig.from_dict(config["trial"]["config"])
        self._fold = None

    def _step(self) -> dict[str, Any]:
        report: dict[str, Any] = {"done": False}
        folder = self._archive.checkpoints(self._run_id)
        if self._fold is None:
            corpus = self._corpora[self._config.corpus.name]
            self._fold = Fold(self._config, corpus, best_device())
            report["remarks"] = self._fold.resume(folder)
            if epochs := len(self._fold.history):
                report["remarks"].append(f"goes on after epoch {epochs}")
        fold = self._fold
        if not fold.finished:  # it is where the process was killed after the last checkpoint
            report["metrics"] = asdict(fold.step())
        if fold.finished:
            self._archive.save(fold.result())
            discard(folder)
            self._fold = None
            report["done"] = True
        elif self._checkpoint_epochs and len(fold.history) % self._checkpoint_epochs == 0:
            try:
                fold.save(folder)
            except OSError as error:  # a full disk, say; training needs no checkpoint to go on
                text = f"no checkpoint after epoch {len(fold.history)}: {error}"
                report["remarks"] = [*report.get("remarks", ()), text]
        return report


class _Follower(Callback):
    """Passes Tune's events on. Its own exceptions would end the whole experiment."""

    def __init__(self, listener: Listener, stop: threading.Event) -> None:
        self._listener = listener
        self._stop = stop
        self._over: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks for a restore that we never ask for."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if self._stop.is_set():
            raise Interrupted

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self._listener.trial_started(_run_id(trial))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[TuneTrial],
        trial: TuneTrial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        for remark in result.get("remarks", ()):
            self._listener.trial_remarked(_run_id(trial), remark)
        if "metrics" in result:
            self._listener.epoch_finished(_run_id(trial), EpochMetrics(**result["metrics"]))

    def on_trial_complete(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        failure = (trial.last_result or {}).get("failure")
        self._close(trial, failure)

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        lines = str(trial.get_error() or "its process ended").strip().splitlines()
        self._close(trial, f"{lines[-1].strip()} (see {trial.error_file})")

    def _close(self, trial: TuneTrial, failure: str | None) -> None:
        run_id = _run_id(trial)
        if run_id in self._over:
            return
        self._over.add(run_id)
        if failure is None:
            self._listener.trial_finished(run_id)
        else:
            self._listener.trial_failed(run_id, failure)


def run_trials(
    trials: Mapping[str, RunConfig],
    corpora: Mapping[str, CorpusAudio],
    runs: Path,
    resources: Resources,
    listener: Listener,
) -> None:
    """Train every trial that the archive does not hold yet.

    Args:
        trials: Configs by run id.
        corpora: Audio by corpus name.
        runs: The folder of the archive; every node must see it under this path.
        resources: Per trial.
        listener: Told of each start, epoch, end and failure.
    Raises:
        Interrupted: SIGINT or SIGTERM came; nothing that was finished is lost.
    """
    listed = [{"run_id": name, "config": config.to_dict()} for name, config in trials.items()]
    with _signals() as stop, cluster(resources) as gpus, tempfile.TemporaryDirectory() as scratch:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(
                    FoldTrainable,
                    corpora=dict(corpora),
                    runs=runs.resolve(),
                    here=Path.cwd(),
                    resources=resources,
                ),
                {"cpu": resources.cpus, "gpu": gpus},
            ),
            param_space={"trial": tune.grid_search(listed)},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=resources.at_once),
            run_config=tune.RunConfig(
                storage_path=scratch,
                callbacks=[_Follower(listener, stop)],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0, checkpoint_at_end=False
                ),
                verbose=0,
            ),
        ).fit()


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into a flag, where this is the main thread; put back afterwards."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_id(trial: TuneTrial) -> str:
    return str(trial.config["trial"]["run_id"])
