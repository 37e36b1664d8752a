"""Summaries as a table: columns and notes once, then rendered as markdown or for a terminal.

Rates are percent with two decimals, as in the paper. Whatever a number needs in order not to
mislead (an incomplete row, an oracle epoch, left-out utterances) stands in the notes below it.
"""

import html
import re
from collections.abc import Iterable, Sequence
from math import isnan
from textwrap import wrap
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from ablation.aggregate import Spread, Summary
from ablation.columns import (
    ENCODER_RANK,
    GAP,
    NOTHING,
    STATISTICS_RANK,
    Column,
    fitting,
    pad,
    row_room,
    setting_columns,
)
from ablation.footnotes import DIFFERS, seeds_notes, statistics_notes
from ablation.statistics import Interval

DEMO = "Demo on synthetic speech: these numbers say nothing about the paper."
ORACLE = "†"
INCOMPLETE = "‡"

SELECTION = {
    "last": "last (all training folds train, the last epoch is scored)",
    "validation": "validation (the best epoch on a held-out group of training speakers is scored)",
    "oracle": f"oracle (the best epoch on the test fold itself, {ORACLE})",
    "mixed": "not the same in all rows, see their settings in results.json",
}

# Which columns a narrow terminal loses after those of settings, in this order.
_PUBLISHED, _ORACLE_WA, _WA, _ORACLE_UA, _UA, _SPEAKERS = range(ENCODER_RANK + 1, ENCODER_RANK + 7)
_NOTES_WIDTH = 76  # notes below a narrow table may be this wide
_MISSING_NAMED = 6  # of a row, before "and more"


def markdown(
    summaries: Sequence[Summary],
    *,
    title: str,
    demo: bool,
    selection: str,
    commit: str = "",
    chosen: Sequence[Column] | None = None,
) -> str:
    """The table as a markdown document with its notes.

    Args:
        summaries: In the table's order.
        title: The grid's.
        demo: Whether speech and encoders are the demo's; the first line then says so.
        selection: How epochs were chosen, in the words of `EvaluationConfig.selection`.
        commit: The code's, "" where unknown.
        chosen: Another layout than `columns`.
    """
    blocks = [f"**{escape(DEMO)}**"] if demo else []
    blocks.append(f"# {escape(title)}")
    layout = columns(summaries) if chosen is None else chosen
    blocks.append(with_notes(layout, notes(summaries, selection, commit)))
    return "\n\n".join(blocks) + "\n"


def with_notes(chosen: Sequence[Column], lines: Iterable[str]) -> str:
    """Columns and the notes below them as markdown."""
    return "\n\n".join((markdown_table(chosen), "\n".join(f"- {escape(note)}" for note in lines)))


def terminal(
    summaries: Sequence[Summary],
    *,
    title: str,
    demo: bool,
    selection: str,
    width: int,
    commit: str = "",
) -> Table:
    """The same for a terminal of `width` columns; a narrow one loses those that say least."""
    every = columns(summaries)
    chosen = fitting(every, width)
    lines = notes(summaries, selection, commit)
    if hidden := [column.header.replace("\n", " ") for column in every if column not in chosen]:
        lines.append(f"Too narrow for: {', '.join(hidden)}. The report's table.md has them.")
    table = Table(
        title=Text(f"{DEMO}\n{title}" if demo else title, style="bold"),
        caption=Text("\n" + "\n".join(lines)),
        title_justify="left",
        caption_justify="left",
        caption_style="dim",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
        min_width=min(width, _NOTES_WIDTH),
    )
    for index, column in enumerate(chosen):
        table.add_column(
            Text(column.header),
            justify=column.align,
            no_wrap=bool(index),
            overflow="ellipsis" if index else "fold",
        )
    room = row_room(chosen, width)
    for row, *cells in zip(*(column.cells for column in chosen), strict=True):
        table.add_row(Text("\n".join(wrap(row, room))), *map(Text, cells))
    return table


def columns(summaries: Sequence[Summary], settings: Sequence[Column] | None = None) -> list[Column]:
    """Every column that these summaries call for; `settings` instead of the usual ones."""
    configs = [summary.cell.config for summary in summaries]
    found = [Column("row", tuple(summary.cell.row for summary in summaries), "left")]
    if len({summary.corpus for summary in summaries}) > 1:
        found.append(Column("corpus", tuple(summary.corpus for summary in summaries), "left"))
    found += setting_columns(configs) if settings is None else settings
    found += rate_columns(summaries, "wa")
    found += rate_columns(summaries, "ua")
    found += _speaker_columns([s if s.corpus == "savee" else None for s in summaries])
    return [*found, progress_column(summaries)]


