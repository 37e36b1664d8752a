"""A study of eight small folds in processes of its own, and what it leaves on the disk."""

import json
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.sessions import Session, environment_of, scratch_folder, waited

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
