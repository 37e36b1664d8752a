"""What MLflow has not got yet: in which order it goes there, and when it is tried again.

No thread and no clock of its own: `ablation/recorder.py` lends both.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # it brings MLflow, which takes seconds to import
    from ablation.tracking import Tracker

Subject = tuple[str, str]  # a row and a run id, or what else a job is about


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long MLflow is waited for, in seconds."""

    first_pause_s: float = 1.0  # O: after the first failure; each further one in a row doubles it
    longest_pause_s: float = 30.0  # O: soon enough for a person, and no load for a server
    end_s: float = 60.0  # O: out of reach, once training is over; a server's restart takes less
    call_s: float = 300.0  # O: for one call; making a database takes 6 s on an idle machine
    stop_s: float = 3.0  # O: in all, after an interrupt; the runner has to be gone within 10 s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """One call of the tracker.

    Attributes:
        subject: Jobs of one subject are sent in the order in which they came.
        name: What the call does; a lasting job that waits already is not queued twice.
        kind: "momentary" is dropped while MLflow is out of reach (an epoch: the finished fold
            brings it again), "lasting" must arrive, "closing" is sent when nothing else is left.
    """

    subject: Subject
    name: str
    send: Callable[["Tracker"], None]
    kind: Literal["momentary", "lasting", "closing"] = "lasting"


class Backlog:
    """Jobs in line, jobs that failed and wait for another try, and those that come last.

    A job that failed goes behind all others, so that one which never succeeds holds up none. What
    is kept is bounded by the number of folds, however long MLflow is away.
    """

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self.answered_at = clock()  # when MLflow last took a job, or refused it for good
        self._patience = patience
        self._clock = clock
        self._line: deque[Job] = deque()
        self._parked: dict[Subject, deque[Job]] = {}
        self._closing: deque[Job] = deque()
        self._waiting: set[tuple[Subject, str]] = set()  # lasting jobs, in line or parked
        self._pause_s = 0.0
        self._next_try = self.answered_at
        self._once = False

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to send."""
        return not (self._line or self._parked or self._closing)

    @property
    def caught_up(self) -> bool:
        """Whether nothing that failed waits for another try."""
        return not self._parked

    @property
    def wait_s(self) -> float | None:
        """How long until there is something to send; None where there is nothing."""
        return None if self.empty else max(0.0, self._next_try - self._clock())

    def put(self, job: Job) -> None:
        """Queue a job."""
        if job.kind == "closing":
            self._closing.append(job)
        elif job.kind == "lasting":
            if (job.subject, job.name) not in self._waiting:
                self._waiting.add((job.subject, job.name))
                self._line.append(job)
        elif self._clock() >= self._next_try and job.subject not in self._parked:
            self._line.append(job)

    def take(self) -> Job | None:
        """The job to send now, no longer in here; None where there is none, or none yet."""
        if self._clock() < self._next_try:
            return None
        job = self._first()
        if job:
            self._waiting.discard((job.subject, job.name))
        return job

    def answered(self) -> None:
        """Note that the job which was taken has arrived, or was refused for good."""
        self._pause_s = 0.0
        self._next_try = self.answered_at = self._clock()

    def failed(self, job: Job) -> bool:
        """Note that the job which was taken failed for a reason that may pass.

        Returns:
            Whether it is kept for another try.
        """
        if self._once:
            self.give_up()
            return False
        patience = self._patience
        self._pause_s = min(
            max(2 * self._pause_s, patience.first_pause_s), patience.longest_pause_s
        )
        self._next_try = self._clock() + self._pause_s
        self._line = deque(other for other in self._line if other.kind != "momentary")
        if job.kind == "closing":
            self._closing.appendleft(job)
        elif job.kind == "lasting":
            behind = self._parked.pop(job.subject, deque())
            self._parked[job.subject] = deque([job, *behind])
            self._waiting.add((job.subject, job.name))
        return job.kind != "momentary"

    def hurry(self) -> None:
        """Try at once, and what fails from now on is not tried again."""
        self._once = True
        self._next_try = self._clock()

    def give_up(self) -> set[Subject]:
        """Drop all but the closing jobs, which get one try; returns what the others were about."""
        dropped = {subject for subject, _ in self._waiting}
        self._line.clear()
        self._parked.clear()
        self._waiting.clear()
        self.hurry()
        return dropped

    def _first(self) -> Job | None:
        while self._line:
            job = self._line.popleft()
            if job.subject not in self._parked:
                return job
            if job.kind == "lasting":
                self._parked[job.subject].append(job)
        if self._parked:
            subject, jobs = next(iter(self._parked.items()))
            job = jobs.popleft()
            if not jobs:
                del self._parked[subject]
            return job
        return self._closing.popleft() if self._closing else None
