"""What `--demo` changes: synthetic speech for corpora, and small encoders for weights."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# O: sized so that the 75 trials of Table 3 take three minutes on two cores, every row well above
# chance. The synthetic utterances last 0.9 to 2.4 s.
TRAINING = {
    "training.epochs": 3,
    "training.learning_rate": 1e-3,
    "training.precision": "float32",  # bf16 pays on large layers only
    "pooling.heads": 16,
    "audio.crop_s": 1.5,
}
SEED = 0


def demo_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a row changes in the demo.

    The paper's two encoders become two of different size, so that rows which differ in the encoder
    alone are still different experiments. They start from no weights that LoRA could add to.
    """
    name = settings.get("encoder.name", "wavlm-large")
    if name == "logmel":  # has no weights to go without
        return TRAINING
    # The smaller one stays itself: a search's chosen grid names what the demo made of a row.
    is_hubert = isinstance(name, str) and name.startswith(("hubert", "logmel-small"))
    return {
        **TRAINING,
        "encoder.name": "logmel-small" if is_hubert else "logmel-base",
        "encoder.layer": None,
        "encoder.join_layers": (),
        "encoder.lora_rank": 0,
    }


def demo_corpus(
    name: str, runs: Path, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write, or find written, the synthetic corpus in the layout of a real one."""
    # Imported here: a demo's plan needs no synthesiser.
    from core.corpora.synthetic import write_corpus

    return write_corpus(name, runs / "demo", SEED, on_progress=on_progress)
