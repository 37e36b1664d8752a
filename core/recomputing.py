"""Layers whose activations are computed again in the backward pass, for a small card."""

from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from core.encoders import Encoder


def recompute_layers(encoder: nn.Module) -> None:
    """From here on keep only each transformer layer's input for the backward pass.

    Dropout draws there what it drew before, so that the gradients stay the same; a step takes about
    a third longer. Frames that were stored have no layers, and change nothing.
    """
    if not isinstance(encoder, Encoder):
        return
    transformer: Any = encoder.transformer
    for layer in getattr(transformer, "encoder", transformer).layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
