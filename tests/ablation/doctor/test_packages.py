"""Versions that do not fit, and a torch that torchaudio does not load beside."""

from dataclasses import replace
from pathlib import Path

import pytest

from ablation.doctor.findings import Finding, ok, problem
from ablation.doctor.packages import (
    packages_finding,
    probe_torch,
    python_finding,
    requirements,
    torch_finding,
)
from ablation.doctor.torch_probe import Gpu, TorchFacts

ROOT = Path(__file__).resolve().parents[3]
REQUIRED = ("torch>=2.11,<2.13", "torchaudio==2.11.0", "ray[tune]>=2.60,<3", "pyyaml>=6")
FITTING = {"torch": "2.12.1", "torchaudio": "2.11.0", "ray": "2.60.0", "pyyaml": "6.0.3"}
PAIR = "pip install 'torch>=2.11,<2.13' 'torchaudio==2.11.0'"
CUDA = TorchFacts(torch="2.12.1+cu130", torchaudio="2.11.0+cu130", cuda="13.0")
CARD = Gpu("NVIDIA L4", 24_000_000_000)


def packages(**changes: str | None) -> Finding:
    versions = {**FITTING, **changes}
    return packages_finding(REQUIRED, lambda name: versions[name])


@pytest.mark.parametrize("version", ["3.11.0", "3.12.9", "3.13.1", "3.13.0rc1"])
def test_a_python_that_the_project_runs_on_is_fine(version):
    assert python_finding("<3.14,>=3.11", version) == ok("python", version)


@pytest.mark.parametrize("version", ["3.10.14", "3.14.0"])
def test_another_python_is_a_problem(version):
    finding = python_finding("<3.14,>=3.11", version)
    assert (finding.state, finding.text) == ("problem", f"{version}, must be >=3.11,<3.14")


def test_packages_that_fit_are_told_by_version():
    assert packages() == ok(
        "packages",
        "all 4 that are required, torch 2.12.1, torchaudio 2.11.0, ray 2.60.0 among them",
    )


def test_a_build_s_local_version_is_no_fault():
    assert packages(torch="2.12.1+cu130", torchaudio="2.11.0+cu130").state == "ok"


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        ({"torch": "2.13.0"}, "torch 2.13.0, must be >=2.11,<2.13", PAIR),
        ({"torchaudio": None}, "torchaudio is missing", PAIR),
        ({"ray": "2.59.0"}, "ray 2.59.0, must be >=2.60,<3", "pip install 'ray[tune]>=2.60,<3'"),
        (
            {"torch": "2.10.0", "pyyaml": None},
            "torch 2.10.0, must be >=2.11,<2.13; pyyaml is missing",
            f"{PAIR} 'pyyaml>=6'",
        ),
        (
            dict.fromkeys(FITTING),
            "torch is missing; torchaudio is missing; ray is missing; pyyaml is missing",
            "pip install -e . in the folder of runner.py",
        ),
    ],
)
def test_versions_that_do_not_fit_are_named_with_the_command_that_mends_them(changes, text, remedy):
    assert packages(**changes) == problem("packages", text, remedy)


def test_the_packages_of_an_extra_are_not_required():
    assert packages_finding(['pytest>=9; extra == "test"', "pyyaml>=6"], FITTING.get).state == "ok"


def test_requirements_are_those_of_the_checkout():
    """Metadata of an editable install may be older than it."""
    own = requirements(ROOT)
    assert own.python == ">=3.11,<3.14"
    assert {"torch>=2.11,<2.13", "torchaudio==2.11.0"} <= set(own.packages)


def test_requirements_without_a_checkout_are_those_that_were_installed(tmp_path, monkeypatch):
    folder = tmp_path / "ser_ablation-0.1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: ser-ablation\nVersion: 0.1.0\n"
        "Requires-Python: >=3.11\nRequires-Dist: torch<2.13,>=2.11\n"
    )
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\n')
    monkeypatch.syspath_prepend(tmp_path)
    own = requirements(tmp_path)
    assert (own.python, own.packages) == (">=3.11", ("torch<2.13,>=2.11",))


