"""The field's own baselines on the folds of the paper: eGeMAPS with an SVM, and a linear probe.

A baseline is a fold like any other: one epoch, in which scikit-learn fits it on the training side,
and probabilities of every test utterance after it. Its features are computed once a corpus, beside
the audio store, before any trial starts.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.batches import derived_seed
from core.classifiers import EGEMAPS_SVM
from core.config import RunConfig
from core.corpora.folds import split
from core.corpora.utterance import Utterance
from core.devices import computing, device_name, peak_memory_mb, watch_memory
from core.encoders import build_encoder
from core.encoders import fingerprint as encoder_fingerprint
from core.features import inputs_of
from core.fold import CorpusAudio
from core.functionals import open_functionals
from core.identity import run_id
from core.result import EpochMetrics, FoldResult, Prediction
from core.trainer import scores_of

PROBE_STEPS = 10_000  # O: of L-BFGS at most; it ends by itself after some hundred
LAYER_NORM_EPSILON = 1e-5  # torch's default, as where the network norms frames
LEAST = 1e-12  # of a probability whose logarithm is taken


class BaselineFold:
    """A baseline's fold, with what `core.fold.Fold` offers to those who run it."""

    def __init__(self, config: RunConfig, corpus: CorpusAudio, device: torch.device) -> None:
        watch_memory()
        holds_out = config.evaluation.selection == "validation"
        self.config = config
        self.history: list[EpochMetrics] = []
        self._corpus = corpus
        self._device = device
        self._parts = split(corpus.utterances, corpus.scheme, config.fold, holds_out)
        self._encoder = encoder_fingerprint(config.encoder)
        self._run_id = run_id(config, corpus.store.fingerprint, self._encoder)
        self._features = features_of(config, corpus, device)
        self._model: Any = None
        self._predictions: list[Prediction] = []

    @property
    def finished(self) -> bool:
        """Whether it has been fitted."""
        return bool(self.history)

    def step(self) -> EpochMetrics:
        """Fit it; the loss is the mean cross entropy on the training side."""
        from threadpoolctl import threadpool_limits

        started = time.perf_counter()
        config, parts = self.config, self._parts
        train = self._matrix(parts.train)
        labels = np.array([self._label(item) for item in parts.train])
        with threadpool_limits(config.training.threads):
            self._model = build(config).fit(train, labels)
            own = self._probabilities(parts.train)
            validation = self._rates(parts.validation) if parts.validation else None
            self._predictions = self._predict(parts.test)
        loss = float(-np.log(np.maximum(own[np.arange(len(labels)), labels], LEAST)).mean())
        notes = config.evaluation.record_oracle or config.evaluation.selection == "oracle"
        metrics = EpochMetrics(
            epoch=1,
            losses={"total": loss, "kl": loss},
            learning_rate=0.0,
            validation=validation,
            oracle=self._rates(parts.test) if notes else None,
            seconds=time.perf_counter() - started,
            finished_at_ms=time.time_ns() // 1_000_000,
        )
        self.history.append(metrics)
        return metrics

    def save(self, folder: Path) -> None:
        """Nothing: it is fitted at once or not at all."""

    def resume(self, folder: Path) -> list[str]:
        """Nothing, without a remark."""
        return []

    def kept_model(self, kept: str) -> None:
        """None: scikit-learn's models are kept as pickles alone, which nobody should open."""

    def result(self) -> FoldResult:
        """What it said of the test fold."""
        corpus = self._corpus
        return FoldResult(
            run_id=self._run_id,
            config=self.config,
            corpus_fingerprint=corpus.store.fingerprint,
            encoder_fingerprint=self._encoder,
            classes=corpus.classes,
            loss_weights={"kl": 1.0},
            history=tuple(self.history),
            best_epoch=1,
            predictions=tuple(self._predictions),
            seconds=sum(epoch.seconds for epoch in self.history),
            device=device_name(torch.device("cpu")),
            left_out=corpus.left_out,
            counts_differ=corpus.counts_differ,
            utterances=self._parts.sizes,
            peak_memory_mb=peak_memory_mb(),
        )

    def _matrix(self, utterances: Sequence[Utterance]) -> NDArray[np.float64]:
        return np.stack([self._features[item.name] for item in utterances]).astype(np.float64)

    def _label(self, item: Utterance) -> int:
        return self._corpus.classes.index(item.label)

    def _probabilities(self, utterances: Sequence[Utterance]) -> NDArray[np.float64]:
        return probabilities(self._model, self._matrix(utterances), len(self._corpus.classes))

    def _predict(self, utterances: Sequence[Utterance]) -> list[Prediction]:
        found = [
            Prediction(
                utterance=item.name,
                speaker=item.speaker,
                label=self._label(item),
                probabilities=tuple(row),
            )
            for item, row in zip(utterances, self._probabilities(utterances).tolist(), strict=True)
        ]
        return sorted(found, key=lambda prediction: prediction.utterance)

    def _rates(self, utterances: Sequence[Utterance]) -> dict[str, float]:
        scores = scores_of(self._predict(utterances), len(self._corpus.classes))
        return {"wa": scores.wa, "ua": scores.ua}


