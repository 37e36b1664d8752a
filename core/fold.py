"""One fold from split to result: fit on training speakers, score the test speakers once."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from core.batches import Batcher
from core.config import RunConfig, run_id
from core.corpora.catalog import CORPORA
from core.corpora.folds import split
from core.corpora.utterance import Utterance
from core.encoders import fingerprint as encoder_fingerprint
from core.result import EpochMetrics, FoldResult, Prediction
from core.store import AudioStore
from core.trainer import Trainer, scores_of


class Fold:
    """A fold under way: `step` trains an epoch, `result` scores the test fold.

    The trainer never holds the test utterances. What is measured on them along the way, where the
    setting asks for the oracle figure, is written into the history and read by nothing else,
    unless the selection is `oracle` by name.
    """

    def __init__(
        self,
        config: RunConfig,
        utterances: Sequence[Utterance],
        store: AudioStore,
        device: torch.device,
        left_out: int = 0,
        counts_differ: bool = False,
    ) -> None:
        corpus = CORPORA[config.corpus.name]
        evaluation = config.evaluation
        parts = split(
            utterances,
            corpus.schemes[config.corpus.folds],
            config.fold,
            evaluation.selection == "validation",
        )
        self.config = config
        self.history: list[EpochMetrics] = []
        self._classes = corpus.classes
        self._corpus_fingerprint = store.fingerprint
        self._left_out = left_out
        self._counts_differ = counts_differ
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
        encoder = encoder_fingerprint(self.config.encoder)
        return FoldResult(
            run_id=run_id(self.config, self._corpus_fingerprint, encoder),
            config=self.config,
            corpus_fingerprint=self._corpus_fingerprint,
            encoder_fingerprint=encoder,
            classes=self._classes,
            loss_weights=self._trainer.loss_weights,
            history=tuple(self.history),
            best_epoch=best_epoch,
            predictions=tuple(predictions),
            seconds=sum(epoch.seconds for epoch in self.history),
            device=_device_name(self._trainer.device),
            left_out=self._left_out,
            counts_differ=self._counts_differ,
        )

    def _record_oracle(self, metrics: EpochMetrics) -> EpochMetrics:
        started = time.perf_counter()
        predictions = self._trainer.predict(self._test)
        scores = scores_of(predictions, len(self._classes))
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
    utterances: Sequence[Utterance],
    store: AudioStore,
    on_epoch: Callable[[EpochMetrics], None] = lambda _: None,
    device: torch.device | None = None,
) -> FoldResult:
    """Train and score one fold in this process, without Ray or MLflow."""
    fold = Fold(config, utterances, store, device or best_device())
    while not fold.finished:
        on_epoch(fold.step())
    return fold.result()


def best_device() -> torch.device:
    """The GPU that this process may use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
