import os
import subprocess
import sys
import threading

from ablation.lock import alone

HOLD = """
import sys
from pathlib import Path
from ablation.lock import alone
with alone(Path(sys.argv[1]), "s", print):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(runs) -> subprocess.Popen[str]:
    """Another process that holds the study until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(runs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_runner_is_told_who_is_at_work_and_waits_for_the_end(tmp_path):
    first = hold(tmp_path)
    told, entered = [], threading.Event()

    def second():
        with alone(tmp_path, "s", told.append):
            entered.set()

    thread = threading.Thread(target=second)
    thread.start()
    assert not entered.wait(0.3)
    assert told[0].startswith(f"process {first.pid} on ")
    first.communicate()
    assert entered.wait(10)
    thread.join()


def test_a_killed_runner_holds_nothing(tmp_path):
    first = hold(tmp_path)
    first.kill()
    first.communicate()
    told = []
    with alone(tmp_path, "s", told.append):
        assert told == []
        assert (tmp_path / "s.lock").read_text().startswith(f"process {os.getpid()} on ")


def test_other_studies_of_the_folder_do_not_wait(tmp_path):
    told = []
    with alone(tmp_path, "a", told.append), alone(tmp_path, "b", told.append):
        assert told == []


def test_a_lock_file_with_anything_in_it_is_only_a_lock_file(tmp_path):
    (tmp_path / "s.lock").write_text("\x1b[31m" * 1000)
    with alone(tmp_path, "s", print):
        assert "\x1b" not in (tmp_path / "s.lock").read_text()
