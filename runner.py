"""Cross-validated ablations of speech emotion recognition: one grid file in, one table out.

    python runner.py grids/table3.yaml              train what is missing, print and write the table
    python runner.py grids/table3.yaml --demo       the same on synthetic speech: no data, no GPU
    python runner.py grids/table3.yaml --plan       what would run; runs nothing
    python runner.py report grids/table3.yaml       rebuild the table from MLflow
    python runner.py ui                             browse the runs in MLflow's UI

Exit status: 0 every wanted fold has finished; 1 some failed, each named; 2 wrong usage, config or
data, nothing trained; 130 interrupted, nothing that was finished is lost.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.text import Text

from ablation.grid import (
    Grid,
    GridError,
    GridProblem,
    Overrides,
    load_grid,
    seeds_of,
    setting_keys,
)
from ablation.published import Published, load
from ablation.yaml_lines import YamlError, parse
from core.corpora.catalog import CORPORA
from core.schema import suggest

# Everything heavy (torch, ray, mlflow) is imported where it is needed: --help and --plan answer
# at once.
if TYPE_CHECKING:
    from ablation.report import Report
    from ablation.options import Options
    from ablation.study import Outcome

ROOT = Path(__file__).resolve().parent
FINISHED, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130

VERBS = ("report", "ui")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words[0] if words and words[0] in VERBS else "run"
    options = _parser(verb).parse_args(words[1:] if verb != "run" else words)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        match verb:
            case "report":
                return _report(options)
            case "ui":
                return _ui(options)
            case _:
                return _plan(options) if options.plan else _run(options)
    except GridError as error:
        return _refuse(errors, str(error))
    except KeyboardInterrupt:
        errors.print("interrupted", style="red")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINISHED


def _run(options: argparse.Namespace) -> int:
    console = Console(highlight=False)
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    figures = _figures()
    grid = _grid(options, figures)
    study_options = _study_options(options)
    if options.address:  # read when Ray is imported: a cluster's nodes need more than loopback
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "1"
    from ablation.study import run_study  # noqa: PLC0415
    from ablation.trainable import Interrupted, Resources  # noqa: PLC0415

    threads = max(cell.config.training.threads for cell in grid.cells)
    resources = Resources(
        cpus=options.cpus_per_trial or threads,
        gpus=options.gpus_per_trial,
        address=options.address,
        at_once=options.max_concurrent,
    )
    try:
        outcome = run_study(grid, figures, study_options, resources, console)
    except (
        ValueError,
        OSError,
    ) as error:  # data, encoders and folders say themselves what is wrong
        return _refuse(errors, str(error))
    except Interrupted:
        errors.print(
            "interrupted; finished folds are kept, the same command continues", style="red"
        )
        return INTERRUPTED
    _print_table(console, grid, outcome.report)
    return _print_problems(errors, outcome)


def _plan(options: argparse.Namespace) -> int:
    from ablation.plan import print_plan  # noqa: PLC0415

    grid = _grid(options, _figures())
    study_options = _study_options(options)
    print_plan(
        Console(highlight=False),
        grid,
        study_options,
        options.cpus_per_trial,
        options.gpus_per_trial,
        options.max_concurrent,
    )
    return FINISHED


def _report(options: argparse.Namespace) -> int:
    figures = _figures()
    grid = _grid(options, figures)
    from ablation.study import rebuild_report  # noqa: PLC0415

    try:
        report = rebuild_report(grid, figures, _study_options(options))
    except (ValueError, OSError) as error:
        return _refuse(Console(stderr=True, soft_wrap=True, highlight=False), str(error))
    _print_table(Console(highlight=False), grid, report)
    return FINISHED


def _ui(options: argparse.Namespace) -> int:
    """Hand over to MLflow's own server, on loopback."""
    database = options.runs / "mlflow.db"
    if not options.tracking_uri and not database.is_file():
        text = f"{database} must be the database of earlier runs, found none; run a grid first"
        return _refuse(Console(stderr=True, soft_wrap=True, highlight=False), text)
    if (options.tracking_uri or "").startswith("http"):
        print("that MLflow server has its own UI: open its address in a browser")
        return FINISHED
    uri = options.tracking_uri or f"sqlite:///{database.resolve()}"
    words = ["mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1"]
    words += ["--port", str(options.port), "--workers", "1"]
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # a dozen idle processes otherwise
    print(f"MLflow's UI: http://127.0.0.1:{options.port} (stop with Ctrl+C)", flush=True)
    os.execv(sys.executable, [sys.executable, "-m", *words])


def _grid(options: argparse.Namespace, figures: Published) -> Grid:
    settings: dict[str, Any] = {}
    problems = []
    for word in options.set:
        key, equals, text = word.partition("=")
        try:
            value = parse(text.encode()).value
        except YamlError as error:
            problems.append(GridProblem(0, f"--set {word}", error.text))
            continue
        if not equals or key not in setting_keys():
            hint = suggest(key, setting_keys())
            text = f"must be key=value with a key of core/config.py{hint}"
            problems.append(GridProblem(0, f"--set {word}", text))
        settings[key] = value
    if options.encoder:
        settings["encoder.name"] = options.encoder
    if problems:
        raise GridError(options.grid, problems)
    overrides = Overrides(
        demo=options.demo,
        settings=settings,
        corpora=tuple(options.corpus or ()),
        seeds=options.seeds or (),
    )
    grid = load_grid(options.grid, overrides, figures)
    for name in getattr(options, "only", None) or ():
        if name not in grid.rows:
            text = f"must be a row of the grid, got {name!r}{suggest(name, grid.rows)}"
            problems.append(GridProblem(0, "--only", text))
    most = max(cell.folds for cell in grid.cells)
    for fold in getattr(options, "fold", None) or ():
        if not 1 <= fold <= most:
            problems.append(GridProblem(0, "--fold", f"must lie in 1..{most}, got {fold}"))
    if problems:
        raise GridError(options.grid, problems)
    return grid