def build(config: RunConfig) -> Any:
    """The setting's scikit-learn pipeline, unfitted; nothing in it draws."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    own = config.classifier
    if own.method == EGEMAPS_SVM:
        gamma = "scale" if own.svm_gamma is None else own.svm_gamma
        return make_pipeline(StandardScaler(), SVC(C=own.svm_c, kernel=own.svm_kernel, gamma=gamma))
    return make_pipeline(StandardScaler(), LogisticRegression(C=own.probe_c, max_iter=PROBE_STEPS))


def probabilities(model: Any, features: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    """Shares whose largest is the class that the model predicts.

    Logistic regression gives its own. A support vector machine has none: they are the softmax of
    its one-against-rest scores, and where these part from `predict`, which breaks a tie of votes
    by the order of classes, the two classes' shares are swapped. Platt's scaling would cost five
    more fits, and its largest share is often another class than the one predicted.

    Args:
        features: (N, F).
        classes: C; a class without a training utterance gets 0.
    Returns:
        (N, C), rows sum to one.
    """
    known = np.asarray(model.classes_, dtype=np.int64)
    if hasattr(model, "predict_proba"):
        shares = np.asarray(model.predict_proba(features), dtype=np.float64)
    else:
        scores = np.asarray(model.decision_function(features), dtype=np.float64)
        if scores.ndim == 1:  # of two classes, the second's
            scores = np.stack([-scores, scores], 1)
        raised = np.exp(scores - scores.max(1, keepdims=True))
        shares = raised / raised.sum(1, keepdims=True)
        said = np.searchsorted(known, model.predict(features))
        largest, rows = shares.argmax(1), np.arange(len(shares))
        shares[rows, largest], shares[rows, said] = shares[rows, said], shares[rows, largest]
    found = np.zeros((len(shares), classes))
    found[:, known] = shares
    return found


def features_of(
    config: RunConfig, corpus: CorpusAudio, device: torch.device
) -> dict[str, NDArray[np.float32]]:
    """(F,) of every utterance by name: eGeMAPS functionals, or the mean over frames.

    Of a layer's frames, or of those of several side by side.
    """
    names = [item.name for item in corpus.utterances]
    if config.classifier.method == EGEMAPS_SVM:
        return open_functionals(corpus.store, names)
    inputs = inputs_of(config, corpus.store, device)
    if config.stores_frames:
        return {name: _mean(inputs.read(name), config) for name in names}
    # An encoder without weights, for demos and tests: the fold's own random draw.
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(config.seed, config.fold, "model"))
        encoder = build_encoder(replace(config.encoder, normalise=False)).to(device).eval()
    layers = max(1, len(config.encoder.join_layers))
    found = {}
    with torch.inference_mode(), computing(device, config.training.precision):
        for name in names:
            heard = torch.tensor(inputs.read(name), device=device).unsqueeze(0)
            frames, _ = encoder(heard, torch.tensor([heard.shape[1]], device=device))
            by_layer = frames[0].unflatten(-1, (-1, encoder.features // layers)).float()
            found[name] = _mean(by_layer.cpu().numpy(), config)
    return found


def _mean(frames: NDArray[Any], config: RunConfig) -> NDArray[np.float32]:
    """(F,) from (T, D) or (T, K, D), each frame normed first where the setting says so."""
    told = np.asarray(frames, dtype=np.float64)
    if config.encoder.normalise:
        centred = told - told.mean(-1, keepdims=True)
        told = centred / np.sqrt(told.var(-1, keepdims=True) + LAYER_NORM_EPSILON)
    return told.mean(0).ravel().astype(np.float32)
