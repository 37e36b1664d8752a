"""What may be typed after `runner.py`, and how a slip is answered.

Imports nothing that takes time: --help answers at once.
"""

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from ablation.argument_groups import (
    LIKE_RUN,
    ROOT,
    add_model,
    add_places,
    add_resources,
    add_run,
    add_study,
)
from ablation.argument_types import port

VERBS = ("report", "figures", "ui", "doctor")
OWN_VERBS = {  # own options: the module whose `verb` reads and answers them
    "check": "ablation.check",
    "fetch": "ablation.fetch",
    "predict": "ablation.predict",
    "export": "ablation.export",
    "power": "ablation.power",
    "stress": "ablation.stress.verb",
    "completion": "ablation.completion",
}
EVERY_VERB = (*VERBS, *OWN_VERBS)
OF_A_GRID = ("only", "fold", "corpus", "encoder", "seeds", "set")  # options that need one
PRINTS_JSON = {
    "run": "with --plan: print the plan as JSON",
    "doctor": "print what was found as JSON",
    "report": "print results.json instead of the table",
}
MLFLOW_PORT = 5000
HELP_WIDTH = 28  # columns before the help texts

DESCRIPTION = """\
Cross-validated ablations of speech emotion recognition: one grid file in, one table out.

  runner.py grids/table3.yaml           train what is missing, print and write the table
  runner.py grids/table3.yaml --demo    the same on synthetic speech: no data, no GPU
  runner.py grids/table3.yaml --plan    what would run, and how long; runs nothing
  runner.py report grids/table3.yaml    rebuild the table from MLflow
  runner.py figures grids/table3.yaml   train one fold; draw its embeddings, attention, mixing
  runner.py doctor grids/table3.yaml    what stands between this machine and that run
  runner.py power grids/table3.yaml     how many seeds show a difference, from the runs so far
  runner.py ui                          browse the runs in MLflow's UI
  runner.py check ravdess --data DIR    is this folder the corpus that the paper means?
  runner.py fetch ravdess --data DIR    download what may be downloaded
  runner.py predict RUN FILE...         emotion probabilities of audio files by a kept model
  runner.py export RUN FOLDER           a kept model as a folder that needs nothing beside it
  runner.py stress grids/table3.yaml    kept models on noise, rooms and codecs, without training
  runner.py completion bash             a script that lets the shell complete all this
"""
FIGURES = """\
Train one fold of one row in this process and draw what is in it: embeddings before and after
training, frame attention, mixing examples. The study's table is not touched.
"""
DOCTOR = """\
What stands between this machine and a run, each with its remedy. Takes the words of that run, or
none of them; trains nothing and leaves nothing behind.
"""
DOCTOR_EPILOGUE = """\
exit status: 0 nothing stands in the way, warnings perhaps; 1 something does; 2 wrong usage or
config
"""
EPILOGUE = """\
exit status: 0 every wanted fold has finished; 1 some failed, each named; 2 wrong usage, config or
data, nothing trained; 130 interrupted, nothing that was finished is lost
"""


class UsageError(Exception):
    """A command line that can't be meant so; says what must stand there and what was found."""


def parse(words: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """Read a command line: its verb, "run" where a grid file stands first, and its options.

    Among these is `typed`: the words themselves.

    Raises:
        UsageError: with the rule and what was found.
        SystemExit: help was asked for and printed.
    """
    verb = words[0] if words and words[0] in VERBS else "run"
    parser = parser_of(verb)
    options, strangers = parser.parse_known_args(words if verb == "run" else words[1:])
    if verb == "doctor" and options.grid is None:
        _check_no_study(options, parser)
    elif verb != "ui":
        _check_grid(options.grid, parser)
    if getattr(options, "calibrate", False) and not options.plan:
        parser.error("--calibrate needs --plan, as in: runner.py GRID --plan --calibrate")
    if verb == "run" and options.json and not options.plan:
        parser.error("--json needs --plan, as in: runner.py GRID --plan --json")
    if strangers:
        parser.error(_strange(strangers[0], verb, parser))
    options.typed = tuple(words)
    return verb, options


def parser_of(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb."""
    program = "runner.py" if verb == "run" else f"runner.py {verb}"
    grid = {"ui": "", "doctor": " [GRID]"}.get(verb, " GRID")
    parser = _Parser(
        prog=program,
        usage=f"{program}{grid} [options]",
        description={
            "run": DESCRIPTION,
            "report": "Rebuild a table from MLflow, training nothing.",
            "figures": FIGURES,
            "ui": "Open MLflow's UI on loopback.",
            "doctor": DOCTOR,
        }[verb],
        epilog={"run": EPILOGUE, "doctor": DOCTOR_EPILOGUE}.get(verb),
        formatter_class=_formatter,
        allow_abbrev=False,
    )
    if verb == "ui":
        parser.add_argument(
            "--port", type=port, default=MLFLOW_PORT, metavar="N", help="(default %(default)s)"
        )
    else:
        _add_grid(parser)
    if verb in PRINTS_JSON:
        parser.add_argument("--json", action="store_true", help=PRINTS_JSON[verb])
    if verb == "figures":
        add_model(parser)
    if verb in LIKE_RUN:
        add_run(parser, verb)
        add_resources(parser)
    if verb != "ui":
        add_study(parser)
    add_places(parser, verb)
    parser.add_argument("--verbose", action="store_true", help="show a traceback with an error")
    return parser


def _add_grid(parser: argparse.ArgumentParser) -> None:
    # "?" so that its absence is answered here, where a row may have been taken for it.
    parser.add_argument("grid", type=Path, metavar="GRID", nargs="?", help="a file of grids/")


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
        parser.error(f"{word!r} must stand first, as in: runner.py {word}")
    close = get_close_matches(word, EVERY_VERB, n=1)
    known = [path for path in sorted((ROOT / "grids").glob("*.yaml")) if path.stem == grid.name]
    near = [*close, *(f"grids/{path.name}" for path in known)]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    parser.error(f"{word!r} must be a grid file, or one of {', '.join(EVERY_VERB)}{hint}")


def _check_no_study(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Without a grid, what changes a grid would be passed over in silence."""
    for name in OF_A_GRID:
        if getattr(options, name):
            parser.error(f"--{name} needs a grid file, as in: {parser.prog} grids/table3.yaml")


def _strange(word: str, verb: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        place = "options alone" if verb == "ui" else "one grid file and options"
        return f"{place} may stand here, found also {word!r}"
    name = word.partition("=")[0]
    known = re.findall(r"(?<!\S)--[a-z-]+", parser.format_help())
    close = get_close_matches(name, known, n=1)
    return f"{name} must be an option of --help" + (f"; did you mean {close[0]}?" if close else "")
