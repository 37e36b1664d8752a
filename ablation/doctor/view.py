"""What the doctor found, as people read it and as programs do."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from textwrap import wrap

from ablation.doctor.findings import Finding, Look, examined

MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}
STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
ARROW = "→"
PLAIN = {"✓": "+", "✗": "x", "→": ">"}  # for a terminal that has no such signs
NAME_WIDTH = len("shared memory")
INDENT = 2 + NAME_WIDTH + 2  # the mark and the name before what was found
TIED = "\N{NO-BREAK SPACE}"
WIDEST = 110  # O: a longer line is hard to read

Line = list[tuple[str, str]]  # texts with their styles


def show(looks: Iterable[tuple[str, Look]], title: str) -> list[Finding]:
    """Look, print each finding as it comes, then what they mean together; returns them all.

    Args:
        looks: By name, in the order of the report.
        title: What is looked at.
    """
    seen: list[Finding] = []
    with _screen() as screen:
        screen.write([(f"Looking at {title}", "bold")])
        screen.write([])
        for name, look in looks:
            screen.wait_for(name)
            for finding in examined(name, look):
                seen.append(finding)
                for line in lines(finding, min(screen.width, WIDEST)):
                    screen.write(line)
    screen.write([])
    screen.write(verdict(seen))
    return seen


def show_json(looks: Iterable[tuple[str, Look]], title: str) -> list[Finding]:
    """Look, and print all findings as one JSON document, whose keys are stable; returns them."""
    seen = [finding for name, look in looks for finding in examined(name, look)]
    counts = {f"{state}s": _count(seen, state) for state in ("problem", "warning")}
    document = {"of": title, **counts, "findings": [asdict(finding) for finding in seen]}
    print(json.dumps(document, indent=2))
    return seen


def lines(finding: Finding, width: int) -> Iterator[Line]:
    """A finding as aligned lines: mark, name and text, then the remedy."""
    style = STYLES[finding.state]
    room = max(width - INDENT, 20)
    first, *others = _wrapped(finding.text, room) or [""]
    name = f" {finding.name:<{NAME_WIDTH}}  "
    yield [(MARKS[finding.state], style), (name, "bold"), (first, "")]
    yield from ([(" " * INDENT + text, "")] for text in others)
    for number, text in enumerate(_wrapped(finding.remedy, room - 2)):
        sign = f"{ARROW} " if number == 0 else "  "
        remedy_style = "dim" if finding.state == "ok" else "cyan"
        yield [(" " * INDENT + sign + text, remedy_style)]


def verdict(seen: Iterable[Finding]) -> Line:
    """One line on all of it."""
    seen = list(seen)
    problems, warnings = _count(seen, "problem"), _count(seen, "warning")
    warned = f"{warnings} warning{'s' * (warnings != 1)}"
    if problems:
        stand = f"problem{'s stand' if problems > 1 else ' stands'} in the way"
        also = f"; {warned}" if warnings else ""
        return [(f"{problems} {stand}{also}.", STYLES["problem"])]
    if warnings:
        return [(f"No problem, {warned}.", STYLES["warning"])]
    return [("Nothing stands in the way.", STYLES["ok"])]


def _count(seen: Iterable[Finding], state: str) -> int:
    return sum(finding.state == state for finding in seen)


def _wrapped(text: str, room: int) -> list[str]:
    printable = "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)
    kept = re.sub(r"(?<=\d) (?=[MG]B\b)", TIED, printable)  # no line ends inside of a size
    found = wrap(kept, room, break_long_words=False, break_on_hyphens=False)
    return [line.replace(TIED, " ") for line in found]


@dataclass(frozen=True, slots=True)
class _Screen:
    """Where lines go; `wait_for` says what is being looked at, where a person sees it."""

    write: Callable[[Line], None]
    wait_for: Callable[[str], None]
    width: int


@contextmanager
def _screen() -> Iterator[_Screen]:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:  # it is one of the packages that may be what is missing
        yield _Screen(_print_plain, lambda name: None, shutil.get_terminal_size().columns)
        return
    console = Console(highlight=False)

    def write(line: Line) -> None:
        parts = ((_spelled(text, console.encoding), style) for text, style in line)
        console.print(Text.assemble(*parts), soft_wrap=True)

    with console.status("") as status:
        yield _Screen(write, lambda name: status.update(f"looking at {name}"), console.width)


def _print_plain(line: Line) -> None:
    print(_spelled("".join(text for text, _ in line), sys.stdout.encoding), flush=True)


def _spelled(text: str, encoding: str) -> str:
    """The text with the signs that this encoding lacks replaced by others."""
    for sign, plain in PLAIN.items():
        try:
            sign.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            text = text.replace(sign, plain)
    return text
