"""Reading a checkpoint's tensors into a network: all of them, or an error that names the fault."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core.checkpoints import Checkpoint, CheckpointError

# weight_norm as older transformers saved it -> as torch's parametrizations name it.
_RENAMED = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}

Network = TypeVar("Network", bound=nn.Module)


def without_weights(checkpoint: Checkpoint, make: Callable[[], Network]) -> Network:
    """Make a network on the meta device: it takes no memory and no random draw.

    Raises:
        CheckpointError: `make` can't, because config.json doesn't describe such a network.
    """
    try:
        with torch.device("meta"):
            return make()
    except CheckpointError:
        raise
    except Exception as error:  # whatever transformers and torch raise on settings that don't fit
        raise checkpoint.error(
            f"config.json must describe a {checkpoint.family} model, found: {error}"
        ) from error


def load_weights(
    network: nn.Module, checkpoint: Checkpoint, anchor: str, unused: Iterable[str]
) -> None:
    """Give a network built on the meta device the checkpoint's tensors, as float32 masters.

    A checkpoint may hold the encoder alone or inside a larger model (a decoder, a head): the
    encoder's tensors are those that share the prefix of the tensor `anchor`.

    Args:
        anchor: A tensor's name in `network` that no other part of a larger model has.
        unused: Prefixes of the encoder's own tensors that `network` does without.
    Raises:
        CheckpointError: unreadable files; missing, unexpected, misshapen or non-finite tensors.
    """
    stored = _read_tensors(checkpoint)
    prefixes = [key.removesuffix(anchor) for key in stored if f".{key}".endswith(f".{anchor}")]
    if len(prefixes) != 1:
        raise checkpoint.error(
            f"the weights must hold one {checkpoint.family} encoder with a tensor {anchor}, "
            f"found {len(prefixes)}"
        )
    named = _without_prefix(stored, prefixes[0], tuple(unused))
    wanted = network.state_dict()
    _refuse(checkpoint, "missing", wanted.keys() - named.keys())
    _refuse(checkpoint, "unexpected", named.keys() - wanted.keys())
    misshapen = (
        f"{key} {tuple(named[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if named[key].shape != wanted[key].shape
    )
    _refuse(checkpoint, "misshapen", misshapen)
    _refuse(checkpoint, "non-finite", (key for key in named if not named[key].isfinite().all()))
    masters = {key: tensor.to(torch.float32) for key, tensor in named.items()}
    network.load_state_dict(masters, assign=True)


def _without_prefix(
    stored: dict[str, Tensor], prefix: str, unused: tuple[str, ...]
) -> dict[str, Tensor]:
    named = {}
    for key, tensor in stored.items():
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and not name.startswith(unused):
            for old, new in _RENAMED.items():
                name = name.removesuffix(old) + new if name.endswith(old) else name
            named[name] = tensor
    return named


def _read_tensors(checkpoint: Checkpoint) -> dict[str, Tensor]:
    stored: dict[str, Tensor] = {}
    for path in checkpoint.weight_files():
        try:
            if path.suffix == ".safetensors":
                tensors = load_file(path)
            else:
                # weights_only: a pickle can name any function; this loads tensors and nothing else.
                tensors = torch.load(path, map_location="cpu", weights_only=True)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise checkpoint.error(f"{path.name} must be readable, found: {error}") from error
        except Exception as error:  # pickle's own errors, EOFError and what else a bad file raises
            raise checkpoint.error(
                f"{path.name} must hold tensors only, found: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(tensors, dict):
            raise checkpoint.error(f"{path.name} must hold tensors by name, got {type(tensors)}")
        stored |= {key: value for key, value in tensors.items() if isinstance(value, Tensor)}
    return stored


def _refuse(checkpoint: Checkpoint, fault: str, found: Iterable[str]) -> None:
    if names := sorted(found):
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise checkpoint.error(f"the weights must be the encoder's own; {fault}: {shown}")
