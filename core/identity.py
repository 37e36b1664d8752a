"""What an experiment is called: equal settings, audio and weights give equal names anywhere."""

import json
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from core.config import RECIPE_VERSION, RunConfig

LATER = (
    "encoder.join_layers",
    "encoder.lora_rank",
    "encoder.lora_alpha",
    "augment.noise_probability",
    "augment.noise_snr_min_db",
    "augment.noise_snr_max_db",
    "augment.noise_colours",
    "augment.frequency_masks",
    "augment.frequency_width",
    "augment.time_masks",
    "augment.time_share",
    "mixup.alpha",
    "pooling.standardise",
    "losses.label_smoothing",
    "training.balanced",
    "training.head_learning_rate",
    "evaluation.inner_fold",
    "evaluation.patience",
    "evaluation.speeds",
    "classifier.method",
    "classifier.svm_c",
    "classifier.svm_kernel",
    "classifier.svm_gamma",
    "classifier.probe_c",
)
"""Settings that came after the first folds of this recipe. At its default such a one changes
nothing of what is computed and stays out of the name, so that those folds are found and not trained
anew. Empty again with the next recipe."""

_DEFAULTS = RunConfig().to_dict()


def run_id(config: RunConfig, corpus_fingerprint: str, encoder_fingerprint: str) -> str:
    """Name this exact experiment: equal on every machine and in every process.

    Args:
        config: The resolved config, defaults included.
        corpus_fingerprint: From `core.store.fingerprint`: names, labels, speakers and audio bytes.
        encoder_fingerprint: From `core.checkpoints.fingerprint`: the weights to start from.
    Returns:
        12 hexadecimal digits.
    """
    identity = {
        "recipe": RECIPE_VERSION,
        "config": _named(config),
        "corpus": corpus_fingerprint,
        "encoder": encoder_fingerprint,
    }
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def config_key(config: RunConfig) -> str:
    """Name a config alone, for finding its results where the data is not at hand."""
    identity = {"recipe": RECIPE_VERSION, "config": _named(config)}
    return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def config_keys(config: RunConfig, runs: Iterable[tuple[int, int]]) -> list[str]:
    """`config_key` of one setting on each (fold, seed), many at once."""
    identity: dict[str, Any] = {"recipe": RECIPE_VERSION, "config": _named(config)}
    keys = []
    for fold, seed in runs:
        identity["config"] |= {"fold": fold, "seed": seed}
        keys.append(sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12])
    return keys


def _named(config: RunConfig) -> dict[str, Any]:
    """The settings that name a config: all, but for later ones at their defaults."""
    settings = config.to_dict()
    for key in LATER:
        group, _, name = key.partition(".")
        if settings[group][name] == _DEFAULTS[group][name]:
            del settings[group][name]
            if not settings[group]:
                del settings[group]
    return settings
