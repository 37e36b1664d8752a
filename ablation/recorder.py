"""Carries what trials report to MLflow, in a thread of its own: training never waits for it."""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from ablation.aggregate import Summary
from ablation.archive import Archive
from ablation.grid import Trial
from ablation.tracking import Tracker
from core.result import EpochMetrics


class Recorder:
    """A queue in front of one tracker. What MLflow refuses is kept for `problems`, never raised:
    the archive holds every finished fold, and `sync` sends whatever is missing."""

    def __init__(
        self,
        open_tracker: Callable[[], Tracker],
        trials: Mapping[str, list[Trial]],
        archive: Archive,
    ) -> None:
        self.problems: list[str] = []
        self._open_tracker = open_tracker
        self._trials = trials  # one run id may stand in several rows
        self._archive = archive
        self._tracker: Tracker | None = None
        self._jobs: queue.SimpleQueue[Callable[[Tracker], None] | threading.Event | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def forget(self, run_id: str) -> None:
        """Remove what MLflow holds of a fold that is to be trained anew."""
        self._for_each(run_id, lambda tracker, trial: tracker.forget(trial, run_id))

    def trial_started(self, run_id: str) -> None:
        """Open the fold's run."""
        self._for_each(run_id, lambda tracker, trial: tracker.start(trial, run_id))

    def trial_remarked(self, run_id: str, remark: str) -> None:
        """Nothing: what a checkpoint was like is no result."""

    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None:
        """Log one epoch."""
        self._for_each(run_id, lambda tracker, trial: tracker.epoch(trial, run_id, metrics))

    def trial_finished(self, run_id: str) -> None:
        """Log the archived fold whole."""
        self._for_each(
            run_id, lambda tracker, trial: tracker.finish(trial, self._archive.load(run_id))
        )

    def trial_failed(self, run_id: str, reason: str) -> None:
        """Mark the fold's run as failed."""
        self._for_each(run_id, lambda tracker, trial: tracker.fail(trial, run_id, reason))

    def sync(self) -> None:
        """Send every archived fold that MLflow does not hold, after what is queued already."""
        self._jobs.put(self._sync)

    def wait(self) -> None:
        """Return when everything queued so far has been done."""
        done = threading.Event()
        self._jobs.put(done)
        done.wait()

    def close(self, summaries: Iterable[Summary] = ()) -> None:
        """Finish what is queued, log the rows' means, leave no run open, and stop."""
        rows = tuple(summaries)
        self._jobs.put(lambda tracker: tracker.log_rows(rows))
        self._jobs.put(lambda tracker: tracker.close())
        self._jobs.put(None)
        self._thread.join()

    def _for_each(self, run_id: str, job: Callable[[Tracker, Trial], None]) -> None:
        for trial in self._trials[run_id]:
            self._jobs.put(partial(_swapped, job, trial))

    def _sync(self, tracker: Tracker) -> None:
        there = tracker.finished()
        for run_id, trials in self._trials.items():
            missing = [trial for trial in trials if (trial.row, run_id) not in there]
            if missing and self._archive.holds(run_id):
                result = self._archive.load(run_id)
                for trial in missing:
                    tracker.finish(trial, result)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if isinstance(job, threading.Event):
                job.set()
                continue
            try:
                if self._tracker is None:
                    self._tracker = self._open_tracker()
                job(self._tracker)
            except Exception as error:  # whatever a database or a server can raise
                text = " ".join(f"{type(error).__name__}: {error}".split())
                if text not in self.problems:
                    self.problems.append(text)


def _swapped(job: Callable[[Tracker, Trial], None], trial: Trial, tracker: Tracker) -> None:
    job(tracker, trial)
