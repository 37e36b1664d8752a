"""What may be typed after `runner.py`, and how a slip is answered.

Imports nothing that takes time: --help answers at once.
"""

import argparse
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from core.corpora.catalog import CORPORA

ROOT = Path(__file__).resolve().parent.parent
VERBS = ("report", "ui")
CORPUS_VERBS = ("check", "fetch")  # which have their own options and no grid
EVERY_VERB = (*VERBS, *CORPUS_VERBS)
MAX_SHARE = 1024.0  # CPUs or GPUs of one trial
MAX_COUNT = 100_000
MAX_FOLD = 1000
MAX_PORT = 65_535
MLFLOW_PORT = 5000
HELP_WIDTH = 28  # columns before the help texts

DESCRIPTION = """\
Cross-validated ablations of speech emotion recognition: one grid file in, one table out.

  runner.py grids/table3.yaml           train what is missing, print and write the table
  runner.py grids/table3.yaml --demo    the same on synthetic speech: no data, no GPU
  runner.py grids/table3.yaml --plan    what would run, and how long; runs nothing
  runner.py report grids/table3.yaml    rebuild the table from MLflow
  runner.py ui                          browse the runs in MLflow's UI
  runner.py check ravdess --data DIR    is this folder the corpus that the paper means?
  runner.py fetch ravdess --data DIR    download what may be downloaded
"""
EPILOGUE = """\
exit status: 0 every wanted fold has finished; 1 some failed, each named; 2 wrong usage, config or
data, nothing trained; 130 interrupted, nothing that was finished is lost
"""


class UsageError(Exception):
    """A command line that can't be meant so; says what must stand there and what was found."""


