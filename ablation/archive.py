"""Finished folds under `runs/folds/<run id>/`, written whole or not at all.

MLflow can be down or lost and be filled again from here. Beside `result.json`, which is the fold,
lies `cost.json`, small enough to read thousands of for a plan.
"""

import json
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from ablation.costs import MAX_S, Cost, kind_of
from core.identity import config_key
from core.schema import build
from core.whole_files import remove_abandoned, whole_file

if TYPE_CHECKING:  # it needs numpy, and a plan reads costs alone
    from core.result import FoldResult


ERRORS, MICRO_BATCH, START = "error.txt", "micro_batch.txt", "start.txt"
MODEL = "model.safetensors"


class Archive:
    """The finished folds of one `runs/` folder, by run id."""

    def __init__(self, runs: Path) -> None:
        self._folder = runs / "folds"
        self._calibrated = runs / "calibration"

    def folder(self, run_id: str) -> Path:
        """Where everything about one run lies."""
        return self._folder / run_id

    def checkpoints(self, run_id: str) -> Path:
        """Where the checkpoints of one run lie while it is under way."""
        return self.folder(run_id) / "checkpoints"

    def model(self, run_id: str) -> Path:
        """Where the trained weights of one run lie, if they were to be kept."""
        return self.folder(run_id) / MODEL

    def stress(self, run_id: str) -> Path:
        """Where it lies what one run's model said under perturbations."""
        return self.folder(run_id) / "stress"

    def models(self) -> list[str]:
        """The run ids of all finished folds whose weights were kept."""
        found = (path.parent.name for path in self._folder.glob(f"*/{MODEL}"))
        return sorted(run_id for run_id in found if self.holds(run_id))

    def begun(self, prefix: str) -> list[str]:
        """The run ids that begin so, whatever is there of them."""
        return sorted(path.name for path in self._folder.glob("*") if path.name.startswith(prefix))

    def holds(self, run_id: str) -> bool:
        """Whether this fold is finished."""
        return (self.folder(run_id) / "result.json").is_file()

    def save(self, result: "FoldResult", around_seconds: float = 0.0) -> None:
        """Write a finished fold, and what it took beside its epochs; whole or not at all."""
        cost = Cost(
            config_key=config_key(result.config),
            encoder=result.config.encoder.name,
            corpus=result.config.corpus.name,
            epoch_seconds=result.seconds / len(result.history),
            fold=result.config.fold,
            kind=kind_of(result.config),
            around_seconds=around_seconds,
        )
        write_whole(self.folder(result.run_id) / "cost.json", json.dumps(asdict(cost)))
        text = json.dumps(result.to_dict(), allow_nan=False, separators=(",", ":"))
        write_whole(self.folder(result.run_id) / "result.json", text)

        for name in (ERRORS, MICRO_BATCH):
            (self.folder(result.run_id) / name).unlink(missing_ok=True)

    def forget(self, run_id: str) -> None:
        """Remove a fold, finished or under way; what it cost stays known until it costs anew."""
        for name in ("result.json", MODEL, ERRORS, MICRO_BATCH):
            (self.folder(run_id) / name).unlink(missing_ok=True)
        for folder in (self.checkpoints(run_id), self.stress(run_id)):
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self, run_ids: Iterable[str], patience_s: float) -> None:
        """Remove what killed processes left half written of these folds.

        Args:
            patience_s: How long those that are just ending may take, all together.
        """
        deadline_s = time.monotonic() + patience_s
        for run_id in run_ids:
            remove_abandoned(self.folder(run_id), deadline_s)

    def log_failure(self, run_id: str, text: str) -> Path:
        """Keep what is known of a failure until the fold finishes; returns where."""
        path = self.folder(run_id) / ERRORS
        write_whole(path, text)
        return path

    def take_less(self, run_id: str, asked: int | None, batch: int) -> str | None:
        """Halve how many utterances of a fold pass the model at once, in later starts too.

        Args:
            asked: What the user allows; None is a whole batch.
            batch: How many a batch has.
        Returns:
            A remark; None where one utterance was too much already.
        """
        size = min(self.micro_batch(run_id, asked) or batch, batch) // 2
        if not size:
            return None
        write_whole(self.folder(run_id) / MICRO_BATCH, str(size))
        return f"out of memory: goes on with {size} utterance{'s' * (size > 1)} at once"

    def micro_batch(self, run_id: str, asked: int | None) -> int | None:
        """How many utterances pass the model at once: as asked, or fewer after `take_less`."""
        noted = None
        with suppress(OSError, ValueError):  # there is none, or it holds no number
            noted = int((self.folder(run_id) / MICRO_BATCH).read_text(encoding="ascii")[:9])
        sizes = [size for size in (asked, noted) if size is not None and size > 0]
        return min(sizes, default=None)

    def load(self, run_id: str) -> "FoldResult":
        """Read a finished fold back.

        Raises:
            ValueError: the file is not a whole result; names it.
        """
        from core.result import FoldResult

        path = self.folder(run_id) / "result.json"
        try:
            return FoldResult.from_dict(json.loads(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} must be a finished fold, found: {error}; delete it to train it again"
            ) from error

    def costs(self) -> list[Cost]:
        """What each finished fold cost; a file that is no cost is of no use and left out."""
        paths = sorted(self._folder.glob("*/cost.json"))
        return _read_costs(path for path in paths if (path.parent / "result.json").is_file())

    def note_calibration(self, costs: Iterable[Cost], start_seconds: float) -> None:
        """Keep what folds would cost, and how long a study takes to start."""
        for cost in costs:
            write_whole(self._calibrated / f"{cost.config_key}.json", json.dumps(asdict(cost)))
        write_whole(self._calibrated / START, json.dumps(start_seconds))

    def calibrated(self) -> tuple[list[Cost], float]:
        """What the last calibrations say: the costs of folds, and the seconds of a start."""
        paths = sorted(self._calibrated.glob("*.json"))
        start_seconds = 0.0
        with suppress(OSError, ValueError):  # there is none, or it holds no number
            noted = float((self._calibrated / START).read_bytes()[:30])
            start_seconds = min(max(noted, 0.0), MAX_S) if isfinite(noted) else 0.0
        return _read_costs(paths), start_seconds


def _read_costs(paths: Iterable[Path]) -> list[Cost]:
    found = []
    for path in paths:
        with suppress(OSError, ValueError, TypeError):
            found.append(build(Cost, json.loads(path.read_bytes())))
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a file so that no reader and no crash ever meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(text.encode())
