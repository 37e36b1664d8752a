"""A fold as a Ray Tune trainable: one epoch a step, checkpointed, in an actor that is used again.

Tune schedules and retries; what is finished is decided by the archive, not by Tune's own state.
"""

import gc
import json
import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from ablation.archive import Archive
from ablation.cluster import Resources
from core.baselines import BaselineFold
from core.classifiers import NETWORK
from core.config import RunConfig
from core.devices import best_device, free_memory, is_out_of_memory, use_deterministic_kernels
from core.fold import CorpusAudio, Fold
from core.kept_model import write_model
from core.nonfinite import TrainingError
from core.snapshots import discard

LASTING = (TrainingError, ValueError)  # a trial that met one of these would meet it again


class FoldTrainable(tune.Trainable):
    """One fold in an actor, by its name: `config["run_id"]`."""

    def setup(
        self,
        config: dict[str, Any],
        configs: Mapping[str, str],
        corpora: Mapping[str, CorpusAudio],
        runs: Path,
        here: Path,
        resources: Resources,
    ) -> None:
        """Tune may set up an actor for a trial that already runs in another: nothing is written.

        Args:
            configs: What a config is under each name, as JSON.
        """
        os.chdir(here)  # relative paths in a grid are meant from where the runner was started
        self._configs = configs
        self._corpora = corpora
        self._archive = Archive(runs)
        self._checkpoint_epochs = resources.checkpoint_epochs
        self._micro_batch = resources.micro_batch
        self._keep_models = resources.keep_models
        self._recompute = resources.recompute
        if resources.deterministic:
            use_deterministic_kernels()
        self._fold: Fold | BaselineFold | None = None
        self._started = 0.0  # when the fold was built, and the epochs that it then had
        self._resumed = 0
        self._assign(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial in the same process, imports and mapped audio kept."""
        self._assign(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train an epoch; after the last one, score and archive the fold."""
        if self._archive.holds(self._run_id):
            return {"done": True}
        try:
            return self._step()
        except Exception as error:
            self._fold = None
            if is_out_of_memory(error) and (text := self._take_less()):
                return {"done": False, "remarks": [text]}
            if not isinstance(error, LASTING):
                raise  # Tune tries again, in a new process
            # The trial's own failure: it is reported, and this process takes the next.
            log = self._archive.log_failure(self._run_id, traceback.format_exc())
            return {
                "done": True,
                "failure": f"{' '.join(f'{type(error).__name__}: {error}'.split())} (see {log})",
            }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: Tune's checkpoints are off."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: Tune's checkpoints are off."""

    def _assign(self, config: dict[str, Any]) -> None:
        self._run_id: str = config["run_id"]
        self._config = RunConfig.from_dict(json.loads(self._configs[self._run_id]))
        self._fold = None

    def _take_less(self) -> str | None:
        """Halve the micro-batch from here on; None where one utterance was too much."""
        return self._archive.take_less(
            self._run_id, self._micro_batch, self._config.training.batch_size
        )

    def _keep(self, fold: Fold | BaselineFold) -> list[str]:
        """Keep the weights, before the fold counts as finished; a full disk costs no result."""
        model = fold.kept_model(self._keep_models)
        if model is None:
            return ["a baseline keeps no weights"]
        try:
            write_model(self._archive.model(self._run_id), model)
        except OSError as error:
            return [f"its weights are not kept: {error}"]
        return []

    def _open(self, corpus: CorpusAudio) -> Fold | BaselineFold:
        if self._config.classifier.method != NETWORK:
            return BaselineFold(self._config, corpus, best_device())
        return Fold(
            self._config,
            corpus,
            best_device(),
            self._archive.micro_batch(self._run_id, self._micro_batch),
            self._recompute,
        )

    def _step(self) -> dict[str, Any]:
        report: dict[str, Any] = {"done": False}
        folder = self._archive.checkpoints(self._run_id)
        if self._fold is None:
            corpus = self._corpora[self._config.corpus.name]
            self._started = time.perf_counter()
            free_memory()  # of the fold before, and of one that took too much
            gc.freeze()  # all that is left are libraries: the next search need not go through them
            self._fold = self._open(corpus)
            report["remarks"] = self._fold.resume(folder)
            self._resumed = len(self._fold.history)
            if epochs := self._resumed:
                report["remarks"].append(f"goes on after epoch {epochs}")
        fold = self._fold
        if not fold.finished:  # it is where the process was killed after the last checkpoint
            report["metrics"] = asdict(fold.step())
        if fold.finished:
            result = fold.result()
            if self._keep_models != "none":
                report["remarks"] = [*report.get("remarks", ()), *self._keep(fold)]
            trained = sum(epoch.seconds for epoch in fold.history[self._resumed :])
            around = time.perf_counter() - self._started - trained
            self._archive.save(result, max(around, 0.0))
            discard(folder)
            self._fold = None
            report["done"] = True
        elif self._checkpoint_epochs and len(fold.history) % self._checkpoint_epochs == 0:
            try:
                fold.save(folder)
            except OSError as error:  # a full disk, say; training needs no checkpoint to go on
                text = f"no checkpoint after epoch {len(fold.history)}: {error}"
                report["remarks"] = [*report.get("remarks", ()), text]
        return report