def parse(words: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """Read a command line: its verb, "run" where a grid file stands first, and its options.

    Raises:
        UsageError: with the rule and what was found.
        SystemExit: help was asked for and printed.
    """
    verb = words[0] if words and words[0] in VERBS else "run"
    parser = parser_of(verb)
    options, strangers = parser.parse_known_args(words if verb == "run" else words[1:])
    if verb != "ui":
        _check_grid(options.grid, parser)
    if strangers:
        parser.error(_strange(strangers[0], verb, parser))
    return verb, options


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb."""
    program = "runner.py" if verb == "run" else f"runner.py {verb}"
    usage = f"{program} [options]" if verb == "ui" else f"{program} GRID [options]"
    parser = _Parser(
        prog=program,
        usage=usage,
        description={
            "run": DESCRIPTION,
            "report": "Rebuild a table from MLflow, training nothing.",
            "ui": "Open MLflow's UI on loopback.",
        }[verb],
        epilog=EPILOGUE if verb == "run" else None,
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    if verb == "ui":
        parser.add_argument(
            "--port", type=_port, default=MLFLOW_PORT, metavar="N", help="(default %(default)s)"
        )
    else:
        _add_grid(parser)
    if verb == "run":
        _add_run(parser)
    if verb != "ui":
        _add_study(parser)
    _add_places(parser, verb)
    return parser


def _add_grid(parser: argparse.ArgumentParser) -> None:
    # "?" so that its absence is answered here, where a row may have been taken for it.
    parser.add_argument("grid", type=Path, metavar="GRID", nargs="?", help="a file of grids/")


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to do now")
    group.add_argument("--plan", action="store_true", help="say what would run, and run nothing")
    group.add_argument("--only", nargs="+", default=[], metavar="ROW", help="train these rows now")
    group.add_argument(
        "--fold", nargs="+", default=[], type=_fold, metavar="K", help="train these folds now"
    )
    group.add_argument(
        "--fresh", action="store_true", help="train them anew, whatever has finished already"
    )
    group.add_argument(
        "--skip-bad-audio",
        action="store_true",
        help="leave out unreadable audio; the table says how much",
    )
    group.add_argument(
        "--accept-counts",
        action="store_true",
        help="train on a corpus whose counts differ from the paper's; the table says so",
    )
    group = parser.add_argument_group("resources")
    group.add_argument(
        "--gpus-per-trial",
        type=_share,
        metavar="N",
        help="0.5 puts two trials on a GPU (default 1 where there is one)",
    )
    group.add_argument(
        "--cpus-per-trial",
        type=_share_above_0,
        metavar="N",
        help="CPUs a trial reserves (default training.threads)",
    )
    group.add_argument("--max-concurrent", type=_count, metavar="N", help="trials at once, at most")
    group.add_argument(
        "--checkpoint-epochs",
        type=_epochs,
        default=1,
        metavar="N",
        help="a checkpoint after every N epochs; 0: none (default 1)",
    )
    group.add_argument(
        "--address", metavar="ADDRESS", help="join a running Ray cluster: auto or ray://..."
    )


def _add_study(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("another study from the same file")
    group.add_argument(
        "--demo",
        action="store_true",
        help="synthetic speech and small encoders: no data, no GPU, no download",
    )
    group.add_argument(
        "--corpus",
        nargs="+",
        default=[],
        metavar="NAME|FILE",
        help=f"instead of the grid's corpora: {', '.join(CORPORA)}, or a manifest",
    )
    group.add_argument(
        "--encoder",
        metavar="NAME|PATH",
        help="instead of every row's encoder: an alias, a hub name or a folder",
    )
    group.add_argument(
        "--seeds",
        type=_seeds,
        default=(),
        metavar="N|LIST",
        help="a count (3 is 0,1,2) or a list (4,8; or 7, for 7 alone)",
    )
    group.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of core/config.py, for every row",
    )


def _add_places(parser: argparse.ArgumentParser, verb: str) -> None:
    group = parser.add_argument_group("where things lie")
    if verb == "run":
        group.add_argument(
            "--data",
            type=Path,
            default=os.environ.get("SER_DATA") or None,
            metavar="DIR",
            help="the corpus folder, or a folder of corpora (or SER_DATA)",
        )
    group.add_argument(
        "--runs",
        type=Path,
        default=ROOT / "runs",
        metavar="DIR",
        help="results, checkpoints, audio store, MLflow's database (default runs)",
    )
    if verb != "ui":
        group.add_argument(
            "--reports",
            type=Path,
            default=ROOT / "reports",
            metavar="DIR",
            help="where tables are written (default reports)",
        )
    group.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI") or None,
        metavar="URI",
        help="an MLflow server instead of the database in --runs",
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message.removeprefix('argument ')}")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=HELP_WIDTH)


def _check_grid(grid: Path | None, parser: argparse.ArgumentParser) -> None:
    """A word that is no file may be a verb misspelt, or the name of a grid without its folder."""
    if grid is None:
        parser.error(f"a grid file must stand first, as in: {parser.prog} grids/table3.yaml")
    word = str(grid)
    if grid.suffix in (".yaml", ".yml") or grid.exists():
        return
    if word in EVERY_VERB:
        parser.error(f"{word!r} must stand first, as in: {parser.prog} {word}")
    close = get_close_matches(word, EVERY_VERB, n=1)
    known = [path for path in sorted((ROOT / "grids").glob("*.yaml")) if path.stem == grid.name]
    near = [*close, *(f"grids/{path.name}" for path in known)]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    parser.error(f"{word!r} must be a grid file, or one of {', '.join(EVERY_VERB)}{hint}")


def _strange(word: str, verb: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        place = "options alone" if verb == "ui" else "one grid file and options"
        return f"{place} may stand here, found also {word!r}"
    name = word.partition("=")[0]
    known = re.findall(r"(?<!\S)--[a-z-]+", parser.format_help())
    close = get_close_matches(name, known, n=1)
    return f"{name} must be an option of --help" + (f"; did you mean {close[0]}?" if close else "")


def _seeds(text: str) -> tuple[int, ...]:
    from ablation.grid_file import MAX_SEEDS, seeds_of  # takes time, which --help need not

    words = [word.strip() for word in text.removesuffix(",").split(",")]
    try:
        seeds = [int(word) if word.isdecimal() else -1 for word in words]
        return seeds_of(seeds if "," in text else seeds[0])
    except ValueError:
        rule = (
            f"a count in 1..{MAX_SEEDS} or a list such as 0,1,2 of different whole numbers from 0"
        )
        raise argparse.ArgumentTypeError(f"must be {rule}, got {text!r}") from None


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_SHARE:
        raise argparse.ArgumentTypeError(f"must be a number in 0..{MAX_SHARE:g}, got {text!r}")
    return value


def _share_above_0(text: str) -> float:
    value = _share(text)
    if not value:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text!r}")
    return value


def _epochs(text: str) -> int:
    return 0 if text == "0" else _whole(text, MAX_COUNT)


def _count(text: str) -> int:
    return _whole(text, MAX_COUNT)


def _fold(text: str) -> int:
    return _whole(text, MAX_FOLD)


def _port(text: str) -> int:
    return _whole(text, MAX_PORT)


def _whole(text: str, most: int) -> int:
    if not text.isdecimal() or len(text) > len(str(most)) or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number in 1..{most}, got {text!r}")
    return int(text)
