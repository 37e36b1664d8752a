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
import soundfile

import core.fingerprint
import core.store
from core.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from core.corpora.utterance import Utterance
from core.store import AudioStore, StoreReport, build_store, fingerprint

ROOT = Path(__file__).resolve().parents[2]
YESTERDAY_S = time.time() - 86_400


def write(path: Path, samples: np.ndarray, rate_hz: int = SAMPLE_RATE_HZ) -> None:
    """Write 16-bit audio that looks a day old, as files of a corpus do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate_hz, subtype="PCM_16")
    os.utime(path, (YESTERDAY_S, YESTERDAY_S))


def corpus(folder: Path, count: int = 6, seconds: float = 0.05) -> list[Utterance]:
    """Utterances of different lengths and rates, out of alphabetical order."""
    rng = np.random.default_rng(0)
    found = []
    for number in reversed(range(count)):
        path = folder / f"u{number:03}.{'flac' if number % 3 == 1 else 'wav'}"
        samples = rng.uniform(-0.5, 0.5, round(seconds * SAMPLE_RATE_HZ) + number)
        write(path, samples, 48_000 if number == 2 else SAMPLE_RATE_HZ)
        found.append(
            Utterance(
                name=path.stem,
                path=path,
                label="angry" if number % 2 else "sad",
                speaker=f"s{number % 3}",
                session="1",
            )
        )
    return found


def spoil(utterances: list[Utterance]) -> dict[str, str]:
    """Make the first three bad in three ways; returns their names with what must be said."""
    truncated, empty, missing = utterances[:3]
    truncated.path.write_bytes(truncated.path.read_bytes()[:300])
    empty.path.write_bytes(b"")
    missing.path.unlink()
    return {truncated.name: "", empty.name: "an empty file", missing.name: "must exist"}


def leftovers(folder: Path) -> list[str]:
    """What a store's folder holds beside stores, verdicts, the cache and the lock."""
    expected = {"hashes.json", ".lock"}
    entries = [entry for entry in folder.iterdir() if entry.name not in expected]
    return [
        entry.name
        for entry in entries
        if not (entry.is_dir() and len(entry.name) == 16) and ".left_out." not in entry.name
    ]


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
    start_s = time.perf_counter()
    store = AudioStore.open(tmp_path, folder.name)
    elapsed_s = time.perf_counter() - start_s
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


@pytest.mark.parametrize("changed", ["label", "speaker", "session", "name"])
def test_the_fingerprint_changes_with_what_an_utterance_is(tmp_path, changed):
    utterances = corpus(tmp_path)
    altered = [*utterances[:-1], replace(utterances[-1], **{changed: "other"})]
    assert fingerprint(altered) != fingerprint(utterances)


def test_the_fingerprint_changes_with_one_bit_of_audio(tmp_path):
    utterances = corpus(tmp_path)
    before = fingerprint(utterances)
    content = bytearray(utterances[0].path.read_bytes())
    content[-1] ^= 1
    utterances[0].path.write_bytes(content)
    assert fingerprint(utterances) != before


def test_the_fingerprint_ignores_folder_order_and_gender(tmp_path):
    here, there = corpus(tmp_path / "here"), corpus(tmp_path / "there" / "deep")
    there = [replace(item, gender="F") for item in reversed(there)]
    assert fingerprint(here) == fingerprint(there)


def test_the_fingerprint_of_a_known_corpus_is_the_same_everywhere(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"known")
    item = Utterance(name="a", path=tmp_path / "a.wav", label="sad", speaker="1", session="2")
    # sha256 of: [["a", "sad", "1", "2", null, null, "<sha256 of known>"]]
    assert fingerprint([item]) == "457ed2c2c2f58a49"


def test_the_fingerprint_names_every_file_that_cannot_be_read(tmp_path):
    utterances = corpus(tmp_path)
    utterances[0].path.unlink()
    utterances[1].path.unlink()
    with pytest.raises(AudioError, match="2 audio files can't be used") as caught:
        fingerprint(utterances)
    assert [path for path, _ in caught.value.problems] == [
        str(item.path) for item in utterances[:2]
    ]


def test_two_utterances_of_one_name_are_refused(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    doubled = [*utterances, replace(utterances[0], label="sad")]
    for ask in (fingerprint, lambda items: build_store(items, tmp_path / "s", workers=1)):
        with pytest.raises(ValueError, match="utterance names must differ, found 'u005' twice"):
            ask(doubled)


def test_no_utterances_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold at least one utterance, found none"):
        build_store([], tmp_path, workers=1)


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"x": 3}', b"\xff\xfe"])
def test_a_damaged_hash_cache_is_ignored_and_mended(tmp_path, damage):
    utterances = corpus(tmp_path / "corpus")
    before = fingerprint(utterances, tmp_path)
    cache = json.loads((tmp_path / "hashes.json").read_text())
    (tmp_path / "hashes.json").write_bytes(damage)
    assert fingerprint(utterances, tmp_path) == before
    assert cache.items() <= json.loads((tmp_path / "hashes.json").read_text()).items()


def test_wrong_entries_of_the_hash_cache_are_ignored(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    before = fingerprint(utterances, tmp_path)
    cache = json.loads((tmp_path / "hashes.json").read_text())
    wrong = [None, 3, [], ["a", "b", "c"], [1, 2, "0" * 64], [*next(iter(cache.values()))[:2], "0"]]
    (tmp_path / "hashes.json").write_text(json.dumps(dict(zip(cache, wrong, strict=True))))
    assert fingerprint(utterances, tmp_path) == before


def test_a_file_changed_a_moment_ago_is_never_taken_from_the_cache(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    os.utime(utterances[0].path)
    fingerprint(utterances, tmp_path)
    cached = json.loads((tmp_path / "hashes.json").read_text())
    assert sorted(map(os.path.basename, cached)) == sorted(
        item.path.name for item in utterances[1:]
    )


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


@pytest.mark.parametrize("damage", ["samples", "no samples", "index", "format", "empty"])
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
    with pytest.raises(
        ValueError, match=r"must (be an audio store|hold .*bytes|hold samples)|empty"
    ):
        AudioStore.open(tmp_path / "s", report.fingerprint)
    assert build_store(utterances, tmp_path / "s", workers=2) == report
    assert AudioStore.open(tmp_path / "s", report.fingerprint).lengths["u005"] == 805


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
    (tmp_path / "s" / ".hashes.json.0123").touch()  # as if killed in the middle of that
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
