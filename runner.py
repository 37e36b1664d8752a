"""Cross-validated ablations of speech emotion recognition: one grid file in, one table out.

    python runner.py grids/table3.yaml              train what is missing, print and write the table
    python runner.py grids/table3.yaml --demo       the same on synthetic speech: no data, no GPU
    python runner.py grids/table3.yaml --plan       what would run; runs nothing
        ... --plan --calibrate                      and how long, by a few steps of each kind
    python runner.py report grids/table3.yaml       rebuild the table from MLflow
    python runner.py figures grids/table3.yaml      train one fold and draw what is in its model
    python runner.py doctor grids/table3.yaml       what stands between this machine and that run
    python runner.py power grids/table3.yaml        how many seeds show a difference
    python runner.py ui                             browse the runs in MLflow's UI
    python runner.py check ravdess --data DIR       is this folder the corpus that the paper means?
    python runner.py fetch ravdess --data DIR       download what may be downloaded
    python runner.py predict RUN FILE...            emotion probabilities of audio files
    python runner.py export RUN FOLDER              a kept model as a folder of its own
    python runner.py stress grids/table3.yaml       kept models on noise, rooms and codecs
    python runner.py completion bash                a script for the shell's completion

Exit status: 0 every wanted fold has finished; 1 some failed, each named; 2 wrong usage, config or
data, nothing trained; 130 interrupted, nothing that was finished is lost.
"""

import atexit
import gc
import io
import os
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ablation.argument_groups import ROOT
from ablation.arguments import OWN_VERBS, UsageError, parse, parser_of
from ablation.complaints import complain, show_tracebacks

# Everything else is imported where it is needed: --help and --plan answer at once.
if TYPE_CHECKING:
    from rich.console import Console

    from ablation.cluster import Resources
    from ablation.grid import Grid
    from ablation.published import Published
    from ablation.report import Report
    from ablation.study import Outcome

atexit.register(gc.freeze)  # at its end Python would look through every library: 1.5 s

FINISHED, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that has no tick still gets a table
    words = list(sys.argv[1:] if arguments is None else arguments)
    show_tracebacks("--verbose" in words)
    words = [word for word in words if word != "--verbose"]
    if not words:
        parser_of("run").print_help(sys.stderr)
        return WRONG_USAGE
    try:
        if words[0] in OWN_VERBS:
            return _own_verb(words)
        verb, options = parse(words)
        verbs = {
            "report": _report,
            "figures": _draw,
            "ui": _ui,
            "doctor": _doctor,
            "run": _plan_or_run,
        }
        status = verbs[verb](options)
        sys.stdout.flush()
        return status
    except UsageError as error:
        return _refuse(f"{error}\nSee: python runner.py --help")
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED


def _own_verb(words: Sequence[str]) -> int:
    """A verb that has its own options: its module answers all of its words."""
    module = import_module(OWN_VERBS[words[0]])
    return int(module.verb(words[1:]))


def _plan_or_run(options: Namespace) -> int:
    try:
        figures = _figures()
        grid = _grid(options, figures)
    except ValueError as error:  # every problem of the file and of the command line
        return _refuse(str(error))
    if options.calibrate and (status := _calibrate(options, grid)):
        return status
    return _plan(options, grid) if options.plan else _run(options, grid, figures)


def _plan(options: Namespace, grid: "Grid") -> int:
    from ablation.command_line import study_options, wanted_resources
    from ablation.search.plan import plan_json, plan_text

    asked = (grid, study_options(options), wanted_resources(options))
    width = shutil.get_terminal_size().columns
    print(plan_json(*asked) if options.json else plan_text(*asked, width))
    return FINISHED


def _calibrate(options: Namespace, grid: "Grid") -> int:
    started = time.perf_counter()
    resources = _resources(options, grid)
    from ablation.calibrate import calibrate
    from ablation.command_line import study_options

    imports_s = time.perf_counter() - started
    try:
        calibrate(grid, study_options(options), resources, _console(stderr=True), imports_s)
    except (ValueError, OSError) as error:  # data, encoders and folders say what is wrong
        return _refuse(str(error))
    return FINISHED


