"""A trial that sleeps where a fold would train, with the faults of a long study on a cluster.

Its process imports neither torch nor audio, so that one machine holds as many as a cluster would.
"""

import json
import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune


class Sleeper(tune.Trainable):
    """Answers Tune as `ablation.trainable.FoldTrainable` does: an epoch a step, taken up again.

    A kept epoch is a line of `runs/epochs/<run id>`, as a checkpoint would be; `runs/plan.json`
    says how long epochs are and which trials meet which fault, by their seeds.
    """

    def setup(
        self, config: dict[str, Any], configs: Mapping[str, str], runs: Path, **others: object
    ) -> None:
        """As Tune has it, nothing is written."""
        self._configs = configs
        self._runs = runs
        self._plan: Mapping[str, Any] = json.loads((runs / "plan.json").read_text())
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process."""
        self._assign(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Sleep an epoch, or meet the fault that is planned amid it."""
        if self._seed in self._plan["first"]:
            self._wait_for_all()
            return {"done": True}
        kept = self._epochs.read_text().count("\n") if self._epochs.exists() else 0
        if kept >= self._last:
            return {"done": True}
        began = time.time()
        length_s = self._plan["epoch_s"] * random.Random(self._seed).uniform(0.8, 1.2)
        if fault := self._fault():
            time.sleep(length_s / 2)
            if fault == "lasting":  # reported, as a setting's own failure; the process lives on
                return {"done": True, "failure": "ValueError: planned"}
            if fault == "passing":
                raise RuntimeError("planned")
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(length_s)
        with self._epochs.open("a") as file:
            file.write(f"{began} {time.time()}\n")
        metrics = {
            "epoch": kept + 1,
            "losses": {"total": 0.0},
            "learning_rate": 0.0,
            "validation": None,
            "oracle": None,
            "seconds": length_s,
            "finished_at_ms": int(1000 * time.time()),
        }
        return {"done": kept + 1 >= self._last, "metrics": metrics}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: Tune's checkpoints are off."""

    def _assign(self, config: dict[str, Any]) -> None:
        self._name: str = config["run_id"]
        settings = json.loads(self._configs[self._name])
        self._seed: int = settings["seed"]
        self._last: int = settings["training"]["epochs"]
        self._epochs = self._runs / "epochs" / self._name

    def _fault(self) -> str | None:
        """The fault of this trial, once; a lasting one whenever it is asked."""
        for kind in ("lasting", "passing", "killed"):
            if self._seed in self._plan[kind]:
                mark = self._runs / "faults" / self._name
                if kind == "lasting" or not mark.exists():
                    mark.touch()
                    return kind
        return None

    def _wait_for_all(self) -> None:
        """Until every process has started: where they share a few cores, that takes a while."""
        (self._runs / "ready" / self._name).touch()
        while sum(1 for _ in (self._runs / "ready").iterdir()) < len(self._plan["first"]):
            time.sleep(0.2)
