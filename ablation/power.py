"""Whether the seeds of a study are enough to see a difference: the verb `power`."""

import argparse
import json
import shutil
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ablation.argument_groups import ROOT, add_places, add_study
from ablation.complaints import complain

if TYPE_CHECKING:
    from ablation.grid import Grid
    from ablation.seeds_needed import Outlook

DONE, NOTHING_KNOWN, REFUSED = 0, 1, 2  # exit statuses
POINTS = (0.5, 1.0, 2.0)  # O
FIRST_SEEDS = 3  # O: the fewest that say something of their own spread
NOTES_WIDTH = 76
METHOD = (
    "Seeds needed to see a difference to {baseline!r} with 80 % power at p < 0.05, two-sided, by "
    "the corrected t-test over folds (Nadeau and Bengio 2003) and the noncentral t distribution."
)
MISSED = (
    "More seeds cannot buy more than `at best`, the smallest difference that any number of them "
    "shows: they average out their own spread alone. That between folds, and so between speakers, "
    "stays, and takes more folds or speakers."
)
CAUTION = (
    "The standard deviations are estimates themselves, of few runs: take the seeds as an order of "
    "magnitude. The table's McNemar tests, and Holm's correction over its rows, are not counted "
    "in."
)
HIDDEN = (
    "A standard deviation of 0.00 between folds is no proof of none: the seeds' spread hides it, "
    "and `at best` is then too good."
)


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py power`; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        grid, found = _measure(options)
    except (ValueError, OSError) as error:  # each says where, what must hold and what was found
        complain(str(error))
        return REFUSED
    if options.json:
        print(json.dumps(_document(grid, found, options.difference), indent=1, allow_nan=False))
    else:
        print(power_text(grid, found, options.difference, shutil.get_terminal_size().columns))
    return DONE if any(not one.why_not for one in found) else NOTHING_KNOWN


def parser() -> argparse.ArgumentParser:
    """What may be typed after `power`."""
    made = argparse.ArgumentParser(
        prog="runner.py power",
        allow_abbrev=False,
        description="How many seeds show a difference between a row and the baseline, from the "
        "folds that have finished; trains nothing. Exit status: 0 it is said; 1 the runs so far "
        "allow no figure; 2 wrong usage or config.",
    )
    made.add_argument("grid", type=Path, metavar="GRID", help="a file of grids/")
    made.add_argument(
        "--difference",
        nargs="+",
        type=_points,
        default=POINTS,
        metavar="POINTS",
        help="percentage points of WA and UA to see (default 0.5 1 2)",
    )
    made.add_argument("--json", action="store_true", help="print what was found as JSON")
    add_study(made)
    add_places(made, "power")
    made.add_argument("--verbose", action="store_true", help="show a traceback with an error")
    return made


def power_text(
    grid: "Grid", found: Sequence["Outlook"], points: Sequence[float], width: int
) -> str:
    """What seeds can show of each row, and what they cannot."""
    from ablation.columns import fitting, text_lines

    known = [one for one in found if not one.why_not]
    blocks = [_prose(METHOD.format(baseline=grid.compared_with))]
    if known:
        columns = _columns(known, points)
        blocks.append(text_lines(fitting(columns, width), width))
        blocks += [_prose(MISSED), _prose(CAUTION)]
    if any(one.fold_std == 0 for one in known):
        blocks.append(_prose(HIDDEN))
    if left_out := sum(one.left_out for one in known) // 2:  # WA and UA are of the same runs
        text = "Not counted in, as their fold or seed is not whole: "
        blocks.append(_prose(f"{text}{left_out} finished run{'s' * (left_out > 1)}."))
    absent = dict.fromkeys(
        f"{one.row} on {one.corpus}: {one.why_not}." for one in found if one.why_not
    )
    if absent:
        seeds = max(FIRST_SEEDS, *(len(cell.seeds) for cell in grid.cells))
        command = f"{grid.path}{' --demo' if grid.demo else ''} --seeds {seeds}"
        blocks.append([line for text in absent for line in _prose(text)])
        text = "To be run, with the other options of the study, and then asked again:"
        blocks.append(
            [text, f"  python runner.py {command}", f"  python runner.py power {command}"]
        )
    return "\n\n".join("\n".join(block) for block in blocks)


def _measure(options: argparse.Namespace) -> tuple["Grid", list["Outlook"]]:
    from ablation.command_line import grid_of
    from ablation.published import load

    figures = load(ROOT / "reports" / "published.yaml")
    grid = grid_of(options, figures)
    # MLflow takes its time: a grid that is wrong is refused before.
    from ablation.archive import Archive
    from ablation.finished import read_scores
    from ablation.options import Options
    from ablation.report import summarise_grid, with_answers
    from ablation.seeds_needed import outlooks

    where = Options(runs=options.runs, reports=options.reports, tracking_uri=options.tracking_uri)
    scores = with_answers(read_scores(where.uri, grid), Archive(options.runs))
    summaries = summarise_grid(grid, scores, figures)
    wanted = [one / 100 for one in options.difference]
    return grid, outlooks(summaries, grid.compared_with, wanted)


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"must be points above 0 and up to 100, got {text!r}")
    return value


def _columns(known: Sequence["Outlook"], points: Sequence[float]) -> list[Any]:
    from ablation.columns import LOSSES_RANK, STATISTICS_RANK, Column
    from ablation.tables import percent, signed

    columns = [Column("row", tuple(one.row for one in known), "left")]
    if len({one.corpus for one in known}) > 1:
        columns.append(Column("corpus", tuple(one.corpus for one in known), "left"))
    runs = tuple(f"{len(one.used_folds)} × {len(one.used_seeds)}" for one in known)
    columns += [
        Column("", tuple(one.rate.upper() for one in known), "left"),
        Column("folds ×\nseeds", runs, rank=STATISTICS_RANK),
        Column("diff.", tuple(signed(one.difference) for one in known)),
        Column("std of\nfolds", tuple(percent(one.fold_std) for one in known), rank=LOSSES_RANK),
        Column("std of\nseeds", tuple(percent(one.seed_std) for one in known), rank=LOSSES_RANK),
    ]
    for place, difference in enumerate(points):
        needed = (one.needs[place].seeds for one in known)
        cells = tuple("never" if count is None else str(count) for count in needed)
        columns.append(Column(f"seeds for\n{difference:g} points", cells))
    columns.append(Column("seen\nnow", tuple(percent(one.smallest_now) for one in known)))
    columns.append(Column("at\nbest", tuple(percent(one.smallest_ever) for one in known)))
    return columns


def _prose(text: str) -> list[str]:
    return wrap(text, NOTES_WIDTH, break_on_hyphens=False)


def _document(grid: "Grid", found: Sequence["Outlook"], points: Sequence[float]) -> dict[str, Any]:
    """Rates as fractions in 0..1, null for what is not known."""
    return {
        "grid": grid.name,
        "demo": grid.demo,
        "baseline": grid.compared_with,
        "method": METHOD.format(baseline=grid.compared_with),
        "power": 0.8,
        "level": 0.05,
        "differences_points": list(points),
        "rows": [
            {
                "row": one.row,
                "corpus": one.corpus,
                "rate": one.rate,
                "folds": one.folds,
                "used_folds": list(one.used_folds),
                "used_seeds": list(one.used_seeds),
                "left_out": one.left_out,
                "difference": _plain(one.difference),
                "fold_std": _plain(one.fold_std),
                "seed_std": _plain(one.seed_std),
                "smallest_now": _plain(one.smallest_now),
                "smallest_ever": _plain(one.smallest_ever),
                "needs": [
                    {"difference": need.difference, "seeds": need.seeds} for need in one.needs
                ],
                "why_not": one.why_not or None,
            }
            for one in found
        ],
    }


def _plain(value: float) -> float | None:
    return None if isnan(value) else value
