"""What a person sees while trials run: live on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.control import Control
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from ablation.columns import clock
from ablation.grid import Trial
from core.result import EpochMetrics, FoldResult

SHOWN_AT_ONCE = 8  # O: trials in the live view; more are counted
GAP = 2  # between its columns
SIGN_OF_LIFE_S = 60.0  # O: without a terminal, say something at least so often


@dataclass(slots=True)
class _Running:
    trial: Trial
    started: float = field(default_factory=time.monotonic)
    latest: EpochMetrics | None = None


class _Drawn:
    """A view that knows how wide its lines are on the terminal.

    A terminal that gets narrower breaks them anew. Live counts what it has drawn in lines of its
    own, and would leave the rest standing for good.
    """

    def __init__(self, console: Console, view: Callable[[], RenderableType]) -> None:
        self._console = console
        self._view = view
        self._widths: list[int] = []
        self._columns = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._view(), options, pad=False)
        self._widths = [Segment.get_line_length(line) for line in lines]
        self._columns = options.max_width
        for line in lines:
            yield from line
            yield Segment.line()

    def latest(self) -> "_Drawn":
        """Itself, to be drawn again; what has become more lines goes first."""
        columns = max(self._console.width, 1)
        if columns < self._columns:
            more = sum((max(width, 1) - 1) // columns for width in self._widths)
            wiped = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)) * more
            self._console.control(Control(ControlType.CARRIAGE_RETURN, *wiped))
            self._widths, self._columns = [], columns
        return self


class Display:
    """Follows trials by run id. `result_of` gives a finished fold to print its figures."""

    def __init__(
        self,
        console: Console,
        trials: Mapping[str, list[Trial]],
        folds: Mapping[str, int],
        result_of: Callable[[str], FoldResult],
    ) -> None:
        self.failures: dict[str, str] = {}
        self._console = console
        self._trials = trials
        self._folds = folds  # corpus -> number of its folds
        self._total = len(trials)
        self._result_of = result_of
        self._running: dict[str, _Running] = {}
        self._finished = 0
        self._started = time.monotonic()
        self._last_line = self._started
        self._name_width = max((len(group[0].row) for group in trials.values()), default=0)
        self._live: Live | None = None
        self._drawn = _Drawn(console, self._view)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the live view on the terminal meanwhile, if there is one."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            yield
            return
        view = self._drawn.latest
        with Live(
            get_renderable=view, console=self._console, refresh_per_second=4, transient=True
        ) as self._live:
            yield
        self._live = None

    def trial_started(self, run_id: str) -> None:
        """A retried trial starts again: its clock does too."""
        self._running[run_id] = _Running(self._trials[run_id][0])

    def trial_remarked(self, run_id: str, remark: str) -> None:
        """Print what is worth knowing of a trial that goes on."""
        self._print(f"{self._name(run_id)}  {remark}", style="yellow")

    def trial_retried(self, run_id: str, reason: str) -> None:
        """Print why; until it starts again, after others perhaps, it does not run."""
        self._running.pop(run_id, None)
        self.trial_remarked(run_id, f"is tried again: {reason}")

    def epoch_finished(self, run_id: str, metrics: EpochMetrics) -> None:
        """Note an epoch; without a live view, print one now and then."""
        running = self._running.setdefault(run_id, _Running(self._trials[run_id][0]))
        running.latest = metrics
        if self._live is None and time.monotonic() - self._last_line > SIGN_OF_LIFE_S:
            self._print(f"{self._name(run_id)}  {_epoch_text(running)}")

    def trial_finished(self, run_id: str) -> None:
        """Print the fold's line."""
        self._running.pop(run_id, None)
        try:
            result = self._result_of(run_id)
        except ValueError as error:
            self.trial_failed(run_id, str(error))
            return
        self._finished += 1
        scores = result.scores()
        figures = f"{self._name(run_id)}  WA {scores.wa:.3f}  UA {scores.ua:.3f}"
        epochs = f"epoch {result.best_epoch}/{result.config.training.epochs}"
        if (
            result.config.evaluation.patience
            and len(result.history) < result.config.training.epochs
        ):
            epochs += f", stopped after {len(result.history)}"
        line = f"{figures}  {epochs}  {clock(result.seconds)}"
        is_wide = not self._console.is_terminal or len(line) <= self._console.width
        self._print(line if is_wide else figures)

    def trial_failed(self, run_id: str, reason: str) -> None:
        """Print the failure; the others go on."""
        self._running.pop(run_id, None)
        self._finished += 1
        self.failures[run_id] = reason
        self._print(f"{self._name(run_id)}  failed: {reason}", style="red")

    def _print(self, line: str, style: str = "") -> None:
        self._last_line = time.monotonic()
        if self._live is not None:
            self._live.refresh()  # in place, should the terminal have become narrower
        self._console.print(Text(line, style=style), soft_wrap=not self._console.is_terminal)

    def _name(self, run_id: str) -> str:
        config, row = self._trials[run_id][0].config, self._trials[run_id][0].row
        folds = self._folds[config.corpus.name]
        corpus = f"{config.corpus.name}  " if len(self._folds) > 1 else ""
        seed = f"seed {config.seed}"
        return f"{run_id}  {row:<{self._name_width}}  {corpus}fold {config.fold}/{folds}  {seed}"

    def _view(self) -> RenderableType:
        table = Table.grid(padding=(0, GAP))
        shown = list(self._running.values())[:SHOWN_AT_ONCE]
        places = [_place(running.trial, self._folds) for running in shown]
        times = [clock(time.monotonic() - running.started) for running in shown]
        taken = ([running.trial.row for running in shown], places, times)
        room = self._console.width - sum(
            GAP + max(map(cell_len, each), default=0) for each in taken
        )
        for running, place, since in zip(shown, places, times, strict=True):
            table.add_row(
                Text(running.trial.row, style="bold", overflow="ellipsis", no_wrap=True),
                Text(place, no_wrap=True),
                Text(_epoch_text(running, room), overflow="ellipsis", no_wrap=True),
                Text(since, style="dim", no_wrap=True),
            )
        more = len(self._running) - SHOWN_AT_ONCE
        lines: list[RenderableType] = [table]
        if more > 0:
            lines.append(Text(f"and {more} more", style="dim"))
        lines.append(self._bar())
        return Group(*lines)

    def _bar(self) -> RenderableType:
        bar = Progress(
            BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("{task.fields[times]}")
        )
        times = f"{clock(time.monotonic() - self._started)} elapsed"
        left = self._remaining_s()
        if left is not None:
            times += f", about {clock(left)} left"
        if self.failures:
            times += f", {len(self.failures)} failed"
        bar.add_task("", total=self._total, completed=self._finished, times=times)
        return bar

    def _remaining_s(self) -> float | None:
        """From the share of all epochs that is done, those of running trials included."""
        epochs = {run_id: group[0].config.training.epochs for run_id, group in self._trials.items()}
        under_way = sum(
            running.latest.epoch for running in self._running.values() if running.latest is not None
        )
        mean_epochs = sum(epochs.values()) / max(len(epochs), 1)
        done = self._finished * mean_epochs + under_way
        if done < 2:
            return None
        elapsed = time.monotonic() - self._started
        return elapsed * (self._total * mean_epochs - done) / done


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar for one step; yields a function of (done, total). Silent off a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _place(trial: Trial, folds: Mapping[str, int]) -> str:
    config = trial.config
    return f"{config.corpus.name} {config.fold}/{folds[config.corpus.name]}"


def _epoch_text(running: _Running, room: int | None = None) -> str:
    """Epoch and losses; of the latter only those that the room holds whole."""
    epochs = running.trial.config.training.epochs
    if running.latest is None:
        return f"epoch 0/{epochs}"
    losses = running.latest.losses
    parts = [f"{name} {value:.3f}" for name, value in losses.items() if name != "total"]
    text = f"epoch {running.latest.epoch}/{epochs}"
    for part in (f"loss {losses['total']:.3f}", *parts):
        if room is not None and len(text) + GAP + len(part) > room:
            break
        text += f"{' ' * GAP}{part}"
    return text