def progress_column(summaries: Sequence[Summary]) -> Column:
    """How many runs of each row have finished."""
    runs = "folds" if _seeds(summaries) == 1 else "folds ×\nseeds"
    return Column(runs, tuple(_progress(summary) for summary in summaries))


def notes(summaries: Sequence[Summary], selection: str, commit: str = "") -> list[str]:
    """What a reader must know of these figures, a sentence or two each."""
    over = "folds" if _seeds(summaries) == 1 else "folds × seeds"
    found = [f"Mean ± sample standard deviation over {over}; no ± for one alone."]
    if any(summary.corpus == "savee" for summary in summaries):
        found.append("A fold of SAVEE is one speaker, so its mean is the paper's Mean of Table 2.")
    found.append(f"Selection: {SELECTION.get(selection, selection)}.")
    if any(_is_oracle(s) or s.wa_oracle or s.ua_oracle for s in summaries):
        found.append(
            f"{ORACLE} oracle: the epoch with the best UA on the test fold itself. Optimistic, "
            "a practice behind many published figures, and never the headline."
        )
    if any(s.optimism for s in summaries):
        found.append(f"optimism{ORACLE}: how much higher, in points, that picking puts the mean.")
    if any(summary.cell.chosen is not None for summary in summaries):
        found.append(
            "searched: on each fold the setting with the best mean UA on inner folds of its "
            "training side, of which the test fold is no part (search.md)."
        )
    if any(summary.published for summary in summaries):
        found.append("diff.: ours minus published, in points, for complete rows.")
    found += [*statistics_notes(summaries), *seeds_notes(summaries)]
    found.append("Published figures are shown only for the paper's corpus and encoder.")
    if missing := [_missing(summary) for summary in summaries if not summary.complete]:
        found.append(
            f"{INCOMPLETE} incomplete, over the finished folds alone. Missing: "
            f"{'; '.join(missing)}."
        )
    left_out = {summary.corpus: summary.left_out for summary in summaries if summary.left_out}
    if left_out:
        counts = ", ".join(f"{count} of {corpus}" for corpus, count in left_out.items())
        found.append(f"Left out, as their audio could not be read: utterances, {counts}.")
    other = dict.fromkeys(summary.corpus for summary in summaries if summary.counts_differ)
    if other:
        found.append(f"Not the paper's corpus in number, as its counts differ: {', '.join(other)}.")
    remarks = {s.corpus: s.cell.corpus.remark for s in summaries if s.cell.corpus.remark}
    found += [f"{corpus}: {remark}." for corpus, remark in remarks.items()]
    if commit:
        found.append(f"Code: commit {commit}.")
    return found


def rate_columns(summaries: Sequence[Summary], rate: Literal["wa", "ua"]) -> list[Column]:
    """The honest figure and its interval, the oracle's beside it, the paper's, the difference."""
    name, place = rate.upper(), ("wa", "ua").index(rate)
    honest: list[Spread] = [getattr(s, rate) for s in summaries]
    oracle: list[Spread | None] = [getattr(s, f"{rate}_oracle") for s in summaries]
    paper = [getattr(s.published, rate) if s.published else None for s in summaries]
    marked = (_mark(s, rate) + _spread(spread) for s, spread in zip(summaries, honest, strict=True))
    found = [Column(f"{name} %", tuple(marked), group=name)]
    drawn = [s.statistics and s.statistics.intervals for s in summaries]
    if any(drawn):
        ends = tuple(_ends(getattr(one, rate)) if one else NOTHING for one in drawn)
        found.append(Column(f"95 %\n{name}", ends, rank=STATISTICS_RANK, group=name, detail=True))
    if any(oracle):
        means = tuple(percent(spread.mean if spread else None) for spread in oracle)
        rank = (_ORACLE_WA, _ORACLE_UA)[place]
        found.append(Column(f"oracle{ORACLE}\n{name} %", means, rank=rank, group=name, detail=True))
    if any(s.optimism for s in summaries):
        gains = tuple(signed(s.optimism[place]) if s.optimism else NOTHING for s in summaries)
        header = f"optimism{ORACLE}\n{name}"
        found.append(Column(header, gains, rank=STATISTICS_RANK, group=name, detail=True))
    if any(figure is not None for figure in paper):
        figures = tuple(percent(figure) for figure in paper)
        differences = tuple(
            signed(spread.mean - figure) if figure is not None and s.complete else NOTHING
            for s, spread, figure in zip(summaries, honest, paper, strict=True)
        )
        found.append(Column(f"published\n{name} %", figures, rank=_PUBLISHED, group=name))
        found.append(Column(f"diff.\n{name}", differences, rank=(_WA, _UA)[place], group=name))
    return found


