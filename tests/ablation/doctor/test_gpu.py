"""GPUs that torch sees, does not see or can't use, and machines without one."""

from dataclasses import replace

import pytest

from ablation.doctor.findings import ok
from ablation.doctor.gpu import Driver, Wish, gpu_finding, nvidia_driver
from ablation.doctor.torch_probe import Gpu, TorchFacts

CPU = TorchFacts(torch="2.12.1+cpu", torchaudio="2.11.0+cpu")
CUDA = TorchFacts(torch="2.12.1+cu130", torchaudio="2.11.0+cu130", cuda="13.0")
CARD = Gpu("NVIDIA L4", 24_000_000_000)
DRIVER = Driver(gpus=("NVIDIA L4",), version="580.65", cuda="13.0")


def test_gpus_are_counted_by_kind():
    facts = replace(CUDA, gpus=(CARD, CARD, Gpu("NVIDIA H200", 150_000_000_000)))
    text = "2 x NVIDIA L4, 24.0 GB and 1 x NVIDIA H200, 150 GB, driver 580.65"
    assert gpu_finding(facts, DRIVER, None, Wish()) == ok("gpu", text)


def test_no_gpu_is_fine_and_says_what_a_cpu_trains():
    text = "none; --demo, log-mel encoders and whisper-tiny train on a CPU"
    assert gpu_finding(CPU, None, None, Wish()) == ok("gpu", text)


ASKED = Wish(gpus=2.0)
LARGE = Wish(large=("wavlm-large",))


@pytest.mark.parametrize(
    ("facts", "driver", "visible", "wish", "state", "text"),
    [
        (CPU, None, None, LARGE, "warning", "none; on a CPU, wavlm-large would take weeks"),
        (CPU, None, None, ASKED, "problem", "none, and --gpus-per-trial asks for 2"),
        (CPU, DRIVER, None, Wish(), "problem", "torch 2.12.1+cpu is built for the CPU alone"),
        (CUDA, replace(DRIVER, cuda="12.8"), None, Wish(), "problem", "knows CUDA 12.8 at most"),
        (
            replace(CUDA, complaint="unknown error 999"),
            DRIVER,
            None,
            Wish(),
            "problem",
            "torch 2.12.1+cu130 sees none: unknown error 999",
        ),
        (CUDA, DRIVER, "", Wish(), "warning", "CUDA_VISIBLE_DEVICES='' hides it"),
        (CUDA, DRIVER, "-1", Wish(), "warning", "CUDA_VISIBLE_DEVICES='-1' hides it"),
        (CUDA, DRIVER, "7", Wish(), "problem", "torch 2.12.1+cu130 sees none"),
        (TorchFacts(torch_fault="gone"), DRIVER, None, Wish(), "problem", "torch does not load"),
        (CUDA, Driver(fault="no\ndriver"), None, Wish(), "warning", "no answer: no driver"),
        (CUDA, replace(DRIVER, fault="mismatch"), None, Wish(), "problem", "no answer: mismatch"),
        (
            replace(CUDA, gpus=(CARD, replace(CARD, fault="no kernel image"))),
            DRIVER,
            None,
            Wish(),
            "problem",
            "can't compute there: GPU 1, NVIDIA L4: no kernel image",
        ),
        (replace(CUDA, gpus=(CARD,)), DRIVER, None, ASKED, "problem", "asks for 2"),
        (replace(CUDA, gpus=(CARD,)), DRIVER, None, LARGE, "ok", "1 x NVIDIA L4"),
        (
            replace(CUDA, gpus=(CARD,)),
            DRIVER,
            None,
            replace(LARGE, gpus=0.5),
            "warning",
            "12.0 GB a trial may be too little for wavlm-large",
        ),
        (
            replace(CUDA, gpus=(CARD,)),
            DRIVER,
            None,
            replace(LARGE, gpus=0.5, micro_batch=True),
            "ok",
            "1 x NVIDIA L4",
        ),
    ],
)
def test_gpu_and_driver(facts, driver, visible, wish, state, text):
    finding = gpu_finding(facts, driver, visible, wish)
    assert finding.state == state
    assert text in finding.text
    assert finding.remedy or state == "ok"


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A program of that name which prints what is given, and no driver in the kernel."""
    monkeypatch.setattr("ablation.doctor.gpu.LISTED", tmp_path / "none")

    def of(query: str, page: str, status: int = 0) -> Driver | None:
        path = tmp_path / "nvidia-smi"
        quoted = f"#!/bin/sh\nif [ $# -gt 0 ]; then echo '{query}'; else echo '{page}'; fi\n"
        path.write_text(f"{quoted}exit {status}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return nvidia_driver()

    return of


def test_the_driver_is_read_from_nvidia_smi(nvidia_smi):
    page = "| NVIDIA-SMI 580.65   Driver Version: 580.65   CUDA Version: 13.0 |"
    assert nvidia_smi("NVIDIA L4, 580.65", page) == DRIVER


def test_a_driver_that_does_not_answer_says_why(nvidia_smi):
    driver = nvidia_smi("could not communicate with the driver", "", status=9)
    assert driver == Driver(fault="could not communicate with the driver")


def test_without_nvidia_smi_the_kernel_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ablation.doctor.gpu.LISTED", tmp_path / "gpus")
    monkeypatch.setattr("ablation.doctor.gpu.VERSION", tmp_path / "version")
    assert nvidia_driver() is None
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX Open Kernel Module  580.65  x\n")
    assert nvidia_driver() == Driver(gpus=("NVIDIA GPU",), version="580.65")
