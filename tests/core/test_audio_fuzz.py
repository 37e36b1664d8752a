"""Thousands of damaged audio files: the samples that header and file agree on, or an `AudioError`.

What a WAV or FLAC must hold is worked out here from its bytes, apart from the code under test.
"""

import io
import random
import re
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio import AudioError, read_audio
from core.store import AudioStore, build_store
from tests.core.small_audio import corpus, leftovers
from tests.mutations import INPUTS, ON_BYTES, bounded, bounded_memory, damaged, rewrite

SEED = 20_240_305
STORES = max(INPUTS // 100, 1)  # builds over damaged files
FRAMES = 600

PCM, FLOAT, ALAW, ULAW, EXTENSIBLE = 0x0001, 0x0003, 0x0006, 0x0007, 0xFFFE
KINDS = [(PCM, 8), (PCM, 16), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)]
KINDS += [(ALAW, 8), (ULAW, 8), (EXTENSIBLE, 16), (EXTENSIBLE, 24)]
RATES_HZ = [16_000, 16_000, 16_000, 8_000, 44_100, 48_000, 192_000, 4_000]
WRONG_TAGS = [0x0002, 0x0011, 0x0031, 0x0055, 0, 0xFFFF, PCM, FLOAT, ALAW, EXTENSIBLE]
WRONG_CHANNELS = [0, 2, 255, 1024, 1025, 65535]
WRONG_RATES_HZ = [0, 1, 25, 3_975, 7_999, 16_001, 192_025, 384_000, 2**31 - 1, 2**31, 2**32 - 1]
WRONG_BITS = [0, 1, 7, 12, 16, 17, 24, 32, 255, 65535]
SIZES = [0, 1, 2, 3, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF]
SUBFORMAT_END = bytes.fromhex("000000001000800000aa00389b71")


def noise(channels: int) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (FRAMES, channels))
    return samples.astype(np.float32)


def encoded(channels: int, rate_hz: int = 16_000, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(channels), rate_hz, **how)
    return file.getvalue()


