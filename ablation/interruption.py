"""What an interruption is, and what is told of it: how far a study has come, how it continues.

Neither torch nor Ray is imported on the way here: a study can be stopped while they are.
"""

import shlex
import signal
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ablation.archive import Archive
from ablation.grid import Grid
from ablation.options import Options
from ablation.uris import redacted


class Interrupted(BaseException):
    """The user asked to stop; a BaseException, which Tune does not take for a trial's failure."""


@contextmanager
def stoppable(grid: Grid, options: Options) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a study by `Interrupted`, from its first moment to its last.

    Trials under way have a gentler way of their own: `ablation.trials`.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _as_interrupt) if is_main else None
    try:
        yield
    except KeyboardInterrupt as interrupt:  # no fold is known by its run id yet
        raise Interrupted(planned_so_far(grid, options)) from interrupt
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def telling_how_far(run_ids: Collection[str], archive: Archive) -> Iterator[None]:
    """Let an interruption say how much of these folds is finished, and how much is kept."""
    try:
        yield
    except (Interrupted, KeyboardInterrupt) as interrupt:
        raise Interrupted(how_far(run_ids, archive)) from interrupt


def how_far(run_ids: Collection[str], archive: Archive) -> str:
    """By what lies on the disk, which is what a continued study finds."""
    from core.snapshots import newest_first

    finished = {run_id for run_id in run_ids if archive.holds(run_id)}
    kept = sum(
        bool(newest_first(archive.checkpoints(run_id)))
        for run_id in run_ids
        if run_id not in finished
    )
    text = f"{len(finished)} of {len(run_ids)} folds are finished"
    return f"{text}; {kept} under way {'is' if kept == 1 else 'are'} kept up to the last checkpoint"


def planned_so_far(grid: Grid, options: Options) -> str:
    """The same before the data is read, by the configs of the folds that are wanted."""
    wanted = {
        key
        for cell in grid.cells
        if not options.only or cell.row in options.only
        for (fold, _), key in zip(cell.runs(), cell.config_keys(), strict=True)
        if not options.folds or fold in options.folds
    }
    finished = wanted & {cost.config_key for cost in Archive(options.runs).costs()}
    return f"{len(finished)} of {len(wanted)} folds are finished"


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
