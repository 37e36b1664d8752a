"""The two optimisers: Adam for the model, in groups with a rate each, and Adam for the centers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from core.config import TrainingConfig
from core.model import EmotionModel

OF_THE_ENCODER = ("encoder.front_end.", "encoder.transformer.")  # not the average over its layers


def optimisers(
    training: TrainingConfig, model: EmotionModel, centers: nn.Parameter
) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    """Of what is trained of a model, and of the centers."""
    betas = (training.beta1, training.beta2)
    groups = _groups(training, model)
    return (
        torch.optim.Adam(groups, training.learning_rate, betas, training.epsilon, fused=True),
        torch.optim.Adam([centers], training.center_learning_rate, betas, training.epsilon),
    )


class Schedule:
    """From the rates that optimisers start with to those of an epoch."""

    def __init__(self, training: TrainingConfig, trained: Sequence[torch.optim.Optimizer]) -> None:
        self._training = training
        self._trained = trained
        self._initial = [[group["lr"] for group in each.param_groups] for each in trained]

    def set_epoch(self, epoch: int) -> float:
        """Give every group its rate; returns that of the model.

        Source: P §3.2: times 7/8 after each epoch, until the 20th.
        """
        training = self._training
        factor = training.decay ** (min(epoch, training.decay_epochs) - 1)
        for optimiser, rates in zip(self._trained, self._initial, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        return training.learning_rate * factor


def _groups(training: TrainingConfig, model: EmotionModel) -> list[dict[str, Any]]:
    """All trained parameters, in the model's order; the heads apart where they have their rate."""
    trained = {name: item for name, item in model.named_parameters() if item.requires_grad}
    if training.head_learning_rate is None:
        return [{"params": list(trained.values())}]
    encoder = [item for name, item in trained.items() if name.startswith(OF_THE_ENCODER)]
    heads = [item for name, item in trained.items() if not name.startswith(OF_THE_ENCODER)]
    groups: list[dict[str, Any]] = [
        {"params": encoder},
        {"params": heads, "lr": training.head_learning_rate},
    ]
    return [group for group in groups if group["params"]]
