"""Ray Tune over the missing folds: who follows them, what stops them, what starts them again."""

import json
import logging
import signal
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import ray.exceptions
from ray import tune
from ray.tune.callback import Callback
from ray.tune.experiment import Trial as TuneTrial

from ablation.archive import Archive
from ablation.cluster import Resources, cluster
from ablation.interruption import Interrupted
from ablation.listeners import Listener
from ablation.packing import gpu_shares
from ablation.trainable import FoldTrainable
from ablation.turns import Turns
from core.config import RunConfig
from core.fold import CorpusAudio
from core.result import EpochMetrics

# What fails is said by the listener, once and in our words; Tune would print tracebacks between.
logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


_LAST_WRITES_S = 2.0  # workers are still ending when Ray has let go of them


class _Follower(Callback):
    """Passes Tune's events on. Its own exceptions would end the whole experiment."""

    def __init__(self, listener: Listener, signals: "_Signals", archive: Archive) -> None:
        self.running: set[str] = set()
        self.over: set[str] = set()
        self.turns = Turns(self.running)
        self._listener = listener
        self._signals = signals
        self._archive = archive

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles callbacks for a restore that we never ask for."""
        return {}

    def on_step_begin(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if self._signals.came:
            raise Interrupted

    def on_trial_start(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running.add(_run_id(trial))
        self.turns.started()
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

    def on_trial_recover(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.running.discard(_run_id(trial))
        self.turns.lost()
        self._listener.trial_retried(_run_id(trial), _reason(trial))

    def on_trial_error(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any
    ) -> None:
        self.turns.lost()
        log = self._archive.log_failure(_run_id(trial), str(trial.get_error() or ""))
        self._close(trial, f"{_reason(trial)} (see {log})")

    def remarked(self, run_id: str, remark: str) -> None:
        """Pass on what is found out of a trial before it starts."""
        self._listener.trial_remarked(run_id, remark)

    def lost_memory(self, limits: Mapping[str, tuple[int | None, int]]) -> None:
        """Let every trial under way take less, or fail where it can't.

        Ray ended one of them, the machine being out of memory, and does not say which.
        """
        for run_id in sorted(self.running):
            if remark := self._archive.take_less(run_id, *limits[run_id]):
                self._listener.trial_remarked(run_id, remark)
            else:
                self._end(run_id, "out of memory with one utterance at once")

    def _close(self, trial: TuneTrial, failure: str | None) -> None:
        self._end(_run_id(trial), failure)

    def _end(self, run_id: str, failure: str | None) -> None:
        self.running.discard(run_id)
        if run_id in self.over:
            return
        self.over.add(run_id)
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

    Beside the trainings, time and the driver's memory grow with the number of trials.

    Args:
        trials: Configs by run id.
        corpora: Audio by corpus name.
        runs: The folder of the archive; every node must see it under this path.
        resources: Per trial.
        listener: Told of each start, epoch, end and failure.
    Raises:
        Interrupted: SIGINT or SIGTERM came; nothing that was finished is lost.
    """
    limits = {
        name: (resources.micro_batch, config.training.batch_size) for name, config in trials.items()
    }
    left, archive = dict(trials), Archive(runs)
    with _Signals() as signals:
        while left:
            follower = _Follower(listener, signals, archive)
            try:
                _fit(left, corpora, runs, resources, follower, signals)
                return
            except SystemExit as left_by_ray:  # what it makes of SIGTERM while it starts
                raise Interrupted from left_by_ray
            except RuntimeError as error:
                # Tune has no place for this one and gives up on all trials; the others are sound.
                if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
                    raise
            finally:
                archive.sweep(trials, _LAST_WRITES_S)
            follower.lost_memory(limits)
            left = {name: config for name, config in left.items() if name not in follower.over}


def _fit(
    trials: Mapping[str, RunConfig],
    corpora: Mapping[str, CorpusAudio],
    runs: Path,
    resources: Resources,
    follower: _Follower,
    signals: "_Signals",
) -> None:
    # Tune copies the whole list of what it is to try for each trial of it (Ray 2.60): names, in
    # place of configs. Copied as they are, 5 000 configs take hours before the first trial starts.
    configs = {name: json.dumps(config.to_dict()) for name, config in trials.items()}
    # A worker that is being stopped may still write there: what is left is no error.
    scratch_folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with cluster(resources) as gpus, scratch_folder as scratch:
        signals.catch()
        if signals.came:
            raise Interrupted
        trainable = tune.with_parameters(
            FoldTrainable,
            configs=configs,
            corpora=dict(corpora),
            runs=runs.resolve(),
            here=Path.cwd(),
            resources=resources,
        )
        shares = {}
        if resources.packed and gpus:
            shares = gpu_shares(trials, corpora, resources, follower.remarked)
        tune.Tuner(
            tune.with_resources(trainable, _request(resources.cpus, gpus, shares)),
            param_space={"run_id": tune.grid_search(list(configs))},
            tune_config=tune.TuneConfig(
                scheduler=follower.turns,
                reuse_actors=True,
                max_concurrent_trials=resources.at_once,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                callbacks=[follower],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
                checkpoint_config=tune.CheckpointConfig(
                    checkpoint_frequency=0, checkpoint_at_end=False
                ),
                verbose=0,
            ),
        ).fit()


def _request(cpus: float, gpus: float, shares: Mapping[str, float]) -> Any:
    """What trials reserve: all the same, or each its own share of a GPU."""
    if not shares:
        return {"cpu": cpus, "gpu": gpus}
    return lambda config: tune.PlacementGroupFactory(
        [{"CPU": cpus, "GPU": shares[config["run_id"]]}]
    )


class _Signals:
    """SIGINT and SIGTERM as a question, where this is the main thread; put back afterwards.

    A second one, where the first is not heeded, ends whatever is going on.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
        self._before = {number: signal.getsignal(number) for number in self.NUMBERS}
        self.catch()
        return self

    def __exit__(self, *error: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def catch(self) -> None:
        """Take the signals; again after Ray has started, which takes SIGTERM for itself."""
        if threading.current_thread() is threading.main_thread():
            for number in self.NUMBERS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


def _run_id(trial: TuneTrial) -> str:
    return str(trial.config["run_id"])


def _reason(trial: TuneTrial) -> str:
    """The last line of what Tune knows, in our words where a process was ended from outside."""
    lines = [line.strip() for line in str(trial.get_error() or "").splitlines() if line.strip()]
    latest = " ".join(lines[-60:])
    if "running low on memory" in latest:
        return "its process was ended, the machine being out of memory"
    if not lines or "actor died" in latest or "actor is dead" in latest:
        return "its process was killed, or its node was lost"
    return lines[-1]
