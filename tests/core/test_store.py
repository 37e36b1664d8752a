"""The store: bit-exact, shared, one builder at a time, and never complete by mistake."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import core.fingerprint
import core.store
from core.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from core.corpora.utterance import Utterance
from core.store import AudioStore, StoreReport, build_store, fingerprint
from tests.core.small_audio import corpus, leftovers, write

ROOT = Path(__file__).resolve().parents[2]


def spoil(utterances: list[Utterance]) -> dict[str, str]:
    """Make the first three bad in three ways; returns their names with what must be said."""
    truncated, empty, missing = utterances[:3]
    truncated.path.write_bytes(truncated.path.read_bytes()[:300])
    empty.path.write_bytes(b"")
    missing.path.unlink()
    return {truncated.name: "", empty.name: "an empty file", missing.name: "must exist"}


def test_every_waveform_comes_back_bit_for_bit(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    seen: list[tuple[int, int]] = []
    report = build_store(
        utterances, tmp_path / "s", workers=2, on_progress=lambda *at: seen.append(at)
    )
    store = AudioStore.open(tmp_path / "s", report.fingerprint)
    for item in utterances:
        expected = read_audio(item.path)
        np.testing.assert_array_equal(store.waveform(item.name), expected)
        assert store.lengths[item.name] == len(expected)
    assert len(store) == 6
    assert store.total_s == sum(store.lengths.values()) / SAMPLE_RATE_HZ
    assert seen == [(done, 6) for done in range(1, 7)]
    assert report == StoreReport(
        fingerprint=fingerprint(utterances),
        built=True,
        utterances=6,
        total_s=store.total_s,
        left_out={},
    )


def test_a_second_build_opens_the_first(tmp_path, monkeypatch):
    utterances = corpus(tmp_path / "corpus")
    first = build_store(utterances, tmp_path / "s", workers=2)
    monkeypatch.setattr(core.store, "read_audio", None)
    monkeypatch.setattr(core.fingerprint, "file_digest", None)  # hashes come from the cache too
    assert build_store(utterances, tmp_path / "s", workers=2) == replace(first, built=False)


def test_the_store_depends_on_neither_workers_nor_order(tmp_path):
    utterances = corpus(tmp_path / "corpus", count=20)
    first = build_store(utterances, tmp_path / "a", workers=1)
    second = build_store(sorted(utterances, key=str), tmp_path / "b", workers=4)
    assert first == second
    for name in ("samples.f32", "index.json"):
        one, other = (tmp_path / folder / first.fingerprint / name for folder in "ab")
        assert one.read_bytes() == other.read_bytes()


def test_parts_of_one_recording_become_utterances(tmp_path):
    write(tmp_path / "a.wav", np.arange(16_000, dtype=np.int16))
    whole = Utterance(name="w", path=tmp_path / "a.wav", label="sad", speaker="1", session="1")
    parts = [
        replace(whole, name=f"p{at}", start_s=at / 10, end_s=(at + 1) / 10) for at in range(10)
    ]
    report = build_store(parts, tmp_path / "s", workers=2)
    store = AudioStore.open(tmp_path / "s", report.fingerprint)
    joined = np.concatenate([store.waveform(f"p{at}") for at in range(10)])
    np.testing.assert_array_equal(joined * 32768, np.arange(16_000))
    assert fingerprint(parts) != fingerprint([*parts[:-1], replace(parts[-1], end_s=0.99)])


def test_waveforms_are_read_only_views_of_the_map(tmp_path):
    report = build_store(corpus(tmp_path / "corpus"), tmp_path / "s", workers=2)
    store = AudioStore.open(tmp_path / "s", report.fingerprint)
    waveform = store.waveform("u001")
    assert np.shares_memory(waveform, store.waveform("u001"))
    with pytest.raises(ValueError, match="read-only"):
        waveform[0] = 1


def test_an_unknown_utterance_is_refused_by_name(tmp_path):
    report = build_store(corpus(tmp_path / "corpus"), tmp_path / "s", workers=2)
    with pytest.raises(ValueError, match=f"'x' must be an utterance of store {report.fingerprint}"):
        AudioStore.open(tmp_path / "s", report.fingerprint).waveform("x")


def test_a_store_pickles_as_its_path(tmp_path, monkeypatch):
    utterances = corpus(tmp_path / "corpus", seconds=1)
    monkeypatch.chdir(tmp_path)
    report = build_store(utterances, Path("s"), workers=2)
    pickled = pickle.dumps(AudioStore.open(Path("s"), report.fingerprint))
    assert len(pickled) < 500
    monkeypatch.chdir("/")
    copy = pickle.loads(pickled)
    np.testing.assert_array_equal(copy.waveform("u003"), read_audio(utterances[2].path))
    assert copy.fingerprint == report.fingerprint


def test_a_store_of_ten_thousand_utterances_opens_at_once(tmp_path):
    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    lengths = {f"Ses01F_impro01_F{number:05}": 3 for number in range(10_000)}
    np.arange(30_000, dtype="<f4").tofile(folder / "samples.f32")
    (folder / "index.json").write_text(
        json.dumps({"format": core.store.FORMAT, "lengths": lengths})
    )
    start_s = time.process_time()
    store = AudioStore.open(tmp_path, folder.name)
    elapsed_s = time.process_time() - start_s
    assert store.waveform("Ses01F_impro01_F09999").tolist() == [29_997, 29_998, 29_999]
    assert elapsed_s < 0.05 * 5  # 50 ms is the aim; other work shares the machine


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc/self/statm is absent")
def test_reading_a_whole_store_leaves_no_more_than_the_limit_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(core.store, "RELEASE_BYTES", 4 << 20)
    folder = tmp_path / "0123456789abcdef"
    folder.mkdir()
    lengths = {f"u{number}": 1 << 18 for number in range(64)}  # of 1 MiB each
    np.arange(64 << 18, dtype="<f4").tofile(folder / "samples.f32")
    (folder / "index.json").write_text(
        json.dumps({"format": core.store.FORMAT, "lengths": lengths})
    )
    store = AudioStore.open(tmp_path, folder.name)
    first = store.waveform("u0")
    before_bytes, sums = resident_bytes(), []
    for name in store.lengths:
        sums.append(float(store.waveform(name)[::1024].sum(dtype=np.float64)))
        assert resident_bytes() - before_bytes < 12 << 20
    assert sums[1] - sums[0] == (1 << 18) * 256
    assert first[:3].tolist() == [0, 1, 2]  # a view outlives the release of its pages


def test_two_utterances_of_one_name_are_refused(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    doubled = [*utterances, replace(utterances[0], label="sad")]
    for ask in (fingerprint, lambda items: build_store(items, tmp_path / "s", workers=1)):
        with pytest.raises(ValueError, match="utterance names must differ, found 'u005' twice"):
            ask(doubled)


def test_no_utterances_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold at least one utterance, found none"):
        build_store([], tmp_path, workers=1)


def test_all_bad_audio_is_gathered_and_named_before_anything_is_kept(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    bad = spoil(utterances)
    for _ in range(2):  # the second time from memory
        with pytest.raises(AudioError, match="3 audio files can't be used") as caught:
            build_store(utterances, tmp_path / "s", workers=2)
        reasons = {Path(path).stem: reason for path, reason in caught.value.problems}
        assert reasons.keys() == bad.keys()
        assert all(bad[name] in reasons[name] for name in bad)


def test_bad_audio_is_left_out_by_leave_and_the_rest_has_its_own_fingerprint(tmp_path, monkeypatch):
    utterances = corpus(tmp_path / "corpus")
    bad = spoil(utterances)
    report = build_store(utterances, tmp_path / "s", workers=2, skip_bad_audio=True)
    kept = [item for item in utterances if item.name not in bad]
    assert report.left_out.keys() == bad.keys()
    assert (report.built, report.utterances) == (True, 3)
    assert report.fingerprint == fingerprint(kept)
    assert set(AudioStore.open(tmp_path / "s", report.fingerprint).lengths) == {
        item.name for item in kept
    }
    monkeypatch.setattr(core.store, "read_audio", None)
    again = build_store(utterances, tmp_path / "s", workers=2, skip_bad_audio=True)
    assert again == replace(report, built=False)
    assert build_store(kept, tmp_path / "s", workers=2) == replace(again, left_out={})


def test_mended_audio_is_taken_in(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    content = utterances[0].path.read_bytes()
    utterances[0].path.write_bytes(content[:300])
    with pytest.raises(AudioError, match=str(utterances[0].path)):
        build_store(utterances, tmp_path / "s", workers=2)
    utterances[0].path.write_bytes(content)
    assert build_store(utterances, tmp_path / "s", workers=2).utterances == 6


def test_nothing_but_bad_audio_is_refused_even_by_leave(tmp_path):
    utterances = corpus(tmp_path / "corpus", count=3)
    spoil(utterances)
    with pytest.raises(AudioError, match="3 audio files can't be used"):
        build_store(utterances, tmp_path / "s", workers=2, skip_bad_audio=True)
    assert not leftovers(tmp_path / "s")


def test_a_file_that_changes_while_the_store_is_built_stops_it(tmp_path):
    utterances = corpus(tmp_path / "corpus", count=20)
    last = max(utterances, key=lambda item: item.name)

    def change(done: int, total: int) -> None:
        if done == 1:
            write(last.path, np.zeros(99))

    with pytest.raises(AudioError, match=rf"{last.name}.*must not change while the store is being"):
        build_store(utterances, tmp_path / "s", workers=1, on_progress=change)
    assert not leftovers(tmp_path / "s")
    assert build_store(utterances, tmp_path / "s", workers=1).utterances == 20


def test_no_more_waveforms_are_decoded_than_twice_the_workers_ahead(tmp_path, monkeypatch):
    utterances = corpus(tmp_path / "corpus", count=30)
    started, ahead = [], []

    def count(*arguments: object) -> np.ndarray:
        started.append(1)
        return read_audio(*arguments)

    monkeypatch.setattr(core.store, "read_audio", count)
    build_store(
        utterances,
        tmp_path / "s",
        workers=2,
        on_progress=lambda done, _: ahead.append(len(started) - done),
    )
    assert max(ahead) <= 4


def test_a_build_that_is_stopped_leaves_nothing_behind(tmp_path):
    utterances = corpus(tmp_path / "corpus")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_store(utterances, tmp_path / "s", workers=2, on_progress=stop)
    assert not leftovers(tmp_path / "s")
    with pytest.raises(ValueError, match="must be an audio store of format"):
        AudioStore.open(tmp_path / "s", fingerprint(utterances))


@pytest.mark.parametrize(
    "damage", ["samples", "no samples", "index", "format", "empty", "lengths", "a length"]
)
def test_a_damaged_store_is_refused_and_built_anew(tmp_path, damage):
    utterances = corpus(tmp_path / "corpus")
    report = build_store(utterances, tmp_path / "s", workers=2)
    folder = tmp_path / "s" / report.fingerprint
    match damage:
        case "samples":
            os.truncate(folder / "samples.f32", 1_000)
        case "no samples":
            (folder / "samples.f32").unlink()
        case "index":
            os.truncate(folder / "index.json", 50)
        case "format":
            index = json.loads((folder / "index.json").read_text())
            (folder / "index.json").write_text(json.dumps(index | {"format": "older"}))
        case "empty":
            os.truncate(folder / "samples.f32", 0)
        case "lengths" | "a length":
            index = json.loads((folder / "index.json").read_text())
            lengths = None if damage == "lengths" else index["lengths"] | {"u005": "805"}
            (folder / "index.json").write_text(json.dumps(index | {"lengths": lengths}))
    with pytest.raises(
        ValueError, match=r"must (be an audio store|hold .*bytes|hold samples)|empty"
    ):
        AudioStore.open(tmp_path / "s", report.fingerprint)
    assert build_store(utterances, tmp_path / "s", workers=2) == report
    assert AudioStore.open(tmp_path / "s", report.fingerprint).lengths["u005"] == 805


def test_a_store_that_names_other_utterances_is_built_anew(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    report = build_store(utterances, tmp_path / "s", workers=2)
    path = tmp_path / "s" / report.fingerprint / "index.json"
    path.write_text(path.read_text().replace("u005", "u05x"))
    assert build_store(utterances, tmp_path / "s", workers=2) == report
    assert AudioStore.open(tmp_path / "s", report.fingerprint).lengths["u005"] == 805
    assert not leftovers(tmp_path / "s")


@pytest.mark.parametrize("left_out", [None, [], {"u005": 3}, "u005"], ids=str)
def test_a_damaged_note_of_bad_audio_is_made_anew(tmp_path, left_out):
    utterances = corpus(tmp_path / "corpus")
    bad = spoil(utterances)
    report = build_store(utterances, tmp_path / "s", workers=2, skip_bad_audio=True)
    (path,) = (tmp_path / "s").glob("*.left_out.json")
    path.write_text(json.dumps({"format": core.store.FORMAT, "left_out": left_out}))
    assert build_store(utterances, tmp_path / "s", workers=2, skip_bad_audio=True) == report
    assert report.left_out.keys() == bad.keys()


CHILD = """
import pickle, sys, time
from pathlib import Path
from core.store import build_store
utterances = pickle.loads(Path(sys.argv[1]).read_bytes())
def slowly(done, total):
    print(done, flush=True)
    time.sleep(float(sys.argv[3]))