def test_torch_and_torchaudio_that_load_are_fine():
    text = "2.12.1+cu130, for CUDA 13.0; torchaudio 2.11.0+cu130 loads beside it"
    assert torch_finding(CUDA, REQUIRED, FITTING.get) == ok("torch", text)


@pytest.mark.parametrize(("torch", "ending"), [("2.13.0", ""), ("2.12.1", " --force-reinstall")])
def test_a_torchaudio_of_another_cuda_is_a_problem_with_the_exact_pins(torch, ending):
    """Where the versions fit already, pip must be told to replace them all the same."""
    facts = TorchFacts(torch=torch, torchaudio_fault="OSError: libcudart.so.13: no such file")
    versions = {**FITTING, "torch": torch}
    finding = torch_finding(facts, REQUIRED, versions.get)
    assert finding == problem(
        "torch",
        f"torchaudio 2.11.0 does not load beside torch {torch} (for the CPU alone), and "
        "transformers not without it: OSError: libcudart.so.13: no such file",
        PAIR + ending,
    )


@pytest.fixture
def fake_torch(tmp_path, monkeypatch):
    """Modules of the text given, found before the real ones by a new process."""

    def of(torch: str, torchaudio: str = "__version__ = '2.11.0'") -> TorchFacts:
        (tmp_path / "torch.py").write_text(torch)
        (tmp_path / "torchaudio.py").write_text(torchaudio)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return probe_torch(ROOT)

    return of


TORCH = """
import types, warnings
__version__ = "2.12.1"
version = types.SimpleNamespace(cuda={cuda!r})
class cuda:
    @staticmethod
    def is_available():
        warnings.warn("the driver is too old")
        return {gpus} > 0
    @staticmethod
    def device_count(): return {gpus}
    @staticmethod
    def get_device_properties(number):
        return types.SimpleNamespace(name="NVIDIA L4", total_memory=24000000000)
def ones(size, device):
    if device == "cuda:1":
        raise RuntimeError("no kernel image is available")
    return types.SimpleNamespace(sum=lambda: types.SimpleNamespace(item=lambda: 2.0))
print("a library that talks")
"""


def test_torch_is_asked_in_a_process_of_its_own(fake_torch):
    assert fake_torch(TORCH.format(cuda=None, gpus=0)) == TorchFacts(
        torch="2.12.1", torchaudio="2.11.0", complaint="the driver is too old"
    )


def test_every_gpu_is_tried(fake_torch):
    fault = "RuntimeError: no kernel image is available"
    assert fake_torch(TORCH.format(cuda="13.0", gpus=2)).gpus == (CARD, replace(CARD, fault=fault))


def test_a_torchaudio_that_does_not_load_is_found_out(fake_torch):
    facts = fake_torch(TORCH.format(cuda=None, gpus=0), "raise OSError('undefined symbol')")
    assert (facts.torch, facts.torchaudio_fault) == ("2.12.1", "OSError: undefined symbol")


def test_a_library_that_ends_its_process_ends_no_other(fake_torch):
    fault = fake_torch("import os, sys; print('bad ELF', file=sys.stderr); os._exit(9)").torch_fault
    assert fault == "importing it and torchaudio ended with status 9: bad ELF"


def test_a_torch_that_is_not_there_is_found_out(fake_torch):
    facts = fake_torch("raise ModuleNotFoundError('No module named torch')")
    finding = torch_finding(facts, REQUIRED, {}.get)
    text = "does not load: ModuleNotFoundError: No module named torch"
    assert finding == problem("torch", text, PAIR)


def test_a_torch_that_never_loads_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import time; time.sleep(600)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = probe_torch(ROOT, timeout_s=1.0)
    assert facts.torch_fault == "importing it took longer than 1 s"
