"""Kept models hear their test folds under every condition, each condition of each fold once.

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
    from core.fold import CorpusAudio

POLL_S = 0.5  # O: between two looks at how far the processes are

_stop: Event | None = None  # of a process of the pool: whether it is to end early


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The conditions that one fold's model has not met yet."""

    run_id: str
    runs: Path
    corpus: "CorpusAudio"
    conditions: tuple["Condition", ...]


def open_jobs(
    corpora: Mapping[str, "CorpusAudio"],
    archive: Archive,
    runs: Path,
    conditions: Sequence["Condition"],
) -> list[Job]:
    """What is still to be heard.

    Args:
        corpora: By run id.
    """
    found = []
    for run_id, corpus in corpora.items():
        left = tuple(one for one in conditions if known_score(archive, run_id, one) is None)
        if left:
            found.append(Job(run_id=run_id, runs=runs, corpus=corpus, conditions=left))
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
    total = sum(len(job.conditions) for job in jobs)
    if min(workers, len(jobs)) <= 1:
        done = 0
        for job in jobs:
            for _ in _heard(job):
                done += 1
                on_progress(done, total)
        return
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


def _heard(job: Job) -> Iterable["Condition"]:
    """Do one job; yields each condition once its score is kept."""
    from core.classifier import kept_classifier
    from core.devices import best_device
    from core.stress import hear

    archive = Archive(job.runs)
    result = archive.load(job.run_id)
    classifier = kept_classifier(archive.model(job.run_id), best_device())
    for condition in job.conditions:
        heard = replace(result, predictions=tuple(hear(classifier, job.corpus, condition)))
        score = replace(
            FoldScore.from_result(condition.name, heard), wa_oracle=None, ua_oracle=None
        )
        text = json.dumps(score.to_dict(), separators=(",", ":"))
        write_whole(_file(archive, job.run_id, condition), text)
        yield condition


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
        _file(archives[job.runs], job.run_id, one).is_file()
        for job in jobs
        for one in job.conditions
    )


def _file(archive: Archive, run_id: str, condition: "Condition") -> Path:
    return archive.stress(run_id) / f"{condition.key}.json"
