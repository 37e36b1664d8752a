import threading
from dataclasses import replace

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from ablation.archive import Archive
from ablation.backlog import Patience
from ablation.recorder import Recorder
from tests.ablation.stand_ins import metrics_of, result_of, trial_of

RUN, OTHER, THIRD = "0123456789ab", "f" * 12, "e" * 12
AT_ONCE = Patience(first_pause_s=0.001, longest_pause_s=0.002, end_s=60, stop_s=3)
GONE = ConnectionError("refused,\n by http://me:secret@server")
REFUSED = MlflowException("no,\n never", INVALID_PARAMETER_VALUE)


class Spy:
    """Stands in for a tracker; notes what it is told, and fails where it should.

    `script(name, arguments)` gives the error to raise, or None.
    """

    def __init__(self, script=lambda name, arguments: None):
        self.told = []
        self.threads = set()
        self.script = script

    def finished(self):
        self._meet("finished", ())
        results = [entry[1:] for entry in self.told if entry[0] == "finish"]
        return {(row, result.run_id): result.history[-1].finished_at_ms for row, result in results}

    def __getattr__(self, name):
        def note(*arguments):
            self._meet(name, arguments)
            row = getattr(arguments[0], "row", None) if arguments else None
            self.told.append((name, row, *arguments[1:]))

        return note

    def _meet(self, name, arguments):
        self.threads.add(threading.current_thread().name)
        if (error := self.script(name, arguments)) is not None:
            raise error

    def calls(self, *names):
        return [entry[:2] for entry in self.told if entry[0] in names]


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


def recorder_of(spy, archive, trials=None, tell=lambda remark: None, patience=AT_ONCE):
    return Recorder(lambda: spy, trials or {RUN: [trial_of()]}, archive, tell, patience)


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
    recorder = recorder_of(spy, archive, {RUN: [trial_of("plain"), trial_of("twin")]})
    recorder.trial_failed(RUN, "why")
    recorder.close()
    assert spy.told[:2] == [("fail", "plain", RUN, "why"), ("fail", "twin", RUN, "why")]


def test_sync_sends_what_is_archived_and_not_yet_there_once(archive):
    spy = Spy()
    recorder = recorder_of(spy, archive, {RUN: [trial_of()], OTHER: [trial_of(fold=2)]})
    archive.save(result_of())
    recorder.sync()
    recorder.sync()
    recorder.wait()
    recorder.close()
    assert spy.calls("finish") == [("finish", "plain")]


def test_sync_sends_what_was_trained_anew_while_mlflow_could_not_forget_the_old_one(archive):
    spy = Spy()
    archive.save(result_of())
    for _ in range(2):
        recorder = recorder_of(spy, archive)
        recorder.sync()
        recorder.close()
        again = replace(result_of(), history=(metrics_of(1), metrics_of(3)))
        archive.save(again)
    sent = [entry[2] for entry in spy.told if entry[0] == "finish"]
    assert sent == [result_of(), again]


def test_what_mlflow_refuses_is_told_once_and_stops_nothing(archive):
    spy = Spy(lambda name, arguments: REFUSED if name == "epoch" else None)
    recorder = recorder_of(spy, archive)
    for epoch in (1, 2):
        recorder.epoch_finished(RUN, metrics_of(epoch))
    recorder.trial_failed(RUN, "why")
    recorder.close()
    assert recorder.problems == ["MlflowException: no, never"]
    assert ("fail", "plain", RUN, "why") in spy.told


def test_a_tracker_that_can_not_be_opened_is_a_problem_not_a_crash(archive):
    def refuse():
        raise OSError("no such host")

    recorder = Recorder(refuse, {RUN: [trial_of()]}, archive)
    recorder.trial_started(RUN)
    recorder.close()
    assert recorder.problems == ["OSError: no such host"]


def test_after_an_outage_everything_arrives_once_and_no_problem_remains(archive):
    """MLflow goes away while one fold is under way, and stays away until after the last one."""
    back = threading.Event()
    spy = Spy()
    trials = {run: [trial_of(fold=fold)] for fold, run in enumerate((RUN, OTHER, THIRD), 1)}
    remarks = []
    recorder = recorder_of(spy, archive, trials, remarks.append)
    recorder.trial_started(RUN)
    recorder.wait()
    spy.script = lambda name, arguments: None if back.is_set() else GONE
    for fold, run in ((1, RUN), (2, OTHER)):
        for epoch in (1, 2):
            recorder.epoch_finished(run, metrics_of(epoch))
        archive.save(result_of(run, fold))
        recorder.trial_finished(run)
    recorder.trial_started(THIRD)
    recorder.trial_failed(THIRD, "why")
    recorder.sync()
    threading.Timer(0.2, back.set).start()
    recorder.wait()
    recorder.close()
    told = [entry for entry in spy.told if entry[0] in ("finish", "fail", "close")]
    assert sorted(entry[0] for entry in told) == ["close", "fail", "finish", "finish"]
    assert {entry[2].run_id for entry in told if entry[0] == "finish"} == {RUN, OTHER}
    assert told[-1][0] == "close"
    assert recorder.problems == []
    assert "secret" not in " ".join(remarks)
    assert remarks[0] == (
        "MLflow is out of reach (ConnectionError: refused, by http://***@server); "
        "training goes on, what is missing is sent later"
    )
    assert remarks[-1] == "MLflow answers again, and what was missing has arrived"


def test_remarks_are_told_in_the_thread_that_follows_the_trials(archive):
    threads = set()
    failures = iter([GONE])
    spy = Spy(lambda name, arguments: next(failures, None))
    recorder = recorder_of(
        spy, archive, tell=lambda remark: threads.add(threading.current_thread().name)
    )
    recorder.trial_failed(RUN, "why")
    recorder.wait()
    recorder.close()
    assert threads == {threading.current_thread().name}


