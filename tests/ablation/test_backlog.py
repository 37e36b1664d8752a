import pytest

from ablation.backlog import Backlog, Job, Patience

A, B = ("plain", "a" * 12), ("plain", "b" * 12)
PATIENCE = Patience(first_pause_s=1, longest_pause_s=30, end_s=60, stop_s=3)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def backlog(clock):
    return Backlog(PATIENCE, clock)


def job(name, subject=A, kind="lasting"):
    return Job(subject=subject, name=name, send=lambda tracker: None, kind=kind)


def names(backlog):
    """Everything that is left, in the order in which it is sent when all goes well."""
    found = []
    while taken := backlog.take():
        found.append(taken.name)
        backlog.answered()
    return found


def test_jobs_are_sent_in_the_order_in_which_they_came_and_closing_ones_last(backlog):
    backlog.put(job("rows", kind="closing"))
    backlog.put(job("start", kind="momentary"))
    backlog.put(job("close", kind="closing"))
    backlog.put(job("finish"))
    assert names(backlog) == ["start", "finish", "rows", "close"]
    assert backlog.empty


def test_nothing_is_sent_during_a_pause_and_pauses_double_up_to_the_longest(backlog, clock):
    backlog.put(job("finish"))
    pauses = []
    for _ in range(8):
        taken = backlog.take()
        assert backlog.failed(taken)
        assert backlog.take() is None
        pauses.append(backlog.wait_s)
        clock.now += backlog.wait_s
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_an_answer_ends_the_pauses(backlog, clock):
    for name in ("one", "two", "three"):
        backlog.put(job(name, ("plain", name)))
    for _ in range(3):
        backlog.failed(backlog.take())
        clock.now += backlog.wait_s
    backlog.take()
    backlog.answered()
    assert backlog.wait_s == 0
    assert backlog.answered_at == clock.now
    backlog.failed(backlog.take())
    assert backlog.wait_s == 1


def test_nothing_left_is_nothing_to_wait_for(backlog):
    assert backlog.wait_s is None
    backlog.put(job("finish"))
    assert backlog.wait_s == 0


def test_a_job_that_fails_goes_behind_the_others(backlog, clock):
    backlog.put(job("finish a", A))
    backlog.put(job("finish b", B))
    backlog.failed(backlog.take())
    clock.now += 1
    assert names(backlog) == ["finish b", "finish a"]


def test_jobs_that_keep_failing_take_turns(backlog, clock):
    backlog.put(job("finish a", A))
    backlog.put(job("finish b", B))
    tried = []
    for _ in range(4):
        taken = backlog.take()
        tried.append(taken.name)
        backlog.failed(taken)
        clock.now += 30
    assert tried == ["finish a", "finish b", "finish a", "finish b"]


def test_jobs_of_one_fold_keep_their_order_when_the_first_fails(backlog, clock):
    backlog.put(job("forget a", A))
    backlog.put(job("finish a", A))
    backlog.put(job("forget b", B))
    backlog.put(job("finish b", B))
    for _ in range(3):  # forget a, forget b, forget a
        backlog.failed(backlog.take())
        clock.now += 30
    assert names(backlog) == ["forget b", "finish b", "forget a", "finish a"]


def test_what_does_not_last_is_dropped_in_an_outage_and_kept_after_it(backlog, clock):
    backlog.put(job("finish", B))
    backlog.put(job("epoch 1", kind="momentary"))
    backlog.failed(backlog.take())
    backlog.put(job("epoch 2", kind="momentary"))
    clock.now += 1
    backlog.put(job("epoch 3", kind="momentary"))
    assert names(backlog) == ["epoch 3", "finish"]


def test_an_epoch_is_no_reason_to_open_a_run_that_is_still_to_be_removed(backlog, clock):
    backlog.put(job("forget", A))
    backlog.failed(backlog.take())
    clock.now += 1
    backlog.put(job("start", A, kind="momentary"))
    assert names(backlog) == ["forget"]


def test_an_epoch_that_fails_is_not_tried_again(backlog, clock):
    backlog.put(job("epoch", kind="momentary"))
    assert not backlog.failed(backlog.take())
    assert backlog.empty


def test_a_long_outage_keeps_one_job_a_fold(backlog):
    backlog.put(job("finish"))
    backlog.failed(backlog.take())
    for epoch in range(1000):
        backlog.put(job(f"epoch {epoch}", kind="momentary"))
        backlog.put(job("finish"))
    backlog.hurry()
    assert names(backlog) == ["finish"]


def test_a_job_that_was_sent_may_come_again(backlog):
    for _ in range(2):
        backlog.put(job("sync"))
        assert names(backlog) == ["sync"]


def test_a_closing_job_that_fails_is_tried_again_before_those_after_it(backlog, clock):
    backlog.put(job("rows", kind="closing"))
    backlog.put(job("close", kind="closing"))
    assert backlog.failed(backlog.take())
    clock.now += 1
    assert names(backlog) == ["rows", "close"]


def test_giving_up_names_what_is_missing_and_leaves_one_try_to_the_closing_jobs(backlog):
    backlog.put(job("forget", A))
    backlog.put(job("finish", A))
    backlog.put(job("finish", B))
    backlog.put(job("close", kind="closing"))
    backlog.failed(backlog.take())
    assert backlog.give_up() == {A, B}
    assert not backlog.failed(backlog.take())
    assert backlog.empty


def test_in_a_hurry_a_failure_ends_all_but_the_closing_jobs(backlog):
    backlog.put(job("finish", A))
    backlog.put(job("finish", B))
    backlog.put(job("close", kind="closing"))
    backlog.failed(backlog.take())
    assert backlog.take() is None
    backlog.hurry()
    assert not backlog.failed(backlog.take())
    assert names(backlog) == ["close"]
