"""One study from start to end: data, missing trials, MLflow, report."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.corpora import NoCorpusError, encode, prepare, read_corpus
from ablation.demo import demo_corpus
from ablation.finished import TrackingError, read_scores
from ablation.grid import Grid, Trial
from ablation.interruption import telling_how_far
from ablation.kept_models import not_kept, settle
from ablation.listeners import Listeners
from ablation.lock import alone
from ablation.options import Options
from ablation.page.write import add_page
from ablation.progress import Display, bar
from ablation.provenance import Provenance
from ablation.published import Published
from ablation.recorder import Recorder
from ablation.report import Report, summarise_grid, with_answers, write_report
from ablation.scores import FoldScore
from ablation.tracking import Tracker
from ablation.trials import run_trials
from ablation.workload import longest_first
from core.checkpoints import fetch, fingerprint, geometry
from core.config import EncoderConfig, PoolingConfig, RunConfig
from core.corpora.corpus import Corpus
from core.corpora.utterance import CorpusError
from core.devices import best_device
from core.fold import CorpusAudio
from core.identity import run_id

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a study ended: its report, and what failed, by trial."""

    report: Report
    failures: tuple[tuple[Trial, str], ...]
    tracking_problems: tuple[str, ...]


def run_study(
    grid: Grid, figures: Published, options: Options, resources: Resources, console: Console
) -> Outcome:
    """Train what is missing, then report.

    Raises:
        As `opened`; ablation.interruption.Interrupted: the user stopped it; what was finished is
        kept.
    """
    with opened(grid, options, resources, console) as corpora:
        return train_and_report(grid, figures, corpora, options, resources, console)


@contextmanager
def opened(
    grid: Grid, options: Options, resources: Resources, console: Console
) -> Iterator[dict[str, CorpusAudio]]:
    """A study's corpora, its encoders checked, while no other runner is at work on it.

    Raises:
        core.checkpoints.CheckpointError: an encoder is not at hand.
        core.corpora.utterance.CorpusError: a corpus folder is not what it should be.
        core.audio.AudioError: audio that can't be used.
    """
    for encoder, pooling in dict.fromkeys((c.config.encoder, c.config.pooling) for c in grid.cells):
        check_encoder(encoder, pooling)
    if resources.packed and not resources.address and best_device().type != "cuda":
        text = "--gpus-per-trial auto has no effect: this process sees no GPU"
        console.print(Text(text, style="yellow"), soft_wrap=True)
    corpora = open_corpora(grid, options, console)

    def waits(holder: str) -> None:
        text = f"{holder} is at work on {grid.study} in {options.runs}; waiting for its end"
        console.print(Text(text, style="yellow"), soft_wrap=True)

    with alone(options.runs, grid.study, waits):
        yield corpora


def train_and_report(
    grid: Grid,
    figures: Published,
    corpora: Mapping[str, CorpusAudio],
    options: Options,
    resources: Resources,
    console: Console,
) -> Outcome:
    """Train what is missing of a study whose corpora are open, then report."""
    named = trials_by_run_id(grid.trials(), corpora)
    archive = Archive(options.runs)
    provenance = Provenance.here(ROOT)
    recorder = recorder_of(grid, named, provenance, options, console)
    wanted = {key: group for key, group in named.items() if is_wanted(group, options)}
    if options.fresh:
        for key in wanted:
            archive.forget(key)
            recorder.forget(key)
    recorder.sync()
    missing = {key: group for key, group in wanted.items() if not archive.holds(key)}
    folds = {cell.corpus.name: cell.folds for cell in grid.cells}
    display = Display(console, missing, folds, archive.load)
    if done := len(wanted) - len(missing):
        text = f"{done} of {len(wanted)} folds are finished already; {len(missing)} to train"
        console.print(Text(text), soft_wrap=True)
    if resources.keep_models != "none" and (line := not_kept(wanted, archive)):
        console.print(Text(line, style="yellow"), soft_wrap=True)
    configs = longest_first({key: group[0].config for key, group in missing.items()})
    try:
        with telling_how_far(wanted, archive):
            if missing:
                store_frames(configs.values(), corpora, console)
                listeners = Listeners((display, recorder))
                with display.shown():
                    run_trials(configs, corpora, options.runs, resources, listeners)
            recorder.sync()
            recorder.wait()
            scores = _scores(grid, named, archive, options, recorder.problems)
            summaries = summarise_grid(grid, with_answers(scores, archive), figures)
            report = write_report(grid, summaries, options.reports, provenance.git_commit, figures)
            report = add_page(report, grid, archive, provenance)
            recorder.close(summaries, report.files[0].parent)
    except BaseException:
        recorder.stop()
        raise
    problems = [*recorder.problems, *settle(named, archive, options, grid.study)]
    return Outcome(
        report=report,
        failures=tuple((named[key][0], reason) for key, reason in display.failures.items()),
        tracking_problems=tuple(problems),
    )


def recorder_of(
    grid: Grid,
    named: Mapping[str, list[Trial]],
    provenance: Provenance,
    options: Options,
    console: Console,
) -> Recorder:
    """Who carries a study's trials to MLflow, and says on the console where it is out of reach."""
    return Recorder(
        lambda: Tracker(options.uri, grid, options.runs, provenance),
        named,
        Archive(options.runs),
        lambda remark: console.print(Text(remark, style="yellow"), soft_wrap=True),
    )


