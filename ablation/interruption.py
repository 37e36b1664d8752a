"""What is told when a study is interrupted: how far it has come, and the command that continues."""

import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ablation.archive import Archive
from ablation.trials import Interrupted
from ablation.uris import redacted
from core.snapshots import newest_first


@contextmanager
def telling_how_far(run_ids: Collection[str], archive: Archive) -> Iterator[None]:
    """Let an interruption say how much of these folds is finished, and how much is kept."""
    try:
        yield
    except Interrupted as interrupted:
        raise Interrupted(how_far(run_ids, archive)) from interrupted


def how_far(run_ids: Collection[str], archive: Archive) -> str:
    """By what lies on the disk, which is what a continued study finds."""
    finished = {run_id for run_id in run_ids if archive.holds(run_id)}
    kept = sum(
        bool(newest_first(archive.checkpoints(run_id)))
        for run_id in run_ids
        if run_id not in finished
    )
    text = f"{len(finished)} of {len(run_ids)} folds are finished"
    return f"{text}; {kept} under way {'is' if kept == 1 else 'are'} kept up to the last checkpoint"


def continuing(program: str, words: Sequence[str]) -> str:
    """The command that trains what is left.

    Args:
        program: As it was started.
        words: What was typed after it; --fresh, which would train the finished folds again, is
            left out, and so are passwords.
    """
    start = ["python", program] if program.endswith(".py") else [Path(program).name]
    rest = [redacted(word) for word in words if word != "--fresh"]
    return shlex.join([*start, *rest])
