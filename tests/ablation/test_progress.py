import io
import time
from dataclasses import replace

import pytest
from rich.console import Console
from rich.text import Text

from ablation import progress
from ablation.progress import Display, bar, clock
from core.config import RunConfig
from core.schema import flatten
from tests.ablation.stand_ins import metrics_of, result_of, trial_of

RUN = "0123456789ab"


def display_of(result_of_run=lambda _: result_of(), width=100, terminal=False):
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    trials = {RUN: [trial_of()], "b" * 12: [trial_of(fold=2)]}
    return Display(console, trials, {"savee": 4}, result_of_run), out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (372, "6m12s"),
        (3600, "1h00m"),
        (11_100, "3h05m"),
    ],
)
def test_durations_are_told_as_people_tell_them(seconds, text):
    assert clock(seconds) == text


def test_a_finished_fold_is_one_line_with_its_figures():
    display, out = display_of()
    display.trial_started(RUN)
    display.trial_finished(RUN)
    assert out.getvalue() == f"{RUN}  plain  fold 1/4  seed 0  WA 0.750  UA 0.750  epoch 2/2  4s\n"


def test_a_fold_that_stopped_early_says_when():
    result = result_of()
    waiting = RunConfig.from_dict(
        flatten(result.config.to_dict())
        | {"training.epochs": 9, "evaluation.selection": "validation", "evaluation.patience": 1}
    )
    display, out = display_of(lambda _: replace(result, config=waiting, best_epoch=1))
    display.trial_finished(RUN)
    assert out.getvalue().endswith("  epoch 1/9, stopped after 2  4s\n")


def test_a_long_line_is_not_broken_on_a_narrow_terminal():
    display, out = display_of(width=40)
    display.trial_finished(RUN)
    assert out.getvalue().count("\n") == 1


def test_a_narrow_terminal_loses_the_epoch_before_a_line_breaks():
    display, out = display_of(width=70, terminal=True)
    display.trial_finished(RUN)
    assert out.getvalue() == f"{RUN}  plain  fold 1/4  seed 0  WA 0.750  UA 0.750\n"


def test_on_a_terminal_a_long_reason_breaks_between_words():
    display, out = display_of(width=60, terminal=True)
    display.trial_failed(RUN, "TrainingError: kl must be finite, found nan at epoch 3")
    assert out.getvalue().splitlines() == [
        f"{RUN}  plain  fold 1/4  seed 0  failed: ",
        "TrainingError: kl must be finite, found nan at epoch 3",
    ]


def test_a_failed_fold_is_named_with_its_reason_and_kept():
    display, out = display_of()
    display.trial_started(RUN)
    display.trial_failed(RUN, "TrainingError: kl is nan (see error.txt)")
    assert "fold 1/4  seed 0  failed: TrainingError: kl is nan (see error.txt)" in out.getvalue()
    assert display.failures == {RUN: "TrainingError: kl is nan (see error.txt)"}


def test_a_result_that_can_not_be_read_is_a_failure_not_a_crash():
    def unreadable(run_id):
        raise ValueError(f"{run_id}/result.json must be a finished fold")

    display, _ = display_of(unreadable)
    display.trial_finished(RUN)
    assert "must be a finished fold" in display.failures[RUN]


def test_off_a_terminal_epochs_are_printed_only_as_a_sign_of_life(monkeypatch):
    display, out = display_of()
    display.trial_started(RUN)
    display.epoch_finished(RUN, metrics_of(1))
    assert out.getvalue() == ""
    later = time.monotonic() + progress.SIGN_OF_LIFE_S + 1
    monkeypatch.setattr(progress.time, "monotonic", lambda: later)
    display.epoch_finished(RUN, metrics_of(1))
    assert "epoch 1/2  loss 1.500  kl 3.000" in out.getvalue()


def test_the_live_view_shows_what_runs_how_far_and_how_long_it_will_take():
    display, out = display_of(terminal=True)
    display.trial_started(RUN)
    display.epoch_finished(RUN, metrics_of(1))
    display.trial_finished(RUN)
    display.trial_started("b" * 12)
    display.epoch_finished("b" * 12, metrics_of(1))
    with display.shown():
        pass
    shown = out.getvalue()
    assert "savee 2/4" in shown
    assert "1/2" in shown
    assert "left" in shown  # three of four epochs are done


def test_a_trial_that_waits_to_be_tried_again_does_not_run():
    display, out = display_of(terminal=True)
    display.trial_started(RUN)
    display.trial_started("b" * 12)
    display.trial_retried(RUN, "its process was killed, or its node was lost")
    said = out.getvalue()
    assert "is tried again: its process was killed, or its node was lost" in said
    with display.shown():
        pass
    view = out.getvalue().removeprefix(said)
    assert "savee 2/4" in view
    assert "savee 1/4" not in view


def test_the_live_view_cuts_no_figure_in_two():
    for width in range(34, 80):
        display, out = display_of(terminal=True, width=width)
        display.trial_started(RUN)
        display.epoch_finished(RUN, metrics_of(1))
        with display.shown():
            pass
        (line,) = {line for line in out.getvalue().split("\n") if "epoch" in line}
        told = line.split("1/4  ")[1].split("  ")
        assert [part.strip() for part in told[:-1]] == (
            ["epoch 1/2", "loss 1.500", "kl 3.000"][: len(told) - 1]
        )
    assert len(told) == 4


@pytest.mark.parametrize("width", [20, 39, 60])
def test_lines_that_a_narrower_terminal_has_broken_are_wiped_whole(width):
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    drawn = progress._Drawn(console, lambda: Text("x" * 40 + "\n" + "y" * 39 + "\n"))
    console.print(drawn.latest())
    out.truncate(0)
    console.width = width
    drawn.latest()
    # Of 40 and 39 cells each line takes ceil(cells / width): so many more than one.
    more = {20: 2, 39: 1, 60: 0}[width]
    assert out.getvalue().lstrip("\0") == "\r" + "\x1b[2K\x1b[1A" * more
    out.truncate(0)
    drawn.latest()
    console.width = 100
    drawn.latest()
    assert not out.getvalue().strip("\0")  # once, and nothing where the terminal got wider


def test_a_dumb_terminal_gets_no_live_view(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    display, out = display_of(terminal=True)
    with display.shown():
        display.trial_started(RUN)
    assert out.getvalue() == ""


def test_a_bar_is_silent_off_a_terminal():
    out = io.StringIO()
    with bar(Console(file=out, force_terminal=False), "decoding") as on_progress:
        on_progress(1, 2)
    assert out.getvalue() == ""