def _figures() -> Published:
    return load(ROOT / "reports" / "published.yaml")


def _study_options(options: argparse.Namespace) -> "Options":
    from ablation.options import Options  # noqa: PLC0415

    data = getattr(options, "data", None) or os.environ.get("SER_DATA")
    return Options(
        runs=options.runs,
        reports=options.reports,
        data=Path(data) if data else None,
        tracking_uri=options.tracking_uri,
        only=tuple(getattr(options, "only", None) or ()),
        folds=tuple(getattr(options, "fold", None) or ()),
        skip_bad_audio=getattr(options, "skip_bad_audio", False),
        accept_counts=getattr(options, "accept_counts", False),
    )


def _print_table(console: Console, grid: Grid, report: "Report") -> None:
    from ablation.tables import terminal  # noqa: PLC0415

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
        console.print(f"written: {_near(path)}", soft_wrap=True)


def _print_problems(errors: Console, outcome: "Outcome") -> int:
    for trial, reason in outcome.failures:
        config = trial.config
        where = f"{trial.row}, {config.corpus.name} fold {config.fold}, seed {config.seed}"
        errors.print(Text(f"failed: {where}: {reason}", style="red"))
    for problem in outcome.tracking_problems:
        errors.print(
            Text(
                f"MLflow: {problem}; finished folds are safe, the same command sends them again",
                style="red",
            )
        )
    return SOME_FAILED if outcome.failures or outcome.tracking_problems else FINISHED


def _refuse(errors: Console, text: str) -> int:
    errors.print(Text(text, style="red"))
    return WRONG_USAGE


def _near(path: Path) -> Path:
    """The path from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(WRONG_USAGE, f"{self.prog}: {message}\n")


def _parser(verb: str) -> argparse.ArgumentParser:
    assert __doc__ is not None
    if verb == "run":
        parser = _Parser(
            prog="runner.py",
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        _add_grid_options(parser)
        _add_run_options(parser)
    elif verb == "report":
        parser = _Parser(prog="runner.py report", description="Rebuild a table from MLflow.")
        _add_grid_options(parser)
    else:
        parser = _Parser(prog="runner.py ui", description="Open MLflow's UI on loopback.")
        parser.add_argument("--port", type=_port, default=5000, help="(default 5000)")
    parser.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "runs",
        metavar="DIR",
        help="results, checkpoints, audio store, MLflow's database (default runs)",
    )
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        default=os.environ.get("MLFLOW_TRACKING_URI"),
        help="an MLflow server instead of the database in --runs",
    )
    return parser


def _add_grid_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("grid", type=Path, metavar="GRID", help="a file of grids/")
    group = parser.add_argument_group("another study under the same name")
    group.add_argument(
        "--demo",
        action="store_true",
        help="synthetic speech and small encoders: no data, no GPU, no download",
    )
    group.add_argument(
        "--corpus",
        nargs="+",
        metavar="NAME",
        choices=tuple(CORPORA),
        help=f"instead of the grid's corpora: {', '.join(CORPORA)}",
    )
    group.add_argument(
        "--encoder",
        metavar="NAME|PATH",
        help="instead of every row's encoder: an alias, a hub name or a folder",
    )
    group.add_argument(
        "--seeds", type=_seeds, metavar="N|LIST", help="a count (3 is 0,1,2) or a list (7, or 4,8)"
    )
    group.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of core/config.py, for every row",
    )
    parser.add_argument(
        "--reports",
        type=Path,
        default=ROOT / "reports",
        metavar="DIR",
        help="where tables are written (default reports)",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plan", action="store_true", help="say what would run, and run nothing")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the corpus folder, or a folder of corpora (or SER_DATA)",
    )
    parser.add_argument("--only", nargs="+", metavar="ROW", help="train these rows now")
    parser.add_argument("--fold", nargs="+", type=int, metavar="K", help="train these folds now")
    parser.add_argument(
        "--gpus-per-trial",
        type=_share,
        metavar="N",
        help="0.5 puts two trials on a GPU (default 1 where there is one)",
    )
    parser.add_argument(
        "--cpus-per-trial",
        type=_share,
        metavar="N",
        help="CPUs a trial reserves (default training.threads)",
    )
    parser.add_argument(
        "--max-concurrent", type=_count, metavar="N", help="trials at once, at most"
    )
    parser.add_argument("--address", metavar="auto|ray://...", help="join a running Ray cluster")
    parser.add_argument(
        "--skip-bad-audio",
        action="store_true",
        help="leave out unreadable audio; the table says how much",
    )
    parser.add_argument(
        "--accept-counts",
        action="store_true",
        help="train on a corpus whose counts differ from the paper's; the table says so",
    )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        if "," in text:
            return seeds_of([int(word) for word in text.split(",") if word.strip()])
        return seeds_of(int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1024:
        raise argparse.ArgumentTypeError(f"must be a number in 0..1024, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"must be a port in 1..65535, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
