"""A free process is for the first trial that waits but those that new processes start for."""

from types import SimpleNamespace

import pytest
from ray.tune.experiment import Trial

import ablation.turns
from ablation.turns import REPLACED_S, Turns

NAMES = ("a", "b", "c", "d", "e")


class Controller:
    """Tune's list of trials, as a scheduler sees it."""

    def __init__(self, **statuses):
        self.statuses = dict.fromkeys(NAMES, Trial.PENDING) | statuses

    def fail(self, name, status):
        """As Tune does: what it tries again goes to the end of its list."""
        del self.statuses[name]
        self.statuses[name] = status

    def get_trials(self):
        return [
            SimpleNamespace(
                name=name,
                status=status,
                is_finished=lambda status=status: status in (Trial.TERMINATED, Trial.ERROR),
            )
            for name, status in self.statuses.items()
        ]


class Noted(Turns):
    """As who follows the trials notes them."""

    def __init__(self):
        self.running = set()
        super().__init__(self.running)

    def start(self, name):
        self.running.add(name)
        self.started()

    def end(self, name):
        self.running.discard(name)

    def lose(self, name):
        self.running.discard(name)
        self.lost()


@pytest.fixture
def turns():
    return Noted()


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    monkeypatch.setattr(ablation.turns, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


def chosen(turns, controller):
    trial = turns.choose_trial_to_run(controller)
    assert turns.choose_trial_to_run(controller).name == trial.name, "it may be asked twice"
    return trial.name


def two_run(turns):
    for name in ("a", "b"):
        turns.start(name)
    return Controller(a=Trial.RUNNING, b=Trial.RUNNING)


def test_trials_have_their_turns_in_the_order_of_the_study(turns):
    controller = two_run(turns)
    assert chosen(turns, controller) == "c"
    turns.end("a")
    controller.statuses |= {"a": Trial.TERMINATED, "c": Trial.RUNNING}
    turns.start("c")
    assert chosen(turns, controller) == "d"


@pytest.mark.parametrize("failed", [Trial.PENDING, Trial.ERROR])
def test_the_next_in_line_is_left_to_the_process_that_replaces_a_lost_one(turns, clock, failed):
    controller = two_run(turns)
    turns.lose("a")
    controller.fail("a", failed)
    assert chosen(turns, controller) == "d", "a process starts for c"
    turns.end("b")
    controller.statuses |= {"b": Trial.TERMINATED}
    assert chosen(turns, controller) == "e", "none runs: d may be taking the other process over"
    controller.statuses |= {"e": Trial.RUNNING}
    turns.start("e")
    assert chosen(turns, controller) == "d"
    turns.start("c")  # in the new process
    controller.statuses |= {"c": Trial.RUNNING}
    assert chosen(turns, controller) == "d"


def test_where_fewer_trials_wait_than_processes_start_the_last_is_next(turns, clock):
    controller = two_run(turns)
    for name in ("c", "d"):
        turns.start(name)
    controller.statuses |= {"c": Trial.RUNNING, "d": Trial.RUNNING}
    for name in ("a", "b", "c"):
        turns.lose(name)
        controller.fail(name, Trial.PENDING)
    assert list(controller.statuses) == ["d", "e", "a", "b", "c"]
    assert chosen(turns, controller) == "c"
    controller.statuses |= {"e": Trial.TERMINATED, "b": Trial.TERMINATED}
    assert chosen(turns, controller) == "c"


def test_a_process_that_has_no_successor_is_not_waited_for_forever(turns, clock):
    controller = two_run(turns)
    turns.lose("a")
    clock.s += REPLACED_S - 1
    assert chosen(turns, controller) == "d"
    clock.s += 2
    assert chosen(turns, controller) == "c"


def test_of_two_lost_processes_both_are_replaced_first(turns, clock):
    controller = two_run(turns)
    for name in ("a", "b"):
        turns.lose(name)
        controller.fail(name, Trial.PENDING)
    assert chosen(turns, controller) == "e", "two processes start, for c and d"
    turns.start("c")
    controller.statuses |= {"c": Trial.RUNNING}
    assert chosen(turns, controller) == "e", "the other starts for d"
    turns.start("d")
    controller.statuses |= {"d": Trial.RUNNING}
    assert chosen(turns, controller) == "e"
    turns.end("c")
    controller.statuses |= {"c": Trial.TERMINATED}
    assert chosen(turns, controller) == "e", "and that is over"


def test_where_no_trial_waits_none_is_chosen(turns):
    assert turns.choose_trial_to_run(Controller(**dict.fromkeys(NAMES, Trial.RUNNING))) is None
    assert turns.choose_trial_to_run(Controller(**dict.fromkeys(NAMES, Trial.TERMINATED))) is None
    assert turns.choose_trial_to_run(SimpleNamespace(get_trials=list)) is None


def test_thousands_of_finished_trials_are_passed_over_once(turns):
    asked = []

    def trial(number):
        def is_finished():
            asked.append(number)
            return number < 5000

        return SimpleNamespace(name=number, status=Trial.PENDING, is_finished=is_finished)

    trials = [trial(number) for number in range(5001)]
    controller = SimpleNamespace(get_trials=lambda: trials)
    for _ in range(10):
        assert turns.choose_trial_to_run(controller).name == 5000
    assert len(asked) == 5000 + 10
