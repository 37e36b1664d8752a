"""Predictions as people and programs read them: a table, CSV, JSON lines or one JSON document."""

import csv
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.corpora.utterance import printable

if TYPE_CHECKING:
    from rich.table import Table

    from core.kept_model import ModelFacts

LEAST_LETTERS = 3  # O: of a class's name where the terminal is narrow
GAP = 2  # columns between columns
UNBOUNDED = 100_000  # columns
LEAST_NAME = 12  # O: columns for a file's name, whose end is shown

Writer = Callable[[Iterator["Part"], Sequence[str]], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the model says of one window of one file.

    Attributes:
        probabilities: In the order of the model's classes.
    """

    name: str
    start_s: float
    end_s: float
    probabilities: Sequence[float]

    @property
    def best(self) -> int:
        """The most probable class; the first of equals."""
        return max(range(len(self.probabilities)), key=self.probabilities.__getitem__)


def writer_of(options: Namespace, facts: "ModelFacts") -> Writer:
    """Who writes the answers in the form that the options ask for.

    It takes the answers as they come, and the problems that are known when they end; it returns how
    many there were.
    """
    if options.csv:
        return lambda parts, problems: _write_csv(parts, facts.classes)
    if options.jsonl:
        return lambda parts, problems: _write_lines(parts, facts.classes)
    if options.json:
        return lambda parts, problems: _write_document(parts, problems, facts)
    return lambda parts, problems: _write_table(list(parts), facts.classes)


def _write_csv(parts: Iterable[Part], classes: Sequence[str]) -> int:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["file", "start_s", "end_s", "predicted", *classes])
    written = 0
    for part in parts:
        written += 1
        times = [f"{part.start_s:.3f}", f"{part.end_s:.3f}"]
        shares = [f"{share:.6f}" for share in part.probabilities]
        writer.writerow([part.name, *times, classes[part.best], *shares])
    return written


def _write_lines(parts: Iterable[Part], classes: Sequence[str]) -> int:
    written = 0
    for part in parts:
        written += 1
        print(json.dumps(_plain(part, classes)), flush=True)
    return written


def _write_document(parts: Iterable[Part], problems: Sequence[str], facts: "ModelFacts") -> int:
    predictions = [_plain(part, facts.classes) for part in parts]
    model = {name: value for name, value in asdict(facts).items() if name not in ("format", "kept")}
    document = {"model": model, "predictions": predictions, "problems": list(problems)}
    print(json.dumps(document, indent=1))
    return len(predictions)


def _plain(part: Part, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "file": part.name,
        "start_s": round(part.start_s, 4),
        "end_s": round(part.end_s, 4),
        "predicted": classes[part.best],
        "probabilities": dict(zip(classes, part.probabilities, strict=True)),
    }


def _write_table(parts: Sequence[Part], classes: Sequence[str]) -> int:
    """On a terminal as wide as it is; elsewhere nothing is cut and no line too long."""
    from rich.console import Console

    if not parts:
        return 0
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(prediction_table(parts, classes, console.width))
    else:
        plain = Console(highlight=False, width=UNBOUNDED)
        with plain.capture() as capture:
            plain.print(prediction_table(parts, classes))
        print("\n".join(line.rstrip() for line in capture.get().splitlines()))
    return len(parts)


def prediction_table(
    parts: Sequence[Part], classes: Sequence[str], width: int | None = None
) -> "Table":
    """Percent for each class; classes and file names are cut where `width` asks for it."""
    from rich.table import Table
    from rich.text import Text

    has_windows = len({part.name for part in parts}) < len(parts)
    times = [f"{part.start_s:.1f}–{part.end_s:.1f}" for part in parts] if has_windows else []
    fixed = GAP + max(map(len, [*classes, "predicted"])) + GAP
    fixed += (max(map(len, [*times, "seconds"])) + GAP) * has_windows
    heads = list(classes)
    longest = max(len(printable(part.name)) for part in parts)
    if (
        width is not None
        and fixed + longest + sum(max(len(head), 3) + GAP for head in heads) > width
    ):
        heads = shortened(classes)
    left = (width or UNBOUNDED) - fixed - sum(max(len(head), 3) + GAP for head in heads) + GAP
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    table.add_column("file", no_wrap=True)
    if has_windows:
        table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("predicted", no_wrap=True)
    for head in heads:
        table.add_column(Text(head), justify="right", no_wrap=True)
    for place, part in enumerate(parts):
        name = printable(part.name)
        room = max(left, LEAST_NAME)
        cells = [Text(name if len(name) <= room else f"…{name[-room + 1 :]}")]
        cells += [Text(times[place])] if has_windows else []
        cells.append(Text(classes[part.best], style="bold"))
        for number, share in enumerate(part.probabilities):
            style = "bold green" if number == part.best else "dim" if share < 0.1 else ""
            cells.append(Text(f"{100 * share:.0f}", style=style))
        table.add_row(*cells)
    return table


def shortened(names: Sequence[str]) -> list[str]:
    """The shortest beginnings, of three letters at least, that tell the names apart."""
    for letters in range(LEAST_LETTERS, max(map(len, names))):
        cut = [name[:letters] for name in names]
        if len(set(cut)) == len(cut):
            return cut
    return list(names)
