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

FLOATS = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})
MOST_SHOWN = 80  # O: characters of a tensor's name, about a line
MOST_TOLD = 300  # O: of what torch or safetensors say of a file

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
            f"config.json must describe a {checkpoint.family} model, "
            f"found: {_plain(str(error), MOST_TOLD)}"
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
        CheckpointError: unreadable files; tensors that are missing, unexpected, no plain real
            numbers, misshapen or not finite; the network is as it was.
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
    _refuse(checkpoint, "no plain real numbers", (key for key in wanted if _is_odd(named[key])))
    misshapen = (
        f"{key} {tuple(named[key].shape)} for {tuple(wanted[key].shape)}"
        for key in wanted
        if named[key].shape != wanted[key].shape
    )
    _refuse(checkpoint, "misshapen", misshapen)
    # After the conversion: a float64 can be too large for a float32.
    masters = {key: tensor.to(torch.float32) for key, tensor in named.items()}
    _refuse(checkpoint, "non-finite", (key for key in masters if not masters[key].isfinite().all()))
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
            found = _plain(str(error), MOST_TOLD)
            raise checkpoint.error(f"{path.name} must be readable, found: {found}") from error
        except Exception as error:  # pickle's own errors, EOFError and what else a bad file raises
            found = _plain(f"{type(error).__name__}: {error}", MOST_TOLD)
            raise checkpoint.error(f"{path.name} must hold tensors only, found: {found}") from error
        if not isinstance(tensors, dict):
            raise checkpoint.error(f"{path.name} must hold tensors by name, got {type(tensors)}")
        stored |= {
            key: value
            for key, value in tensors.items()
            if isinstance(key, str) and isinstance(value, Tensor)
        }
    return stored


def _is_odd(tensor: Tensor) -> bool:
    """Whether it is whole, complex, quantised, sparse, nested or without values."""
    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    return tensor.dtype not in FLOATS or tensor.is_nested or not is_plain


def _refuse(checkpoint: Checkpoint, fault: str, found: Iterable[str]) -> None:
    if names := sorted(found):
        shown = ", ".join(_plain(name, MOST_SHOWN) for name in names[:4])
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        raise checkpoint.error(f"the weights must be the encoder's own; {fault}: {shown}{more}")


def _plain(text: str, most: int) -> str:
    """Text that a file has a part in, as it goes into a message: one line that steers nothing."""
    line = " ".join(text.split())
    line = line if line.isprintable() else repr(line)[1:-1]
    return line if len(line) <= most else f"{line[: most - 3]}..."
