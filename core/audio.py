"""From an audio file to the waveform that encoders hear: mono, 16 kHz, float32.

Nothing is repaired in silence: libsndfile shortens a truncated WAV to what is left of it, and a
half-written corpus then trains without a word. Only WAV and FLAC are read, because their headers
say how much sound the file must hold.
"""

import math
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile

from core.config import SAMPLE_RATE_HZ
from core.corpora.utterance import printable

LOWPASS_WIDTH = 6  # torchaudio's default, the field's usual resampler: zero crossings on each side
ROLLOFF = 0.99  # torchaudio's default: the cut-off as a share of the lower Nyquist frequency
# O: the usual rates are multiples of 25 Hz, and the filter bank of another would fill gigabytes.
RATE_STEP_HZ, LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 25, 4_000, 192_000
END_TOLERANCE_S = 0.01  # O: times in manifests are rounded, often to hundredths
BLOCK_VALUES = 1 << 20  # O: decoded at once; bounds memory whatever a header promises
MAX_PROBLEMS_SHOWN = 20  # O: a screenful; the rest is counted
# WAV format tags. Of others, such as ADPCM, no header says how many samples there must be.
INTEGER, FLOAT, A_LAW, MU_LAW, EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
FORMAT_BYTES = 26  # of a format chunk: to the end of the tag that an extensible one holds


