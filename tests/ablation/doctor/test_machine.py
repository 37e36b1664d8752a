"""Too little memory or disk, folders that can't be written or locked."""

import fcntl
import os
from pathlib import Path

import pytest

from ablation.doctor.findings import ok, problem
from ablation.doctor.load import Load
from ablation.doctor.machine import (
    Memory,
    disk_finding,
    folder_finding,
    memory,
    memory_finding,
    scratch_finding,
    shared_memory_bytes,
    shared_memory_finding,
)

GB = 10**9
MEMINFO = "MemTotal:       32000000 kB\nMemFree:         1000000 kB\nMemAvailable:   16000000 kB\n"


def load_of(trials: int = 2, trial_gb: float = 4, checkpoints_gb: float = 24) -> Load:
    """One gigabyte of audio and half a gigabyte of results, beside what is said."""
    return Load(
        at_once=trials,
        resources="",
        trial_bytes=trial_gb * GB,
        checkpoint_bytes=checkpoints_gb * GB,
        audio_bytes=1 * GB,
        result_bytes=0.5 * GB,
        large=(),
        unknown=(),
    )


@pytest.mark.parametrize(
    ("limit", "available", "total"),
    [
        (None, 16_384_000_000, 32_768_000_000),
        ("max", 16_384_000_000, 32_768_000_000),
        ("20000000000", 16_384_000_000, 20_000_000_000),
        ("8000000000", 8_000_000_000, 8_000_000_000),
    ],
)
def test_memory_is_what_the_system_and_its_container_leave(tmp_path, limit, available, total):
    (tmp_path / "meminfo").write_text(MEMINFO)
    if limit:
        (tmp_path / "limit").write_text(f"{limit}\n")
    assert memory(tmp_path / "meminfo", tmp_path / "limit") == (available, total)


def test_where_the_system_does_not_say_all_memory_counts(tmp_path):
    found = memory(tmp_path / "none", tmp_path / "none")
    assert (
        found.available == found.total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    )


@pytest.mark.parametrize(
    ("available_gb", "trials", "state", "remedy"),
    [
        (8, 2, "ok", ""),
        (7, 2, "warning", "--max-concurrent 1, or close other programs"),
        (13, 4, "warning", "--max-concurrent 3, or close other programs"),
        (3, 1, "warning", "close other programs, or --micro-batch 4"),
    ],
)
def test_trials_must_fit_into_memory_together(available_gb, trials, state, remedy):
    finding = memory_finding(Memory(available_gb * GB, 16 * GB), load_of(trials))
    assert (finding.state, finding.remedy) == (state, remedy)


def test_a_trial_larger_than_the_machine_is_a_problem():
    finding = memory_finding(Memory(3 * GB, 3.5 * GB), load_of(1))
    assert finding.state == "problem"
    assert finding.text == "3.0 GB of 3.5 GB available; a trial takes about 4.0 GB"


def test_memory_without_a_plan_is_only_told():
    assert memory_finding(Memory(3 * GB, 4 * GB), None).text == "3.0 GB of 4.0 GB available"


def test_a_container_s_small_shared_memory_is_a_warning():
    """Ray wants 30 % of 16 GB there."""
    finding = shared_memory_finding(64e6, Memory(16 * GB, 32 * GB))
    assert finding.state == "warning"
    assert finding.text.startswith("64 MB free in /dev/shm; Ray wants 4.8 GB and will use")
    assert "--shm-size=4.6g" in finding.remedy  # in units of 2**30


@pytest.mark.parametrize(("free_gb", "state"), [(4.8, "ok"), (4.7, "warning")])
def test_shared_memory_that_takes_the_object_store_is_fine(free_gb, state):
    assert shared_memory_finding(free_gb * GB, Memory(16 * GB, 32 * GB)).state == state


def test_a_system_without_shared_memory_is_fine(tmp_path):
    assert shared_memory_bytes(tmp_path / "none") is None
    assert shared_memory_finding(None, Memory(GB, GB)).state == "ok"


