import threading

import pytest

from ablation.archive import Archive
from ablation.recorder import Recorder
from tests.ablation.stand_ins import metrics_of, result_of, trial_of

RUN = "0123456789ab"


class Spy:
    """Stands in for a tracker; notes what it is told, and fails where it should."""

    def __init__(self, fails=()):
        self.told = []
        self.threads = set()
        self._fails = fails

    def finished(self):
        return {("plain", RUN)} if ("finish", "plain") in [t[:2] for t in self.told] else set()

    def __getattr__(self, name):
        def note(*arguments):
            self.threads.add(threading.current_thread().name)
            row = getattr(arguments[0], "row", None) if arguments else None
            if name in self._fails:
                raise ConnectionError("refused,\n by the server")
            self.told.append((name, row, *arguments[1:]))

        return note


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def test_events_arrive_in_order_in_one_other_thread(archive):
    spy = Spy()
    recorder = Recorder(lambda: spy, {RUN: [trial_of()]}, archive)
    archive.save(result_of())
    recorder.trial_started(RUN)
    recorder.epoch_finished(RUN, metrics_of(1))
    recorder.trial_finished(RUN)
    recorder.close()
    assert [entry[0] for entry in spy.told] == ["start", "epoch", "finish", "log_rows", "close"]
    assert spy.threads == {"mlflow"}
    assert recorder.problems == []


def test_two_rows_of_one_experiment_are_both_told(archive):
    spy = Spy()
    recorder = Recorder(lambda: spy, {RUN: [trial_of("plain"), trial_of("twin")]}, archive)
    recorder.trial_failed(RUN, "why")
    recorder.close()
    assert spy.told[:2] == [("fail", "plain", RUN, "why"), ("fail", "twin", RUN, "why")]


def test_sync_sends_what_is_archived_and_not_yet_there_once(archive):
    spy = Spy()
    recorder = Recorder(lambda: spy, {RUN: [trial_of()], "f" * 12: [trial_of(fold=2)]}, archive)
    archive.save(result_of())
    recorder.sync()
    recorder.sync()
    recorder.wait()
    recorder.close()
    assert [entry[:2] for entry in spy.told if entry[0] == "finish"] == [("finish", "plain")]


def test_what_mlflow_refuses_is_told_once_and_stops_nothing(archive):
    spy = Spy(fails=("epoch",))
    recorder = Recorder(lambda: spy, {RUN: [trial_of()]}, archive)
    for epoch in (1, 2):
        recorder.epoch_finished(RUN, metrics_of(epoch))
    recorder.trial_failed(RUN, "why")
    recorder.close()
    assert recorder.problems == ["ConnectionError: refused, by the server"]
    assert ("fail", "plain", RUN, "why") in spy.told


def test_a_tracker_that_can_not_be_opened_is_a_problem_not_a_crash(archive):
    def refuse():
        raise OSError("no such host")

    recorder = Recorder(refuse, {RUN: [trial_of()]}, archive)
    recorder.trial_started(RUN)
    recorder.close()
    assert recorder.problems == ["OSError: no such host"]
