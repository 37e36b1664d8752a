"""What a process trains on: a GPU or the CPU, how exactly, and what becomes of a full memory."""

import gc
import os
from contextlib import suppress
from pathlib import Path

import torch

# What the allocators of torch and of the GPU's libraries say; they have no class in common.
MEMORY_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)


def best_device() -> torch.device:
    """The GPU that this process may use, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """The GPU's own name, or "cpu"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def use_deterministic_kernels() -> None:
    """From here on this process takes no kernel whose sums have no fixed order.

    To be called before the process first uses its GPU. An operation that has no such kernel then
    raises a RuntimeError, which names it. On the CPU nothing changes: there, sums have one order.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False  # else timings pick the algorithm


def computing(device: torch.device, precision: str) -> torch.autocast:
    """In which a model computes at a setting's precision; its weights stay float32 in each.

    Args:
        precision: "bfloat16" is autocast; "tf32" lets a GPU's products and convolutions of float32
            take 10 bits of their mantissas, which "float32" does not. On the CPU these two agree.
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"  # else torch allows it in convolutions
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the GPU or of the machine was too small for what was tried."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in MEMORY_WORDS)


def free_memory() -> None:
    """Give back what nobody uses, to the GPU as well; torch keeps it otherwise."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def watch_memory() -> None:
    """Let the peaks that `peak_memory_mb` gives begin here, where the system can do so."""
    with suppress(OSError):  # the process's peak since its start, then
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory_mb() -> dict[str, float]:
    """The most memory that this process held since `watch_memory`: "cpu", and "gpu" if it has one.

    Mapped files count to the CPU's as far as they were read.
    """
    peaks = {}
    with suppress(OSError, ValueError, IndexError):  # no Linux
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        peaks["cpu"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    if torch.cuda.is_available():
        peaks["gpu"] = torch.cuda.max_memory_allocated() / 2**20
    return peaks