report = build_store(utterances, Path(sys.argv[2]), workers=2, on_progress=slowly)
print(report.fingerprint, report.built, flush=True)
"""
READER = """
import pickle, sys
from hashlib import sha256
from pathlib import Path
store = pickle.loads(Path(sys.argv[1]).read_bytes())
for _ in range(20):
    seen = sha256(b"".join(store.waveform(name) for name in store.lengths)).hexdigest()
print(seen)
"""


def child(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def pickled(tmp_path) -> tuple[list[Utterance], Path]:
    utterances = corpus(tmp_path / "corpus", count=12)
    utterances = [
        item for item in utterances if item.name != "u002"
    ]  # spares torch to the children
    path = tmp_path / "utterances.pickle"
    path.write_bytes(pickle.dumps(utterances))
    return utterances, path


def test_of_two_processes_at_once_one_builds_and_one_waits(tmp_path, pickled):
    utterances, path = pickled
    children = [child(CHILD, path, tmp_path / "s", 0.05) for _ in range(2)]
    printed = [builder.communicate(timeout=60)[0].split() for builder in children]
    assert [builder.returncode for builder in children] == [0, 0]
    assert [words[-2] for words in printed] == [fingerprint(utterances)] * 2
    assert sorted(words[-1] for words in printed) == ["False", "True"]
    assert sorted(len(words) for words in printed) == [2, 2 + len(utterances)]
    assert not leftovers(tmp_path / "s")


@pytest.mark.parametrize("killed_after", [1, 6, 11])
def test_a_killed_builder_leaves_nothing_that_looks_complete(tmp_path, pickled, killed_after):
    utterances, path = pickled
    with child(CHILD, path, tmp_path / "s", 0.05) as builder:
        assert builder.stdout is not None
        for line in builder.stdout:
            if int(line) == killed_after:
                break
        os.kill(builder.pid, signal.SIGKILL)
    assert builder.returncode == -signal.SIGKILL
    assert leftovers(tmp_path / "s") == [".building"]
    (tmp_path / "s" / ".hashes.json.0123456789abcdef").touch()  # as if killed in the middle of that
    with pytest.raises(ValueError, match="must be an audio store of format"):
        AudioStore.open(tmp_path / "s", fingerprint(utterances))
    report = build_store(utterances, tmp_path / "s", workers=2)
    assert report.built
    assert not leftovers(tmp_path / "s")
    store = AudioStore.open(tmp_path / "s", report.fingerprint)
    for item in utterances:
        np.testing.assert_array_equal(store.waveform(item.name), read_audio(item.path))


def test_a_builder_that_waits_for_a_killed_one_takes_over(tmp_path, pickled):
    utterances, path = pickled
    with child(CHILD, path, tmp_path / "s", 30) as builder:
        assert builder.stdout is not None
        builder.stdout.readline()
        killer = threading.Timer(0.3, os.kill, (builder.pid, signal.SIGKILL))
        killer.start()
        assert build_store(utterances, tmp_path / "s", workers=2).built
        killer.join()


def test_concurrent_readers_see_the_same_samples(tmp_path, pickled):
    utterances, _ = pickled
    report = build_store(utterances, tmp_path / "s", workers=2)
    path = tmp_path / "store.pickle"
    path.write_bytes(pickle.dumps(AudioStore.open(tmp_path / "s", report.fingerprint)))
    readers = [child(READER, path) for _ in range(3)]
    printed = {reader.communicate(timeout=60)[0] for reader in readers}
    content = (tmp_path / "s" / report.fingerprint / "samples.f32").read_bytes()
    assert printed == {f"{core.store.sha256(content).hexdigest()}\n"}
