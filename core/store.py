"""One memory-mapped 16 kHz file per corpus: decoded once, mapped read-only by every trial.

In a store's folder:
    <fingerprint>/samples.f32       float32 little-endian, utterance after utterance by name
    <fingerprint>/index.json        format, and the names and lengths in that order
    <fingerprint>.left_out.json     of a corpus with bad audio: which utterances, and why
    hashes.json                     content hashes by path, size and time; only a cache
    .lock, .building/               one builder at a time, and what it has so far
    <fingerprint>.frames/           what frozen encoders made of it (core/features.py)
A store gets its name by one rename, so a killed builder leaves nothing that looks complete.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from mmap import ACCESS_READ, MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any

import numpy as np

from core.audio import LOWPASS_WIDTH, ROLLOFF, AudioError, read_audio
from core.config import SAMPLE_RATE_HZ
from core.corpora.utterance import Utterance
from core.fingerprint import Content, fingerprint, hash_files, identity, read_json, write_json
from core.node_cache import near
from core.whole_files import only_builder, remove_abandoned
from core.workers import in_order

__all__ = ["AudioStore", "StoreReport", "build_store", "fingerprint"]

# Of the layout and of what `read_audio` computes; a store of another format is built anew.
FORMAT = sha256(f"1 f32le {SAMPLE_RATE_HZ} hann {LOWPASS_WIDTH} {ROLLOFF}".encode()).hexdigest()[
    :16
]
RELEASE_BYTES = 64 << 20  # O: mapped pages that a process keeps before it gives them back


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """What `build_store` made or found.

    Attributes:
        fingerprint: Opens the store; that of the utterances in it, those left out not among them.
        built: False where the store was already there.
        utterances: Their number.
        total_s: Their duration.
        left_out: Names of the utterances whose audio can't be used, each with the reason.
    """

    fingerprint: str
    built: bool
    utterances: int
    total_s: float
    left_out: dict[str, str]


class AudioStore:
    """A corpus's waveforms, mapped read-only; `waveform` copies nothing.

    Pickles as its path, so that another process maps the same file, or its node's copy of it. A
    process's memory doesn't grow with the corpus: pages that were read go back to the system's
    cache as others are read.

    Attributes:
        fingerprint: Of the utterances it holds.
        frames_folder: For what encoders make of them; may not be there yet.
        lengths: Utterance name to number of samples at 16 kHz.
    """

    def __init__(self, folder: Path, fingerprint: str, at: Callable[[Path], Path] = Path) -> None:
        self.fingerprint = fingerprint
        self._folder = folder.resolve()
        self.frames_folder = self._folder / f"{fingerprint}.frames"
        self.lengths: dict[str, int]
        self.lengths, self._map = _open_complete(self._folder / fingerprint, at)
        starts = accumulate(self.lengths.values(), initial=0)  # one more, the end
        self._starts = dict(zip(self.lengths, starts, strict=False))
        self._samples: np.ndarray = np.frombuffer(self._map, dtype="<f4")
        self._handed_out_bytes = 0

    @classmethod
    def open(cls, folder: Path, fingerprint: str) -> "AudioStore":
        """Map the store of this fingerprint.

        Time and memory grow with the number of utterances, not with their length.

        Raises:
            ValueError: no complete store of this fingerprint and this code's format is there.
        """
        return cls(Path(folder), fingerprint)

    def waveform(self, name: str) -> np.ndarray:
        """A read-only view of one utterance's samples.

        Returns:
            (N,) float32 at 16 kHz. `torch.from_numpy` warns of read-only memory: copy it.
        Raises:
            ValueError: no utterance of this name is in the store.
        """
        if name not in self._starts:
            raise ValueError(
                f"{name!r} must be an utterance of store {self.fingerprint}, found none"
            )
        start, length = self._starts[name], self.lengths[name]
        self._handed_out_bytes += 4 * length
        if self._handed_out_bytes > RELEASE_BYTES:
            self._map.madvise(MADV_DONTNEED)  # views stay valid: their pages are mapped again
            self._handed_out_bytes = 4 * length
        return self._samples[start : start + length]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total_s(self) -> float:
        """The duration of all utterances together."""
        return len(self._samples) / SAMPLE_RATE_HZ

    def __reduce__(self) -> tuple[type["AudioStore"], tuple[Path, str, Callable[[Path], Path]]]:
        return AudioStore, (self._folder, self.fingerprint, near)


def build_store(
    utterances: Sequence[Utterance],
    folder: Path,
    *,
    workers: int,
    on_progress: Callable[[int, int], None] | None = None,
    skip_bad_audio: bool = False,
) -> StoreReport:
    """Decode every utterance once into the store of this corpus, unless it is already there.

    Processes that build in one folder take turns, and the later ones find the work done; the folder
    must lie on a file system with working `flock`. Bad audio is remembered by content: a second
    start neither decodes it again nor forgets it.

    Args:
        workers: Threads that decode; at most twice as many waveforms are in memory.
        on_progress: Called with the utterances done and their number.
        skip_bad_audio: Leave out utterances whose audio can't be used instead of raising.
    Raises:
        AudioError: audio that can't be used, all of it; with `skip_bad_audio`, where nothing is
            left. Also where a file changes meanwhile.
        ValueError: two utterances have one name, or there are none.
        OSError: the store can't be written.
    """
    if not utterances:
        raise ValueError("a store must hold at least one utterance, found none")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    utterances = sorted(utterances, key=lambda item: item.name)
    contents = hash_files(utterances, folder)
    if found := _find(folder, utterances, contents, skip_bad_audio):
        return found
    with only_builder(folder):
        if found := _find(folder, utterances, contents, skip_bad_audio):
            return found  # built by whom we waited for
        building = folder / ".building"
        shutil.rmtree(building, ignore_errors=True)  # of a builder that was killed
        remove_abandoned(folder)
        try:
            _build(building, utterances, contents, workers, on_progress)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        built = _find(folder, utterances, contents, skip_bad_audio)
    assert built, "the store was built just now"
    return replace(built, built=True)


def _find(
    folder: Path,
    utterances: Sequence[Utterance],
    contents: Mapping[Path, Content],
    skip_bad_audio: bool,
) -> StoreReport | None:
    """Look for what a builder left: the store, or the bad audio of this corpus, which is raised."""
    verdict = read_json(folder / f"{identity(utterances, contents)}.left_out.json")
    reasons = _of_format(verdict, "left_out", lambda reason: isinstance(reason, str)) or {}
    bad = [item for item in utterances if item.name in reasons]
    kept = [item for item in utterances if item.name not in reasons]
    if bad and not (skip_bad_audio and kept):
        raise AudioError((os.fspath(item.path), reasons[item.name]) for item in bad)
    try:
        store = AudioStore.open(folder, identity(kept, contents))
    except ValueError:
        return None
    if store.lengths.keys() != {item.name for item in kept}:
        return None  # its index was damaged
    return StoreReport(
        fingerprint=store.fingerprint,
        built=False,
        utterances=len(store),
        total_s=store.total_s,
        left_out={item.name: reasons[item.name] for item in bad},
    )


def _build(
    building: Path,
    utterances: Sequence[Utterance],
    contents: Mapping[Path, Content],
    workers: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write the store aside, note what it leaves out, and give it its name."""
    building.mkdir()
    lengths: dict[str, int] = {}
    left_out: dict[str, str] = {}
    with open(building / "samples.f32", "wb") as file:
        decoded = in_order(lambda item: _decode(item, contents[item.path]), utterances, workers)
        for done, (item, audio) in enumerate(decoded, start=1):
            if isinstance(audio, AudioError):
                left_out[item.name] = audio.problems[0][1]
            else:
                file.write(np.ascontiguousarray(audio, dtype="<f4").data)
                lengths[item.name] = len(audio)
            if on_progress:
                on_progress(done, len(utterances))
        file.flush()
        os.fsync(file.fileno())
    write_json(building / "index.json", {"format": FORMAT, "lengths": lengths})
    if left_out:
        verdict = {"format": FORMAT, "left_out": left_out}
        request = identity(utterances, contents)
        write_json(building.parent / f"{request}.left_out.json", verdict)
    if lengths:
        kept = identity([item for item in utterances if item.name in lengths], contents)
        try:  # another selection of files may have led to it
            is_there = AudioStore.open(building.parent, kept).lengths == lengths
        except ValueError:
            is_there = False
        if not is_there:
            shutil.rmtree(building.parent / kept, ignore_errors=True)  # damaged, or another format
            building.rename(building.parent / kept)