def test_an_outage_that_does_not_end_is_a_problem_that_says_what_is_missing(archive):
    tried = threading.Event()

    def gone(name, arguments):
        tried.set()
        return GONE

    trials = {RUN: [trial_of()], OTHER: [trial_of(fold=2)]}
    impatient = Patience(first_pause_s=0.001, longest_pause_s=0.002, end_s=0.05, stop_s=3)
    recorder = recorder_of(Spy(gone), archive, trials, patience=impatient)
    archive.save(result_of())
    recorder.trial_finished(RUN)
    recorder.trial_failed(OTHER, "why")
    tried.wait()
    recorder.trial_failed(OTHER, "why")  # takes the recorder's lock: the failure is noted by now
    recorder.wait()
    recorder.close()
    assert recorder.problems == [
        "ConnectionError: refused, by http://***@server; not sent: 2 folds"
    ]


def test_an_answer_that_never_comes_is_waited_for_as_long_as_an_outage(archive):
    release = threading.Event()

    def hang(name, arguments):
        release.wait()

    impatient = Patience(first_pause_s=0.001, longest_pause_s=0.002, call_s=0.05, stop_s=0.05)
    recorder = recorder_of(Spy(hang), archive, patience=impatient)
    recorder.trial_started(RUN)
    recorder.trial_failed(RUN, "why")
    recorder.wait()
    recorder.close()
    assert recorder.problems == ["no answer for 0 s; not sent: 1 fold"]
    release.set()


def test_a_fold_that_never_arrives_holds_up_no_other(archive):
    def poison(name, arguments):
        return GONE if name == "finish" and arguments[1].run_id == RUN else None

    spy = Spy(poison)
    runs = [RUN, OTHER, THIRD]
    impatient = Patience(first_pause_s=0.001, longest_pause_s=0.002, end_s=2, stop_s=3)
    trials = {run: [trial_of(fold=fold)] for fold, run in enumerate(runs, 1)}
    recorder = recorder_of(spy, archive, trials, patience=impatient)
    for fold, run in enumerate(runs, 1):
        archive.save(result_of(run, fold))
    recorder.sync()
    recorder.wait()
    recorder.close()
    assert {entry[2].run_id for entry in spy.told if entry[0] == "finish"} == {OTHER, THIRD}
    assert spy.told[-1][0] == "close"
    assert len(recorder.problems) == 1
    assert recorder.problems[0].endswith("; not sent: 1 fold")


def test_what_is_to_be_removed_goes_before_what_replaces_it_even_after_a_failure(archive):
    failures = iter([GONE, GONE])
    spy = Spy(lambda name, arguments: next(failures, None) if name == "forget" else None)
    recorder = recorder_of(spy, archive)
    archive.save(result_of())
    recorder.forget(RUN)
    recorder.trial_started(RUN)
    recorder.trial_finished(RUN)
    recorder.wait()
    recorder.close()
    assert spy.calls("forget", "finish") == [("forget", "plain"), ("finish", "plain")]


def test_a_tracker_that_opens_late_gets_everything(archive):
    spy = Spy()
    failures = iter([GONE, GONE, GONE])

    def open_tracker():
        if (error := next(failures, None)) is not None:
            raise error
        return spy

    recorder = Recorder(open_tracker, {RUN: [trial_of()]}, archive, patience=AT_ONCE)
    archive.save(result_of())
    recorder.sync()
    recorder.wait()
    recorder.close()
    assert spy.calls("finish", "close") == [("finish", "plain"), ("close", None)]
    assert recorder.problems == []


def test_an_epoch_after_a_short_outage_is_logged_again(archive):
    failures = iter([GONE])
    spy = Spy(lambda name, arguments: next(failures, None))
    recorder = recorder_of(spy, archive)
    recorder.trial_started(RUN)
    recorder.wait()
    epoch = 0
    while not spy.calls("epoch"):
        epoch += 1
        recorder.epoch_finished(RUN, metrics_of(epoch))
        recorder.wait()
    recorder.close()
    assert recorder.problems == []


def test_after_an_interrupt_what_is_queued_is_sent_and_no_run_stays_open(archive):
    spy = Spy()
    recorder = recorder_of(spy, archive, patience=Patience(stop_s=60))
    recorder.trial_started(RUN)
    recorder.epoch_finished(RUN, metrics_of(1))
    recorder.stop()
    assert [entry[0] for entry in spy.told] == ["start", "epoch", "close"]


def test_after_an_interrupt_in_an_outage_everything_is_tried_at_most_once_more(archive):
    tried = []

    def gone(name, arguments):
        tried.append(name)
        return GONE

    slow = Patience(first_pause_s=600, longest_pause_s=600, end_s=600, stop_s=60)
    recorder = recorder_of(Spy(gone), archive, patience=slow)
    archive.save(result_of())
    recorder.trial_finished(RUN)
    while not tried:
        threading.Event().wait(0.001)
    recorder.stop()
    assert tried == ["finish", "finish", "close"]


def test_an_interrupt_does_not_wait_for_an_answer_that_never_comes(archive):
    release = threading.Event()
    spy = Spy(lambda name, arguments: release.wait() and None)
    recorder = recorder_of(
        spy, archive, patience=Patience(first_pause_s=1, longest_pause_s=1, end_s=600, stop_s=0.05)
    )
    recorder.trial_failed(RUN, "why")
    recorder.stop()
    assert spy.told == []
    release.set()


def test_an_interrupt_before_mlflow_was_ever_reached_does_not_try_to_reach_it(archive):
    opened = []
    recorder = Recorder(lambda: opened.append(1), {RUN: [trial_of()]}, archive)
    recorder.stop()
    assert opened == []
