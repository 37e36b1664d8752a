"""Kills parts of a running study at random moments, starts it again, and looks at what is left."""

import json
import os
import random
import re
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.sessions import Session, environment_of, scratch_folder, title, waited

ROOT = Path(__file__).resolve().parents[1]
NAME = "chaos"
GRID = f"""
name: {NAME}
title: A study under fire
corpora: [savee]
record_oracle: true
rows:
  - {{name: plain, mixup.method: none, pooling.method: mean, losses.terms: [kl]}}
  - {{name: full, training.batch_size: 24}}
"""
FOLDS = 8  # two rows of four
SETTINGS = ("encoder.name=logmel-small", "audio.crop_s=1.0")  # as little work as there can be
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

FOLD = "folds/[0-9a-f]{12}"
FINISHED = (
    r"mlflow\.db|[\w.-]+\.lock|store/\.lock|(store|demo|artifacts)/[^.].*"
    rf"|{FOLD}/(result|cost)\.json"
)
STOPPED = rf"{FINISHED}|{FOLD}/checkpoints/epoch-[0-9]{{4}}\.safetensors"


@dataclass(frozen=True)
class Study:
    """Where the files of one study lie, and how it is started."""

    folder: Path
    epochs: int

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def results(self) -> Path:
        return self.folder / "reports" / f"{NAME}-demo" / "results.json"

    def start(self, scratch: Path, *options: str) -> Session:
        """Start the runner; what it and Ray need beside its results goes to `scratch`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        grid = self.folder / f"{NAME}.yaml"
        grid.write_text(GRID, encoding="utf-8")
        places = ["--runs", str(self.runs), "--reports", str(self.folder / "reports")]
        settings = ["--set", f"training.epochs={self.epochs}", *SETTINGS]
        words = [str(ROOT / "runner.py"), str(grid), "--demo", *places, *settings, *options]
        log = self.folder / f"start-{len(list(self.folder.glob('start-*.log'))) + 1:03}.log"
        return Session([sys.executable, *words], environment_of(scratch), log)

    def figures(self) -> dict[str, Any]:
        """What the report holds, but for the commit: someone may be at work on the checkout."""
        document = json.loads(self.results.read_text(encoding="utf-8"))
        return {key: value for key, value in document.items() if key != "git_commit"}

    def histories(self) -> dict[str, list[dict[str, Any]]]:
        """The epochs of each archived fold, by run id."""
        return {
            path.parent.name: json.loads(path.read_bytes())["history"]
            for path in self.runs.glob("folds/*/result.json")
        }

    def events(self) -> set[tuple[str, str, int]]:
        """The checkpoints and results there are: run id, name, when it was written.

        Each is the end of one epoch, the result that of the last.
        """
        found = set()
        for pattern in ("folds/*/checkpoints/epoch-*", "folds/*/result.json"):
            for path in self.runs.glob(pattern):
                with suppress(FileNotFoundError):
                    run_id = path.relative_to(self.runs).parts[1]
                    found.add((run_id, path.name, path.stat().st_mtime_ns))
        return found

    def progress(self) -> dict[str, int]:
        """After which epoch each fold is that has ended one, by run id."""
        names = sorted((run_id, name) for run_id, name, _ in self.events())  # results come last
        return {
            run_id: self.epochs if name == "result.json" else int(name[6:10])
            for run_id, name in names
        }

    def strays(self, expected: str) -> list[str]:
        """The files of the runs folder whose path there is none that is expected."""
        files = (path for path in self.runs.rglob("*") if not path.is_dir())
        names = sorted(path.relative_to(self.runs).as_posix() for path in files)
        return [name for name in names if not re.fullmatch(expected, name)]


@dataclass(frozen=True)
class Pace:
    """How fast an undisturbed run was: what random moments are measured in."""

    start_s: float  # up to the end of the first epoch
    epoch_s: float
    wall_s: float


def run_undisturbed(study: Study) -> Pace:
    """Train a study to its end.

    Raises:
        RuntimeError: it failed.
    """
    with scratch_folder() as scratch:
        began, session = time.monotonic(), study.start(scratch)
        try:
            waited(lambda: study.events() or session.status is not None)
            start_s = time.monotonic() - began
            if not waited(lambda: session.status is not None) or session.status:
                raise RuntimeError(f"an undisturbed run must end with 0:\n{session.output}")
        finally:
            session.end()
    seconds = [epoch["seconds"] for history in study.histories().values() for epoch in history]
    return Pace(start_s, median(seconds), time.monotonic() - began)


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


@dataclass(frozen=True)
class TrackedFold:
    """A fold's run in MLflow's database: how often each metric stands at each step."""

    row: str
    run_id: str
    status: str
    values: Counter[tuple[str, int]]


def tracked(study: Study) -> list[TrackedFold]:
    """The runs of folds that MLflow has not in its bin; read without MLflow, for a second view."""
    database = study.runs / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        tags: dict[str, dict[str, str]] = {}
        for name, key, value in connection.execute("select run_uuid, key, value from tags"):
            tags.setdefault(name, {})[key] = value
        runs = connection.execute(
            "select run_uuid, status from runs where lifecycle_stage = 'active'"
        ).fetchall()
        values: dict[str, Counter[tuple[str, int]]] = {name: Counter() for name, _ in runs}
        for name, key, step in connection.execute("select run_uuid, key, step from metrics"):
            if name in values:
                values[name][key, step] += 1
    return [
        TrackedFold(tags[name]["row"], tags[name]["run_id"], status, values[name])
        for name, status in runs
        if tags.get(name, {}).get("level") == "fold"
    ]


@dataclass(frozen=True)
class Damage:
    """What a disturbed study lacks, has twice or has otherwise than the undisturbed one."""

    lost: list[str]
    doubled: list[str]
    other: list[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.other)


def damage(study: Study, undisturbed: Study) -> Damage:
    """Compare a study that has finished with the same one that nothing happened to."""
    wanted = {
        (row["row"], fold["run_id"])
        for row in undisturbed.figures()["rows"]
        for fold in row["folds"]
    }
    runs = tracked(study)
    counts = Counter((run.row, run.run_id) for run in runs)
    histories, epochs = study.histories(), list(range(1, study.epochs + 1))
    lost = [f"{run_id} ({row}) in MLflow" for row, run_id in sorted(wanted - counts.keys())]
    lost += [f"{run_id} on the disk" for _, run_id in sorted(wanted) if run_id not in histories]
    doubled = [f"{name}: {times} runs in MLflow" for name, times in counts.items() if times > 1]
    other = [f"figure {place}" for place in differences(study.figures(), undisturbed.figures())]
    other += [f"file {name}" for name in study.strays(FINISHED)]
    other += [f"{name} is of no wanted fold" for name in counts.keys() - wanted]
    for run_id, history in histories.items():
        if [epoch["epoch"] for epoch in history] != epochs:
            other.append(f"{run_id} on the disk has other epochs than 1 to {study.epochs}")
    for run in runs:
        if run.status != "FINISHED":
            other.append(f"{run.run_id} is {run.status} in MLflow")
        if sorted(step for key, step in run.values if key == "loss_total") != epochs:
            lost.append(f"{run.run_id}: epochs in MLflow")
        doubled += [f"{run.run_id}: {key}" for key, times in run.values.items() if times > 1]
    return Damage(lost, doubled, other)


def differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """The places where two JSON documents differ, with both values."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        for key in found:
            yield from differences(found[key], wanted[key], f"{place}.{key}")
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, pair in enumerate(zip(found, wanted, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif found != wanted:
        yield f"{place}: {found}, undisturbed {wanted}"
