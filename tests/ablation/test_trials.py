import copy
import json
import signal
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest
import ray.exceptions
from ray.tune.impl.placeholder import create_resolvers_map, inject_placeholders
from ray.tune.search.variant_generator import generate_variants

import ablation.trials
from ablation.archive import Archive
from ablation.cluster import Resources
from ablation.interruption import Interrupted
from ablation.trials import _Follower, _Signals, run_trials
from core.config import RunConfig
from tests.ablation.stand_ins import config_of

RUN, OTHER = "0123456789ab", "ba9876543210"


class Spy:
    """A listener that notes what it is told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))


def tune_trial(run_id=RUN, error=None, **result):
    return SimpleNamespace(config={"run_id": run_id}, last_result=result, get_error=lambda: error)


@pytest.fixture
def spy():
    return Spy()


@pytest.fixture
def follower(spy, tmp_path):
    return _Follower(spy, _Signals(), Archive(tmp_path))


def test_a_trial_is_over_once(follower, spy):
    follower.on_trial_start(0, [], tune_trial())
    assert follower.running == {RUN}
    follower.on_trial_complete(0, [], tune_trial())
    follower.on_trial_complete(0, [], tune_trial(failure="too late"))
    assert spy.told == [("trial_started", RUN), ("trial_finished", RUN)]
    assert follower.over == {RUN}
    assert not follower.running


@pytest.mark.parametrize("event", ["on_trial_recover", "on_trial_error"])
def test_the_room_of_a_lost_process_is_kept_for_its_successor(follower, event):
    follower.on_trial_start(0, [], tune_trial())
    waiting = [SimpleNamespace(status="PENDING", is_finished=lambda: False) for _ in range(3)]
    controller = SimpleNamespace(get_trials=lambda: waiting)
    assert follower.turns.choose_trial_to_run(controller) is waiting[0]
    getattr(follower, event)(0, [], tune_trial())
    assert follower.turns.choose_trial_to_run(controller) is waiting[1]
    follower.on_trial_start(0, [], tune_trial(OTHER))
    assert follower.turns.choose_trial_to_run(controller) is waiting[0]
    follower.on_trial_complete(0, [], tune_trial(OTHER))
    assert follower.turns.choose_trial_to_run(controller) is waiting[0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("Failure # 1\nTraceback:\nOSError: [Errno 5] it broke\n", "OSError: [Errno 5] it broke"),
        (None, "its process was killed, or its node was lost"),
        (
            "Failure # 1\nThe actor died unexpectedly before finishing this task.\n\tpid: 7\n"
            "Worker exit type: SYSTEM_ERROR\n",
            "its process was killed, or its node was lost",
        ),
        (
            "1 worker(s) were killed due to the node running low on memory.\n"
            "Top 10 memory users:\nRefer to the documentation\n",
            "its process was ended, the machine being out of memory",
        ),
    ],
)
def test_what_tune_knows_of_a_failure_is_said_in_one_line(follower, spy, tmp_path, error, reason):
    follower.on_trial_recover(0, [], tune_trial(error=error))
    follower.on_trial_error(0, [], tune_trial(error=error))
    log = tmp_path / "folds" / RUN / "error.txt"
    assert spy.told == [
        ("trial_retried", RUN, reason),
        ("trial_failed", RUN, f"{reason} (see {log})"),
    ]
    assert log.read_text() == (error or "")  # Tune's own file goes with its scratch folder


def out_of_memory():
    """As Tune gives up where Ray's memory monitor has ended an actor in the middle of a step."""
    error = RuntimeError("Caught unexpected exception")
    error.__cause__ = ray.exceptions.OutOfMemoryError("the node was running low on memory")
    return error