def _decode(item: Utterance, content: Content) -> np.ndarray | AudioError:
    """The waveform, or why it can't be used; raises what is no fault of the audio."""
    audio: np.ndarray | AudioError
    try:
        audio = read_audio(item.path, item.start_s, item.end_s)
    except AudioError as error:
        if isinstance(error.__cause__, OSError) and content.sha256:
            raise  # it could be read a moment ago
        audio = error
    unreadable = content.sha256 is None
    if not content.is_still_in(item.path) or (unreadable and isinstance(audio, np.ndarray)):
        reason = "must not change while the store is being built, found another size or time"
        raise AudioError([(os.fspath(item.path), reason)])
    return audio


def _open_complete(folder: Path, at: Callable[[Path], Path]) -> tuple[dict[str, int], mmap]:
    """The lengths and the mapped samples of a store that is whole and of this format."""
    index = read_json(folder / "index.json")
    lengths = _of_format(index, "lengths", lambda length: type(length) is int and length > 0)
    if lengths is None:
        raise ValueError(f"{folder} must be an audio store of format {FORMAT}, found none")
    promised_bytes = 4 * sum(lengths.values())
    try:
        with open(at(folder / "samples.f32"), "rb") as file:
            mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
    except OSError as error:
        raise ValueError(f"{folder} must hold samples.f32, found: {error.strerror}") from error
    if len(mapped) != promised_bytes:
        raise ValueError(f"{folder} must hold {promised_bytes} bytes, found {len(mapped)}")
    return lengths, mapped


def _of_format(
    content: Mapping[str, Any], part: str, is_valid: Callable[[Any], bool]
) -> dict[str, Any] | None:
    """A part of a store's JSON, by utterance; None where it is damaged or of another format."""
    found = content.get(part)
    if content.get("format") != FORMAT or not isinstance(found, dict):
        return None
    return found if all(map(is_valid, found.values())) else None
