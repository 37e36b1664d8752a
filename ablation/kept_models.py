"""Which trained weights stay under `runs/`: all, or those of each row's best fold."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from ablation.archive import Archive
from ablation.grid import Trial
from ablation.options import Options

if TYPE_CHECKING:
    from core.result import FoldResult


def not_kept(run_ids: Iterable[str], archive: Archive) -> str:
    """A line on finished folds without kept weights; empty where there are none."""
    count = sum(archive.holds(name) and not archive.model(name).is_file() for name in run_ids)
    if not count:
        return ""
    folds = f"{count} finished fold{'s have' if count > 1 else ' has'}"
    return f"{folds} no kept weights and will not be trained again for them (--fresh does)"


def best_models(named: Mapping[str, list[Trial]], archive: Archive) -> dict[str, Trial]:
    """The fold with the best honest UA of each row and corpus, of those whose weights are kept.

    Of equals the first by seed and fold, so that every start finds the same.
    """
    best: dict[tuple[str, str], tuple[tuple[float, int, int], str, Trial]] = {}
    for run_id, group in named.items():
        if not (archive.holds(run_id) and archive.model(run_id).is_file()):
            continue
        ua = honest_ua(archive.load(run_id))
        for trial in group:
            key = (trial.row, trial.config.corpus.name)
            order = (-ua, trial.config.seed, trial.config.fold)
            if key not in best or order < best[key][0]:
                best[key] = (order, run_id, trial)
    return {run_id: trial for _, run_id, trial in best.values()}


def settle(
    named: Mapping[str, list[Trial]],
    archive: Archive,
    options: Options,
    study: str,
) -> list[str]:
    """After a study: let go of what is no row's best, and log those that are where that is asked.

    Returns:
        What MLflow did not take.
    """
    if options.keep_models == "best":
        prune(named, archive)
    if not options.log_model:
        return []
    from ablation.lineage import log_models

    return log_models(options.uri, study, best_models(named, archive), archive)


def prune(named: Mapping[str, list[Trial]], archive: Archive) -> int:
    """Remove kept weights that are no row's best, but for those that were to be kept all.

    Returns:
        How many folds' weights went.
    """
    from core.kept_model import ModelError, read_facts

    best, removed = best_models(named, archive), 0
    for run_id in named:
        path = archive.model(run_id)
        if run_id in best or not path.is_file():
            continue
        with suppress(ModelError):  # damaged: whoever asks for it is told so
            if read_facts(path).kept == "best":
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def honest_ua(result: "FoldResult") -> float:
    """UA of the kept weights: under `oracle` those of the last epoch, which no test fold picked."""
    last = result.history[-1].oracle
    if result.config.evaluation.selection == "oracle" and last:
        return last["ua"]
    return result.scores().ua
