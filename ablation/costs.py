"""What trials have cost, and what those to come will: from the same kind of trial, or the nearest.

Imports nothing that takes time: --plan answers at once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heapreplace
from statistics import median

from core.classifiers import NETWORK
from core.config import RunConfig

MAX_S = 1e9
UNLIKE, HEAVY = 1000, 5  # O: distance of a kind that was not noted, and of a part that costs much
BETWEEN_S = 0.25  # O: measured, between two trials in one process: Tune, MLflow's and our own words


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one fold took, or would take by a calibration.

    Attributes:
        fold: 0 where it was not noted.
        kind: From `kind_of`; "" where it was not noted.
        around_seconds: Beside its epochs: building the model, calibrating the losses, checkpoints,
            scoring the test fold.
    """

    config_key: str
    encoder: str
    corpus: str
    epoch_seconds: float = field(metadata={"range": (0.0, MAX_S, False)})
    fold: int = field(default=0, metadata={"range": (0, 10**9, False)})
    kind: str = ""
    around_seconds: float = field(default=0.0, metadata={"range": (0.0, MAX_S, False)})


def kind_of(config: RunConfig) -> str:
    """What an epoch's time depends on beside encoder and corpus; the parts compare one by one."""
    encoder, training, evaluation = config.encoder, config.training, config.evaluation
    mixup, losses = config.mixup.method, config.losses
    parts = (
        # Partners are read as well: about twice the reading, and no frames can be stored.
        "plain" if mixup == "none" else "mixed",
        "supcon" if "supcon" in losses.terms else "no supcon",
        f"frozen={encoder.train}",
        f"layer={encoder.layer}",
        f"weighed={encoder.weigh_layers}",
        f"crop={config.audio.crop_s:g}",
        f"precision={training.precision}",
        f"batch={training.batch_size}",
        f"threads={training.threads}",
        f"selection={evaluation.selection}",
        f"oracle={evaluation.record_oracle}",
        mixup,
        config.pooling.method,
        "+".join(losses.terms),
        losses.weighting,
        # Later parts stand only where they are more than nothing: kinds that were noted stay whole.
        *([f"lora={encoder.lora_rank}"] if encoder.lora_rank else []),
        *([f"joined={encoder.join_layers}"] if encoder.join_layers else []),
        *([f"heard={evaluation.speeds}"] if len(evaluation.speeds) > 1 else []),
    )
    if config.classifier.method != NETWORK:
        parts = (config.classifier.method, *parts[1:])
    return "|".join(parts)


class Estimator:
    """Seconds of trials to come, by what others took. Time grows with the folds seen, once."""

    def __init__(self, seen: Iterable[Cost]) -> None:
        self._kinds: dict[tuple[str, str], dict[str, dict[int, list[Cost]]]] = {}
        for cost in seen:
            kinds = self._kinds.setdefault((cost.encoder, cost.corpus), {})
            kinds.setdefault(cost.kind, {}).setdefault(cost.fold, []).append(cost)

    def knows(self, config: RunConfig) -> bool:
        """Whether a trial of this very kind has been seen."""
        kinds = self._kinds.get((config.encoder.name, config.corpus.name), {})
        return kind_of(config) in kinds

    def seconds(self, config: RunConfig, folds: Sequence[int]) -> list[float] | None:
        """The likely time of each of these folds under a setting.

        Returns:
            None where nothing with this encoder on this corpus has been seen.
        """
        kinds = self._kinds.get((config.encoder.name, config.corpus.name))
        if kinds is None:
            return None
        wanted = kind_of(config)
        distances = {name: _distance(name, wanted) for name in kinds}
        least = min(distances.values())  # 0: the kind itself; else several may be as near
        near = [name for name, distance in distances.items() if distance == least]
        return [
            median(_fold_seconds(kinds[name], fold, config.training.epochs, kinds) for name in near)
            + BETWEEN_S
            for fold in folds
        ]


def _distance(kind: str, wanted: str) -> int:
    """In how many parts two kinds differ; the first two, which cost most, count as many."""
    if kind == wanted:
        return 0
    if not kind:
        return UNLIKE
    pairs = zip(kind.split("|"), wanted.split("|"), strict=False)
    return sum((HEAVY if place < 2 else 1) for place, (a, b) in enumerate(pairs) if a != b)


def _fold_seconds(
    seen: dict[int, list[Cost]],
    fold: int,
    epochs: int,
    kinds: dict[str, dict[int, list[Cost]]],
) -> float:
    """Of one kind on one fold; of a fold not seen, by how folds differ under the other kinds."""
    if fold in seen:
        return _typical(seen[fold], epochs)
    known = [cost for costs in seen.values() for cost in costs]
    factors = [
        _typical(other[fold], epochs)
        / _typical([cost for known_fold in seen for cost in other[known_fold]], epochs)
        for other in kinds.values()
        if fold in other and seen.keys() <= other.keys()
    ]
    return _typical(known, epochs) * median(factors or [1.0])


def _typical(costs: Sequence[Cost], epochs: int) -> float:
    return max(median(c.epoch_seconds for c in costs) * epochs, 1e-9) + median(
        c.around_seconds for c in costs
    )


def makespan(trials: Iterable[float], slots: int) -> float:
    """When the last trial ends, the longest starting first on whichever slot is free.

    Source: Graham 1969; the runner starts them in this order.
    """
    ends = [0.0] * slots
    heapify(ends)
    for seconds in sorted(trials, reverse=True):
        heapreplace(ends, ends[0] + seconds)
    return max(ends)
