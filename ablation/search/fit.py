"""Whether a search fits the row that it searches: one corpus with inner folds, right values."""

from collections.abc import Callable, Sequence

from ablation.grid import Cell, Overrides
from ablation.search.nested import Drawn, propose
from ablation.search.space import Search
from ablation.yaml_lines import Where
from core.config import RunConfig
from core.schema import ConfigError, flatten, show

SEARCHED = "searched"  # the row of what the inner folds chose
DRAWN_AHEAD = 20  # O: settings that are tried for contradictions before anything starts

Report = Callable[[Where, str, str], None]


def check_fit(cells: Sequence[Cell], search: Search, report: Report, overrides: Overrides) -> None:
    """Report what keeps this search from being made on these cells."""
    _check_cells(cells, search, report)
    if _values_are_right(cells[0].config, search, report, overrides):
        _check_draws(cells[0].config, search, report)


def _check_cells(cells: Sequence[Cell], search: Search, report: Report) -> None:
    """One row on one corpus, whose folds leave an inner one."""
    if len(cells) > 1:
        text = f"must have one row on one corpus to search, found {len(cells)}"
        report(("search",), "search", text)
        return
    cell = cells[0]
    if cell.row == SEARCHED:
        report(("rows", 0, "name"), "rows[0].name", f"must be another than {SEARCHED!r}")
    if cell.config.evaluation.selection == "oracle":
        text = "must be last or validation under `search`: the test fold decides nothing"
        report(("selection",), "selection", text)
    scheme = cell.corpus.schemes[cell.config.corpus.folds]
    needed = 3 + (cell.config.evaluation.selection == "validation")
    if scheme.tested is not None:
        report(("search",), "search", "must stand beside `corpora`: a pair has one fold, no inner")
    elif len(scheme.groups) < needed:
        text = f"must have {needed} groups of speakers or more, found {len(scheme.groups)}"
        report(("search",), "search", text)
    elif search.inner_folds is not None and search.inner_folds > len(scheme.groups) - 1:
        rule = f"must be at most {len(scheme.groups) - 1}, the groups of a training side"
        report(
            ("search", "inner_folds"), "search.inner_folds", f"{rule}, found {search.inner_folds}"
        )


def _values_are_right(row: RunConfig, search: Search, report: Report, overrides: Overrides) -> bool:
    """Let every end and choice pass the gate beside the row's own settings."""
    own = flatten(row.to_dict())
    are_right = True
    for dimension in search.space:
        where: Where = ("search", "space", dimension.key)
        label = f"search.space.{dimension.key}"
        if dimension.key in overrides.changes():
            option = overrides.option(dimension.key)
            report(where, label, f"is searched, so that {option} must not set it")
        for value in dimension.ends():
            try:
                RunConfig.from_dict(own | {dimension.key: value})
            except ConfigError as error:
                problem = error.problems[0]
                own_key = problem.key == dimension.key
                report(where, label, problem.text if own_key else f"{show(value)}: {error}")
                are_right = False
                break
    return are_right


def _check_draws(row: RunConfig, search: Search, report: Report) -> None:
    """Let settings be drawn: values that are right alone may contradict one another."""
    drawn = Drawn(search.space, search.seed)
    try:
        for number in range(1, min(search.trials or DRAWN_AHEAD, DRAWN_AHEAD)):
            propose(row, drawn, number)
    except ValueError as error:
        report(("search", "space"), "search.space", str(error))
