"""Do Python and the packages fit what the project requires, and does torch load with torchaudio?"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from ablation.doctor.findings import INSTALL, Finding, ok, one_line, problem
from ablation.doctor.torch_probe import TorchFacts

DISTRIBUTION = "ser-ablation"
PAIR = ("torch", "torchaudio")  # which must be built for each other
TOLD = ("torch", "torchaudio", "transformers", "ray", "mlflow")  # by version where all is well
PROBE_S = 180.0  # O: a first import of torch from a slow disk takes a minute


@dataclass(frozen=True, slots=True)
class Requirements:
    """What the project asks for, as its metadata words it."""

    python: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """One required package."""

    name: str
    extras: str  # [tune], or ""
    bounds: str

    def __str__(self) -> str:
        """As pip takes it."""
        return f"{self.name}{self.extras}{self.bounds}"

    def accepts(self, version: str | None) -> bool:
        """Whether this version is one of those that the project runs with; None is no version."""
        from packaging.specifiers import SpecifierSet

        return version is not None and SpecifierSet(self.bounds).contains(version, prereleases=True)


def requirements(root: Path) -> Requirements:
    """The project's own: of its checkout, else of its installed metadata.

    The checkout first: metadata of an editable install are as old as the install.

    Raises:
        PackageNotFoundError: neither is there.
        ValueError: pyproject.toml can't be read.
    """
    path = root / "pyproject.toml"
    if path.is_file():
        project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return Requirements(project["requires-python"], tuple(project["dependencies"]))
    found = metadata(DISTRIBUTION)
    packages = found.get_all("Requires-Dist") or []
    return Requirements(found["Requires-Python"] or "", tuple(packages))


def python_finding(required: str, found: str) -> Finding:
    """Whether this Python is one of those that the project runs on."""
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(required).contains(found, prereleases=True):
        return ok("python", found)
    text = f"{found}, must be {_ordered(required)}"
    return problem("python", text, "make the virtual environment with another Python")


def packages_finding(
    required: Iterable[str], installed: Callable[[str], str | None] | None = None
) -> Finding:
    """Whether every package is there, in a version that the project accepts.

    Args:
        required: As metadata word them; those of an extra are passed over.
        installed: The version of a package, None where it is missing; by default this Python's.
    """
    wanted = pins(required)
    versions = {name: (installed or installed_version)(name) for name in wanted}
    wrong = [name for name, pin in wanted.items() if not pin.accepts(versions[name])]
    if not wrong:
        told = ", ".join(f"{name} {versions[name]}" for name in TOLD if name in versions)
        return ok("packages", f"all {len(wanted)} that are required, {told} among them")
    faults = [
        f"{name} {versions[name]}, must be {wanted[name].bounds}"
        if versions[name]
        else f"{name} is missing"
        for name in wrong
    ]
    if not {*PAIR}.isdisjoint(wrong):  # they are built for each other
        wrong = [*PAIR, *(name for name in wrong if name not in PAIR)]
    everything = len(faults) == len(wanted)
    remedy = INSTALL if everything else _install(wanted, wrong)
    return problem("packages", "; ".join(faults), remedy)


def torch_finding(
    facts: TorchFacts,
    required: Iterable[str],
    installed: Callable[[str], str | None] | None = None,
) -> Finding:
    """Whether torch loads, and torchaudio beside it; transformers loads through both."""
    wanted = pins(required)
    versions = {name: (installed or installed_version)(name) for name in PAIR}
    remedy = _install(wanted, PAIR)
    if all(wanted[name].accepts(versions[name]) for name in PAIR):
        remedy += " --force-reinstall"  # else pip finds nothing to do
    if facts.torch_fault:
        return problem("torch", f"does not load: {one_line(facts.torch_fault)}", remedy)
    kind = f"for CUDA {facts.cuda}" if facts.cuda else "for the CPU alone"
    if facts.torchaudio_fault:
        text = (
            f"torchaudio {versions['torchaudio'] or ''} does not load beside torch {facts.torch} "
            f"({kind}), and transformers not without it: {one_line(facts.torchaudio_fault)}"
        )
        return problem("torch", text, remedy)
    return ok("torch", f"{facts.torch}, {kind}; torchaudio {facts.torchaudio} loads beside it")


def probe_torch(root: Path, timeout_s: float = PROBE_S) -> TorchFacts:
    """What torch says of itself in a process of its own; whatever goes wrong is torch's fault."""
    paths = [str(root), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    words = [sys.executable, "-m", "ablation.doctor.torch_probe"]
    try:
        ended = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return TorchFacts(torch_fault=f"importing it took longer than {timeout_s:g} s")
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        text = f"importing it and torchaudio ended with status {ended.returncode}: {last}"
        return TorchFacts(torch_fault=text)
    return TorchFacts.from_json(ended.stdout.strip().rpartition("\n")[2])


def pins(required: Iterable[str]) -> dict[str, Pin]:
    """The packages that every run needs, by name."""
    from packaging.requirements import Requirement

    found: dict[str, Pin] = {}
    for text in required:
        item = Requirement(text)
        if item.marker is None or item.marker.evaluate({"extra": ""}):
            extras = f"[{','.join(sorted(item.extras))}]" if item.extras else ""
            found[item.name] = Pin(item.name, extras, _ordered(str(item.specifier)))
    return found


def installed_version(name: str) -> str | None:
    """Of one of this Python's packages, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _install(wanted: Mapping[str, Pin], names: Iterable[str]) -> str:
    return " ".join(["pip install", *(f"'{wanted[name]}'" for name in names)])


def _ordered(specifier: str) -> str:
    """Bounds from below first, as people write them."""
    return ",".join(sorted(specifier.split(","), key=lambda bound: (bound[:1] == "<", bound)))
