"""A study with a `search:`: inner trainings, choices, then the outer folds as in any study."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ablation import study
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.grid import Grid, Trial
from ablation.interruption import telling_how_far
from ablation.listeners import Listeners
from ablation.options import Options
from ablation.progress import Display
from ablation.provenance import Provenance
from ablation.published import Published
from ablation.recorder import Recorder
from ablation.search import outcome
from ablation.search.fit import SEARCHED
from ablation.search.nested import Need, Score, by_setting, groups_of, inner, search_fold
from ablation.search.outcome import FoldSearch
from ablation.search.report import write_search
from ablation.search.told import search_told
from ablation.search.tuning import budget_of, halving_of, sampler_of
from ablation.trials import run_trials
from ablation.workload import longest_first
from core.checkpoints import fingerprint
from core.config import RunConfig
from core.fold import CorpusAudio
from core.identity import run_id


def run_study(
    grid: Grid, figures: Published, options: Options, resources: Resources, console: Console
) -> study.Outcome:
    """As `ablation.study.run_study`; where the grid has a search, that comes first.

    Raises:
        As `ablation.study.run_study`; ValueError: no setting could be trained on all inner folds.
    """
    if grid.search is None or (options.only and SEARCHED not in options.only):
        return study.run_study(grid, figures, options, resources, console)
    with study.opened(grid, options, resources, console) as corpora:
        with told(grid, options, console) as recorder:
            trainings = InnerTrainings(grid, corpora, options, resources, console, recorder)
            found = choose(grid, trainings, options)
            whole = _overall(found, trainings) if len(found) == grid.cells[0].folds else None
            kept = outcome.note(options.runs, grid, outcome.document(grid, found, whole))
            files = write_search(grid, kept, options.reports, study.ROOT)
            recorder.sync()
            recorder.wait()
            recorder.close((), None, search_told(grid, kept, files))
        grid = outcome.with_choices(grid, options.runs)
        ended = study.train_and_report(grid, figures, corpora, options, resources, console)
    report = replace(ended.report, files=(*ended.report.files, *files))
    failures = (*trainings.failures.values(), *ended.failures)
    problems = tuple(dict.fromkeys([*recorder.problems, *ended.tracking_problems]))
    return replace(ended, report=report, failures=failures, tracking_problems=problems)


@contextmanager
def told(grid: Grid, options: Options, console: Console) -> Iterator[Recorder]:
    """Who carries the inner trainings to MLflow, stopped where the search is.

    It is done before the outer folds' own begins: there is one writer at a time.
    """
    recorder = study.recorder_of(grid, {}, Provenance.here(study.ROOT), options, console)
    try:
        yield recorder
    except BaseException:
        recorder.stop()
        raise


class InnerTrainings:
    """Trains what a search asks for and is not archived yet; says what all of it scored."""

    def __init__(
        self,
        grid: Grid,
        corpora: Mapping[str, CorpusAudio],
        options: Options,
        resources: Resources,
        console: Console,
        recorder: Recorder,
    ) -> None:
        self.failures: dict[str, tuple[Trial, str]] = {}
        self.trained = 0
        self._folds = {cell.corpus.name: cell.folds for cell in grid.cells}
        self._corpora = corpora
        self._archive = Archive(options.runs)
        self._runs: Path = options.runs
        self._resources = replace(resources, keep_models="none")
        self._console = console
        self._recorder = recorder
        self._fresh = options.fresh
        self._asked: dict[str, Score] = {}  # by run id

    def scores(self, needs: Iterable[Need]) -> dict[RunConfig, Score]:
        """UA on the inner fold of each, trained where it has not been.

        Raises:
            ablation.interruption.Interrupted: the user stopped it; what was finished is kept.
        """
        named: dict[str, list[Trial]] = {}
        for need in needs:
            origin = f" of fold {need.proposed_in}" if need.proposed_in else ""
            inner_fold = need.config.evaluation.inner_fold
            row = f"setting {need.number}{origin}, inner fold {inner_fold}"
            named.setdefault(self._run_id(need.config), []).append(
                Trial(row=row, config=need.config)
            )
        new = {key: trials for key, trials in named.items() if key not in self._asked}
        self._recorder.follow(new)
        if self._fresh:
            for key in new:
                self._archive.forget(key)
                self._recorder.forget(key)
        missing = {key: trials for key, trials in new.items() if not self._archive.holds(key)}
        text = f"search: {len(new)} inner trainings, {len(new) - len(missing)} finished already"
        self._console.print(Text(text), soft_wrap=True)
        if missing:
            self._train(missing, new)
        self._asked |= {key: self._score(key) for key in new}
        return {trial.config: self._asked[key] for key, trials in named.items() for trial in trials}

    def _train(self, missing: dict[str, list[Trial]], asked: Mapping[str, object]) -> None:
        configs = longest_first({key: trials[0].config for key, trials in missing.items()})
        kinds = dict.fromkeys((config.encoder, config.pooling) for config in configs.values())
        for encoder, pooling in kinds:
            study.check_encoder(encoder, pooling)
        study.store_frames(configs.values(), self._corpora, self._console)
        display = Display(self._console, missing, self._folds, self._archive.load)
        with display.shown(), telling_how_far(list(asked), self._archive):
            listeners = Listeners((display, self._recorder))
            run_trials(configs, self._corpora, self._runs, self._resources, listeners)
        self.trained += len(missing)
        self.failures |= {
            key: (missing[key][0], reason) for key, reason in display.failures.items()
        }

    def _score(self, key: str) -> Score:
        if not self._archive.holds(key):
            return Score(math.nan, 0.0)
        result = self._archive.load(key)
        return Score(result.scores().ua, result.seconds)

    def _run_id(self, config: RunConfig) -> str:
        corpus = self._corpora[config.corpus.name]
        return run_id(config, corpus.store.fingerprint, fingerprint(config.encoder))


def choose(grid: Grid, trainings: InnerTrainings, options: Options) -> list[FoldSearch]:
    """Search in every wanted outer fold at once: none of them knows of another.

    Raises:
        ValueError: in an outer fold no setting could be trained on all inner folds.
    """
    search, cell = outcome.searched(grid)
    scheme = cell.corpus.schemes[cell.config.corpus.folds]
    wanted = [
        fold for fold in range(1, cell.folds + 1) if not options.folds or fold in options.folds
    ]
    groups = {fold: groups_of(scheme, fold, search.inner_folds) for fold in wanted}
    under_way = {
        fold: search_fold(
            cell.config,
            (fold, groups[fold]),
            sampler_of(search),
            budget_of(search, cell.folds),
            halving_of(search, len(groups[fold])),
        )
        for fold in wanted
    }
    asked = {fold: next(course) for fold, course in under_way.items()}
    found: dict[int, FoldSearch] = {}
    while asked:
        scores = trainings.scores(need for needs in asked.values() for need in needs)
        for fold in list(asked):
            own = {need.config: scores[need.config] for need in asked[fold]}
            try:
                asked[fold] = under_way[fold].send(own)
            except StopIteration as end:
                del asked[fold]
                found[fold] = FoldSearch(fold, tuple(groups[fold]), tuple(end.value))
    for fold in wanted:
        _ = found[fold].choice
    return [found[fold] for fold in wanted]


def _overall(found: list[FoldSearch], trainings: InnerTrainings) -> outcome.Overall:
    """The best of all, once the outer folds' choices have been judged on all outer folds."""
    finalists = {each.choice.config: (each.fold, each.choice) for each in found}
    # Copies: what other outer folds' choices do here may not reach this fold's own choice.
    judged = [
        {
            config: replace(each, uas=dict(each.uas))
            for config, each in by_setting(fold.judged).items()
        }
        for fold in found
    ]
    needs: list[Need] = []
    places = []
    for place, fold in enumerate(found):
        for config, (origin, choice) in finalists.items():
            own = judged[place].setdefault(config, replace(choice, uas={}))
            for group in fold.groups:
                if group not in own.uas:
                    need = Need(inner(config, fold.fold, group), choice.number, origin)
                    needs.append(need)
                    places.append((own, group, need.config))
    scores = trainings.scores(needs) if needs else {}
    for own, group, config in places:
        own.uas[group] = scores[config].ua
    return outcome.overall(
        [replace(fold, judged=tuple(judged[place].values())) for place, fold in enumerate(found)]
    )
