"""Shell completion: the verb `completion` prints a script for the user's shell to read."""

import argparse
from collections.abc import Sequence
from importlib import import_module

PROGRAM = "ser-ablation"  # as pip installs it
SHELLS = ("bash", "zsh", "fish")
DONE = 0
# Where bash has nothing from the script, it offers files: grids, where a verb may stand.
ALONE, WITH_FILES = "complete -o filenames -F", "complete -o default -o filenames -F"


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py completion`; returns the exit status."""
    options = parser().parse_args(arguments)
    import shtab  # here: --help answers without it

    print(shtab.complete(whole_parser(), options.shell).replace(ALONE, WITH_FILES))
    return DONE


def whole_parser() -> argparse.ArgumentParser:
    """Every verb with its options as one parser, which running them has no need of."""
    import shtab

    from ablation.arguments import OWN_VERBS, VERBS, parser_of

    verbs = {name: parser_of(name) for name in VERBS}
    verbs |= {name: import_module(module).parser() for name, module in OWN_VERBS.items()}
    whole = argparse.ArgumentParser(PROGRAM)
    below = whole.add_subparsers(metavar="GRID|VERB")
    for name, one in verbs.items():
        below.add_parser(name, parents=[one], add_help=False, help=one.description)
    run = [action for action in parser_of("run")._actions if action.option_strings]
    for action in run:  # all but the grid, whose place the verbs have
        if action.dest != "help":
            whole._add_action(action)
    for one in (whole, *below.choices.values()):
        for action in one._actions:
            if action.metavar == "DIR" or action.dest == "folder":
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
            elif action.metavar in ("FILE", "GRID", "NAME|FILE", "NAME|PATH", "RUN|FOLDER"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return whole


def parser() -> argparse.ArgumentParser:
    """What may be typed after `completion`."""
    made = argparse.ArgumentParser(
        prog="runner.py completion",
        allow_abbrev=False,
        description=f"Print a script that completes {PROGRAM}'s verbs, options and files, as in: "
        f'eval "$({PROGRAM} completion bash)"',
    )
    made.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return made