def _resources(options: Namespace, grid: "Grid") -> "Resources":
    """What a trial reserves; imports Ray, whose switches must stand by then."""
    if options.address:  # read when Ray is imported: a cluster's nodes need more than loopback
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    from ablation.cluster import Resources
    from ablation.command_line import packs

    if options.log_model and options.keep_models == "none":
        options.keep_models = "best"
    threads = max(cell.config.training.threads for cell in grid.cells)
    return Resources(
        cpus=options.cpus_per_trial or threads,
        gpus=None if packs(options) else options.gpus_per_trial,
        packed=packs(options),
        address=options.address,
        at_once=options.max_concurrent,
        checkpoint_epochs=options.checkpoint_epochs,
        retries=options.retries,
        micro_batch=options.micro_batch,
        recompute=options.recompute,
        deterministic=options.deterministic,
        keep_models=options.keep_models,
    )


def _run(options: Namespace, grid: "Grid", figures: "Published") -> int:
    from ablation.command_line import study_options
    from ablation.interruption import Interrupted, continuing, stoppable

    console = _console()
    try:
        with stoppable(grid, study_options(options)):
            resources = _resources(options, grid)
            from ablation.search.study import run_study

            outcome = run_study(grid, figures, study_options(options), resources, console)
    except (ValueError, OSError) as error:  # data, encoders and folders say what is wrong
        return _refuse(str(error))
    except Interrupted as how_far:
        complain(f"interrupted: {how_far}")
        print(f"to continue: {continuing(sys.argv[0], options.typed)}", file=sys.stderr)
        return INTERRUPTED
    _print_table(console, grid, outcome.report)
    return _print_problems(outcome)


def _doctor(options: Namespace) -> int:
    from ablation.doctor.verb import examine

    try:
        return examine(options, lambda: _grid(options, _figures()))
    except ValueError as error:  # every problem of the file and of the command line
        return _refuse(str(error))


def _report(options: Namespace) -> int:
    try:
        figures = _figures()
        grid = _grid(options, figures)
        from ablation.command_line import study_options
        from ablation.rebuild import rebuild_report

        report = rebuild_report(grid, figures, study_options(options))
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    if options.json:
        print(report.results.read_text(encoding="utf-8"), end="")
    else:
        _print_table(_console(), grid, report)
    return FINISHED


def _draw(options: Namespace) -> int:
    console = _console()
    try:
        grid = _grid(options, _figures())
        from ablation.command_line import study_options
        from ablation.figures.verb import Choice, draw_model

        row = grid.rows[-1] if options.row is None else options.row
        choice = Choice(row=row, fold=options.fold[0], utterances=tuple(options.utterance))
        files = draw_model(grid, choice, study_options(options), console)
    except (ValueError, OSError) as error:
        return _refuse(str(error))
    for path in files:
        console.print(f"written: {_near(path)}", soft_wrap=True, markup=False)
    return FINISHED


def _ui(options: Namespace) -> int:
    from ablation.browse import browse

    try:
        return browse(options)
    except ValueError as error:
        return _refuse(str(error))


def _grid(options: Namespace, figures: "Published") -> "Grid":
    from ablation.command_line import grid_of

    return grid_of(options, figures)


def _figures() -> "Published":
    from ablation.published import load

    return load(ROOT / "reports" / "published.yaml")


def _print_table(console: "Console", grid: "Grid", report: "Report") -> None:
    from ablation.effects_view import effects_text
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
    console.print(effects_text(report.effects, grid.design, console.width), markup=False)
    for path in report.files:
        console.print(f"written: {_near(path)}", soft_wrap=True, markup=False)


def _print_problems(outcome: "Outcome") -> int:
    for trial, reason in outcome.failures:
        config = trial.config
        where = f"{trial.row}, {config.corpus.name} fold {config.fold}, seed {config.seed}"
        complain(f"failed: {where}: {reason}")
    for problem in outcome.tracking_problems:
        complain(f"MLflow: {problem}; finished folds are safe, the same command sends them again")
    return SOME_FAILED if outcome.failures or outcome.tracking_problems else FINISHED


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(highlight=False, stderr=stderr)


def _refuse(text: str) -> int:
    complain(text)
    return WRONG_USAGE


def _near(path: Path) -> Path:
    """The path from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    sys.exit(main())
