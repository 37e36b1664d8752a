"""One fold from split to result: fit on training speakers, score the test speakers once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from core.batches import Batcher
from core.config import RunConfig, run_id
from core.corpora.folds import FoldScheme, split
from core.corpora.utterance import Utterance
from core.encoders import fingerprint as encoder_fingerprint
from core.result import EpochMetrics, FoldResult, Prediction
from core.store import AudioStore
from core.trainer import Trainer, scores_of


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
    setting asks for the oracle figure, is written into the history and read by nothing else,
    unless the selection is `oracle` by name.
    """

    def __init__(
        self,
        config: RunConfig,
        corpus: CorpusAudio,
        device: torch.device,
    ) -> None:
        evaluation, store = config.evaluation, corpus.store
        holds_out = evaluation.selection == "validation"
        parts = split(corpus.utterances, corpus.scheme, config.fold, holds_out)
        self.config = config
        self.history: list[EpochMetrics] = []
        self._corpus = corpus
        self._trainer = Trainer(
            config, parts.train, parts.validation, store, corpus.classes, device
        )
        self._test = Batcher(parts.test, store, corpus.classes, config.audio, config.training)
        self._records_oracle = evaluation.record_oracle or evaluation.selection == "oracle"
        self._oracle_ua = -1.0
        self._oracle_epoch = 0
        self._oracle_predictions: list[Prediction] = []

    @property
    def finished(self) -> bool:
        """Whether every epoch has been trained."""
        return self._trainer.finished

    def step(self) -> EpochMetrics:
        """Train one more epoch."""
        metrics = self._trainer.train_epoch()
        if self._records_oracle:
            metrics = self._record_oracle(metrics)
        self.history.append(metrics)
        return metrics

    def result(self) -> FoldResult:
        """Score the test fold with the weights that the setting's selection picks."""
        if self.config.evaluation.selection == "oracle":
            predictions, best_epoch = self._oracle_predictions, self._oracle_epoch
        else:
            self._trainer.restore_best()
            predictions = self._trainer.predict(self._test)
            best_epoch = self._trainer.best_epoch
        encoder, corpus = encoder_fingerprint(self.config.encoder), self._corpus
        return FoldResult(
            run_id=run_id(self.config, corpus.store.fingerprint, encoder),
            config=self.config,
            corpus_fingerprint=corpus.store.fingerprint,
            encoder_fingerprint=encoder,
            classes=corpus.classes,
            loss_weights=self._trainer.loss_weights,
            history=tuple(self.history),
            best_epoch=best_epoch,
            predictions=tuple(predictions),
            seconds=sum(epoch.seconds for epoch in self.history),
            device=_device_name(self._trainer.device),
            left_out=corpus.left_out,
            counts_differ=corpus.counts_differ,
        )

    def _record_oracle(self, metrics: EpochMetrics) -> EpochMetrics:
        started = time.perf_counter()
        predictions = self._trainer.predict(self._test)
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


def best_device() -> torch.device:
    """The GPU that this process may use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
