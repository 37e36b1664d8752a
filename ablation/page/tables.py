"""Tables of the page: cells with their headings named, ticks and colours with words beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from ablation.columns import NOTHING, STATISTICS_RANK, TICK, Column

_SPOKEN = '<span aria-hidden="true">{}</span><span class="spoken">{}</span>'


def column_table(columns: Sequence[Column], caption: str) -> str:
    """The report's columns; the first names the rows."""
    heads = [
        f'<th scope="col" class="{column.align}">{_broken(column.header)}</th>'
        for column in columns
    ]
    lines = []
    for texts in zip(*(column.cells for column in columns), strict=True):
        cells = [
            f'<td class="{column.align}">{_cell(text, column.align)}</td>'
            for column, text in zip(columns[1:], texts[1:], strict=True)
        ]
        lines.append(f'<tr><th scope="row">{escape(texts[0])}</th>{"".join(cells)}</tr>')
    return scrolled(_table(caption, "".join(heads), lines, "main"), caption)


def stacked(columns: Sequence[Column]) -> list[Column]:
    """Each interval below its figure in one cell, so that a page of usual width holds them all."""
    found: list[Column] = []
    for column in columns:
        above = found[-1] if found else None
        if not (above and column.rank == STATISTICS_RANK and above.group == column.group):
            found.append(column)
            continue
        cells = tuple(
            f"{figure}\n{detail}" if detail != NOTHING else figure
            for figure, detail in zip(above.cells, column.cells, strict=True)
        )
        header = f"{above.header}\n{column.header.partition(chr(10))[0]}"
        found[-1] = replace(above, header=header, cells=cells)
    return found


def plain_table(caption: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A small table of text; the first cell of a line is its heading."""
    cols = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    rows = [
        f'<tr><th scope="row">{escape(line[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in lines
    ]
    return scrolled(_table(caption, cols, rows), caption)


def confusion_table(confusion: ArrayLike, classes: Sequence[str], caption: str) -> str:
    """Counts, true classes in rows, shaded by their share of the row; the diagonal is outlined."""
    counts = np.asarray(confusion)
    totals = np.maximum(counts.sum(1, keepdims=True), 1)
    heads = '<th scope="col">true \\ predicted</th>'
    heads += "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    rows = []
    for index, (name, line) in enumerate(zip(classes, counts, strict=True)):
        cells = []
        for column, count in enumerate(line.tolist()):
            step = round(10 * count / int(totals[index, 0]))
            own = " own" if column == index else ""
            cells.append(f'<td class="s{step}{own}">{count}</td>')
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return scrolled(_table(caption, heads, rows, "confusion"), caption)


def scrolled(table: str, name: str) -> str:
    """A table that a narrow screen moves sideways, with the keyboard too."""
    return f'<section class="scroll" aria-label="{escape(name)}" tabindex="0">{table}</section>'


def _table(caption: str, heads: str, rows: Iterable[str], look: str = "") -> str:
    kind = f' class="{look}"' if look else ""
    return (
        f"<table{kind}><caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _cell(text: str, align: str) -> str:
    if text == TICK:
        return _SPOKEN.format(TICK, "yes")
    if text == NOTHING:
        return _SPOKEN.format(NOTHING, "none")
    if not text and align == "center":  # a column of ticks
        return '<span class="spoken">no</span>'
    figure, *details = text.split("\n")
    return escape(figure) + "".join(
        f'<br><span class="detail">{escape(detail)}</span>' for detail in details
    )


def _broken(header: str) -> str:
    return "<br>".join(escape(line) for line in header.split("\n"))
