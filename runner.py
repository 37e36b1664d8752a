"""Cross-validated ablations of speech emotion recognition: one grid file in, one table out.

    python runner.py grids/table3.yaml              train what is missing, print and write the table
    python runner.py grids/table3.yaml --demo       the same on synthetic speech: no data, no GPU
    python runner.py grids/table3.yaml --plan       what would run; runs nothing
    python runner.py report grids/table3.yaml       rebuild the table from MLflow
    python runner.py ui                             browse the runs in MLflow's UI
    python runner.py check ravdess --data DIR       is this folder the corpus that the paper means?
    python runner.py fetch ravdess --data DIR       download what may be downloaded

Exit status: 0 every wanted fold has finished; 1 some failed, each named; 2 wrong usage, config or
data, nothing trained; 130 interrupted, nothing that was finished is lost.
"""

import io
import os
import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.arguments import CORPUS_VERBS, ROOT, UsageError, parse, parser_of

# Everything else is imported where it is needed: --help and --plan answer at once.
if TYPE_CHECKING:
    from rich.console import Console

    from ablation.grid import Grid, GridProblem
    from ablation.options import Options
    from ablation.published import Published
    from ablation.report import Report
    from ablation.study import Outcome

FINISHED, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
UI_VIEW = "workflowType=machine_learning"  # else MLflow opens its pages for language models


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no tick still gets a table
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        parser_of("run").print_help(sys.stderr)
        return WRONG_USAGE
    try:
        if words[0] in CORPUS_VERBS:
            return _corpus_verb(words)
        verb, options = parse(words)
        status = {"report": _report, "ui": _ui, "run": _plan_or_run}[verb](options)
        sys.stdout.flush()
        return status
    except UsageError as error:
        return _refuse(f"{error}\nSee: python runner.py --help")
    except KeyboardInterrupt:
        _error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED


def _corpus_verb(words: Sequence[str]) -> int:
    """The verbs about one corpus; they have their own options and no grid."""
    if words[0] == "check":
        from ablation.check import verb
    else:
        from ablation.fetch import verb
    return verb(words[1:])


def _plan_or_run(options: Namespace) -> int:
    try:
        figures = _figures()
        grid = _grid(options, figures)
    except ValueError as error:  # every problem of the file and of the command line
        return _refuse(str(error))
    return _plan(options, grid) if options.plan else _run(options, grid, figures)


def _plan(options: Namespace, grid: "Grid") -> int:
    from ablation.plan import Wanted, plan_text

    wanted = Wanted(
        cpus=options.cpus_per_trial,
        gpus=options.gpus_per_trial,
        at_once=options.max_concurrent,
        address=options.address,
    )
    width = shutil.get_terminal_size().columns
    print(plan_text(grid, _study_options(options), wanted, width))
    return FINISHED


def _run(options: Namespace, grid: "Grid", figures: "Published") -> int:
    if options.address:  # read when Ray is imported: a cluster's nodes need more than loopback
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    from ablation.cluster import Resources
    from ablation.study import run_study
    from ablation.trainable import Interrupted

    threads = max(cell.config.training.threads for cell in grid.cells)
    resources = Resources(
        cpus=options.cpus_per_trial or threads,
        gpus=options.gpus_per_trial,
        address=options.address,
        at_once=options.max_concurrent,
        checkpoint_epochs=options.checkpoint_epochs,
    )
    console = _console()
    try:
        outcome = run_study(grid, figures, _study_options(options), resources, console)
    except (ValueError, OSError) as error:  # data, encoders and folders say what is wrong
        return _refuse(str(error))
    except Interrupted:
        _error("interrupted; finished epochs are kept, the same command continues")
        return INTERRUPTED
    _print_table(console, grid, outcome.report)
    return _print_problems(outcome)


def _report(options: Namespace) -> int:
    try:
        figures = _figures()
        grid = _grid(options, figures)
        from ablation.study import rebuild_report

        report = rebuild_report(grid, figures, _study_options(options))
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    _print_table(_console(), grid, report)
    return FINISHED


def _ui(options: Namespace) -> int:
    """Hand over to MLflow's own server, on loopback."""
    database = options.runs / "mlflow.db"
    if not options.tracking_uri and not database.is_file():
        text = f"{database} must be the database of earlier runs, found none; run a grid first"
        return _refuse(text)
    if (options.tracking_uri or "").startswith("http"):
        print("that MLflow server has its own UI: open its address in a browser")
        return FINISHED
    uri = options.tracking_uri or f"sqlite:///{database.resolve()}"
    words = ["mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    words += ["--port", str(options.port), "--workers", "1"]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # a dozen idle processes otherwise
    print(
        f"MLflow's UI: http://127.0.0.1:{options.port}/#/experiments?{UI_VIEW} (stop with Ctrl+C)",
        flush=True,
    )
    return os.execv(sys.executable, [sys.executable, "-m", *words])


def _grid(options: Namespace, figures: "Published") -> "Grid":
    from ablation.grid import GridError, GridProblem, Overrides
    from ablation.grid_file import load_grid
    from core.schema import suggest

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
    for name in getattr(options, "only", ()):
        if name not in grid.rows:
            text = f"must be a row of the grid, got {name!r}{suggest(name, grid.rows)}"
            problems.append(GridProblem(0, "--only", text))
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
    from core.schema import suggest

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


def _figures() -> "Published":
    from ablation.published import load

    return load(ROOT / "reports" / "published.yaml")


def _study_options(options: Namespace) -> "Options":
    from ablation.options import Options

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
    )


def _print_table(console: "Console", grid: "Grid", report: "Report") -> None:
    from ablation.tables import terminal

    console.print()
    console.print(
        terminal(
            report.summaries,
            title=grid.title,
            demo=grid.demo,
            selection=grid.selection,
            width=console.width,
        )
    )
    console.print()
    for path in report.files:
        console.print(f"written: {_near(path)}", soft_wrap=True, markup=False)


def _print_problems(outcome: "Outcome") -> int:
    for trial, reason in outcome.failures:
        config = trial.config
        where = f"{trial.row}, {config.corpus.name} fold {config.fold}, seed {config.seed}"
        _error(f"failed: {where}: {reason}")
    for problem in outcome.tracking_problems:
        _error(f"MLflow: {problem}; finished folds are safe, the same command sends them again")
    return SOME_FAILED if outcome.failures or outcome.tracking_problems else FINISHED


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)


def _error(text: str) -> None:
    from rich.text import Text

    console = _console(stderr=True)
    console.print(Text(text, style="red"), soft_wrap=not console.is_terminal)


def _refuse(text: str) -> int:
    _error(text)
    return WRONG_USAGE


def _near(path: Path) -> Path:
    """The path from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
