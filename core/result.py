"""What one trained fold leaves behind: plain values that travel as JSON, without torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from core.config import RunConfig
from core.metrics import Scores, score, score_speakers


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochMetrics:
    """One epoch of training.

    Attributes:
        epoch: 1-based.
        losses: The weighted sum under "total" and each unweighted term, means over the batches.
        learning_rate: Of the model, in this epoch.
        validation: {"wa", "ua"} on the held-out speaker group, or None where none is held out.
        oracle: {"wa", "ua"} on the test fold, or None; recorded, never used to choose weights
            unless the selection is `oracle` by name.
        seconds: Wall time of the epoch, evaluation included.
        finished_at_ms: Unix time; kept so that a metric sent twice is one metric.
    """

    epoch: int
    losses: dict[str, float]
    learning_rate: float
    validation: dict[str, float] | None
    oracle: dict[str, float] | None
    seconds: float
    finished_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The model's word on one test utterance.

    Attributes:
        label: The true class, by its place among the corpus's classes.
        probabilities: (C,) in the order of these classes.
    """

    utterance: str
    speaker: str
    label: int
    probabilities: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """The most probable class; the first of equals."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """A finished fold, whole: what it was, how it went, what it predicted."""

    run_id: str
    config: RunConfig
    corpus_fingerprint: str
    encoder_fingerprint: str
    classes: tuple[str, ...]
    loss_weights: dict[str, float]
    history: tuple[EpochMetrics, ...]
    best_epoch: int
    predictions: tuple[Prediction, ...]
    seconds: float
    device: str
    left_out: int  # utterances of the corpus whose audio could not be read, by the user's leave
    counts_differ: bool = False  # the corpus is not the paper's in number, by the user's leave
    micro_batch: int | None = None  # utterances that passed the model at once; None: a batch
    # Utterances by side: train, validation, test. Of folds from before they were noted, none.
    utterances: dict[str, int] = field(default_factory=dict)
    peak_memory_mb: dict[str, float] = field(default_factory=dict)  # "cpu" and "gpu"

    def scores(self) -> Scores:
        """WA, UA and confusion over the test fold."""
        return score(*self._labels(), len(self.classes))

    def speakers(self) -> dict[str, Scores]:
        """The same for each test speaker."""
        speakers = [prediction.speaker for prediction in self.predictions]
        return score_speakers(*self._labels(), speakers, len(self.classes))

    def oracle(self) -> dict[str, float] | None:
        """{"epoch", "wa", "ua"} of the best UA on the test fold itself, the first of equals.

        Optimistic: the practice behind many published figures. None where it was not recorded.
        """
        seen = [epoch for epoch in self.history if epoch.oracle is not None]
        if not seen:
            return None
        best = max(seen, key=lambda epoch: (epoch.oracle or {})["ua"])
        return {"epoch": best.epoch, **(best.oracle or {})}

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FoldResult":
        """The inverse of `to_dict`, through the config's gate.

        Raises:
            ValueError: a field is missing or unknown, or can't be read; says which.
        """
        try:
            plain = dict(values)
            plain["config"] = RunConfig.from_dict(plain["config"])
            plain["classes"] = tuple(plain["classes"])
            plain["history"] = tuple(EpochMetrics(**epoch) for epoch in plain["history"])
            plain["predictions"] = tuple(
                Prediction(**{**item, "probabilities": tuple(item["probabilities"])})
                for item in plain["predictions"]
            )
            return cls(**plain)
        except KeyError as error:
            raise ValueError(f"a fold's result must hold every field, found no {error}") from error
        except (AttributeError, TypeError) as error:  # null or a number where a group must stand
            raise ValueError(f"a fold's result must hold every field, found: {error}") from error

    def _labels(self) -> tuple[np.ndarray, np.ndarray]:
        labels = np.array([prediction.label for prediction in self.predictions])
        predicted = np.array([prediction.predicted for prediction in self.predictions])
        return labels, predicted
