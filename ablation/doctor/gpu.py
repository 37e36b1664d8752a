"""Does torch see the GPUs that the driver has, and what trains where there is none?"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ablation.doctor.findings import (
    GB,
    Finding,
    listed,
    ok,
    one_line,
    problem,
    size,
    warning,
)
from ablation.doctor.torch_probe import TorchFacts

SMI_S = 20.0  # O: a driver that is not kept loaded takes seconds to answer
LISTED = Path("/proc/driver/nvidia/gpus")
VERSION = Path("/proc/driver/nvidia/version")
LARGE_BYTES = 23 * GB  # P §3.2: batches of 16 of a Large encoder on a card of 24 GB
ON_A_CPU = "--demo, log-mel encoders and whisper-tiny train on a CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """NVIDIA's driver as it says itself; `fault` is why it does not answer."""

    gpus: tuple[str, ...] = ()
    version: str = ""
    cuda: str = ""  # the newest that it knows
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the planned trials want of GPUs.

    Attributes:
        gpus: That each trial reserves; None is one where there are any.
        large: Encoders of the planned trials that a CPU can't train in a sensible time.
        micro_batch: Whether a batch passes through the model in parts.
    """

    gpus: float | None = None
    large: tuple[str, ...] = ()
    micro_batch: bool = False


def gpu_finding(
    facts: TorchFacts, driver: Driver | None, visible: str | None, wish: Wish
) -> Finding:
    """Whether trials will train on the GPUs of this machine.

    Args:
        driver: None where there is no sign of one.
        visible: CUDA_VISIBLE_DEVICES; None where it is not set.
    """
    if facts.gpus:
        return _seen(facts, driver, wish)
    if driver and (driver.gpus or driver.fault):
        return _unseen(facts, driver, visible)
    if wish.gpus:
        text = f"none, and --gpus-per-trial asks for {wish.gpus:g}"
        return problem("gpu", text, "leave --gpus-per-trial out: trials then run on the CPU")
    if wish.large:
        text = f"none; on a CPU, {listed(wish.large)} would take weeks or more"
        return warning("gpu", text, f"a machine with a GPU; {ON_A_CPU}")
    return ok("gpu", "none, and none is needed" if wish.gpus == 0 else f"none; {ON_A_CPU}")


def nvidia_driver() -> Driver | None:
    """What nvidia-smi and the kernel say of a driver; None where neither knows one."""
    count = sum(1 for _ in LISTED.iterdir()) if LISTED.is_dir() else 0
    there = ("NVIDIA GPU",) * count
    program = shutil.which("nvidia-smi")
    if program is None:
        found = re.search(r"Kernel Module\D*([\d.]+)", _read(VERSION))
        return Driver(gpus=there, version=found[1] if found else "") if there else None
    names, fault = _ask(program, "--query-gpu=name,driver_version", "--format=csv,noheader")
    if fault:
        return Driver(gpus=there, fault=fault)
    rows = [line.rpartition(",") for line in names.splitlines() if "," in line]
    page, _ = _ask(program)
    cuda = re.search(r"CUDA[A-Za-z ]*Version: *([\d.]+)", page)
    return Driver(
        gpus=tuple(name.strip() for name, _, _ in rows),
        version=rows[0][2].strip() if rows else "",
        cuda=cuda[1] if cuda else "",
    )


def _seen(facts: TorchFacts, driver: Driver | None, wish: Wish) -> Finding:
    faults = [
        f"GPU {number}, {gpu.name}: {one_line(gpu.fault)}"
        for number, gpu in enumerate(facts.gpus)
        if gpu.fault
    ]
    if faults:
        remedy = (
            "give up what else runs there (nvidia-smi), hide the GPU (CUDA_VISIBLE_DEVICES), or "
            "install builds of torch and torchaudio that know its architecture"
        )
        return problem("gpu", f"torch {facts.torch} can't compute there: {faults[0]}", remedy)
    kinds = {(gpu.name, size(gpu.memory_bytes)): 0 for gpu in facts.gpus}
    for gpu in facts.gpus:
        kinds[gpu.name, size(gpu.memory_bytes)] += 1
    text = listed(f"{count} x {name}, {room}" for (name, room), count in kinds.items())
    text += f", driver {driver.version}" if driver and driver.version else ""
    if wish.gpus is not None and wish.gpus > len(facts.gpus):
        rule = f"{text}; --gpus-per-trial asks for {wish.gpus:g}"
        return problem("gpu", rule, f"--gpus-per-trial {len(facts.gpus)} at most")
    share = min(gpu.memory_bytes for gpu in facts.gpus) * min(wish.gpus or 1, 1)
    if wish.large and wish.gpus != 0 and share < LARGE_BYTES and not wish.micro_batch:
        text += f"; {size(share)} a trial may be too little for {listed(wish.large)}"
        text += ", which the paper trained on 24 GB"
        return warning("gpu", text, "--micro-batch 4 gives the same loss in less memory")
    return ok("gpu", text)


def _unseen(facts: TorchFacts, driver: Driver, visible: str | None) -> Finding:
    """A GPU is there and trials would train on the CPU beside it."""
    what = f"{driver.gpus[0] if driver.gpus else 'an NVIDIA driver'} is here"
    what += f" (driver {driver.version})" if driver.version else ""
    if driver.fault:
        text = f"nvidia-smi gives no answer: {one_line(driver.fault)}"
        remedy = "start the driver anew, or install the one that fits this kernel"
        return (problem if driver.gpus else warning)("gpu", text, remedy)
    if facts.torch_fault:
        return problem("gpu", f"{what}; torch does not load", "install torch as said above")
    if visible is not None and visible.split(",")[0].strip() in ("", "-1"):
        text = f"{what}; CUDA_VISIBLE_DEVICES={visible!r} hides it"
        return warning("gpu", text, "unset CUDA_VISIBLE_DEVICES to train on the GPU")
    if not facts.cuda:
        remedy = (
            "pip uninstall torch torchaudio, then install the builds of both for CUDA "
            f"{driver.cuda or 'that the driver knows'} or older, of one index"
        )
        text = f"{what}; torch {facts.torch} is built for the CPU alone"
        return problem("gpu", text, remedy)
    if driver.cuda and _parts(driver.cuda) < _parts(facts.cuda):
        text = f"{what} and knows CUDA {driver.cuda} at most; torch is built for {facts.cuda}"
        remedy = f"a newer driver, or builds of torch and torchaudio for CUDA {driver.cuda}"
        return problem("gpu", text, f"{remedy} or older")
    told = f": {one_line(facts.complaint)}" if facts.complaint else ""
    remedy = (
        "look whether this process may open /dev/nvidia* (a container needs --gpus all) and "
        "whether driver and library are of one version (a restart after an update)"
    )
    return problem("gpu", f"{what}; torch {facts.torch} sees none{told}", remedy)


def _ask(program: str, *words: str) -> tuple[str, str]:
    """What nvidia-smi prints, or why it does not."""
    try:
        ended = subprocess.run(
            [program, *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SMI_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if ended.returncode:
        return "", ended.stdout.strip() or ended.stderr.strip() or f"status {ended.returncode}"
    return ended.stdout, ""


def _parts(number: str) -> tuple[int, ...]:
    return tuple(int(part) for part in number.split(".") if part.isdecimal())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
