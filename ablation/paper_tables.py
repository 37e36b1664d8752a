"""The paper's own three tables: their order and their columns, our figures beside the published.

A grid is one of them if each of its rows names a figure of one and the same table.

    Table 1   methods and modality of each corpus as printed, our rows last
    Table 2   UA of SAVEE's speakers and their mean, our rows last, then the difference
    Table 3   ticks for encoder, mixup, feature aggregation and losses; published beside ours

What the paper has not, plain mixup say, has a column of its own where a row uses it. A demo's
tables have these columns, but never a published figure.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ablation.aggregate import Summary
from ablation.columns import (
    AGGREGATION,
    LOSSES,
    LOSSES_RANK,
    METHOD_RANK,
    MIXUP,
    TICK,
    Column,
    encoder_name,
)
from ablation.published import MethodRow, Published, SpeakerRow
from ablation.tables import columns, percent, progress_column, rate_columns, signed

_ENCODERS = {"hubert-large": "HuBERT\nLarge", "wavlm-large": "WavLM\nLarge"}
_MIXUP = {"lam": "LAM", "eam": "EAM"}
_AGGREGATION = {"max": "MaxPool", "mean": "MeanPool", "flam": "FLAM"}
_LOSSES = {"kl": "KL-div", "center": "Center", "focal": "Focal", "supcon": "SupCon"}
_UNTICKED = ("none", "first")  # in the paper a row without a tick
_OURS = "Ours"
_SPEAKERS = ("DC", "JE", "JK", "KL")
AUDIO_ONLY = "A"  # what every row of ours is


@dataclass(frozen=True, slots=True)
class Layout:
    """A table of the paper, for the rows of one grid.

    Attributes:
        table: table1, table2 or table3.
        columns: As the paper has them, ours beside.
        paper: What `results.json` holds of it: the methods as printed, or None.
    """

    table: str
    columns: tuple[Column, ...]
    paper: dict[str, Any] | None


def layout_of(summaries: Sequence[Summary], figures: Published, demo: bool) -> Layout | None:
    """The paper's table that these rows are of; None for any other grid."""
    tables = {summary.cell.published.partition(".")[0] for summary in summaries}
    corpora = tuple(dict.fromkeys(summary.corpus for summary in summaries))
    if tables == {"table1"}:
        known = {} if demo else {c: figures.table1[c] for c in corpora if c in figures.table1}
        rows = [{"corpus": name, **asdict(row)} for name in known for row in known[name]]
        return Layout("table1", tuple(_table1(summaries, known)), _document("table1", rows))
    if tables == {"table2"} and corpora == ("savee",):
        methods = () if demo else figures.table2
        found = tuple(_table2(summaries, methods))
        return Layout("table2", found, _document("table2", [asdict(row) for row in methods]))
    if tables == {"table3"}:
        return Layout("table3", tuple(columns(summaries, _ticks(summaries))), None)
    return None


def method_name(row: MethodRow | SpeakerRow) -> str:
    """A method of the paper's tables with its number in the paper's list of references."""
    if row.reference is None:
        return "Wang et al., the paper" if row.method == _OURS else row.method
    return f"{row.method} [{row.reference}]"


def _table1(summaries: Sequence[Summary], known: dict[str, tuple[MethodRow, ...]]) -> list[Column]:
    lines: list[tuple[str, MethodRow | int]] = []
    for corpus in dict.fromkeys(summary.corpus for summary in summaries):
        lines += [(corpus, method) for method in known.get(corpus, ())]
        lines += [(corpus, i) for i, summary in enumerate(summaries) if summary.corpus == corpus]
    texts = [
        (corpus, method_name(line), line.modality)
        if isinstance(line, MethodRow)
        else (corpus, f"ours: {summaries[line].cell.row}", AUDIO_ONLY)
        for corpus, line in lines
    ]
    corpora, names, modalities = zip(*texts, strict=True)
    found = [
        Column("corpus", corpora, "left"),
        Column("method", names, "left"),
        Column("modality", modalities, "center"),
    ]
    rows = [line for _, line in lines]
    for rate in ("wa", "ua"):
        for index, column in enumerate(rate_columns(summaries, rate)):
            if column.header.startswith("published"):
                continue  # it stands in the row above ours
            printed = [
                _printed(getattr(row, rate)) if isinstance(row, MethodRow) and not index else ""
                for row in rows
            ]
            found.append(_spliced(column, rows, printed))
    return [*found, _spliced(progress_column(summaries), rows, [""] * len(rows))]