def _speaker_columns(summaries: Sequence[Summary | None]) -> list[Column]:
    """UA of each speaker as in the paper's Table 2; None is a row of another corpus."""
    found = []
    for name in sorted({name for summary in summaries if summary for name in summary.speakers}):
        ours = tuple(percent(s.speakers.get(name) if s else None) for s in summaries)
        paper = [s.published.speakers.get(name) if s and s.published else None for s in summaries]
        found.append(Column(f"{name}\nUA %", ours, rank=_SPEAKERS))
        if any(figure is not None for figure in paper):
            figures = tuple(percent(figure) for figure in paper)
            found.append(Column(f"published\n{name}", figures, rank=_PUBLISHED))
    return found


def markdown_table(layout: Sequence[Column]) -> str:
    """Columns as markdown."""
    parts = [_markdown_column(column) for column in layout]
    return "\n".join(f"| {' | '.join(line)} |" for line in zip(*parts, strict=True))


def _markdown_column(column: Column) -> list[str]:
    header, *cells = (escape(text) for text in (column.header, *column.cells))
    width = max(3, *map(cell_len, (header, *cells)))
    right = column.align != "left"
    rule = "-" * (width - (column.align == "center") - 1)
    sides = (":" if column.align == "center" else "", ":" if right else "")
    rule = f"{sides[0]}{rule}{sides[1]}".ljust(width, "-")
    return [
        pad(header, width, column.align),
        rule,
        *(pad(cell, width, column.align) for cell in cells),
    ]


def escape(text: str) -> str:
    """Text as markdown shows it literally, on one line, whatever a row or an encoder is called."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", plain)


def percent(rate: float | None) -> str:
    """A rate as the paper prints it."""
    return NOTHING if rate is None or isnan(rate) else f"{100 * rate:.2f}"


def _spread(spread: Spread) -> str:
    deviation = "" if isnan(spread.std) else f" ± {percent(spread.std)}"
    return percent(spread.mean) + deviation


def signed(difference: float) -> str:
    """A difference of rates in points, with its sign."""
    text = f"{100 * difference:+.2f}"
    return "0.00" if float(text) == 0 else text.replace("-", "−")  # a minus sign


def _ends(interval: Interval) -> str:
    return f"{percent(interval.low)}–{percent(interval.high)}"


def _mark(summary: Summary, rate: str) -> str:
    marks = (
        ORACLE if _is_oracle(summary) else "",
        "" if summary.complete else INCOMPLETE,
        DIFFERS if summary.statistics and getattr(summary.statistics, f"marks_{rate}") else "",
    )
    return "".join(f"{mark} " for mark in marks if mark)


def _is_oracle(summary: Summary) -> bool:
    return summary.cell.config.evaluation.selection == "oracle"


def _progress(summary: Summary) -> str:
    done, missing = len(summary.folds), len(summary.missing)
    return f"{'' if summary.complete else f'{INCOMPLETE} '}{done}/{done + missing}"


def _missing(summary: Summary) -> str:
    several = len(summary.cell.seeds) > 1
    runs = [f"{fold}{f' seed {seed}' if several else ''}" for fold, seed in summary.missing]
    more = [f"{len(runs) - _MISSING_NAMED} more"] if len(runs) > _MISSING_NAMED else []
    which = f"fold {', '.join(runs[:_MISSING_NAMED] + more)}" if summary.folds else "every fold"
    return f"{summary.cell.row} on {summary.corpus} ({which})"


def _seeds(summaries: Iterable[Summary]) -> int:
    return max((len(summary.cell.seeds) for summary in summaries), default=1)
