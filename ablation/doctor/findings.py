"""What a look at this machine finds: a line each, with the remedy where one is needed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ablation.uris import redacted

State = Literal["ok", "warning", "problem"]

INSTALL = "pip install -e . in the folder of runner.py"
GB = 1e9
MB = 1e6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; a problem stands between this machine and a run."""

    name: str
    state: State
    text: str
    remedy: str = ""


Look = Callable[[], Finding | Iterable[Finding]]


def ok(name: str, text: str, remedy: str = "") -> Finding:
    """Nothing stands in the way; the remedy is what there is to know all the same."""
    return Finding(name, "ok", text, remedy)


def warning(name: str, text: str, remedy: str) -> Finding:
    """A run may do without it, or may not."""
    return Finding(name, "warning", text, remedy)


def problem(name: str, text: str, remedy: str) -> Finding:
    """A run would fail, or not be what was asked for."""
    return Finding(name, "problem", text, remedy)


def examined(name: str, look: Look) -> Iterator[Finding]:
    """What a look finds, without the secrets of addresses; a look that breaks is a finding too."""
    try:
        found = look()
        findings = [found] if isinstance(found, Finding) else list(found)
    except ImportError as error:
        remedy = f"{INSTALL}, then look again"
        findings = [warning(name, f"could not be looked at: {error}", remedy)]
    except Exception as error:  # whatever a broken machine can raise; the other looks go on
        text = f"could not be looked at: {type(error).__name__}: {one_line(str(error))}"
        findings = [warning(name, text, "the other lines hold; a run tells more of this one")]
    for finding in findings:
        text, remedy = redacted(finding.text), redacted(finding.remedy)
        yield replace(finding, text=text, remedy=remedy)


def one_line(text: str, most: int = 300) -> str:
    """A message of another program, its lines joined and its length bounded."""
    joined = " ".join(text.split())
    return joined if len(joined) <= most else f"{joined[: most - 3]}..."


def size(count: float) -> str:
    """Bytes as people read them, decimal: 14.2 GB, 64 MB."""
    if count >= GB:
        return f"{count / GB:.1f} GB" if count < 100 * GB else f"{count / GB:.0f} GB"
    return f"{max(count, 0) / MB:.0f} MB"


def listed(names: Iterable[str]) -> str:
    """Names in one phrase: a, b and c."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last
