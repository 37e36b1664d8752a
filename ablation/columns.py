"""Columns as text: how the settings of a row are worded, in a plan and in a table alike.

Imports neither numpy nor rich's renderers, so that a plan answers at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from textwrap import wrap
from typing import Literal

from rich.cells import cell_len

from core.classifiers import EGEMAPS_SVM, LINEAR_PROBE
from core.config import RunConfig

NOTHING = "–"
TICK = "✓"
LOSSES = {"kl": "KL", "center": "Center", "focal": "Focal", "supcon": "SupCon"}
MIXUP = {"none": NOTHING, "lam": "LAM", "eam": "EAM", "mixup": "plain"}
BASELINES = {EGEMAPS_SVM: "functionals, SVM", LINEAR_PROBE: "mean, linear probe"}
AGGREGATION = {
    "first": "first frame",
    "max": "max",
    "mean": "mean",
    "statistics": "mean and deviation",
    "flam": "FLAM",
}

# Which columns a narrow terminal loses, in the order of their ranks; 0 stays.
ALWAYS, STATISTICS_RANK, LOSSES_RANK, METHOD_RANK, ENCODER_RANK = range(5)
GAP = 2  # between two columns of the terminal
RULE = "─"
ROW_WIDTH = 20  # a longer row name breaks before a column goes


@dataclass(frozen=True, slots=True)
class Column:
    """One column as text; a header may break at its newline.

    In print a group stands above its headers, and a wide table has its details in a second part.
    """

    header: str
    cells: tuple[str, ...]
    align: Literal["left", "center", "right"] = "right"
    rank: int = ALWAYS
    group: str = ""
    detail: bool = False

    @property
    def width(self) -> int:
        """What it takes on a terminal."""
        return max(map(cell_len, (*self.header.split("\n"), *self.cells)))


def setting_columns(configs: Sequence[RunConfig]) -> list[Column]:
    """What the paper's Table 3 says of each row: encoder, mixup, aggregation, a tick per loss."""
    settings = {
        "encoder": ([_encoder(config) for config in configs], ENCODER_RANK),
        "mixup": ([MIXUP[config.mixup.method] for config in configs], METHOD_RANK),
        "aggregation": ([_aggregation(config) for config in configs], METHOD_RANK),
    }
    found = [Column(name, tuple(cells), "left", rank) for name, (cells, rank) in settings.items()]
    for term, header in LOSSES.items():
        ticks = tuple(TICK if term in _terms(config) else "" for config in configs)
        found.append(Column(header, ticks, "center", LOSSES_RANK))
    return found


def _encoder(config: RunConfig) -> str:
    if config.classifier.method == EGEMAPS_SVM:
        return "eGeMAPS"
    return encoder_name(config.encoder.name)


def _aggregation(config: RunConfig) -> str:
    """Of a baseline, what it is."""
    return BASELINES.get(config.classifier.method) or AGGREGATION[config.pooling.method]


def _terms(config: RunConfig) -> tuple[str, ...]:
    return () if config.classifier.method in BASELINES else config.losses.terms


def fitting(found: Sequence[Column], width: int) -> list[Column]:
    """The columns for a terminal of `width`: ranks go one by one until the others fit."""
    chosen = list(found)
    for rank in sorted({column.rank for column in found} - {ALWAYS}):
        names, *others = (column.width for column in chosen)
        if min(names, ROW_WIDTH) + sum(others) + GAP * len(others) <= width:
            break
        chosen = [column for column in chosen if column.rank != rank]
    return chosen


def row_room(chosen: Sequence[Column], width: int) -> int:
    """What is left for the names of rows, the first column."""
    return max(1, width - sum(column.width + GAP for column in chosen[1:]))


def pad(text: str, width: int, align: Literal["left", "center", "right"]) -> str:
    """Text filled with blanks to a width on the terminal."""
    gap = max(0, width - cell_len(text))
    before = {"left": 0, "center": gap // 2, "right": gap}[align]
    return f"{' ' * before}{text}{' ' * (gap - before)}"


def text_lines(chosen: Sequence[Column], width: int) -> list[str]:
    """The table as lines of text, names of rows broken where the terminal is narrow."""
    room = min(row_room(chosen, width), chosen[0].width)
    widths = [room, *(column.width for column in chosen[1:])]
    headers = [column.header.split("\n") for column in chosen]
    height = max(map(len, headers))
    headers = [[""] * (height - len(header)) + header for header in headers]
    lines = [_line(texts, chosen, widths) for texts in zip(*headers, strict=True)]
    lines.append(RULE * (sum(widths) + GAP * (len(widths) - 1)))
    for name, *cells in zip(*(column.cells for column in chosen), strict=True):
        first, *rest = wrap(name, room)
        lines += [_line([first, *cells], chosen, widths), *rest]
    return lines


def _line(texts: Sequence[str], chosen: Sequence[Column], widths: Sequence[int]) -> str:
    padded = map(pad, texts, widths, (column.align for column in chosen))
    return (" " * GAP).join(padded).rstrip()


def setting_text(value: object) -> str:
    """A setting's value without Python's brackets and quotes."""
    if isinstance(value, tuple | list):
        return ", ".join(map(setting_text, value))
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def encoder_name(name: str) -> str:
    """An alias or hub name as it is; of a folder its own name alone."""
    return PurePath(name).name if name.startswith(("/", ".", "~")) else name


def clock(seconds: float) -> str:
    """Seconds as people say them: 8s, 6m12s, 3h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
