"""Which trial is next: the first that waits, past those that a new process starts for."""

import time
from collections.abc import Collection
from itertools import islice

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

REPLACED_S = 120.0  # a lost process has its successor by then, or its node is gone


class Turns(FIFOScheduler):
    """Tune's order of trials, that of the study, with a way around a starvation of Ray 2.60.

    Tune asks for a process for every trial that waits, and room for one goes to the next in line.
    Should that trial be given a process that another has left before its own is up, its own is
    thrown away. So where trials end faster than processes start, which many GPUs suffice for, the
    room of a process that was lost would stay empty to the end of the study. While one is replaced,
    free processes are therefore for the trials behind as many as there are processes too few.
    """

    def __init__(self, running: Collection[str]) -> None:
        """`running`: the trials that run; who notes their starts and ends keeps it."""
        super().__init__()
        self._running = running
        self._most = 0  # that have run at once
        self._lost_at: float | None = None
        self._finished = 0  # so many of Tune's trials, from its first on

    def started(self) -> None:
        """One more trial runs."""
        if len(self._running) >= self._most:
            self._most = len(self._running)
            self._lost_at = None

    def lost(self) -> None:
        """A trial has ended with its process, which is not there for the next."""
        self._lost_at = time.monotonic()

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """The trial that a free process is for."""
        trials = tune_controller.get_trials()
        while self._finished < len(trials) and trials[self._finished].is_finished():
            self._finished += 1
        waiting = (trial for trial in trials[self._finished :] if trial.status == Trial.PENDING)
        started_for = max(0, self._most - len(self._running)) if self._is_replacing else 0
        first = list(islice(waiting, 1 + started_for))
        return first[-1] if first else None

    @property
    def _is_replacing(self) -> bool:
        return self._lost_at is not None and time.monotonic() - self._lost_at < REPLACED_S
