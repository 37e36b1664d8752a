"""Decoding: the numbers of known signals, and every kind of bad file by its message."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio import SAMPLE_RATE_HZ, AudioError, AudioFacts, probe, read_audio

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
PUBLISHED = sorted((SHARED / "data" / "ravdess48k").rglob("*.wav"))
HALF_STEP = 0.5 / 32768  # of 16-bit quantisation


def sine(frequency_hz: float, seconds: float, rate_hz: int) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def write(path: Path, samples: np.ndarray, rate_hz: int = SAMPLE_RATE_HZ, **how: str) -> Path:
    soundfile.write(path, samples, rate_hz, **{"subtype": "PCM_16", **how})
    return path


def refusal(path: Path, start_s: float | None = None, end_s: float | None = None) -> str:
    """The reason that the error gives, after checking that it opens with the path."""
    with pytest.raises(AudioError) as caught:
        read_audio(path, start_s, end_s)
    shown = str(path) if str(path).isprintable() else repr(str(path))
    assert str(caught.value).startswith(f"{shown}: ")
    return str(caught.value).removeprefix(f"{shown}: ")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_16_bit_samples_are_divided_by_32768_and_nothing_else(tmp_path, suffix):
    integers = np.array([0, 1, -1, 12345, -32768, 32767], dtype=np.int16)
    waveform = read_audio(write(tmp_path / f"a.{suffix}", integers))
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform * 32768, integers)


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_24", 2**-23), ("FLOAT", 2**-24), ("ULAW", 0.02)]
)
def test_other_encodings_give_the_same_signal_to_their_precision(tmp_path, subtype, step):
    samples = sine(440, 0.1, SAMPLE_RATE_HZ)
    waveform = read_audio(write(tmp_path / "a.wav", samples, subtype=subtype))
    np.testing.assert_allclose(waveform, samples, atol=step)


def test_stereo_is_the_mean_of_its_channels(tmp_path):
    integers = np.array([[100, 300], [-5, -6], [32767, 32767], [-32768, 32767]], dtype=np.int16)
    waveform = read_audio(write(tmp_path / "a.wav", integers))
    np.testing.assert_array_equal(waveform * 32768, [200, -5.5, 32767, -0.5])


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000, 96_000])
def test_a_sine_at_another_rate_becomes_the_sine_at_16_khz(tmp_path, rate_hz):
    path = write(tmp_path / "a.wav", sine(440, 0.5, rate_hz), rate_hz, subtype="FLOAT")
    waveform = read_audio(path)
    expected = sine(440, 0.5, SAMPLE_RATE_HZ)
    assert len(waveform) == len(expected) == 8_000
    np.testing.assert_allclose(waveform[200:-200], expected[200:-200], atol=1e-3)


def test_what_lies_above_8_khz_does_not_fold_back(tmp_path):
    path = write(tmp_path / "a.wav", sine(11_000, 0.5, 48_000), 48_000, subtype="FLOAT")
    assert np.abs(read_audio(path)[200:-200]).max() < 0.5 * 10 ** (-40 / 20)


@pytest.mark.parametrize(
    ("rate_hz", "samples", "expected"),
    [(48_000, 1, 1), (48_000, 3, 1), (48_000, 4, 2), (44_100, 441, 160), (44_100, 442, 161)],
)
def test_the_resampled_length_is_rounded_up(tmp_path, rate_hz, samples, expected):
    assert len(read_audio(write(tmp_path / "a.wav", np.zeros(samples), rate_hz))) == expected


@pytest.mark.skipif(not PUBLISHED, reason=f"{SHARED / 'data' / 'ravdess48k'} is absent")
def test_published_ravdess_equals_its_16_khz_copy_to_half_a_quantisation_step():
    channels = []
    for path in PUBLISHED:
        copy = SHARED / "data" / "ravdess" / path.parent.name / f"{path.stem}.flac"
        if not copy.exists():
            pytest.skip(f"{copy} is absent")
        ours, theirs = read_audio(path), read_audio(copy)
        assert len(ours) == len(theirs)
        assert np.abs(ours - theirs).max() <= 1.001 * HALF_STEP, path.name
        channels.append(soundfile.info(path).channels)
    assert (len(channels), channels.count(2)) == (20, 5)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_part_is_cut_at_its_times(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", np.arange(16_000, dtype=np.int16))
    np.testing.assert_array_equal(read_audio(path, 0.25, 0.5) * 32768, np.arange(4_000, 8_000))
    np.testing.assert_array_equal(read_audio(path, None, 0.001) * 32768, np.arange(16))
    np.testing.assert_array_equal(read_audio(path, 0.999) * 32768, np.arange(15_984, 16_000))
    np.testing.assert_array_equal(read_audio(path, 0.999, 1.009), read_audio(path, 0.999))


def test_a_part_at_another_rate_is_cut_in_the_files_own_samples(tmp_path):
    path = write(tmp_path / "a.wav", sine(440, 1, 48_000), 48_000)
    part = read_audio(path, 0.2, 0.7)
    assert len(part) == 8_000
    np.testing.assert_allclose(part[200:-200], read_audio(path)[3_400:11_000], atol=1e-6)


@pytest.mark.parametrize(
    ("start_s", "end_s"),
    [
        (-0.1, 0.5),
        (0.5, 0.5),
        (0.6, 0.5),
        (0.5, 1.02),
        (1.0, None),
        (float("nan"), 0.5),
        (0.1, 1e9),
    ],
)
def test_a_part_outside_the_file_is_refused(tmp_path, start_s, end_s):
    reason = refusal(write(tmp_path / "a.wav", np.zeros(16_000)), start_s, end_s)
    assert reason.startswith("a part must begin before it ends and lie in 0..1.000 s, found ")


def test_a_part_between_two_samples_is_refused(tmp_path):
    reason = refusal(write(tmp_path / "a.wav", np.zeros(16_000)), 0.50001, 0.50002)
    assert reason == "a part must hold samples, found none in 0.50001..0.50002 s"


def test_a_missing_file_a_directory_and_a_pipe_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert refusal(tmp_path / "a.wav") == "must exist, found nothing there"
    assert refusal(tmp_path) == "must be a file, found a directory"
    assert refusal(tmp_path / "pipe.wav") == "must be a file, found something else"
    assert refusal(Path("a\0.wav")) == "must be a path, found one with a NUL character"


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.wav").touch()
    assert refusal(tmp_path / "a.wav") == "must hold audio, found an empty file of 0 bytes"


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.gsm", "a.txt"])
def test_a_text_file_is_refused_whatever_its_name(tmp_path, name):
    (tmp_path / name).write_text("path,label,speaker\n" * 30)
    expected = "must be WAV (RIFF) or FLAC, found a file that begins with b'path,label,s'"
    assert refusal(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("format_name", "subtype", "found"),
    [
        ("OGG", "VORBIS", r"OggS\x00"),
        ("AIFF", "PCM_16", r"FORM\x00"),
        ("MP3", "MPEG_LAYER_III", r"\xff\xf3"),
        ("RF64", "PCM_16", r"RF64\xff\xff\xff\xffWAVE"),
        ("NIST", "PCM_16", r"NIST_1A\n   1"),
    ],
)
def test_formats_whose_completeness_cannot_be_checked_are_refused(
    tmp_path, capfd, format_name, subtype, found
):
    samples = sine(440, 0.5, 16_000)
    path = write(tmp_path / "a.wav", samples, subtype=subtype, format=format_name)
    path.write_bytes(path.read_bytes()[:1500])
    opening = "must be WAV (RIFF) or FLAC, found a file that begins with b'"
    assert refusal(path).startswith(f"{opening}{found}")
    assert capfd.readouterr() == ("", "")  # libsndfile's MP3 decoder would remark on the cut


@pytest.mark.parametrize(
    ("subtype", "tag"), [("IMA_ADPCM", "0x0011"), ("MS_ADPCM", "0x0002"), ("GSM610", "0x0031")]
)
def test_a_wav_whose_header_does_not_tell_its_samples_is_refused(tmp_path, subtype, tag):
    expected = f"a WAV's samples must be integer, float, A-law or μ-law, found format {tag}"
    assert refusal(write(tmp_path / "a.wav", np.zeros(1000), subtype=subtype)) == expected


@pytest.mark.parametrize("kept_bytes", [44 + 31_998, 44 + 16_001, 44])
def test_a_wav_whose_header_promises_more_than_the_file_holds_is_refused(tmp_path, kept_bytes):
    path = write(tmp_path / "a.wav", np.ones(16_000) / 4)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    assert refusal(path) == (
        f"must hold the 32000 bytes of samples that its header promises, found {kept_bytes - 44}"
    )
    assert "header promises" in refusal(path, 0.0, 0.001)


@pytest.mark.parametrize("size", [0x7FFF_FFFF, 0xFFFF_FFFF])
def test_a_wav_whose_size_a_stream_left_open_is_refused(tmp_path, size):
    path = write(tmp_path / "a.wav", np.ones(100) / 4)
    path.write_bytes(path.read_bytes()[:40] + struct.pack("<I", size) + bytes(200))
    assert refusal(path).startswith(
        f"must hold the {size} bytes of samples that its header promises"
    )


@pytest.mark.parametrize("follow_bytes", [0, 200])
def test_a_wav_without_samples_is_refused(tmp_path, follow_bytes):
    path = write(tmp_path / "a.wav", np.zeros(0))
    path.write_bytes(path.read_bytes()[:44] + bytes(follow_bytes))
    expected = f"must hold samples, its header says 0 bytes of them, found {follow_bytes}"
    assert refusal(path) == expected


def test_a_wav_without_a_data_chunk_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(100))
    path.write_bytes(path.read_bytes()[:36])
    assert refusal(path) == "a WAV must hold a data chunk, found none"


def test_further_chunks_around_the_samples_do_no_harm(tmp_path):
    integers = np.arange(100, dtype=np.int16)
    whole = write(tmp_path / "a.wav", integers).read_bytes()
    odd = b"note" + struct.pack("<I", 3) + b"abc\0"
    (tmp_path / "a.wav").write_bytes(whole[:12] + odd + whole[12:] + odd)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav") * 32768, integers)


@pytest.mark.parametrize(
    ("position", "value", "found"),
    [
        (32, 4, "a WAV's 1 channels of 16 bits must take 2 bytes, found 4 in its header"),
        (34, 24, "a WAV's 1 channels of 24 bits must take 3 bytes, found 2 in its header"),
        (22, 2, "a WAV's 2 channels of 16 bits must take 4 bytes, found 2 in its header"),
        (20, 7, "a WAV's 1 channels of 8 bits must take 1 bytes, found 2 in its header"),
    ],
)
def test_a_wav_header_at_odds_with_itself_is_refused(tmp_path, position, value, found):
    path = write(tmp_path / "a.wav", np.zeros(100))
    header = bytearray(path.read_bytes())
    header[position : position + 2] = struct.pack("<H", value)
    path.write_bytes(header)
    assert refusal(path) == found


def test_an_extensible_wav_is_checked_by_the_format_that_it_names_inside(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(100), format="WAVEX")
    header = bytearray(path.read_bytes())
    assert header[20:22] + header[44:46] == b"\xfe\xff\x01\x00"
    header[44:46] = b"\x06\x00"
    path.write_bytes(header)
    expected = "a WAV's 1 channels of 8 bits must take 1 bytes, found 2 in its header"
    assert refusal(path) == expected


def test_a_name_that_could_steer_a_terminal_is_quoted(tmp_path):
    assert refusal(tmp_path / "\x1b[2J.wav") == "must exist, found nothing there"
    error = AudioError([("a\nb.wav", "must exist"), ("\udcff.wav", "must hold samples")])
    assert str(error).splitlines()[1:] == [
        r"  'a\nb.wav': must exist",
        r"  '\udcff.wav': must hold samples",
    ]


def test_a_wav_that_ends_in_its_format_chunk_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(100))
    path.write_bytes(path.read_bytes()[:30])
    assert refusal(path) == "a WAV must hold a whole format chunk, found the file's end"


@pytest.mark.parametrize("share", [0.99, 0.5, 0.1])
def test_a_truncated_flac_is_refused(tmp_path, share):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000)
    path = write(tmp_path / "a.flac", noise)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for part in ((None, None), (0.0, 0.01)):
        reason = refusal(path, *part)
        assert "must be an intact WAV or FLAC file" in reason or "its header promises" in reason


def test_a_flac_that_ends_with_a_whole_frame_too_early_is_refused(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16_384)
    path = write(tmp_path / "a.flac", noise)
    whole = path.read_bytes()
    sync = whole[whole.index(b"\xff\xf8") :][:4]  # the frame header up to its number
    starts = [at for at in range(len(whole)) if whole[at : at + 4] == sync]
    path.write_bytes(whole[: starts[2]])
    reason = refusal(path)
    assert "must hold the 16384 samples" in reason or "must be an intact" in reason


def test_a_flac_of_unknown_length_is_refused(tmp_path):
    path = write(tmp_path / "a.flac", np.zeros(100))
    header = bytearray(path.read_bytes())
    header[21] &= 0xF0
    header[22:26] = bytes(4)  # the 36 bits of the number of samples
    path.write_bytes(header)
    assert refusal(path) == (
        "a FLAC's header must say how many samples it holds, found that left open"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_samples_that_are_no_numbers_are_refused_and_counted(tmp_path, bad, rate_hz):
    samples = np.zeros((1_000, 2), dtype=np.float32)
    samples[5, 1] = samples[7, 0] = bad
    reason = refusal(write(tmp_path / "a.wav", samples, rate_hz, subtype="FLOAT"))
    assert reason == "samples must be finite, found 2 NaN or infinite"


def test_samples_near_the_largest_float_overflow_into_a_refusal_not_a_warning(tmp_path):
    samples = np.full((48_000, 2), 3.4e38, dtype=np.float32)
    samples[::2] *= -1
    path = write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert np.isfinite(read_audio(path)).all()


@pytest.mark.parametrize("rate_hz", [1_000, 16_001, 384_000])
def test_an_unusual_sample_rate_is_refused(tmp_path, rate_hz):
    assert refusal(write(tmp_path / "a.wav", np.zeros(100), rate_hz)) == (
        f"the sample rate must be a multiple of 25 Hz in 4000..192000 Hz, found {rate_hz} Hz"
    )


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", np.zeros(100))

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    assert refusal(path) == "must be a readable file, found: Permission denied"


def test_silence_is_no_fault(tmp_path):
    assert not read_audio(write(tmp_path / "a.wav", np.zeros(100))).any()


def test_an_error_over_many_files_names_twenty_and_counts_the_rest():
    error = AudioError((f"{number}.wav", "must exist") for number in range(23))
    lines = str(error).splitlines()
    assert lines[0] == "23 audio files can't be used"
    assert lines[1:21] == [f"  {number}.wav: must exist" for number in range(20)]
    assert lines[21:] == ["  and 3 more"]


def test_an_error_survives_the_way_between_processes():
    error = AudioError([("a.wav", "must exist"), ("b.wav", "must hold samples")])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(("suffix", "rate_hz"), [("wav", 44_100), ("flac", 48_000)])
def test_a_probe_tells_rate_channels_and_duration(tmp_path, suffix, rate_hz):
    samples = np.zeros((rate_hz // 4, 2))
    facts = probe(write(tmp_path / f"a.{suffix}", samples, rate_hz))
    assert facts == AudioFacts(rate_hz=rate_hz, channels=2, duration_s=0.25)


@pytest.mark.parametrize("kept", [0, 30, 0.5, 0.999])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_probe_refuses_what_reading_refuses_and_for_the_same_reason(tmp_path, suffix, kept):
    path = write(tmp_path / f"a.{suffix}", np.random.default_rng(1).uniform(-1, 1, 30_000))
    content = path.read_bytes()
    path.write_bytes(content[: kept if kept in (0, 30) else int(kept * len(content))])
    with pytest.raises(AudioError) as caught:
        probe(path)
    assert str(caught.value) == f"{path}: {refusal(path)}"


def test_a_probe_reads_on_to_a_last_sample_that_is_no_number(tmp_path):
    samples = np.zeros(3 << 20, np.float32)  # several blocks
    samples[-1] = np.nan
    path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
    with pytest.raises(AudioError, match="samples must be finite, found 1 NaN or infinite"):
        probe(path)
