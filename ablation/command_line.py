"""From the words of a command line to the grid, the options and the resources that they mean."""

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from ablation.argument_types import AUTO
from ablation.options import Options
from core.schema import suggest

# Packages may be missing where the verb `doctor` starts: grids are read where one is asked for.
if TYPE_CHECKING:
    from ablation.grid import Grid, GridProblem
    from ablation.plan import Wanted
    from ablation.published import Published


def grid_of(options: Namespace, figures: "Published") -> "Grid":
    """The grid file with what the command line changes about it.

    Raises:
        GridError: every problem of the file and of the command line.
    """
    from ablation.grid import GridError, GridProblem, Overrides
    from ablation.grid_file import load_grid

    settings, problems = _settings(options)
    if problems:
        raise GridError(options.grid, problems)
    overrides = Overrides(
        demo=options.demo,
        settings=settings,
        encoder=options.encoder,
        corpora=tuple(options.corpus),
        seeds=options.seeds,
    )
    grid = load_grid(options.grid, overrides, figures)
    if grid.search is not None:
        from ablation.search.outcome import with_choices

        grid = with_choices(grid, options.runs)
    rows = [("--only", name) for name in getattr(options, "only", ())]
    rows += [("--row", name) for name in (getattr(options, "row", None),) if name is not None]
    for option, name in rows:
        if name not in grid.rows:
            text = f"must be a row of the grid, got {name!r}{suggest(name, grid.rows)}"
            problems.append(GridProblem(0, option, text))
    most = max(cell.folds for cell in grid.cells)
    for fold in getattr(options, "fold", ()):
        if fold > most:
            problems.append(GridProblem(0, "--fold", f"must lie in 1..{most}, got {fold}"))
    if problems:
        raise GridError(options.grid, problems)
    return grid


def _settings(options: Namespace) -> tuple[dict[str, Any], list["GridProblem"]]:
    """The settings that --set gives, and what is wrong with them."""
    from ablation.grid import GridProblem
    from ablation.grid_file import setting_keys
    from ablation.yaml_lines import YamlError, parse

    settings: dict[str, Any] = {}
    problems = []
    keys = setting_keys()
    for word in options.set:
        key, equals, text = word.partition("=")
        fault = ""
        if not equals:
            fault = "must be KEY=VALUE, found no '='"
        elif key not in keys:
            hint = suggest(key, keys)
            fault = f"must begin with a setting of core/config.py, got {key!r}{hint}"
        else:
            try:
                settings[key] = parse(text.encode("utf-8", "surrogateescape")).value
            except YamlError as error:
                fault = error.text
            else:
                if isinstance(settings[key], dict):
                    fault = "must be one value or a list of them, found a mapping"
        if fault:
            problems.append(GridProblem(0, f"--set {word}", fault))
    return settings, problems


def study_options(options: Namespace) -> Options:
    """What the command line says of this start of the study."""
    return Options(
        runs=options.runs,
        reports=options.reports,
        data=getattr(options, "data", None),
        tracking_uri=options.tracking_uri,
        only=tuple(getattr(options, "only", ())),
        folds=tuple(getattr(options, "fold", ())),
        skip_bad_audio=getattr(options, "skip_bad_audio", False),
        accept_counts=getattr(options, "accept_counts", False),
        fresh=getattr(options, "fresh", False),
        keep_models=getattr(options, "keep_models", "none"),
        log_model=getattr(options, "log_model", False),
    )


def wanted_resources(options: Namespace) -> "Wanted":
    """What the command line says of a trial's resources."""
    from ablation.plan import Wanted

    return Wanted(
        cpus=options.cpus_per_trial,
        gpus=None if packs(options) else options.gpus_per_trial,
        packed=packs(options),
        at_once=options.max_concurrent,
        address=options.address,
    )


def packs(options: Namespace) -> bool:
    """Whether trials are to share a GPU by their measured memory."""
    return bool(options.gpus_per_trial == AUTO)