class AudioError(ValueError):
    """Audio that can't be used; names each file, the rule that it breaks and what was found.

    Attributes:
        problems: (path, reason) for each file, in the order they were found.
    """

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)  # so that it pickles

    def __str__(self) -> str:
        lines = [f"{printable(path)}: {reason}" for path, reason in self.problems]
        if len(lines) == 1:
            return lines[0]
        shown = [f"  {line}" for line in lines[:MAX_PROBLEMS_SHOWN]]
        if rest := len(lines) - len(shown):
            shown.append(f"  and {rest} more")
        return "\n".join([f"{len(lines)} audio files can't be used", *shown])


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What a file that was decoded to its end is."""

    rate_hz: int
    channels: int
    duration_s: float


class _FlawError(Exception):
    """What is wrong with the file at hand, said without its path."""


def read_audio(
    path: Path | str, start_s: float | None = None, end_s: float | None = None
) -> np.ndarray:
    """Decode a WAV or FLAC file, or a part of it, to the waveform that encoders hear.

    Channels are averaged. Other rates are resampled by `torchaudio.functional.resample` with a
    Hann-windowed sinc of `LOWPASS_WIDTH` zero crossings and a cut-off at `ROLLOFF` of the lower
    Nyquist frequency, to ceil(n · 16000 / rate) samples. A part is cut before it is resampled.

    A WAV whose size a stream left open (0 or 0xFFFFFFFF in its data chunk) is refused: nobody can
    tell whether it is whole.

    Args:
        path: The file; symbolic links are followed.
        start_s: Where the part begins, or None for the file's beginning.
        end_s: Where it ends, or None for the file's end; `END_TOLERANCE_S` past the end is the end.
    Returns:
        (N,) float32, finite, N at least 1. Integer encodings lie in [-1, 1).
    Raises:
        AudioError: the file is missing, no file, empty, neither WAV nor FLAC, damaged, shorter than
            its header promises, without samples, of an unusual rate, or holds NaN or infinity; or
            the part does not lie inside it.
    Source: the filter and its constants are O; P and C say nothing about resampling.
    """
    with _open_sound(path) as sound:
        samples = _decode(sound, *_part(sound, start_s, end_s))
        return _resample(samples, sound.samplerate)


def probe(path: Path | str) -> AudioFacts:
    """Decode a file to its end, keeping nothing of it but what it is.

    Raises:
        AudioError: as `read_audio` does.
    """
    with _open_sound(path) as sound:
        for _ in _blocks(sound, 0, sound.frames):
            pass
        return AudioFacts(sound.samplerate, sound.channels, sound.frames / sound.samplerate)


@contextmanager
def _open_sound(path: Path | str) -> Iterator[soundfile.SoundFile]:
    """Open a file whose header holds, and name the file in whatever turns out wrong with it."""
    try:
        with _open_file(path) as file:
            _check_opening(file)
            # By its descriptor: libsndfile would trust the name's extension over the content.
            with soundfile.SoundFile(file.fileno(), closefd=False) as sound:
                _check_header(sound)
                yield sound
    except _FlawError as flaw:
        raise AudioError([(os.fspath(path), str(flaw))]) from None
    except OSError as error:
        reason = f"must be a readable file, found: {error.strerror or error}"
        raise AudioError([(os.fspath(path), reason)]) from error
    except soundfile.LibsndfileError as error:
        reason = f"must be an intact WAV or FLAC file, found: {error.error_string}"
        raise AudioError([(os.fspath(path), reason)]) from error


def _open_file(path: Path | str) -> FileIO:
    try:
        status = os.stat(path)  # before opening: a named pipe would wait for its writer
    except FileNotFoundError:
        raise _FlawError("must exist, found nothing there") from None
    except ValueError:
        raise _FlawError("must be a path, found one with a NUL character") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "something else"
        raise _FlawError(f"must be a file, found {kind}")
    if not status.st_size:
        raise _FlawError("must hold audio, found an empty file of 0 bytes")
    return open(path, "rb", buffering=0)  # libsndfile reads on from the descriptor's own position


def _check_opening(file: FileIO) -> None:
    """Check a WAV, let a FLAC pass, and refuse all else before libsndfile opens it.

    libsndfile would try two dozen formats on it, some by decoders that write on the terminal.
    Leaves the file at its start.
    """
    opening = file.read(12)
    if opening[:4] == b"RIFF" and opening[8:] == b"WAVE":
        _check_wav(file)
    elif opening[:4] != b"fLaC":
        raise _FlawError(f"must be WAV (RIFF) or FLAC, found a file that begins with {opening!r}")
    file.seek(0)


def _check_wav(file: FileIO) -> None:
    """Check that a WAV holds what its header promises.

    libsndfile gives what is left of a truncated file, and noise for samples of another size than
    the header leaves room for.
    """
    name, start, chunk_bytes = b"", 12, 0
    while name != b"data":
        file.seek(start)
        header = file.read(8)
        if len(header) < 8:
            raise _FlawError("a WAV must hold a data chunk, found none")
        name, chunk_bytes = header[:4], int.from_bytes(header[4:], "little")
        if name == b"fmt ":
            _check_wav_format(file.read(FORMAT_BYTES))
        start += 8 + chunk_bytes + chunk_bytes % 2  # chunks are padded to even sizes
    held_bytes = os.fstat(file.fileno()).st_size - file.tell()
    if not chunk_bytes:
        raise _FlawError(f"must hold samples, its header says 0 bytes of them, found {held_bytes}")
    if chunk_bytes > held_bytes:
        raise _FlawError(
            f"must hold the {chunk_bytes} bytes of samples that its header promises, "
            f"found {held_bytes}"
        )


def _check_wav_format(content: bytes) -> None:
    if len(content) < 16:
        raise _FlawError("a WAV must hold a whole format chunk, found the file's end")
    tag, channels, _, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", content)
    if tag == EXTENSIBLE and len(content) == FORMAT_BYTES:
        (tag,) = struct.unpack_from("<H", content, FORMAT_BYTES - 2)
    if tag not in (INTEGER, FLOAT, A_LAW, MU_LAW):
        raise _FlawError(
            f"a WAV's samples must be integer, float, A-law or μ-law, found format 0x{tag:04x}"
        )
    bits = 8 if tag in (A_LAW, MU_LAW) else bits  # as libsndfile takes them, whatever is said
    expected_bytes = channels * -(-bits // 8)
    if frame_bytes != expected_bytes:
        raise _FlawError(
            f"a WAV's {channels} channels of {bits} bits must take {expected_bytes} bytes, "
            f"found {frame_bytes} in its header"
        )


def _check_header(sound: soundfile.SoundFile) -> None:
    """Refuse what can't be checked for completeness, and what no corpus of speech has."""
    rate_hz = sound.samplerate
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ or rate_hz % RATE_STEP_HZ:
        raise _FlawError(
            f"the sample rate must be a multiple of {RATE_STEP_HZ} Hz in "
            f"{LOWEST_RATE_HZ}..{HIGHEST_RATE_HZ} Hz, found {rate_hz} Hz"
        )
    if not sound.frames:
        raise _FlawError("must hold samples, found none")
    if sound.frames > 1 << 36:  # FLAC's field has 36 bits; libsndfile says 2^63 - 1 for unknown
        raise _FlawError("a FLAC's header must say how many samples it holds, found that left open")


