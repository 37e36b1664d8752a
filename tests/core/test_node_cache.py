"""A node's copies of shared files: made once, mapped instead, never stale."""

import errno
import os
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.features import FrameStore
from core.node_cache import near
from core.store import AudioStore, build_store
from tests.core.small_audio import corpus

FRAMES = np.arange(6, dtype="<f2")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "local" / "cache"
    monkeypatch.setenv("SER_CACHE", str(folder))
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    path = tmp_path / "shared" / "layer_00.f16"
    path.parent.mkdir()
    path.write_bytes(FRAMES.tobytes())
    return path


def copies(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.name != ".lock")


def test_without_a_cache_the_file_itself_is_read(shared, monkeypatch):
    monkeypatch.delenv("SER_CACHE", raising=False)
    assert near(shared) == shared


def test_a_file_is_copied_once_whoever_asks(shared, cache, monkeypatch):
    copied = []
    whole = shutil.copyfileobj
    monkeypatch.setattr(
        "core.node_cache.shutil.copyfileobj",
        lambda source, target, size: (copied.append(1), whole(source, target, size)),
    )
    with ThreadPoolExecutor(4) as threads:
        found = set(threads.map(near, [shared] * 8))
    assert [found.pop().read_bytes()] == [FRAMES.tobytes()]
    assert not found
    assert len(copied) == len(copies(cache)) == 1


def test_a_file_that_was_written_anew_is_copied_anew(shared, cache):
    before = near(shared)
    shared.write_bytes((2 * FRAMES).tobytes())  # of the same size
    os.utime(shared, (1, 1))
    assert near(shared).read_bytes() == (2 * FRAMES).tobytes()
    assert before.read_bytes() == FRAMES.tobytes()  # whoever has mapped it keeps it


def test_a_full_disk_is_named_and_leaves_no_part(shared, cache, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("core.node_cache.shutil.copyfileobj", full)
    rule = f"SER_CACHE must be a folder with room for the 12 bytes of {shared}, found at {cache}: "
    with pytest.raises(OSError, match=re.escape(rule + "No space left on device")):
        near(shared)
    assert copies(cache) == []


def test_another_process_hears_its_node_s_copy_and_the_same(tmp_path, cache):
    utterances = corpus(tmp_path / "audio", 2)
    folder = tmp_path / "stores"
    report = build_store(utterances, folder, workers=1)
    here = AudioStore.open(folder, report.fingerprint)
    assert not cache.exists()  # who builds a store reads it where it is
    there = pickle.loads(pickle.dumps(here))
    original = folder / report.fingerprint / "samples.f32"
    assert [path.read_bytes() for path in copies(cache)] == [original.read_bytes()]
    original.write_bytes(bytes(original.stat().st_size))  # what is mapped is not this
    for name in here.lengths:
        assert there.waveform(name).any()
        assert not here.waveform(name).any()


def test_stored_frames_are_mapped_from_the_copy(shared, cache):
    (shared.parent / "index.json").write_text('{"format": 1, "features": 2, "lengths": {"a": 3}}')
    frames = FrameStore(shared.parent, [0], near)
    shared.write_bytes(bytes(12))
    assert frames.read("a").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert len(copies(cache)) == 1
