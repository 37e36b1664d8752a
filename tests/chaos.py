"""Kills parts of a running study at random moments, starts it again, and looks at what is left."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.damage import tracked
from tests.sessions import Session, scratch_folder, title, waited
from tests.small_study import FOLDS, STOPPED, Pace, Study

GONE_S = 180.0  # Ray's helpers outlive a killed driver by a minute
KILLED_OVER = 0.5  # of the epochs that are left: the other kills are spread over so many
OWN_ENDS = 5  # how often the study may end by itself before it is given up
INTERRUPTED = 130

# What share of the kills each kind has. The others are trials: Ray starts those again itself.
SHARES = {
    "start": 0.03,  # the driver, before the first epoch
    "driver": 0.10,
    "everything": 0.04,
    "node": 0.04,
    "SIGINT": 0.03,
    "SIGTERM": 0.03,
}


class Watcher(threading.Thread):
    """Collects a study's events, of which most are soon gone from the disk."""

    def __init__(self, study: Study) -> None:
        super().__init__(name="watcher", daemon=True)
        self.events: set[tuple[str, str, int]] = set()
        self._study = study
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            self.events |= self._study.events()

    def stop(self) -> None:
        self._over.set()
        self.join()
        self.events |= self._study.events()


@dataclass(frozen=True)
class Kill:
    """When and what was killed, and in the midst of what."""

    kind: str
    at_s: float
    pid: int
    under_way: str
    status: int | None = None  # of the driver, where it ended
    took_s: float = 0.0  # until it had


def planned(kills: int, seed: int) -> list[str]:
    """The kinds of so many kills, in random order; first those before the first epoch."""
    kinds = [kind for kind, share in SHARES.items() for _ in range(round(share * kills))]
    kinds += ["trial"] * (kills - len(kinds))
    random.Random(seed).shuffle(kinds)
    return sorted(kinds, key=lambda kind: kind != "start")


