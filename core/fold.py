"""One fold from split to result: fit on training speakers, score the test speakers once."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from core.batches import Batcher
from core.classifiers import NETWORK
from core.clips import Inputs
from core.config import RECIPE_VERSION, RunConfig
from core.corpora.folds import FoldScheme, split
from core.corpora.utterance import Utterance
from core.devices import best_device, device_name, peak_memory_mb, watch_memory
from core.encoders import fingerprint as encoder_fingerprint
from core.features import inputs_of
from core.identity import run_id
from core.kept_model import FORMAT as MODEL_FORMAT
from core.kept_model import KeptModel, ModelFacts
from core.model import EmotionModel
from core.recomputing import recompute_layers
from core.result import EpochMetrics, FoldResult, Prediction
from core.schema import show
from core.snapshots import SnapshotError, epoch_of, newest_first, read_snapshot, write_snapshot
from core.store import AudioStore
from core.trainer import Trainer, scores_of
from core.training_state import FoldState, Progress, trained_weights


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusAudio:
    """A corpus ready to train on; what a cluster's workers share.

    Attributes:
        classes: In the order of the logits.
        left_out: Utterances that were skipped, their audio being unusable.
        counts_differ: Whether it parts from the paper's corpus, with the user's leave.
    """

    classes: tuple[str, ...]
    scheme: FoldScheme
    utterances: tuple[Utterance, ...]
    store: AudioStore
    left_out: int = 0
    counts_differ: bool = False


class Fold:
    """A fold under way: `step` trains an epoch, `result` scores the test fold.

    The trainer never holds the test utterances. What is measured on them along the way, where the
    setting asks for the oracle figure, is written into the history and chooses nothing, unless the
    selection is `oracle` by name; of the epoch that is chosen without it, it need not be measured
    once more.
    """

    def __init__(
        self,
        config: RunConfig,
        corpus: CorpusAudio,
        device: torch.device,
        micro_batch: int | None = None,
        recompute: bool = False,
    ) -> None:
        """Without a micro-batch, a batch passes the model at once; with one, the loss is the same.

        Its size, and whether layers are computed again in the backward pass, is how the figures
        were come by and not what they are of: no part of the run id.
        """
        if config.classifier.method != NETWORK:
            rule = "a fold that trains must be of classifier.method network"
            raise ValueError(f"{rule}, got {config.classifier.method}")
        evaluation, store = config.evaluation, corpus.store
        holds_out = evaluation.selection == "validation"
        watch_memory()
        parts = split(
            corpus.utterances, corpus.scheme, config.fold, holds_out, evaluation.inner_fold
        )
        self.config = config
        self.history: list[EpochMetrics] = []
        self._corpus = corpus
        self.inputs: Inputs = inputs_of(config, store, device)
        self._trainer = Trainer(
            config, parts.train, parts.validation, self.inputs, corpus.classes, device, micro_batch
        )
        if recompute:
            recompute_layers(self._trainer.model.encoder)
        self._test = Batcher(parts.test, self._trainer.inputs, corpus.classes, config.training)
        self._encoder = encoder_fingerprint(config.encoder)
        self._run_id = run_id(config, store.fingerprint, self._encoder)
        self._holds_out = holds_out
        self._micro_batch = micro_batch
        self._records_oracle = evaluation.record_oracle or evaluation.selection == "oracle"
        self._sizes = parts.sizes
        self._oracle_ua = -1.0
        self._oracle_epoch = 0
        self._oracle_predictions: list[Prediction] = []
        self._noted: tuple[int, list[Prediction]] = (0, [])  # the last epoch so measured

    @property
    def finished(self) -> bool:
        """Whether every epoch has been trained."""
        return self._trainer.finished

    @property
    def model(self) -> EmotionModel:
        """As it is now: at first untrained, after `result` the one that was scored."""
        return self._trainer.model

    def step(self) -> EpochMetrics:
        """Train one more epoch."""
        metrics = self._trainer.train_epoch()
        if self._records_oracle:
            metrics = self._record_oracle(metrics)
        self.history.append(metrics)
        return metrics

    def save(self, folder: Path) -> None:
        """Write a snapshot of the fold as it is after an epoch, before `result`.

        The folder is this fold's alone; the snapshot before this one stays in it, too.

        Raises:
            ValueError: no epoch was trained yet.
            OSError: it can't be written; earlier snapshots are as they were.
        """
        if not self.history:
            raise ValueError("a fold must have trained an epoch to be saved, has trained none")
        progress, tensors = self._trainer.state()
        write_snapshot(folder, progress.epoch, self._state(progress), tensors)

    def resume(self, folder: Path) -> list[str]:
        """Go on, in a new fold, from the newest snapshot that is whole and of this experiment.

        On the CPU the fold then trains bit for bit as if it had never been interrupted.

        Returns:
            A remark on each snapshot that was passed over, and one where none was left. No file,
            whatever it holds, raises or leaves the fold half restored.
        """
        remarks = []
        for path in newest_first(folder):
            try:
                state, tensors = read_snapshot(path, FoldState)
                self._refuse(state, epoch_of(path))
                self._trainer.restore(state.progress, tensors)
            except SnapshotError as error:
                remarks.append(f"{path} is passed over: {error}")
                continue
            self._take(state)
            return remarks
        if remarks:
            remarks.append(f"no snapshot is left in {folder}: training starts from the beginning")
        return remarks

    def result(self) -> FoldResult:
        """Score the test fold with the weights that the setting's selection picks."""
        if self.config.evaluation.selection == "oracle":
            predictions, best_epoch = self._oracle_predictions, self._oracle_epoch
        else:
            self._trainer.restore_best()
            best_epoch = self._trainer.best_epoch
            epoch, predictions = self._noted
            if epoch != best_epoch:
                predictions = self._trainer.predict(self._test)
        corpus = self._corpus
        return FoldResult(
            run_id=self._run_id,
            config=self.config,
            corpus_fingerprint=corpus.store.fingerprint,
            encoder_fingerprint=self._encoder,
            classes=corpus.classes,
            loss_weights=self._trainer.loss_weights,
            history=tuple(self.history),
            best_epoch=best_epoch,
            predictions=tuple(predictions),
            seconds=sum(epoch.seconds for epoch in self.history),
            device=device_name(self._trainer.device),
            left_out=corpus.left_out,
            counts_differ=corpus.counts_differ,
            micro_batch=self._micro_batch,
            utterances=self._sizes,
            peak_memory_mb=peak_memory_mb(),
        )

    def kept_model(self, kept: str) -> KeptModel:
        """The model as it is after `result`: of the epoch that an honest selection picks.

        Where the selection is `oracle`, that of the last epoch: the test fold picks no weights.
        """
        facts = ModelFacts(
            format=MODEL_FORMAT,
            recipe=RECIPE_VERSION,
            run_id=self._run_id,
            classes=self._corpus.classes,
            corpus_fingerprint=self._corpus.store.fingerprint,
            encoder_fingerprint=self._encoder,
            epoch=self._trainer.best_epoch,
            kept=kept,
        )
        weights = trained_weights(self._trainer.model, self.config.encoder)
        return KeptModel(facts=facts, config=self.config, tensors=weights)

    def _state(self, progress: Progress) -> FoldState:
        return FoldState(
            recipe=RECIPE_VERSION,
            corpus=self._corpus.store.fingerprint,
            encoder=self._encoder,
            run_id=self._run_id,
            device=self._trainer.device.type,
            progress=progress,
            history=tuple(self.history),
            oracle_predictions=tuple(self._oracle_predictions),
        )

    def _refuse(self, state: FoldState, epoch: int) -> None:
        """Raise `SnapshotError` unless this very experiment can be there, after that epoch."""
        own = self._state(state.progress)
        for part in ("recipe", "corpus", "encoder", "run_id", "device"):
            wanted, found = getattr(own, part), getattr(state, part)
            if wanted != found:
                raise SnapshotError(f"its {part} must be {wanted!r}, got {show(found)}")
        if not state.progress.epoch == len(state.history) == epoch:
            raise SnapshotError(
                f"its name, its progress and its history must agree, got epochs {epoch}, "
                f"{state.progress.epoch} and {len(state.history)}"
            )
        terms = ("total", *self.config.losses.terms)
        for number, metrics in enumerate(state.history, start=1):
            if (metrics.epoch, tuple(metrics.losses)) != (number, terms):
                raise SnapshotError(f"epoch {number} of its history must be that, with its losses")
            for scores, are_noted in (
                (metrics.validation, self._holds_out),
                (metrics.oracle, self._records_oracle),
            ):
                if not (_are_scores(scores) if are_noted else scores is None):
                    raise SnapshotError(f"epoch {number} of its history must have other scores")
        self._refuse_predictions(state.oracle_predictions)

    def _refuse_predictions(self, predictions: Sequence[Prediction]) -> None:
        classes = self._corpus.classes
        tested = sorted(
            (item.name, item.speaker, classes.index(item.label))
            for item in self._test.utterances
            if self._records_oracle
        )
        if tested != [(item.utterance, item.speaker, item.label) for item in predictions]:
            raise SnapshotError("its oracle predictions must be of this fold's test utterances")
        for item in predictions:
            if len(item.probabilities) != len(classes) or not _are_shares(item.probabilities):
                raise SnapshotError(f"it must hold probabilities of {item.utterance}, got others")

    def _take(self, state: FoldState) -> None:
        self.history = list(state.history)
        uas = [metrics.oracle["ua"] for metrics in self.history if metrics.oracle]
        self._oracle_ua = max(uas, default=-1.0)
        self._oracle_epoch = uas.index(self._oracle_ua) + 1 if uas else 0
        self._oracle_predictions = list(state.oracle_predictions)

    def _record_oracle(self, metrics: EpochMetrics) -> EpochMetrics:
        started = time.perf_counter()
        predictions = self._trainer.predict(self._test)
        self._noted = metrics.epoch, predictions
        scores = scores_of(predictions, len(self._corpus.classes))
        if scores.ua > self._oracle_ua:
            self._oracle_ua, self._oracle_epoch = scores.ua, metrics.epoch
            self._oracle_predictions = predictions
        return replace(
            metrics,
            oracle={"wa": scores.wa, "ua": scores.ua},
            seconds=metrics.seconds + time.perf_counter() - started,
        )


def run_fold(
    config: RunConfig,
    corpus: CorpusAudio,
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None,
    device: torch.device | None = None,
) -> FoldResult:
    """Train and score one fold in this process, without Ray or MLflow."""
    fold = Fold(config, corpus, device or best_device())
    while not fold.finished:
        on_epoch(fold.step())
    return fold.result()


def _are_scores(scores: dict[str, float] | None) -> bool:
    return scores is not None and scores.keys() == {"wa", "ua"} and _are_shares(scores.values())


def _are_shares(values: Iterable[float]) -> bool:
    return all(0 <= value <= 1 for value in values)