class Fits:
    """Stands in for Tune: trials start one after another; each fit ends as it is told to."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.asked = []

    def __call__(self, trials, corpora, runs, resources, follower, signals):
        archive = Archive(runs)
        self.asked.append({name: archive.micro_batch(name, None) for name in trials})
        follower.on_trial_start(0, [], tune_trial(next(iter(trials))))
        if error := self.ends.pop(0):
            raise error


def test_a_machine_out_of_memory_costs_the_trial_under_way_half_its_micro_batch(
    monkeypatch, spy, tmp_path
):
    fits = Fits(out_of_memory(), out_of_memory(), None)
    monkeypatch.setattr(ablation.trials, "_fit", fits)
    trials = {RUN: config_of(1), OTHER: config_of(2)}
    run_trials(trials, {}, tmp_path, Resources(cpus=1), spy)
    assert fits.asked == [
        {RUN: None, OTHER: None},
        {RUN: 8, OTHER: None},  # of a batch of 16
        {RUN: 4, OTHER: None},
    ]
    assert ("trial_remarked", RUN, "out of memory: goes on with 4 utterances at once") in spy.told


def test_one_utterance_too_much_is_a_failure_and_the_other_trials_go_on(monkeypatch, spy, tmp_path):
    fits = Fits(out_of_memory(), out_of_memory(), None)
    monkeypatch.setattr(ablation.trials, "_fit", fits)
    trials = {RUN: config_of(1), OTHER: config_of(2)}
    run_trials(trials, {}, tmp_path, Resources(cpus=1, micro_batch=2), spy)
    assert [list(asked) for asked in fits.asked] == [[RUN, OTHER], [RUN, OTHER], [OTHER]]
    assert ("trial_failed", RUN, "out of memory with one utterance at once") in spy.told


@pytest.mark.parametrize("end", [None, SystemExit(), RuntimeError("anything")])
def test_however_it_ends_nothing_half_written_is_left_of_its_folds(monkeypatch, spy, tmp_path, end):
    monkeypatch.setattr(ablation.trials, "_fit", Fits(end))
    archive = Archive(tmp_path)
    mine, anothers = (
        archive.checkpoints(run_id) / ".epoch-0006.safetensors.1ea73b16adf476e5"
        for run_id in (RUN, OTHER)
    )
    for part in (mine, anothers):
        part.parent.mkdir(parents=True)
        part.write_bytes(b"of a process that was killed long ago")
    with suppress(Interrupted, RuntimeError):
        run_trials({RUN: config_of()}, {}, tmp_path, Resources(cpus=1), spy)
    assert not mine.exists()
    assert anothers.exists(), "it is of no fold of this study"


def test_an_exit_that_ray_makes_of_a_signal_is_an_interruption(monkeypatch, spy, tmp_path):
    monkeypatch.setattr(ablation.trials, "_fit", Fits(SystemExit(signal.SIGTERM)))
    with pytest.raises(Interrupted):
        run_trials({RUN: config_of()}, {}, tmp_path, Resources(cpus=1), spy)


def test_a_signal_while_ray_starts_ends_the_study_before_tune(monkeypatch, spy, tmp_path):
    @contextmanager
    def slow_start(resources):
        signal.raise_signal(signal.SIGINT)
        yield 0.0

    monkeypatch.setattr(ablation.trials, "cluster", slow_start)
    monkeypatch.setattr(ablation.trials.tune, "with_parameters", None)  # not to be reached
    with pytest.raises(Interrupted):
        run_trials({RUN: config_of()}, {}, tmp_path, Resources(cpus=1), spy)


def test_any_other_error_of_tune_is_not_swallowed(monkeypatch, spy, tmp_path):
    monkeypatch.setattr(ablation.trials, "_fit", Fits(RuntimeError("another")))
    with pytest.raises(RuntimeError, match="another"):
        run_trials({RUN: config_of()}, {}, tmp_path, Resources(cpus=1), spy)


def test_the_first_signal_asks_and_the_second_insists():
    before = signal.getsignal(signal.SIGTERM)
    with _Signals() as signals:
        signal.raise_signal(signal.SIGTERM)
        assert signals.came
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_another_took_meanwhile_can_be_taken_back():
    with _Signals() as signals:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray's start does in its own way
        signals.catch()
        signal.raise_signal(signal.SIGTERM)
        assert signals.came


def test_a_signal_ends_tune_at_its_next_step(follower):
    follower.on_step_begin(0, [])
    follower._signals.came = True
    with pytest.raises(Interrupted):
        follower.on_step_begin(0, [])


def test_tune_gets_names_and_the_trainable_their_configs(monkeypatch, spy, tmp_path):
    """Tune copies the whole list for each trial of it; text it takes over as it is."""
    given = {}

    @contextmanager
    def no_cluster(resources):
        yield 0.0

    class Tuner:
        def __init__(self, trainable, param_space, **others):
            given["space"] = param_space

        def fit(self):
            pass

    def with_parameters(trainable, **parameters):
        given["parameters"] = parameters
        return trainable

    monkeypatch.setattr(ablation.trials, "cluster", no_cluster)
    monkeypatch.setattr(ablation.trials.tune, "with_parameters", with_parameters)
    monkeypatch.setattr(ablation.trials.tune, "Tuner", Tuner)
    trials = {f"{seed:012x}": config_of().on_fold(1, seed) for seed in range(300)}
    run_trials(trials, {}, tmp_path, Resources(cpus=1), spy)
    # As Tune prepares and expands it, the first copy included.
    space = inject_placeholders(copy.deepcopy(given["space"]), create_resolvers_map())
    made = [each["config"]["run_id"] for _, each in generate_variants({"config": space})]
    assert made == list(trials)
    assert all(type(choice) is str for choice in space["run_id"]["grid_search"])
    configs = given["parameters"]["configs"]
    read = {name: RunConfig.from_dict(json.loads(text)) for name, text in configs.items()}
    assert read == trials