@dataclass
class Chaos:
    """A study that is killed over and over, until it may finish."""

    study: Study
    pace: Pace
    seed: int
    tell: Callable[[str], None] = lambda line: None
    kills: list[Kill] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    starts: int = 0
    own_ends: list[str] = field(default_factory=list)  # why, where it ended though nothing did it
    wall_s: float = 0.0
    epochs: int = 0  # trained to their end, those trained twice included

    def run(self, kinds: Sequence[str]) -> None:
        """Kill as told, in that order; then let the study finish."""
        drawn = random.Random(self.seed)
        self._began = time.monotonic()
        self._sessions: list[Session] = []
        self._watcher = Watcher(self.study)
        self._watcher.start()
        with scratch_folder() as self._scratch:
            try:
                self._start()
                for number, kind in enumerate(kinds, start=1):
                    wait, victim = drawn.random(), drawn.random()
                    if kind != "start":
                        wait *= self._mean_wait(len(kinds) - number + 1) * 2
                    while self._waited(wait, kind) and not self._killed(kind, victim):
                        self._say(f"{number} {kind}: there was none")
                    if len(self.kills) < number:
                        self._fault(f"it had finished before kill {number} ({kind})")
                        break
                    self._say(f"{number} {described(self.kills[-1])}")
                self._finish()
            finally:
                self._watcher.stop()
                for session in self._sessions:
                    session.end()
        self.wall_s = time.monotonic() - self._began
        self.epochs = len(self._watcher.events)

    @property
    def _now(self) -> Session:
        return self._sessions[-1]

    def _ended(self) -> bool:
        return self._now.status is not None

    def _start(self) -> None:
        # As many retries as there may be: each trial may meet most of the kills.
        self._sessions.append(self.study.start(self._scratch, "--retries", "100"))
        self.starts += 1
        self._mark: int | None = None

    def _start_after_own_end(self) -> None:
        """Go on where the study ended with an error, though it was not itself that was killed."""
        lines = self._now.output.strip().splitlines()
        reason = f"{self._now.status}: {lines[-1] if lines else 'nothing was printed'}"
        self._say(f"it ended by itself with {reason}")
        self.own_ends.append(reason)
        if len(self.own_ends) > OWN_ENDS:
            raise RuntimeError(f"the study ends over and over:\n{self._now.output}")
        self._start()

    def _trained(self) -> int:
        """How many epochs have ended since the last kill, in the processes of this start.

        Those of the start before may live on for a while, and train.
        """
        if self._mark is None and self._now.trials():
            self._mark = len(self._watcher.events)
        return 0 if self._mark is None else len(self._watcher.events) - self._mark

    def _mean_wait(self, kills: int) -> float:
        """After how many epochs the next of so many kills is due, if it is to meet the study."""
        done = sum(self.study.progress().values())
        return KILLED_OVER * (FOLDS * self.study.epochs - done) / kills

    def _waited(self, wait: float, kind: str) -> bool:
        """Wait for the ends of so many epochs, one at least; False where all has finished.

        Before the first epoch, `wait` is a share of the time that it takes to get there.
        """
        whole = int(wait)
        while True:
            if kind == "start":
                waited(self._ended, wait * self.pace.start_s)
            else:
                if not waited(lambda: self._trained() > whole or self._ended()):
                    raise RuntimeError(f"no epoch came to its end:\n{self._now.output}")
                waited(self._ended, (wait - whole) * self.pace.epoch_s)
            if not self._ended():
                return True
            if self._now.status == 0:
                return False
            self._start_after_own_end()

    def _killed(self, kind: str, share: float) -> bool:
        """Kill one of the kind, if there is any; wait for what follows."""
        session, pid = self._now, self._now.process.pid
        under_way, at_s = self._under_way(), time.monotonic() - self._began
        match kind:
            case "trial" | "node":
                victims = session.trials() if kind == "trial" else session.nodes()
                if not victims:
                    return False
                victim = victims[int(share * len(victims))]
                pid = victim.pid
                victim.kill()
            case "driver" | "start":
                session.process.kill()
            case "everything":
                session.end()
            case "SIGINT":
                os.killpg(pid, signal.SIGINT)  # as a terminal does
            case _:
                session.process.terminate()
        if kind == "trial":
            self._mark = len(self._watcher.events)
            self.kills.append(Kill(kind, at_s, pid, under_way))
            return True
        began = time.monotonic()
        if not waited(self._ended):
            self._fault(f"the driver lives on after {kind}:\n{session.output}")
            session.end()
        took_s = time.monotonic() - began
        self.kills.append(Kill(kind, at_s, pid, under_way, session.status, took_s))
        if kind.startswith("SIG") and session.status != 0:  # 0: the signal came too late
            self._expect_order_after(kind)
        self._start()
        return True

    def _expect_order_after(self, kind: str) -> None:
        session = self._now
        if session.status != INTERRUPTED:
            self._fault(f"{kind} ended it with {session.status}:\n{session.output}")
        if not waited(lambda: not session.members(), GONE_S):
            self._fault(f"{kind} left processes: {[title(each) for each in session.members()]}")
        if strays := self.study.strays(STOPPED):
            self._fault(f"{kind} left files: {strays}")
        # MLflow may be too slow for the time that a stop may take; the next start sees to it.
        if still := [run for run in tracked(self.study) if run.status == "RUNNING"]:
            self._say(f"{kind} left {len(still)} runs open in MLflow")

    def _finish(self) -> None:
        """Let the study train to its end; folds whose retries are used up go on at a new start."""
        while waited(self._ended) and self._now.status != 0:
            self._start_after_own_end()
        if self._now.status != 0:
            self._fault(f"it does not finish:\n{self._now.output}")
        elif not waited(lambda: not self._left(), GONE_S):
            self._fault(f"processes are left: {self._left()}")

    def _left(self) -> list[str]:
        return [title(each) for session in self._sessions for each in session.members()]

    def _under_way(self) -> str:
        progress, last = self.study.progress(), self.study.epochs
        under_way = [
            f"{run_id} after {epoch}" for run_id, epoch in progress.items() if epoch < last
        ]
        finished = len(progress) - len(under_way)
        return f"{finished} finished, under way {', '.join(under_way) or 'none'}"

    def _say(self, what: str) -> None:
        self.tell(f"{time.monotonic() - self._began:7.1f} s  {what}")

    def _fault(self, what: str) -> None:
        self.faults.append(what)
        self._say(f"FAULT: {what}")


def described(kill: Kill) -> str:
    """One kill as a line of a log."""
    line = f"{kill.kind}: process {kill.pid}; {kill.under_way}"
    if kill.status is None:
        return line
    return f"{line}; the driver ended with {kill.status} after {kill.took_s:.1f} s"