def _part(
    sound: soundfile.SoundFile, start_s: float | None, end_s: float | None
) -> tuple[int, int]:
    """The first sample of the part, and the one after its last, at the file's rate."""
    if start_s is None and end_s is None:
        return 0, sound.frames
    length_s = sound.frames / sound.samplerate
    start, end = start_s or 0.0, length_s if end_s is None else end_s
    if not (math.isfinite(start) and 0 <= start < end <= length_s + END_TOLERANCE_S):
        raise _FlawError(
            f"a part must begin before it ends and lie in 0..{length_s:.3f} s, "
            f"found {start:g}..{end:g} s"
        )
    first = round(start * sound.samplerate)
    stop = min(round(end * sound.samplerate), sound.frames)
    if first >= stop:
        raise _FlawError(f"a part must hold samples, found none in {start:g}..{end:g} s")
    # A part near the beginning must not hide that the end is missing.
    sound.seek(sound.frames - 1)
    if not len(sound.read(1, dtype="float32")):
        raise _FlawError(
            f"must hold the {sound.frames} samples that its header promises, found fewer"
        )
    sound.seek(first)
    return first, stop


def _decode(sound: soundfile.SoundFile, first: int, stop: int) -> np.ndarray:
    """Read (N,) float32 from where the file stands, channels averaged."""
    blocks = [
        block[:, 0]  # (N,)
        if sound.channels == 1
        else block.mean(axis=1, dtype=np.float64).astype(np.float32)  # float64: no sum overflows
        for block in _blocks(sound, first, stop)
    ]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _blocks(sound: soundfile.SoundFile, first: int, stop: int) -> Iterator[np.ndarray]:
    """Read on from where the file stands, (N, channels) float32 at a time."""
    missing = stop - first
    while missing:
        frames = min(missing, BLOCK_VALUES // sound.channels)
        block = sound.read(frames, dtype="float32", always_2d=True)
        if not len(block):
            raise _FlawError(
                f"must hold the {stop} samples that its header promises, found {stop - missing}"
            )
        _check_finite(block)
        yield block
        missing -= len(block)


def _resample(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Bring (N,) float32 to 16 kHz."""
    if rate_hz == SAMPLE_RATE_HZ:
        return samples
    # Here, because most corpora are at 16 kHz and torch takes seconds to import.
    import torch
    from torchaudio.functional import resample

    with torch.inference_mode():
        resampled: np.ndarray = resample(
            torch.from_numpy(samples),
            rate_hz,
            SAMPLE_RATE_HZ,
            lowpass_filter_width=LOWPASS_WIDTH,
            rolloff=ROLLOFF,
        ).numpy()
    _check_finite(resampled)
    return resampled


def _check_finite(samples: np.ndarray) -> None:
    if bad := samples.size - np.count_nonzero(np.isfinite(samples)):
        raise _FlawError(f"samples must be finite, found {bad} NaN or infinite")
