"""A check of a corpus as people read it: counts beside the paper's, audio, problems."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from core.config import AudioConfig

if TYPE_CHECKING:
    from ablation.check import CheckReport

UNKNOWN = "–"  # a count that nobody published
ROWS_IN_A_BLOCK = 12  # O: longer tables go on beside
GAP = 4  # columns between tables


def render(report: "CheckReport", console_width: int) -> RenderableType:
    """Lay the report out for a console; a count that differs stands out."""
    corpus, counts = report.corpus, report.counts
    expected = corpus.expected
    parts: list[RenderableType] = [
        Text(f"{corpus.title}: {counts.total} utterances in {_plain(str(report.folder))}")
    ]
    if counts.total:
        classes = {label: expected.classes[label] for label in corpus.classes} if expected else None
        tables = [*_blocks("class", counts.classes, classes)]
        if counts.sessions.keys() != counts.speakers.keys():
            tables.append(_sessions(counts.sessions, expected.sessions if expected else {}))
        tables += _blocks("speaker", counts.speakers, expected.speakers if expected else None)
        parts += ["", *_side_by_side(tables, console_width), "", *_audio(report)]
    parts += [Text(_plain(note), style="dim") for note in report.notes]
    if report.problems:
        parts += ["", Text("problems:", style="bold red")]
        parts += [Text(f"  {_plain(problem)}", style="red") for problem in report.problems]
    else:
        clean = "this is the corpus of the paper" if expected else "every file can be read"
        parts += ["", Text(f"clean: {clean}", style="green")]
    return Group(*parts)


def _blocks(
    what: str, counts: Mapping[str, int], expected: Mapping[str, int | None] | None
) -> Iterable[Table]:
    """Tables of at most so many rows, the expected names first; None: no paper has this corpus."""
    names = list(dict.fromkeys([*(expected or {}), *counts]))
    for first in range(0, len(names), ROWS_IN_A_BLOCK):
        table = _table(what, "here", *(["paper"] if expected is not None else []))
        for name in names[first : first + ROWS_IN_A_BLOCK]:
            here = counts.get(name, 0)
            if expected is None:
                table.add_row(_plain(name), str(here))
                continue
            paper = expected.get(name, 0)
            style = "" if _fits(here, paper) else "red"
            table.add_row(_plain(name), str(here), _paper(paper), style=style)
        yield table


def _sessions(
    counts: Mapping[str, Mapping[str, int]], expected: Mapping[str, Mapping[str, int]]
) -> Table:
    table = _table("session", "here", "paper", "women", "paper", "men", "paper")
    for session in dict.fromkeys([*expected, *counts]):
        here = [counts.get(session, {}).get(part, 0) for part in ("total", "F", "M")]
        paper = [
            expected.get(session, {}).get(part, 0) if expected else None
            for part in ("total", "F", "M")
        ]
        pairs = list(zip(here, paper, strict=True))
        table.add_row(
            _plain(session),
            *(text for mine, theirs in pairs for text in (str(mine), _paper(theirs))),
            style="" if all(_fits(*pair) for pair in pairs) else "red",
        )
    return table


def _table(what: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(what, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _fits(here: int, paper: int | None) -> bool:
    return here == paper if paper is not None else here > 0


def _paper(number: int | None) -> str:
    return UNKNOWN if number is None else str(number)


def _side_by_side(tables: Iterable[Table], console_width: int) -> list[RenderableType]:
    """Fill the console's width with tables, row after row."""
    rows: list[list[Table]] = [[]]
    used = 0
    for table in tables:
        width = GAP + _width(table)
        if rows[-1] and used + width > console_width:
            rows.append([])
            used = 0
        rows[-1].append(table)
        used += width
    laid: list[RenderableType] = []
    for row in rows:
        grid = Table.grid(padding=(0, GAP, 0, 0))
        grid.add_row(*row)
        laid += [grid, ""]
    return laid[:-1]


def _width(table: Table) -> int:
    """Columns that a table of plain text takes."""
    return sum(
        2 + max(len(str(cell)) for cell in [column.header, *column.cells])
        for column in table.columns
    )


def _audio(report: "CheckReport") -> list[RenderableType]:
    if not report.audio:
        return []
    rates = Counter(facts.rate_hz for facts in report.audio)
    channels = Counter(facts.channels for facts in report.audio)
    durations_s = [facts.duration_s for facts in report.audio]
    crop_s = AudioConfig().crop_s
    longer = sum(duration > crop_s for duration in durations_s) / len(durations_s)
    return [
        Text(f"sample rates  {_shares(rates, ' Hz')}"),
        Text(f"channels      {_shares(channels, '')}"),
        Text(
            f"durations     {min(durations_s):.2f} to {max(durations_s):.2f} s, mean "
            f"{sum(durations_s) / len(durations_s):.2f} s, {sum(durations_s) / 3600:.2f} hours in "
            f"all, {longer:.1%} over {crop_s:g} s"
        ),
    ]


def _shares(counts: Counter[int], unit: str) -> str:
    return ", ".join(f"{value}{unit} ({number} files)" for value, number in sorted(counts.items()))


def _plain(text: str) -> str:
    """What any terminal can print: names on disk may hold any byte."""
    shown = text.encode("utf-8", "backslashreplace").decode()
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in shown)