def check_encoder(config: EncoderConfig, pooling: PoolingConfig) -> None:
    """Make sure, before Ray starts, that the encoder is here and fits what is asked of it.

    Raises:
        ValueError: it is not here, has no such layer, or can't be cut into so many heads.
    """
    fetch(config)
    features = config.frame_features(geometry(config).features)
    if pooling.method == "flam" and features % pooling.heads:
        raise ValueError(
            f"pooling.heads must divide the {features} features of {config.name!r}, "
            f"got {pooling.heads}"
        )


def open_corpora(grid: Grid, options: Options, console: Console) -> dict[str, CorpusAudio]:
    """Every corpus that is at hand; one that is not leaves its rows of the table empty.

    Raises:
        NoCorpusError: none of them is.
    """
    found: dict[str, CorpusAudio] = {}
    absent: dict[str, NoCorpusError] = {}
    for name, corpus in grid.corpora.items():
        try:
            found[name] = open_corpus(corpus, grid, options, console)
        except NoCorpusError as error:
            absent[name] = error
    if not found:
        raise next(iter(absent.values()))
    for name, reason in absent.items():
        text = f"{name}: skipped, its rows stay empty: {reason}"
        console.print(Text(text, style="yellow"), soft_wrap=True)
    return found


def open_corpus(corpus: Corpus, grid: Grid, options: Options, console: Console) -> CorpusAudio:
    name = corpus.name
    if grid.demo:
        with bar(console, f"writing synthetic {name}") as on_progress:
            folders = [demo_corpus(part, options.runs, on_progress) for part in corpus.sources]
        parsed, deviating = corpus.parse(*folders), []
    else:
        folders, parsed = read_corpus(corpus, options.data)
        deviating = corpus.deviations(parsed)
    for note in parsed.notes:
        console.print(Text(f"{name}: {note}", style="dim"), soft_wrap=True)
    if deviating:
        _accept(corpus, folders, deviating, options, console)
    with bar(console, f"decoding {name}") as on_progress:
        audio, report = prepare(
            corpus,
            grid.schemes[name],
            parsed,
            options.runs / "store",
            workers=os.cpu_count() or 1,
            skip_bad_audio=options.skip_bad_audio,
            counts_differ=bool(deviating),
            on_progress=on_progress,
        )
    source = " and ".join(map(str, folders)) or "its manifest"
    hours = report.total_s / 3600
    text = f"{name}: {report.utterances} utterances, {hours:.1f} hours, from {source}"
    console.print(Text(text), soft_wrap=True)
    for utterance, reason in report.left_out.items():
        console.print(
            Text(f"{name}: left out {utterance}: {reason}", style="yellow"), soft_wrap=True
        )
    return audio


def store_frames(
    configs: Iterable[RunConfig], corpora: Mapping[str, CorpusAudio], console: Console
) -> None:
    """Compute, before Ray takes the machine, the frames that frozen encoders give all trials."""
    workers = os.cpu_count() or 1
    for line in encode(configs, corpora, workers=workers, show=lambda text: bar(console, text)):
        console.print(Text(line), soft_wrap=True)


def _accept(
    corpus: Corpus,
    folders: Sequence[Path],
    deviating: Sequence[str],
    options: Options,
    console: Console,
) -> None:
    """Go on with another corpus than the paper's only where the user says so."""
    if not options.accept_counts:
        raise CorpusError(
            f"{' and '.join(map(str, folders))} must be {corpus.title} as the paper has it, or be "
            "accepted as it is with --accept-counts; found:",
            deviating,
        )
    count = len(deviating)
    differences = f"{count} difference{'s' if count > 1 else ''} from the paper's corpus, accepted"
    console.print(Text(f"{corpus.name}: {differences}", style="yellow"), soft_wrap=True)


def trials_by_run_id(
    trials: Iterable[Trial], corpora: Mapping[str, CorpusAudio]
) -> dict[str, list[Trial]]:
    """Trials by identity; rows that are the same experiment share one training."""
    named: dict[str, list[Trial]] = {}
    for trial in trials:
        if corpus := corpora.get(trial.config.corpus.name):
            encoder = fingerprint(trial.config.encoder)
            key = run_id(trial.config, corpus.store.fingerprint, encoder)
            named.setdefault(key, []).append(trial)
    return named


def _scores(
    grid: Grid,
    named: Mapping[str, list[Trial]],
    archive: Archive,
    options: Options,
    problems: list[str],
) -> list[FoldScore]:
    """What MLflow holds of the study; where it lacks any of it, what the archive does."""
    instead = f"the table is made from {options.runs / 'folds'} instead"
    if problems:
        problems.append(instead)
    else:
        try:
            return read_scores(options.uri, grid, named)
        except TrackingError as error:
            problems.append(f"{error}; {instead}")
    return [
        FoldScore.from_result(trial.row, archive.load(key))
        for key, group in named.items()
        if archive.holds(key)
        for trial in group
    ]


def is_wanted(group: list[Trial], options: Options) -> bool:
    rows = not options.only or any(trial.row in options.only for trial in group)
    return rows and (not options.folds or group[0].config.fold in options.folds)
