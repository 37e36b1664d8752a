"""Carries what trials report to MLflow, in a thread of its own: training never waits for it."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from ablation.aggregate import Summary
from ablation.archive import Archive
from ablation.backlog import Backlog, Job, Patience, Subject
from ablation.grid import Trial
from ablation.logged import Search
from ablation.outages import described, may_pass
from ablation.tracking import Tracker
from core.result import EpochMetrics

STUDY: Subject = ("", "")  # of jobs that are about no single fold
SCORING_S = 60.0  # O: a result written so soon after its last epoch is that epoch's
CLOSE = Job(subject=STUDY, name="close", send=lambda tracker: tracker.close(), kind="closing")


class Recorder:
    """A queue in front of one tracker.

    While MLflow is out of reach, training goes on and what has to arrive is tried again, until it
    has arrived or `wait` loses its patience. What MLflow refuses, or has not got in the end, is
    kept in `problems`, never raised: the archive holds every finished fold, and `sync` sends
    whatever is missing.
    """

    def __init__(
        self,
        open_tracker: Callable[[], Tracker],
        trials: Mapping[str, list[Trial]],
        archive: Archive,
        tell: Callable[[str], None] = lambda remark: None,
        patience: Patience | None = None,
    ) -> None:
        """`tell` is given remarks on outages, in the thread that calls the recorder."""
        self.problems: list[str] = []
        self._open_tracker = open_tracker
        self._trials = trials  # one run id may stand in several rows
        self._archive = archive
        self._tell = tell
        self._patience = patience or Patience()
        self._tracker: Tracker | None = None
        self._backlog = Backlog(self._patience, time.monotonic)
        self._changed = threading.Condition()  # guards all that follows, and the backlog
        self._remarks: list[str] = []
        self._trouble = ""  # why MLflow is out of reach; empty where it is not
        self._current: Job | None = None  # in the tracker's hands now
        self._ended = self._gave_up = False
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def follow(self, trials: Mapping[str, list[Trial]]) -> None:
        """Carry these trials too, under run ids that it did not know."""
        self._trials = {**self._trials, **trials}  # another one: the thread may be reading the old

    def forget(self, run_id: str) -> None:
        """Remove what MLflow holds of a fold that is to be trained anew."""
        self._for_each(run_id, "forget", lambda tracker, trial: tracker.forget(trial, run_id))

    def trial_started(self, run_id: str) -> None:
        """Open the fold's run."""
        self._for_each(
            run_id, "start", lambda tracker, trial: tracker.start(trial, run_id), lasting=False
        )

    def trial_remarked(self, run_id: str, remark: str) -> None:
        """Nothing: what a checkpoint was like is no result."""

    def trial_retried(self, run_id: str, reason: str) -> None:
        """Nothing: its run stays open for its next start."""

    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None:
        """Log one epoch."""
        self._for_each(
            run_id,
            "epoch",
            lambda tracker, trial: tracker.epoch(trial, run_id, metrics),
            lasting=False,
        )

    def trial_finished(self, run_id: str) -> None:
        """Log the archived fold whole."""
        for trial in self._trials[run_id]:
            self._finish(trial, run_id)
        self._say()

    def trial_failed(self, run_id: str, reason: str) -> None:
        """Mark the fold's run as failed."""
        self._for_each(run_id, "fail", lambda tracker, trial: tracker.fail(trial, run_id, reason))

    def sync(self) -> None:
        """Send every archived fold that MLflow does not hold, after what is queued already."""
        self._put(Job(subject=STUDY, name="sync", send=self._sync))

    def wait(self) -> None:
        """Return when everything queued has arrived, or MLflow has not answered for too long."""
        if self._trouble:
            limit = f"up to {self._patience.end_s:.0f} s without an answer"
            self._tell(f"MLflow is still out of reach; it is waited for, {limit}")
        if not self._settled():
            self._give_up()

    def close(
        self,
        summaries: Iterable[Summary] = (),
        report: Path | None = None,
        search: Search | None = None,
    ) -> None:
        """Finish what is queued, log the rows' means, the report's folder and what a search chose,
        leave no run open, and stop."""
        rows = tuple(summaries)
        self._close_with("rows", lambda tracker: tracker.log_rows(rows))
        if report is not None:
            self._close_with("report", lambda tracker: tracker.log_report(report, rows))
        if search is not None:
            self._close_with("search", lambda tracker: tracker.log_search(search))
        self._put(CLOSE)
        if not self._gave_up and not self._settled():
            self._give_up()
        self._end(self._settled(self._patience.stop_s))

    def stop(self) -> None:
        """After an interrupt: send what can be sent at once, leave no run open, and stop."""
        self._put(CLOSE)
        with self._changed:
            self._gave_up = True
            self._backlog.hurry()
            self._changed.notify_all()
        half = self._patience.stop_s / 2
        settled = self._settled(half)
        if not settled:
            with self._changed:  # no open run matters more than what `sync` sends again
                self._backlog.give_up()
            settled = self._settled(half)
        self._end(settled)

    def _close_with(self, name: str, send: Callable[[Tracker], None]) -> None:
        self._put(Job(subject=STUDY, name=name, send=send, kind="closing"))

    def _for_each(
        self,
        run_id: str,
        name: str,
        send: Callable[[Tracker, Trial], None],
        *,
        lasting: bool = True,
    ) -> None:
        for trial in self._trials[run_id]:
            self._put(
                Job(
                    subject=(trial.row, run_id),
                    name=name,
                    send=partial(_swapped, send, trial),
                    kind="lasting" if lasting else "momentary",
                )
            )
        self._say()

    def _put(self, job: Job) -> None:
        with self._changed:
            self._backlog.put(job)
            self._changed.notify_all()

    def _finish(self, trial: Trial, run_id: str) -> None:
        self._put(
            Job(
                subject=(trial.row, run_id),
                name="finish",
                send=lambda tracker: tracker.finish(trial, self._archive.load(run_id)),
            )
        )

    def _sync(self, tracker: Tracker) -> None:
        there = tracker.finished()
        for run_id, trials in self._trials.items():
            if self._archive.holds(run_id):
                for trial in trials:
                    ended_ms = there.get((trial.row, run_id))
                    if ended_ms is None or self._is_newer(run_id, ended_ms):
                        self._finish(trial, run_id)

    def _is_newer(self, run_id: str, ended_ms: int) -> bool:
        """Whether a fold was trained anew since the one in MLflow, which could not be removed."""
        written_s = (self._archive.folder(run_id) / "result.json").stat().st_mtime
        if written_s < ended_ms / 1000 + SCORING_S:  # the file alone need not be read
            return False
        return self._archive.load(run_id).history[-1].finished_at_ms != ended_ms

    def _settled(self, in_all_s: float | None = None) -> bool:
        """Whether all is sent before time is up: for all of it, or else since the last answer."""
        begun = time.monotonic()
        while True:
            self._say()
            with self._changed:
                if self._current is None and self._backlog.empty:
                    break
                limit = in_all_s or self._limit_s
                since = begun if in_all_s else max(begun, self._backlog.answered_at)
                if (left := since + limit - time.monotonic()) <= 0:
                    return False
                self._changed.wait(left)
        self._say()
        return True

    @property
    def _limit_s(self) -> float:
        return self._patience.end_s if self._trouble else self._patience.call_s

    def _give_up(self) -> None:
        with self._changed:
            missing = self._backlog.give_up()
            if self._current is not None and self._current.kind == "lasting":
                missing.add(self._current.subject)
            folds = len(missing - {STUDY})
            self._changed.notify_all()
            self._gave_up = True
            reason = self._trouble or f"no answer for {self._limit_s:.0f} s"
            what = f"{folds} fold{'s' * (folds > 1)}" if folds else "some of it"
            self._add_problem(f"{reason}; not sent: {what}")

    def _end(self, settled: bool) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if settled:  # else it hangs in a call, and ends after it or with the process
            self._thread.join()

    def _work(self) -> None:
        while job := self._next():
            try:
                if self._tracker is None and job is not CLOSE:  # where nothing was ever opened
                    self._tracker = self._open_tracker()
                if self._tracker is not None:
                    job.send(self._tracker)
            except Exception as error:  # whatever a database or a server can raise
                self._note(job, error)
            else:
                self._note(job, None)

    def _next(self) -> Job | None:
        """The job to send, as soon as there is one; None at the end."""
        with self._changed:
            self._current = None
            self._changed.notify_all()
            while not self._ended:
                if job := self._backlog.take():
                    self._current = job
                    return job
                self._changed.wait(self._backlog.wait_s)
            return None

    def _note(self, job: Job, error: Exception | None) -> None:
        with self._changed:
            if error is not None and may_pass(error):
                if not self._trouble:
                    text = "training goes on, what is missing is sent later"
                    self._remarks.append(f"MLflow is out of reach ({described(error)}); {text}")
                self._trouble = described(error)
                self._backlog.failed(job)
                return
            self._backlog.answered()
            if error is not None:
                self._add_problem(described(error))
            elif self._trouble and self._backlog.caught_up and not self._gave_up:
                self._trouble = ""
                self._remarks.append("MLflow answers again, and what was missing has arrived")

    def _add_problem(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)

    def _say(self) -> None:
        with self._changed:
            remarks, self._remarks = self._remarks, []
        for remark in remarks:
            self._tell(remark)


def _swapped(send: Callable[[Tracker, Trial], None], trial: Trial, tracker: Tracker) -> None:
    send(tracker, trial)