ORIGINALS = [
    encoded(1, format="WAV", subtype="PCM_16"),
    encoded(2, 48_000, format="WAV", subtype="PCM_24"),
    encoded(1, format="WAV", subtype="FLOAT"),
    encoded(2, format="WAV", subtype="DOUBLE"),
    encoded(1, 8_000, format="WAV", subtype="ULAW"),
    encoded(2, 8_000, format="WAVEX", subtype="ALAW"),
    encoded(2, 44_100, format="WAVEX", subtype="PCM_16"),
    encoded(1, format="FLAC", subtype="PCM_16"),
    encoded(2, 48_000, format="FLAC", subtype="PCM_24"),
    encoded(1, format="FLAC", subtype="PCM_S8"),
]
FLACS = [content for content in ORIGINALS if content.startswith(b"fLaC")]
CUT_OFF = [ORIGINALS[0], ORIGINALS[6], FLACS[0]]  # at every byte of their headers
OTHERS = [
    encoded(1, format=name, subtype=kind)
    for name, kind in (
        *(("AIFF", "PCM_16"), ("NIST", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16")),
        *(("AU", "PCM_16"), ("OGG", "VORBIS"), ("CAF", "PCM_16"), ("MP3", "MPEG_LAYER_III")),
        *(("VOC", "PCM_16"), ("IRCAM", "PCM_16"), ("PVF", "PCM_16"), ("SVX", "PCM_16")),
        *(("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610")),
    )
]
GARBAGE = [
    *(b"\0", b"RIFF", b"fLaC", b"RIFF\0\0\0\0WAVE", b"RIFX", b"ID3\x04\0\0\0\0\0\0", b"FORM"),
    b"\0" * 1_000_000,
    b"\xff" * 1_000_000,
    b"RIFF" * 250_000,
    b"fLaC" * 250_000,
    b"RIFF\xff\xff\xff\xffWAVE" + b"JUNK\0\0\0\0" * 125_000,
    b"RIFF\xff\xff\xff\xffWAVE" + b"fmt \x10\0\0\0" * 125_000,
    b"RIFF\xff\xff\xff\xffWAVE" + b"LIST\x01\0\0\0\0\0" * 100_000,
    b"fLaC" + b"\x01\0\0\0" * 250_000,
    b"NIST_1A\n   1024\n" + b"sample_count -i 99999999999\n" * 1_000,
    b"path,label,speaker\n" * 1_000,
]


def chunk(name: bytes, content: bytes, size: int | None = None, padded: bool = True) -> bytes:
    size = len(content) if size is None else size
    return name + struct.pack("<I", size % 2**32) + content + b"\0" * (padded and len(content) % 2)


def made_wav(chance: random.Random) -> bytes:
    """A WAV put together from chunks that may be in any order, doubled, missing or untrue."""
    tag, bits = chance.choice(KINDS)
    channels, rate_hz = chance.choice([1, 1, 2, 3]), chance.choice(RATES_HZ)
    frame_bytes = channels * -(-bits // 8)
    match chance.randrange(12):
        case 0:
            tag = chance.choice(WRONG_TAGS)
        case 1:
            channels = chance.choice(WRONG_CHANNELS)
        case 2:
            rate_hz = chance.choice(WRONG_RATES_HZ)
        case 3:
            bits = chance.choice(WRONG_BITS)
        case 4:
            frame_bytes = chance.choice([0, 1, 2, 3, 4, 65535])
    byte_rate = rate_hz * frame_bytes % 2**32
    fields = struct.pack("<HHIIHH", tag, channels, rate_hz, byte_rate, frame_bytes, bits)
    if tag == EXTENSIBLE:
        subformat = (
            struct.pack("<H", chance.choice([PCM, PCM, PCM, FLOAT, ALAW, 0])) + SUBFORMAT_END
        )
        fields += struct.pack("<HHI", 22, bits, chance.choice([0, 3, 4])) + subformat
    elif chance.random() < 0.2:
        fields += chance.choice([b"\0\0", b"\0", b"\xff\xff", b"\0" * 40])
    held_bytes = chance.choice([0, 1, 7, 400, 401, 1200, 2400, 2400, 2400])
    samples = random.Random(0).randbytes(held_bytes)
    promised = held_bytes
    if chance.random() < 0.2:
        promised = chance.choice([*SIZES, held_bytes - 1, held_bytes + 1, held_bytes * 2])
    chunks = [
        chunk(b"fmt ", fields, chance.choice([None] * 20 + [0, 14, 15, 2**31, 2**32 - 1])),
        chunk(b"data", samples, promised, chance.random() < 0.9),
    ]
    for name in chance.sample(
        [b"LIST", b"fact", b"JUNK", b"PEAK", b"bext", b"id3 ", b"\0\0\0\0"], 2
    ):
        extra = chunk(name, bytes(chance.choice([0, 1, 4, 5, 100])), padded=chance.random() < 0.8)
        chunks.insert(chance.randrange(len(chunks) + 1), extra)
    match chance.randrange(24):
        case 0:
            chance.shuffle(chunks)
        case 1:
            chunks.append(chance.choice(chunks))
        case 2:
            chunks.insert(0, chance.choice(chunks))
        case 3:
            del chunks[chance.randrange(len(chunks))]
    body = b"WAVE" + b"".join(chunks)
    form = chance.choice([b"RIFF"] * 27 + [b"RIFX", b"RF64", b"riff"])
    size = chance.choice([len(body)] * 5 + [0, 4, len(body) - 1, 2**32 - 1])
    return form + struct.pack("<I", size) + body + chance.choice([b"", b"", b"\0", b"tail" * 9])


def made_flac(chance: random.Random) -> bytes:
    """A FLAC whose STREAMINFO says something else, or whose blocks are others."""
    content = bytearray(chance.choice(FLACS))
    sizes = int.from_bytes(content[18:26], "big")  # 20 bits rate, 3 channels, 5 bits, 36 samples
    match chance.randrange(8):
        case 0 | 1 | 2:
            total = chance.choice([0, 1, FRAMES - 1, FRAMES + 1, 4096, 2**35, 2**36 - 1])
            content[18:26] = ((sizes >> 36 << 36) | total).to_bytes(8, "big")
        case 3:
            rate_hz = chance.choice([0, 1, 25, 16_000, 8_000, 44_100, 48_000, 655_350, 2**20 - 1])
            content[18:26] = ((sizes & 2**44 - 1) | rate_hz << 44).to_bytes(8, "big")
        case 4:
            changed = sizes ^ (chance.randrange(1, 256) << 36)  # channels and bits
            content[18:26] = changed.to_bytes(8, "big")
        case 5:
            content[8:18] = chance.randbytes(10)  # sizes of blocks and frames
        case 6:
            kind, length = chance.randrange(128), chance.choice([0, 1, 34, 5_000, 2**24 - 1])
            block = bytes([kind]) + length.to_bytes(3, "big") + bytes(min(length, 5_000))
            place = chance.choice([4, 42])
            content[place:place] = block
        case _:
            tag = b"ID3\x04\0\0\0\0\0" + bytes([chance.choice([0, 10, 127])])
            return chance.choice([tag, tag + bytes(10), b"\0", b"fLaC"]) + bytes(content)
    return bytes(content)


def audio_file(index: int) -> bytes:
    """File number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    fixed = [
        *GARBAGE,
        *OTHERS,
        *(content[:length] for content in CUT_OFF for length in range(140)),
    ]
    if index < len(fixed):
        return fixed[index]
    match chance.randrange(8):
        case 0 | 1 | 2:
            return made_wav(chance)
        case 3:
            return made_flac(chance)
        case 4:
            return damaged(chance.choice(OTHERS), ON_BYTES, chance)
        case 5:
            return damaged(made_wav(chance), ON_BYTES, chance)
    content = chance.choice(ORIGINALS)
    header_bytes = chance.choice([44, 60, 120, len(content)])
    return damaged(content[:header_bytes], ON_BYTES, chance) + content[header_bytes:]


def promised_samples(content: bytes) -> tuple[int, int]:
    """Samples of each channel and their rate, as the header says and the file has room for."""
    return (flac_samples if content.startswith(b"fLaC") else wav_samples)(content)


def flac_samples(content: bytes) -> tuple[int, int]:
    place = 4
    while content[place] & 0x7F != 0:  # to STREAMINFO, past what else there may be
        assert not content[place] & 0x80, "the last block"
        place += 4 + int.from_bytes(content[place + 1 : place + 4], "big")
    sizes = int.from_bytes(content[place + 14 : place + 22], "big")
    return sizes & 2**36 - 1, sizes >> 44


def wav_samples(content: bytes) -> tuple[int, int]:
    assert content[:4] + content[8:12] == b"RIFFWAVE"
    place, described = 12, (0, 0, 0, 0, 0, 0)
    name, size = struct.unpack("<4sI", content[place : place + 8])
    while name != b"data":
        if name == b"fmt ":
            described = struct.unpack("<HHIIHH", content[place + 8 : place + 24])
        place += 8 + size + size % 2
        name, size = struct.unpack("<4sI", content[place : place + 8])
    assert place + 8 + size <= len(content)
    _, _, rate_hz, _, frame_bytes, _ = described
    return size // frame_bytes, rate_hz


def refuse_wrongly_read(waveform: np.ndarray, content: bytes) -> None:
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert np.isfinite(waveform).all()
    samples, rate_hz = promised_samples(content)
    assert len(waveform) == -(-samples * 16_000 // rate_hz) > 0


def refuse_bad_refusal(path: Path, error: AudioError) -> None:
    ((named, reason),) = error.problems
    assert named == str(path)
    assert str(error) == f"{path}: {reason}"
    assert reason.isprintable()
    assert " found " in reason or "found:" in reason
    assert len(reason) < 300


@pytest.mark.parametrize("content", ORIGINALS, ids=lambda content: content[:40].hex())
def test_the_files_that_are_damaged_are_read(tmp_path, content):
    (tmp_path / "a.audio").write_bytes(content)
    refuse_wrongly_read(read_audio(tmp_path / "a.audio"), content)


def test_a_damaged_file_gives_the_samples_that_it_promises_or_an_audio_error(tmp_path):
    path = tmp_path / "fuzzed.audio"
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(INPUTS):
            content = audio_file(index)
            rewrite(path, content)
            part = [(None, None), (None, None), (0.001, 0.01), (0.0, None)][index % 4]
            with bounded(f"file {index}"):
                try:
                    waveform = read_audio(path, *part)
                except AudioError as error:
                    ended["refused"] += 1
                    refuse_bad_refusal(path, error)
                except Exception as error:
                    pytest.fail(f"file {index}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
                    if part[1] is None:
                        refuse_wrongly_read(waveform, content)
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["read"]) > INPUTS // 20, ended
    assert list(tmp_path.iterdir()) == [path]


def test_a_flac_damaged_in_its_sound_gives_the_very_same_waveform_or_an_audio_error(tmp_path):
    """Each of its frames carries a checksum."""
    path = tmp_path / "fuzzed.flac"
    ended: Counter[str] = Counter()
    for index in range(INPUTS // 5):
        chance = random.Random(SEED + index)
        whole = chance.choice(FLACS)
        rewrite(path, whole)
        expected = read_audio(path)
        header_bytes = whole.index(b"\xff\xf8")
        sound = damaged(whole[header_bytes:], ON_BYTES, chance)
        rewrite(path, whole[:header_bytes] + sound)
        try:
            waveform = read_audio(path)
        except AudioError as error:
            ended["refused"] += 1
            refuse_bad_refusal(path, error)
        else:
            ended["read"] += 1
            np.testing.assert_array_equal(waveform, expected)
    assert ended["refused"] > INPUTS // 10, ended


def test_a_store_of_damaged_files_holds_the_whole_ones_and_leaves_nothing_else_behind(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    refused = 0
    for index in range(STORES):
        for item in utterances[:3]:
            number = index * INPUTS // STORES + utterances.index(item)
            item.path.write_bytes(audio_file(number))
        folder = tmp_path / f"store{index}"
        report = build_store(utterances, folder, workers=2, skip_bad_audio=True)
        assert leftovers(folder) == []
        lengths = AudioStore.open(folder, report.fingerprint).lengths
        assert lengths.keys() | report.left_out.keys() == {item.name for item in utterances}
        assert lengths.keys().isdisjoint(report.left_out)
        for item in utterances:
            if item.name in lengths:
                assert len(read_audio(item.path)) == lengths[item.name]
            else:
                refused += 1
                with pytest.raises(AudioError, match=re.escape(report.left_out[item.name])):
                    read_audio(item.path)
    assert 0 < refused < 3 * STORES
