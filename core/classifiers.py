"""What a row classifies with: the paper's network, or one of the field's own baselines.

The settings of a baseline, and which of the network's it has no use for; without anything heavy.
The baselines themselves are in `core.baselines`. O = our own choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.schema import number

NETWORK, EGEMAPS_SVM, LINEAR_PROBE = "network", "egemaps-svm", "linear-probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """The paper's network, or a baseline that is fitted at once, in one epoch."""

    # egemaps-svm: openSMILE's eGeMAPS functionals (Eyben et al. 2016) of the whole utterance as it
    # is stored, to zero mean and unit variance over the training side, then a support vector
    # machine. linear-probe: the mean over the frames of a frozen encoder's layer, likewise, then
    # logistic regression.
    method: Literal["network", "egemaps-svm", "linear-probe"] = "network"
    svm_c: float = number(1.0, 0.0, 1e6, above=True)  # scikit-learn's default
    svm_kernel: Literal["rbf", "linear"] = "rbf"  # scikit-learn's default
    # scikit-learn's default, "scale": one over features times variance, here one over 88.
    svm_gamma: float | None = number(None, 0.0, 1e6, above=True)  # type: ignore[arg-type]
    probe_c: float = number(1.0, 0.0, 1e6, above=True)  # scikit-learn's default


_OF_THE_NETWORK = (
    "augment.",
    "mixup.",
    "pooling.",
    "losses.",
    "training.",
    "evaluation.patience",
    "evaluation.speeds",
)
# Keys, or groups of them, that a method has no use for; and exceptions to the groups.
_UNUSED: dict[str, tuple[str, ...]] = {
    NETWORK: ("classifier.svm_", "classifier.probe_"),
    LINEAR_PROBE: (
        "classifier.svm_",
        "encoder.train",
        "encoder.weigh_layers",
        "encoder.lora_",
        *_OF_THE_NETWORK,
    ),
    EGEMAPS_SVM: (
        "classifier.probe_",
        "encoder.",
        "audio.",
        *_OF_THE_NETWORK,
    ),
}
_USED: dict[str, tuple[str, ...]] = {
    NETWORK: (),
    LINEAR_PROBE: ("training.precision", "training.threads"),  # of the encoder, of the fitting
    EGEMAPS_SVM: ("training.threads",),
}
# What stands in their place, whatever a grid's base says: one experiment has one name.
_SETTLED: dict[str, Any] = {
    "mixup.method": "none",
    "pooling.method": "mean",
    "losses.terms": ("kl",),
    "losses.weighting": "fixed",
    "training.epochs": 1,
    "encoder.train": "frozen",
}


def is_unused(method: str, key: str) -> bool:
    """Whether a setting changes nothing under this method."""
    return key.startswith(_UNUSED.get(method, ())) and key not in _USED[method]


def settled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Flat settings without what their method has no use for."""
    method = settings.get("classifier.method", NETWORK)
    kept = {key: value for key, value in settings.items() if not is_unused(method, key)}
    if method == NETWORK:
        return kept
    encoder = {"encoder.name": "logmel-small"} if method == EGEMAPS_SVM else {}  # needs no weights
    return {**kept, **_SETTLED, **encoder}
