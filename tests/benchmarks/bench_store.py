"""How fast the audio store is built and opened, and what it costs in memory.

    python tests/benchmarks/bench_store.py --hours 1 --workers 2
    python tests/benchmarks/table.py store     # against decoding and resampling each clip anew

Writes a corpus of noise as 16-bit WAV, builds its store in a fresh process, starts a second time,
opens it, and reads it all twice. The aim: 12 hours at 16 kHz at no less than 300 times real time on
two cores, opened in under 50 ms, in memory that does not grow with the corpus.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from core.audio import read_audio  # noqa: E402
from core.corpora.utterance import Utterance  # noqa: E402
from core.store import AudioStore, build_store  # noqa: E402
from tests.benchmarks.paired import Line, faster  # noqa: E402

MIB = 1 << 20
YESTERDAY_S = time.time() - 86_400


def write_corpus(folder: Path, hours: float, clip_s: float, rate_hz: int, suffix: str) -> None:
    """Write clips of noise of 0.5 to 1.5 times the usual length until the hours are full."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-3000, 3000, 1 << 22, dtype=np.int16)
    written_s, number = 0.0, 0
    while written_s < hours * 3600:
        length = int(rng.uniform(0.5, 1.5) * clip_s * rate_hz)
        start = int(rng.integers(0, len(noise) - length))
        path = folder / f"u{number:06}.{suffix}"
        soundfile.write(path, noise[start : start + length], rate_hz, subtype="PCM_16")
        os.utime(path, (YESTERDAY_S, YESTERDAY_S))  # files of a corpus are older than its store
        written_s, number = written_s + length / rate_hz, number + 1


def find_corpus(folder: Path) -> list[Utterance]:
    """Take every file for an utterance."""
    return [
        Utterance(name=path.stem, path=path, label="sad", speaker="1", session="1")
        for path in sorted(folder.iterdir())
    ]


def resident_bytes(kind: str = "VmRSS") -> int:
    """This process's memory, or its peak (`VmHWM`), from Linux's /proc."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/self/status must hold {kind}, found none")


def build(corpus: Path, store: Path, workers: int) -> dict[str, float]:
    """Build the store, or find it, in this process."""
    utterances = find_corpus(corpus)
    before_bytes, start_s = resident_bytes(), time.perf_counter()
    report = build_store(utterances, store, workers=workers)
    return {
        "seconds": time.perf_counter() - start_s,
        "audio_s": report.total_s,
        "growth_bytes": resident_bytes("VmHWM") - before_bytes,
        "utterances": report.utterances,
    }


def read(store: Path) -> dict[str, float]:
    """Open the store in this process and read every sample twice."""
    name = next(entry.name for entry in store.iterdir() if len(entry.name) == 16)
    before_bytes, start_s = resident_bytes(), time.perf_counter()
    opened = AudioStore.open(store, name)
    open_s, peak = time.perf_counter() - start_s, 0.0
    start_s = time.perf_counter()
    for _ in range(2):
        for utterance in opened.lengths:
            peak = max(peak, float(opened.waveform(utterance).max()))
    read_s = time.perf_counter() - start_s
    growth_bytes = resident_bytes("VmHWM") - before_bytes
    return {"open_s": open_s, "read_s": read_s, "growth_bytes": growth_bytes, "peak": peak}


def lines() -> Iterator[Line]:
    """An epoch's clips at 48 kHz, as RAVDESS has them."""
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at)
        (folder / "corpus").mkdir()
        write_corpus(folder / "corpus", hours=0.25, clip_s=4.5, rate_hz=48_000, suffix="wav")
        utterances = find_corpus(folder / "corpus")
        report = build_store(utterances, folder / "store", workers=2)
        store = AudioStore.open(folder / "store", report.fingerprint)
        yield faster(
            f"{len(utterances)} clips of 48 kHz from the store, against soundfile and resampling",
            lambda: [store.waveform(item.name).sum() for item in utterances],
            lambda: [read_audio(item.path).sum() for item in utterances],
            aim="",
        )


def in_fresh_process(*arguments: object) -> dict[str, float]:
    """Run one step of this script alone, so that its memory is its own."""
    command = [sys.executable, __file__, "--step", *map(str, arguments)]
    result: dict[str, float] = json.loads(subprocess.check_output(command, cwd=ROOT))
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--clip-s", type=float, default=4.5, help="IEMOCAP's mean is 4.55 s")
    parser.add_argument("--rate-hz", type=int, default=16_000)
    parser.add_argument("--format", choices=["wav", "flac"], default="wav")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where to write; the system's by default")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    match options.step:
        case ["build", corpus, store, workers]:
            print(json.dumps(build(Path(corpus), Path(store), int(workers))))
            return
        case ["read", store]:
            print(json.dumps(read(Path(store))))
            return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        corpus, store = Path(folder) / "corpus", Path(folder) / "store"
        corpus.mkdir()
        write_corpus(corpus, options.hours, options.clip_s, options.rate_hz, options.format)
        first = in_fresh_process("build", corpus, store, options.workers)
        second = in_fresh_process("build", corpus, store, options.workers)
        opened = in_fresh_process("read", store)
    audio_s = first["audio_s"]
    speed = audio_s / first["seconds"]
    source = f"{audio_s / 3600:.2f} h of {options.rate_hz} Hz {options.format}"
    print(f"corpus   {first['utterances']:.0f} utterances, {source}")
    print(f"build    {first['seconds']:.2f} s = {speed:.0f}x real time (aim: 300x)")
    print(f"         12 h in {12 * 3600 / speed:.0f} s, memory {mib(first['growth_bytes'])}")
    print(f"again    {second['seconds']:.2f} s")
    print(f"open     {opened['open_s'] * 1000:.1f} ms (aim: 50 ms)")
    print(f"read     twice in {opened['read_s']:.2f} s = {2 * audio_s / opened['read_s']:.0f}x")
    print(f"         memory {mib(opened['growth_bytes'])} of a {mib(4 * audio_s * 16_000)} store")


def mib(size_bytes: float) -> str:
    """Bytes as people read them."""
    return f"{size_bytes / MIB:.0f} MiB"


if __name__ == "__main__":
    main()
