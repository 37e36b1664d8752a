"""What is told at an interruption is what a continued study will find."""

import json
import signal

import pytest

from ablation.archive import Archive, write_whole
from ablation.interruption import Interrupted, continuing, how_far, stoppable, telling_how_far
from ablation.options import Options

FINISHED, KEPT, BEGUN, UNTOUCHED = (letter * 12 for letter in "abcd")
FOLDS = (FINISHED, KEPT, BEGUN, UNTOUCHED)


@pytest.fixture
def archive(tmp_path):
    """One fold finished, one with a checkpoint, one begun without."""
    archive = Archive(tmp_path)
    for run_id in (FINISHED, KEPT, BEGUN):
        archive.checkpoints(run_id).mkdir(parents=True)
    (archive.folder(FINISHED) / "result.json").write_text("{}")
    for run_id in (FINISHED, KEPT):  # a finished fold's, not yet removed, is not under way
        (archive.checkpoints(run_id) / "epoch-0003.safetensors").touch()
    (archive.checkpoints(BEGUN) / ".epoch-0001.safetensors.x").touch()  # half written
    return archive


def test_folds_are_counted_by_what_lies_on_the_disk(archive):
    told = "1 of 4 folds are finished; 1 under way is kept up to the last checkpoint"
    assert how_far(FOLDS, archive) == told
    assert how_far((BEGUN, UNTOUCHED), archive).startswith("0 of 2 folds are finished; 0 under way")


@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt])
def test_an_interruption_is_passed_on_with_what_is_to_be_told(archive, kind):
    with pytest.raises(Interrupted, match="1 of 4 folds"), telling_how_far(FOLDS, archive):
        raise kind


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_trials_start_says_how_far_the_wanted_folds_are(grid_of, tmp_path, number):
    grid = grid_of("name: n\ncorpora: [savee]\nrows: [{name: a}, {name: b, mixup.method: lam}]\n")
    archive = Archive(tmp_path)
    for key in (grid.cells[0].config_keys()[0], grid.cells[1].config_keys()[3]):
        cost = {"config_key": key, "encoder": "e", "corpus": "savee", "epoch_seconds": 1.0}
        write_whole(archive.folder(key) / "cost.json", json.dumps(cost))
        write_whole(archive.folder(key) / "result.json", "{}")
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    for wanted, told in (
        ({}, "2 of 8 folds are finished"),
        ({"only": ("b",), "folds": (1, 4)}, "1 of 2 folds are finished"),
    ):
        options = Options(runs=tmp_path, reports=tmp_path, **wanted)
        with pytest.raises(Interrupted, match=f"^{told}$"), stoppable(grid, options):
            signal.raise_signal(number)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_what_is_told_of_a_study_under_way_stays(grid_of, tmp_path):
    grid = grid_of("name: n\ncorpora: [savee]\nrows: [{name: a}]\n")
    options = Options(runs=tmp_path, reports=tmp_path)
    with pytest.raises(Interrupted, match=r"^as it is$"), stoppable(grid, options):
        raise Interrupted("as it is")


def test_other_errors_pass_as_they_are(archive):
    with pytest.raises(OSError, match=r"^disk$"), telling_how_far(FOLDS, archive):
        raise OSError("disk")


@pytest.mark.parametrize(
    ("program", "words", "command"),
    [
        ("runner.py", ["a b.yaml", "--fold", "1"], "python runner.py 'a b.yaml' --fold 1"),
        ("/opt/bin/ser-ablation", ["a.yaml"], "ser-ablation a.yaml"),
        # else it would throw away what has finished since
        ("runner.py", ["a.yaml", "--fresh", "--demo"], "python runner.py a.yaml --demo"),
    ],
)
def test_the_command_continues_and_can_be_pasted(program, words, command):
    assert continuing(program, words) == command


def test_no_password_is_repeated():
    told = continuing("runner.py", ["a.yaml", "--tracking-uri", "http://me:secret@host"])
    assert "secret" not in told
    assert "host" in told
