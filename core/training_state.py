"""What a trainer must remember between two epochs, and the gate by which it comes back.

Tensors go by dotted names: `model.classify.bias`, `optimiser.0.exp_avg`, `generator.order`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.config import EncoderConfig, RunConfig
from core.encoder_catalog import is_pretrained
from core.result import EpochMetrics, Prediction
from core.snapshots import SnapshotError

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what torch's Adam keeps of each parameter
MERSENNE_WORDS = 624


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a training is, in plain values.

    Attributes:
        epoch: The last one trained, 1-based.
        best_epoch: By the held-out group; where none is held out, the last one.
        best_ua: There; -1 where none is held out.
        loss_weights: Eq. 11's λ.
    """

    epoch: int
    best_epoch: int
    best_ua: float
    loss_weights: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldState:
    """What a snapshot says of a fold beside its tensors: whose it is, and how far it is.

    Attributes:
        device: "cpu" or "cuda". The other one rounds otherwise, and draws other dropout.
        oracle_predictions: Of the best epoch on the test fold, where that is recorded.
    """

    recipe: int
    corpus: str
    encoder: str
    run_id: str
    device: str
    progress: Progress
    history: tuple[EpochMetrics, ...]
    oracle_predictions: tuple[Prediction, ...]


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors as a group of a larger state."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """One group of a larger state: the inverse of `prefixed`."""
    start = f"{prefix}."
    return {
        name.removeprefix(start): tensor
        for name, tensor in tensors.items()
        if name.startswith(start)
    }


def trained_weights(model: nn.Module, encoder: EncoderConfig) -> dict[str, Tensor]:
    """A model's own weights, without those that training leaves as the encoder's checkpoint has."""
    weights: dict[str, Tensor] = model.state_dict()
    if is_pretrained(encoder.name):
        for name, parameter in model.named_parameters(remove_duplicate=False):
            if not parameter.requires_grad:
                del weights[name]
    return weights


def global_generators(device: torch.device) -> dict[str, torch.Generator]:
    """torch's own, from which dropout draws; that of a GPU where training is on one."""
    found = {"cpu": torch.default_generator}
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        found["cuda"] = torch.cuda.default_generators[index]
    return found


def moments(optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """Adam's state of every parameter, by its number.

    Zero where a parameter has seen no gradient yet, as Adam itself starts.
    """
    parameters = _parameters(optimiser)
    found: dict[str, Tensor] = {}
    for number, parameter in enumerate(parameters):
        unseen = parameter.new_zeros(()).expand_as(parameter)  # takes no memory
        blank = dict(zip(MOMENTS, (torch.zeros(()), unseen, unseen), strict=True))
        state = optimiser.state.get(parameter) or blank
        found |= {f"{number}.{name}": state[name] for name in MOMENTS}
    return found


def restore_moments(optimiser: torch.optim.Adam, tensors: Mapping[str, Tensor]) -> None:
    """Give Adam copies of what `moments` gave."""
    parameters = _parameters(optimiser)
    copies = {}
    for number, parameter in enumerate(parameters):
        # Adam itself moves the step to where it wants it; without `fused` that is the CPU.
        devices = dict(zip(MOMENTS, ("cpu", parameter.device, parameter.device), strict=True))
        copies[number] = {
            name: tensors[f"{number}.{name}"].to(device, copy=True)
            for name, device in devices.items()
        }
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": copies, "param_groups": groups})


def _parameters(optimiser: torch.optim.Adam) -> list[Any]:
    """Of all its groups, as Adam itself numbers them."""
    return [item for group in optimiser.param_groups for item in group["params"]]


def refuse_progress(progress: Progress, config: RunConfig, holds_out: bool) -> None:
    """Raise `SnapshotError` unless a training of this config can be there."""
    epoch, best, last = progress.epoch, progress.best_epoch, config.training.epochs
    if not 1 <= epoch <= last:
        raise SnapshotError(f"its epoch must lie in 1..{last}, got {epoch}")
    if not (1 if holds_out else epoch) <= best <= epoch:
        raise SnapshotError(f"its best epoch must be one of its {epoch}, got {best}")
    if not (0 <= progress.best_ua <= 1 if holds_out else progress.best_ua == -1):
        raise SnapshotError(f"its best UA must lie in 0..1, got {progress.best_ua:g}")
    terms = config.losses.terms
    if tuple(progress.loss_weights) != terms or min(progress.loss_weights.values()) < 0:
        raise SnapshotError(f"it must weigh {', '.join(terms)}, got {progress.loss_weights}")


def refuse_misfits(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise `SnapshotError` unless the tensors are such as the trainer's own."""
    if differing := sorted(tensors.keys() ^ own.keys()):
        fault = "lacks" if differing[0] in own else "has"
        raise SnapshotError(f"its tensors must be this model's, but it {fault} {differing[0]!r}")
    for name, tensor in tensors.items():
        if (tensor.dtype, tensor.shape) != (own[name].dtype, own[name].shape):
            wanted, found = (f"{item.dtype} {tuple(item.shape)}" for item in (own[name], tensor))
            raise SnapshotError(f"its tensor {name} must be {wanted}, got {found}")
        if not tensor.isfinite().all():
            raise SnapshotError(f"its tensor {name} must hold finite numbers, got others")
        if name.endswith((".step", ".exp_avg_sq")) and (tensor < 0).any():
            raise SnapshotError(f"its tensor {name} must hold no negative number, got one")


def refuse_generators(
    states: Mapping[str, Tensor], generators: Mapping[str, torch.Generator]
) -> None:
    """Raise `SnapshotError` unless every generator can take its state."""
    for name, generator in generators.items():
        try:
            torch.Generator(generator.device).set_state(states[name])
        except (RuntimeError, TypeError) as error:
            raise SnapshotError(f"its generator {name} must be torch's, got another") from error
        if generator.device.type == "cpu":
            # torch does not compare these two, and would read beyond the words of the twister.
            left, _, used = struct.unpack_from("<iiQ", states[name].numpy().tobytes(), 8)
            if (left, used) != (1, 0) and left + used != MERSENNE_WORDS + 1:
                raise SnapshotError(f"its generator {name} must be torch's, got another")