def _spliced(column: Column, rows: Sequence[Any], printed: Sequence[str]) -> Column:
    """A column of our rows with the printed methods' cells between."""
    cells = tuple(
        column.cells[row] if isinstance(row, int) else text
        for row, text in zip(rows, printed, strict=True)
    )
    return replace(column, cells=cells)


def _table2(summaries: Sequence[Summary], methods: Iterable[SpeakerRow]) -> list[Column]:
    rows = tuple(methods)
    compared = [s for s in summaries if s.published and s.complete]
    blanks = ("",) * len(compared)
    names = [method_name(row) for row in rows]
    names += [f"ours: {summary.cell.row}" for summary in summaries]
    names += [f"difference, {s.cell.row} − the paper" for s in compared]
    found = [Column("method", tuple(names), "left")]
    for speaker in _SPEAKERS:
        told = [_printed(getattr(row.speakers, speaker)) for row in rows]
        told += [percent(summary.speakers.get(speaker)) for summary in summaries]
        told += [
            signed(s.speakers[speaker] - s.published.speakers[speaker])
            for s in compared
            if s.published
        ]
        found.append(Column(speaker, tuple(told), group="UA %"))
    for index, column in enumerate(rate_columns(summaries, "ua")):
        if column.header.startswith(("published", "diff.")):
            continue  # they stand in rows of their own
        printed = [_printed(row.mean) if not index else "" for row in rows]
        last = blanks
        if not index:
            last = tuple(signed(s.ua.mean - (s.published.ua or 0)) for s in compared if s.published)
        header = column.header if index else "Mean"
        cells = (*printed, *column.cells, *last)
        found.append(replace(column, header=header, cells=cells, group="UA %"))
    runs = progress_column(summaries)
    return [*found, replace(runs, cells=(*[""] * len(rows), *runs.cells, *blanks))]


def _ticks(summaries: Sequence[Summary]) -> list[Column]:
    configs = [summary.cell.config for summary in summaries]
    encoders = [config.encoder.name for config in configs]
    found = [
        _tick_column(_ENCODERS.get(name, encoder_name(name)), [e == name for e in encoders])
        for name in dict.fromkeys(encoders)
    ]
    mixups = [(config.mixup.method,) for config in configs]
    aggregations = [(config.pooling.method,) for config in configs]
    losses = [config.losses.terms for config in configs]
    found += _group("mixup", _MIXUP, MIXUP, mixups)
    found += _group("feature aggregation", _AGGREGATION, AGGREGATION, aggregations)
    return found + _group("loss function", _LOSSES, LOSSES, losses, LOSSES_RANK)


def _group(
    group: str,
    paper: Mapping[str, str],
    every: Mapping[str, str],
    chosen: Sequence[Sequence[str]],
    rank: int = METHOD_RANK,
) -> list[Column]:
    """The paper's columns, then those of what it has not and a row uses."""
    used = {key for keys in chosen for key in keys}.difference(paper, _UNTICKED)
    headers = {**paper, **{key: header for key, header in every.items() if key in used}}
    return [
        _tick_column(header, [key in keys for keys in chosen], group, rank)
        for key, header in headers.items()
    ]


def _tick_column(
    header: str, ticked: Iterable[bool], group: str = "encoder", rank: int = METHOD_RANK
) -> Column:
    cells = tuple(TICK if tick else "" for tick in ticked)
    return Column(header, cells, "center", rank, group)


def _document(table: str, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"table": table, "rows": rows} if rows else None


def _printed(value: float | None) -> str:
    return percent(None if value is None else value / 100)
