"""What is left of files half written, and who may remove it."""

import os
import signal
import subprocess
import sys
import threading
import time

from core.whole_files import remove_abandoned, whole_file

WRITER = """
import sys, time
from pathlib import Path
from core.whole_files import whole_file

with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_with_nothing_else(tmp_path):
    folder = tmp_path / "fold" / "checkpoints"
    folder.mkdir(parents=True)
    others = [
        ".lock",
        ".epoch.safetensors.0011",
        "epoch.0123456789abcdef",
        ".epoch.0123456789ABCDEF",
    ]
    for name in others:
        (folder / name).write_text("not a part")
    command = [sys.executable, "-c", WRITER, str(folder / "epoch.safetensors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"half\n"
        remove_abandoned(tmp_path)
        assert len(list(folder.iterdir())) == len(others) + 1, "its writer was alive"
        os.kill(writer.pid, signal.SIGKILL)
    remove_abandoned(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(others)


def test_a_writer_that_is_just_ending_is_waited_for(tmp_path):
    begun = threading.Event()

    def write():
        with whole_file(tmp_path / "slow.txt") as file:
            begun.set()
            time.sleep(0.3)
            file.write(b"whole")

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(10)
    remove_abandoned(tmp_path, time.monotonic() + 30)
    assert [path.name for path in tmp_path.iterdir()] == ["slow.txt"]
    assert (tmp_path / "slow.txt").read_bytes() == b"whole"
    writer.join()


def test_a_writer_that_goes_on_is_not_waited_for_beyond_the_deadline(tmp_path):
    with whole_file(tmp_path / "slow.txt") as file:
        remove_abandoned(tmp_path, time.monotonic() + 0.1)
        file.write(b"whole")
    assert (tmp_path / "slow.txt").read_bytes() == b"whole"


def test_where_there_is_no_folder_nothing_is_left(tmp_path):
    remove_abandoned(tmp_path / "absent")
    assert not list(tmp_path.iterdir())