@pytest.mark.parametrize(
    ("free_gb", "state"), [(25.4, "problem"), (25.6, "warning"), (26.4, "warning"), (26.6, "ok")]
)
def test_the_disk_must_hold_checkpoints_audio_and_results(free_gb, state):
    finding = disk_finding(free_gb * GB, Path("runs"), load_of())
    assert finding.state == state
    assert finding.text == (
        f"{free_gb} GB free for runs; the study takes up to about 25.5 GB: checkpoints 24.0 GB, "
        "audio 1.0 GB, results 500 MB"
    )


def test_too_little_disk_says_how_to_take_less():
    assert disk_finding(5 * GB, Path("runs"), load_of()).remedy == (
        "--runs DIR on a larger disk, or make room; fewer checkpoints: --max-concurrent 1, or "
        "--checkpoint-epochs 0 for none"
    )
    finding = disk_finding(GB, Path("runs"), load_of(checkpoints_gb=0))
    assert finding.remedy == "--runs DIR on a larger disk, or make room"


@pytest.mark.parametrize(("free_gb", "state"), [(0.5, "warning"), (2, "ok")])
def test_a_nearly_full_disk_is_told_without_a_plan_too(free_gb, state):
    assert disk_finding(free_gb * GB, Path("runs"), None).state == state


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    assert folder_finding("runs", tmp_path, "") == ok("runs", f"{tmp_path} can be written")
    below = tmp_path / "a" / "b"
    assert folder_finding("runs", below, "") == ok("runs", f"{below} can be made in {tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_folder_is_looked_for_from_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_finding("runs", Path("runs"), "").text == f"runs can be made in {tmp_path}"
    assert folder_finding("runs", Path(), "").text == ". can be written"


def test_a_file_in_the_place_of_a_folder_is_a_problem(tmp_path):
    path = tmp_path / "runs"
    path.touch()
    text = f"{path} can't be written: Not a directory"
    assert folder_finding("runs", path / "deeper", "--runs") == problem("runs", text, "--runs")


def test_a_link_that_leads_nowhere_is_a_problem(tmp_path):
    path = tmp_path / "runs"
    path.symlink_to(tmp_path / "unmounted")
    text = f"{path} can't be written: No such file or directory"
    assert folder_finding("runs", path, "--runs DIR").text == text


def test_a_folder_that_may_not_be_written_is_a_problem(tmp_path, monkeypatch):
    """The superuser may write anywhere, so the system's answer is made up."""

    def refuse(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    finding = folder_finding("runs", tmp_path, "--runs DIR")
    assert finding == problem(
        "runs", f"{tmp_path} can't be written: Permission denied", "--runs DIR"
    )


def test_a_file_system_without_locks_is_a_problem(tmp_path, monkeypatch):
    def refuse(file: object, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    finding = folder_finding("runs", tmp_path, "--runs DIR")
    text = f"{tmp_path} takes no file locks: No locks available"
    assert finding == problem("runs", text, "--runs DIR on a file system with flock")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("length", "state"), [(39, "ok"), (40, "problem")])
def test_ray_s_sockets_allow_a_temporary_folder_of_39_bytes(monkeypatch, length, state):
    """Linux takes 107; Ray's own part of the path has 68."""
    monkeypatch.setattr("ablation.doctor.machine.folder_finding", lambda *_: ok("scratch", ""))
    folder = "/tmp/" + "a" * (length - len("/tmp/"))
    finding = scratch_finding({"RAY_TMPDIR": folder}, limit=107)
    assert finding.state == state
    if state == "problem":
        text = f"{folder} is too long for Ray's sockets below it: at most 39 bytes"
        assert finding == problem("scratch", text, "RAY_TMPDIR=DIR, a short path")


def test_a_temporary_folder_that_can_t_be_written_is_a_problem():
    text = "/dev/null can't be written: Not a directory"
    assert scratch_finding({"RAY_TMPDIR": "/dev/null"}).text == text
