"""The options of the command line in groups, as --help shows them.

Imports nothing that takes time: --help answers at once.
"""

import os
from argparse import ArgumentParser, _ArgumentGroup
from pathlib import Path

from ablation.argument_types import (
    count,
    epochs,
    fold,
    folder,
    gpu_share,
    retries,
    seeds,
    share_above_0,
)
from core.corpora.catalog import CORPORA

ROOT = Path(__file__).resolve().parent.parent
LIKE_RUN = ("run", "doctor")  # the same words after either
WITH_DATA = (*LIKE_RUN, "figures")


def add_run(parser: ArgumentParser, verb: str) -> None:
    """What of the study is to be done."""
    group = parser.add_argument_group("what to do now")
    if verb == "run":
        group.add_argument(
            "--plan", action="store_true", help="say what would run, and run nothing"
        )
        group.add_argument(
            "--calibrate",
            action="store_true",
            help="with --plan: train a few steps of every kind of trial, to say how long",
        )
    add_choice(group, "train these {} now")
    group.add_argument(
        "--fresh", action="store_true", help="train them anew, whatever has finished already"
    )
    add_leniency(group)


def add_choice(group: ArgumentParser | _ArgumentGroup, told: str) -> None:
    """`--only` and `--fold`; their help is `told` of rows and of folds."""
    group.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="ROW",
        help=told.format("rows"),
    )
    group.add_argument(
        "--fold",
        nargs="+",
        action="extend",
        default=[],
        type=fold,
        metavar="K",
        help=told.format("folds"),
    )


def add_leniency(group: ArgumentParser | _ArgumentGroup) -> None:
    """What of a corpus is put up with."""
    group.add_argument(
        "--keep-models",
        choices=("none", "best", "all"),
        default="none",
        help="keep the trained weights: of each row's best fold, or of all (default none)",
    )
    group.add_argument(
        "--log-model",
        action="store_true",
        help="log the model of each row's best fold to MLflow; keeps it, too",
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


def add_model(parser: ArgumentParser) -> None:
    """Which model is looked into, and over what."""
    group = parser.add_argument_group("which model")
    group.add_argument("--row", metavar="ROW", help="of the grid (default its last)")
    group.add_argument(
        "--fold", nargs=1, default=[1], type=fold, metavar="K", help="its test fold (default 1)"
    )
    group.add_argument(
        "--utterance",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="of the corpus, to draw attention over (default a few of the test fold)",
    )
    add_leniency(group)


def add_resources(parser: ArgumentParser) -> None:
    """What a trial may take, and where trials run."""
    group = parser.add_argument_group("resources")
    group.add_argument(
        "--gpus-per-trial",
        type=gpu_share,
        metavar="N|auto",
        help="0.5 puts two trials on a GPU, auto as many as its memory holds (default 1 where "
        "there is one)",
    )
    group.add_argument(
        "--cpus-per-trial",
        type=share_above_0,
        metavar="N",
        help="CPUs a trial reserves (default training.threads)",
    )
    group.add_argument("--max-concurrent", type=count, metavar="N", help="trials at once, at most")
    group.add_argument(
        "--checkpoint-epochs",
        type=epochs,
        default=1,
        metavar="N",
        help="a checkpoint after every N epochs; 0: none (default 1)",
    )
    group.add_argument(
        "--retries",
        type=retries,
        default=2,
        metavar="N",
        help="how often a killed, lost or faulty trial is tried again (default %(default)s)",
    )
    group.add_argument(
        "--micro-batch",
        type=count,
        metavar="N",
        help="utterances that pass through the model at once; the loss stays that of the whole "
        "batch (default the whole batch)",
    )
    group.add_argument(
        "--recompute",
        action="store_true",
        help="compute the encoder's activations again in the backward pass: a third slower, in a "
        "fraction of the memory, with the same results",
    )
    group.add_argument(
        "--deterministic",
        action="store_true",
        help="on a GPU, only kernels that give the same twice (slower)",
    )
    group.add_argument(
        "--address", metavar="ADDRESS", help="join a running Ray cluster: auto or ray://..."
    )


def add_study(parser: ArgumentParser) -> None:
    """What makes another study of the same grid file."""
    group = parser.add_argument_group("another study from the same file")
    group.add_argument(
        "--demo",
        action="store_true",
        help="synthetic speech and small encoders: no data, no GPU, no download",
    )
    group.add_argument(
        "--corpus",
        nargs="+",
        action="extend",
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
        type=seeds,
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


def add_places(parser: ArgumentParser, verb: str) -> None:
    """Folders and servers."""
    group = parser.add_argument_group("where things lie")
    if verb in WITH_DATA:
        group.add_argument(
            "--data",
            type=folder,
            default=os.environ.get("SER_DATA") or None,
            metavar="DIR",
            help="the corpus folder, or a folder of corpora (or SER_DATA)",
        )
    group.add_argument(
        "--runs",
        type=folder,
        default=ROOT / "runs",
        metavar="DIR",
        help="results, checkpoints, audio store, MLflow's database (default runs)",
    )
    if verb != "ui":
        group.add_argument(
            "--reports",
            type=folder,
            default=ROOT / "reports",
            metavar="DIR",
            help="where tables and pictures are written (default reports)",
        )
    group.add_argument(
        "--tracking-uri",
        default=os.environ.get("MLFLOW_TRACKING_URI") or None,
        metavar="URI",
        help="an MLflow server instead of the database in --runs",
    )


def add_kept(parser: ArgumentParser) -> None:
    """Of the verbs on a kept model: where it is, and what an error shows."""
    parser.add_argument(
        "--runs",
        type=folder,
        default=ROOT / "runs",
        metavar="DIR",
        help="where runs and their weights lie (default runs)",
    )
    parser.add_argument("--verbose", action="store_true", help="show a traceback with an error")
