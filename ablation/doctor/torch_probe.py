"""Run as a program: import torch and torchaudio, use each GPU once, print what happened as JSON.

A process of its own, since a library built for another CUDA may end the process that loads it, and
since what was imported once can't be tried again.
"""

import json
import sys
import warnings
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that torch sees; `fault` is what it answers when it is used, "" where all is well."""

    name: str
    memory_bytes: int
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFacts:
    """What torch and torchaudio are here.

    Attributes:
        torch_fault: Why torch does not load; "" where it does.
        torchaudio_fault: Likewise; "" also where torch did not load, which is fault enough.
        cuda: That torch was built for, as 13.0; "" of a build for the CPU alone.
        complaint: What torch warned of when it was asked for GPUs.
    """

    torch: str = ""
    torch_fault: str = ""
    torchaudio: str = ""
    torchaudio_fault: str = ""
    cuda: str = ""
    gpus: tuple[Gpu, ...] = ()
    complaint: str = ""

    @classmethod
    def from_json(cls, text: str) -> "TorchFacts":
        """Read what this program printed.

        Raises:
            ValueError: it is something else.
        """
        try:
            values = json.loads(text)
            gpus = tuple(Gpu(**gpu) for gpu in values.pop("gpus"))
            return cls(**values, gpus=gpus)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"must be the facts of torch, found {text[:100]!r}") from error


def facts() -> TorchFacts:
    """Import both and try each GPU."""
    found: dict[str, Any] = {}
    try:
        import torch
    except Exception as error:  # an ImportError, an OSError, or what a broken build raises
        return TorchFacts(torch_fault=_told(error))
    found |= {"torch": str(torch.__version__), "cuda": torch.version.cuda or ""}
    try:
        import torchaudio

        found["torchaudio"] = str(torchaudio.__version__)
    except Exception as error:
        found["torchaudio_fault"] = _told(error)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found["gpus"] = tuple(_gpu(number) for number in range(count))
    found["complaint"] = " ".join(str(item.message) for item in caught)
    return TorchFacts(**found)


def _gpu(number: int) -> Gpu:
    """A GPU that is listed may still refuse: its architecture may be none of torch's build."""
    import torch

    properties = torch.cuda.get_device_properties(number)
    try:
        total = torch.ones(2, device=f"cuda:{number}").sum().item()
        fault = "" if total == 2 else f"1 + 1 is {total:g} there"
    except Exception as error:  # a RuntimeError, or one of torch's own
        fault = _told(error)
    return Gpu(name=properties.name, memory_bytes=properties.total_memory, fault=fault)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(asdict(facts()))}\n")
