"""Kept models hear their test folds under every condition, each condition of each fold once.

Models of one fold whose encoders are frozen hear it together: what is perturbed, and what an
encoder makes of it, is the same for all of them.

What a fold's model said under a condition lies beside the fold, in `stress/<condition>.json`, named
by what the condition is: an evaluation that was interrupted, or is to cover more, goes on.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING

from ablation.archive import Archive, write_whole
from ablation.scores import FoldScore

if TYPE_CHECKING:
    from core.conditions import Condition
    from core.config import RunConfig
    from core.fold import CorpusAudio

POLL_S = 0.5  # O: between two looks at how far the processes are

_stop: Event | None = None  # of a process of the pool: whether it is to end early


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the models of one fold have not met yet.

    Attributes:
        left: The run ids of those that lack a condition, by condition.
    """

    runs: Path
    corpus: "CorpusAudio"
    left: Mapping["Condition", tuple[str, ...]]

    @property
    def count(self) -> int:
        """Conditions to be heard, over all models."""
        return sum(map(len, self.left.values()))

    @property
    def run_ids(self) -> list[str]:
        """Of its models, each once."""
        return list(dict.fromkeys(run_id for several in self.left.values() for run_id in several))


def open_jobs(
    models: Mapping[str, tuple["RunConfig", "CorpusAudio"]],
    archive: Archive,
    runs: Path,
    conditions: Sequence["Condition"],
) -> list[Job]:
    """What is still to be heard.

    Args:
        models: Their configs and corpora, by run id.
    """
    together: dict[object, list[str]] = {}
    for run_id, (config, _) in models.items():
        # Of others each holds a whole encoder of its own, too large to be held side by side.
        one_fold = (config.corpus, config.fold, config.evaluation.selection == "validation")
        together.setdefault(one_fold if config.stores_frames else run_id, []).append(run_id)
    found = []
    for run_ids in together.values():
        left = {
            condition: tuple(
                run_id for run_id in run_ids if known_score(archive, run_id, condition) is None
            )
            for condition in conditions
        }
        left = {condition: lacking for condition, lacking in left.items() if lacking}
        if left:
            found.append(Job(runs=runs, corpus=models[run_ids[0]][1], left=left))
    return found


def evaluate(jobs: Sequence[Job], workers: int, on_progress: Callable[[int, int], None]) -> None:
    """Do them all, on one thread a process, as the folds were trained.

    Args:
        workers: Processes; 1 is this one alone.
        on_progress: Called with the conditions done, over all folds, and their number.
    Raises:
        ValueError: a model or an utterance can't be used.
        KeyboardInterrupt: the user stopped it; what was heard stays.
    """
    total = sum(job.count for job in jobs)
    if workers <= 1 or total <= 1:
        done = 0
        for job in jobs:
            for heard in _heard(job):
                done += heard
                on_progress(done, total)
        return
    jobs = _spread(jobs, workers)
    context = multiprocessing.get_context("spawn")  # torch's threads survive no fork
    stop = context.Event()
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _begin, (stop,)) as pool:
        pending = {pool.submit(_work, job) for job in jobs}
        try:
            while pending:
                ended, pending = wait(pending, timeout=POLL_S)
                for future in ended:
                    future.result()
                on_progress(_done(jobs), total)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def known_score(archive: Archive, run_id: str, condition: "Condition") -> FoldScore | None:
    """What a fold's model reached under a condition; None where that was not heard, or is damaged.

    In place of its row the condition is named: rows that are one experiment share a fold.
    """
    try:
        score = FoldScore.from_dict(json.loads(_file(archive, run_id, condition).read_bytes()))
    except (OSError, ValueError):
        return None
    return score if score.run_id == run_id and score.answers else None


def forget(archive: Archive, run_ids: Iterable[str], conditions: Sequence["Condition"]) -> None:
    """Let go of what these folds' models said."""
    for run_id in run_ids:
        for condition in conditions:
            _file(archive, run_id, condition).unlink(missing_ok=True)


def _spread(jobs: Sequence[Job], workers: int) -> list[Job]:
    """At least as many jobs as workers, where there are conditions enough."""
    parts = -(-workers // max(len(jobs), 1))
    cut = [
        replace(job, left=dict(list(job.left.items())[part::parts]))
        for job in jobs
        for part in range(parts)
    ]
    return [job for job in cut if job.left]


def _heard(job: Job) -> Iterable[int]:
    """Do one job; yields how many scores more are kept, after each condition."""
    from core.classifier import Classifier, kept_classifier
    from core.devices import best_device
    from core.hearing import Hearing
    from core.stress import hear

    archive, device = Archive(job.runs), best_device()
    results = {run_id: archive.load(run_id) for run_id in job.run_ids}
    classifiers: dict[str, Classifier] = {}
    hearings: dict[tuple[str, str], Hearing] = {}
    for run_id in results:
        classifiers[run_id] = kept_classifier(archive.model(run_id), device)
        classifiers[run_id].share(hearings)
    for condition, run_ids in job.left.items():
        told = hear([classifiers[run_id] for run_id in run_ids], job.corpus, condition)
        for run_id, predictions in zip(run_ids, told, strict=True):
            heard = replace(results[run_id], predictions=tuple(predictions))
            score = replace(
                FoldScore.from_result(condition.name, heard), wa_oracle=None, ua_oracle=None
            )
            text = json.dumps(score.to_dict(), separators=(",", ":"))
            write_whole(_file(archive, run_id, condition), text)
        yield len(run_ids)


def _begin(stop: Event) -> None:
    """In a new process: the parent alone answers the terminal, and says when to end."""
    global _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _stop = stop


def _work(job: Job) -> None:
    parent = os.getppid()
    for _ in _heard(job):
        if (_stop and _stop.is_set()) or os.getppid() != parent:
            return


def _done(jobs: Sequence[Job]) -> int:
    archives = {job.runs: Archive(job.runs) for job in jobs}
    return sum(
        _file(archives[job.runs], run_id, condition).is_file()
        for job in jobs
        for condition, run_ids in job.left.items()
        for run_id in run_ids
    )


def _file(archive: Archive, run_id: str, condition: "Condition") -> Path:
    return archive.stress(run_id) / f"{condition.key}.json"
