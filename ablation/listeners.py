"""Who is told what becomes of trials, by run id."""

from collections.abc import Iterable
from typing import Protocol

from core.result import EpochMetrics


class Listener(Protocol):
    """Who follows the trials; every call comes from the driver's own thread."""

    def trial_started(self, run_id: str) -> None: ...
    def trial_remarked(self, run_id: str, remark: str) -> None: ...
    def trial_retried(self, run_id: str, reason: str) -> None: ...
    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None: ...
    def trial_finished(self, run_id: str) -> None: ...
    def trial_failed(self, run_id: str, reason: str) -> None: ...


class Listeners:
    """Several listeners as one."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        self._listeners = tuple(listeners)

    def trial_started(self, run_id: str) -> None:
        for listener in self._listeners:
            listener.trial_started(run_id)

    def trial_remarked(self, run_id: str, remark: str) -> None:
        for listener in self._listeners:
            listener.trial_remarked(run_id, remark)

    def trial_retried(self, run_id: str, reason: str) -> None:
        for listener in self._listeners:
            listener.trial_retried(run_id, reason)

    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None:
        for listener in self._listeners:
            listener.epoch_finished(run_id, metrics)

    def trial_finished(self, run_id: str) -> None:
        for listener in self._listeners:
            listener.trial_finished(run_id)

    def trial_failed(self, run_id: str, reason: str) -> None:
        for listener in self._listeners:
            listener.trial_failed(run_id, reason)
