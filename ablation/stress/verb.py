"""The verb `stress`: a study's kept models heard again under noise, gain, rooms and codecs."""

import argparse
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.argument_groups import ROOT, add_choice, add_places, add_study
from ablation.argument_types import count
from ablation.complaints import complain
from core.conditions import CLEAN, KINDS, Condition, conditions

if TYPE_CHECKING:
    from rich.console import Console

    from ablation.archive import Archive
    from ablation.grid import Grid, Trial
    from ablation.options import Options
    from ablation.scores import FoldScore
    from ablation.stress.robustness import Robustness

DONE, REFUSED = 0, 2  # exit statuses
ROWS_NAMED = 6  # without models, before "and more"


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py stress`; returns the exit status."""
    options = parser().parse_args(arguments)
    from rich.console import Console

    console = Console(highlight=False, stderr=options.json)
    try:
        with ended_cleanly():
            text = _stress(options, console)
    except (ValueError, OSError) as error:  # grids, data and models say what is wrong
        complain(str(error))
        return REFUSED
    if options.json:
        print(text, end="")
    return DONE


@contextmanager
def ended_cleanly() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C is meanwhile: processes end, and what they heard is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stress(options: argparse.Namespace, console: "Console") -> str:
    """Returns the text of `stress.json`."""
    from ablation.archive import Archive
    from ablation.command_line import grid_of, study_options
    from ablation.published import load
    from ablation.study import is_wanted, open_corpora, trials_by_run_id

    grid = grid_of(options, load(ROOT / "reports" / "published.yaml"))
    asked, archive = study_options(options), Archive(options.runs)
    corpora = open_corpora(grid, asked, console)
    named = {
        run_id: [trial for trial in group if not asked.only or trial.row in asked.only]
        for run_id, group in trials_by_run_id(grid.trials(), corpora).items()
        if is_wanted(group, asked)
    }
    refuse_unkept(named, archive, grid)
    wanted = conditions(tuple(dict.fromkeys(options.kind)) or tuple(KINDS))
    configs = {run_id: group[0].config for run_id, group in named.items()}
    models = {name: (config, corpora[config.corpus.name]) for name, config in configs.items()}
    _hear(models, archive, wanted, options, console)
    scores = {condition: _scores(named, archive, condition) for condition in wanted}
    return _report(grid, scores, other_when_clean(named, archive), asked, console)


def refuse_unkept(named: Mapping[str, list["Trial"]], archive: "Archive", grid: "Grid") -> None:
    """Raise `ValueError` unless every one of these folds has finished and kept its weights."""
    lacking: dict[str, int] = {}
    finished = 0
    for run_id, group in named.items():
        if archive.holds(run_id) and archive.model(run_id).is_file():
            continue
        finished += archive.holds(run_id)
        for trial in group:
            lacking[trial.row] = lacking.get(trial.row, 0) + 1
    if not lacking:
        return
    rows = [f"{row} {number}" for row, number in list(lacking.items())[:ROWS_NAMED]]
    rows += [f"{len(lacking) - ROWS_NAMED} rows more"] if len(lacking) > ROWS_NAMED else []
    fresh = " --fresh" if finished else ""
    demo = " --demo" if grid.demo else ""
    raise ValueError(
        f"every fold must have kept its weights, but {sum(lacking.values())} of "
        f"{sum(map(len, named.values()))} lack theirs ({'; '.join(rows)}): train them with "
        f"`python runner.py {grid.path}{demo} --keep-models all{fresh}` and the options that the "
        f"study had, or leave them out with --only and --fold"
    )


def other_when_clean(named: Mapping[str, list["Trial"]], archive: "Archive") -> list[str]:
    """A remark where a model, heard clean here, says other than its fold archived."""
    from ablation.stress.evaluation import known_score

    apart = 0
    for run_id in named:
        score = known_score(archive, run_id, Condition(CLEAN))
        result = archive.load(run_id)
        scores, last = result.scores(), result.history[-1].oracle
        wa, ua = scores.wa, scores.ua
        if result.config.evaluation.selection == "oracle" and last:
            wa, ua = last["wa"], last["ua"]  # of the weights that were kept
        apart += score is None or (score.wa, score.ua) != (wa, ua)
    if not apart:
        return []
    return [
        f"clean: {apart} of {len(named)} folds have other figures here than where they were "
        "trained, by another device or micro-batch; changes are against those of here."
    ]


def _hear(
    models: Mapping[str, Any],
    archive: "Archive",
    wanted: Sequence[Condition],
    options: argparse.Namespace,
    console: "Console",
) -> None:
    from ablation.columns import clock
    from ablation.progress import bar
    from ablation.stress.evaluation import evaluate, forget, open_jobs
    from core.devices import best_device

    if options.fresh:
        forget(archive, models, wanted)
    jobs = open_jobs(models, archive, options.runs, wanted)
    left, every = sum(job.count for job in jobs), len(models) * len(wanted)
    if left < every:
        console.print(f"{every - left} of {every} conditions were heard already; {left} to hear")
    started = time.monotonic()
    cpus = os.cpu_count() or 1
    workers = options.workers or (1 if best_device().type == "cuda" else cpus)
    with bar(console, "hearing") as on_progress:
        evaluate(jobs, workers, on_progress)
    if left:
        seconds = clock(time.monotonic() - started)
        models_heard = len({run_id for job in jobs for run_id in job.run_ids})
        console.print(f"{left} conditions heard by {models_heard} models in {seconds}")


def _scores(
    named: Mapping[str, list["Trial"]], archive: "Archive", condition: Condition
) -> list["FoldScore"]:
    from ablation.stress.evaluation import known_score

    found = []
    for run_id, group in named.items():
        score = known_score(archive, run_id, condition)
        if score is None:
            raise OSError(f"{archive.stress(run_id)} must hold {condition.name}, found none")
        found += [replace(score, row=trial.row) for trial in group]
    return found


def _report(
    grid: "Grid",
    scores: Mapping[Condition, Iterable["FoldScore"]],
    remarks: Sequence[str],
    options: "Options",
    console: "Console",
) -> str:
    from rich.text import Text

    from ablation.archive import write_whole
    from ablation.provenance import Provenance
    from ablation.stress.document import document, document_text, markdown, notes, terminal
    from ablation.stress.robustness import robustness

    cells = [cell for cell in grid.cells if not options.only or cell.row in options.only]
    found = robustness(cells, scores, grid.compared_with)
    commit, folder = Provenance.here(ROOT).git_commit, options.reports / grid.study
    text = document_text(document(found, grid, commit, remarks))
    write_whole(folder / "stress.md", markdown(found, grid, commit, remarks))
    write_whole(folder / "stress.json", text)
    files = [folder / "stress.md", folder / "stress.json"]
    heard = dict.fromkeys(one.summary.corpus for one in found if one.summary.folds)
    for corpus in heard:
        console.print()
        console.print(terminal(found, grid, corpus))
        suffix = f"-{list(heard).index(corpus) + 1}" if len(heard) > 1 else ""
        files += _draw(found, grid, corpus, folder / "figures", suffix)
    console.print(Text("\n" + "\n".join(notes(found, grid, remarks)), style="dim"))
    for path in files:
        near = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        console.print(f"written: {near}", soft_wrap=True, markup=False)
    return text


def _draw(
    found: Sequence["Robustness"], grid: "Grid", corpus: str, folder: Path, suffix: str
) -> list[Path]:
    from ablation.figures.canvas import SUFFIXES, save
    from ablation.figures.robustness import robustness_figure
    from ablation.stress.panels import panels

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for rate in ("wa", "ua"):
        title = f"{corpus}{' (demo)' * grid.demo}"
        figure = robustness_figure(panels(found, corpus, rate), rate.upper(), title)
        for ending in SUFFIXES:
            files.append(folder / f"stress-{rate}{suffix}{ending}")
            save(figure, files[-1])
    return files


def parser() -> argparse.ArgumentParser:
    """What may be typed after `stress`."""
    made = argparse.ArgumentParser(
        prog="runner.py stress",
        allow_abbrev=False,
        description="Hear a study's test folds again, under noise, gain, reverberation and codecs, "
        "by the models that its folds kept (--keep-models all); trains nothing. Exit status: 0 all "
        "was heard; 2 wrong usage, config or data, or models are missing; 130 interrupted, nothing "
        "that was heard is lost.",
    )
    made.add_argument("grid", type=Path, metavar="GRID", help="a file of grids/")
    add_choice(made, "these {} alone")
    made.add_argument(
        "--kind",
        nargs="+",
        action="extend",
        default=[],
        choices=tuple(KINDS),
        metavar="KIND",
        help=f"of perturbation: {', '.join(KINDS)} (default all)",
    )
    made.add_argument(
        "--workers", type=count, metavar="N", help="processes (default one a CPU, one on a GPU)"
    )
    made.add_argument("--fresh", action="store_true", help="hear anew what was heard already")
    made.add_argument("--json", action="store_true", help="print stress.json instead of the table")
    made.add_argument("--skip-bad-audio", action="store_true", help="as the study was trained")
    made.add_argument("--accept-counts", action="store_true", help="as the study was trained")
    add_study(made)
    add_places(made, "figures")
    made.add_argument("--verbose", action="store_true", help="show a traceback with an error")
    return made
