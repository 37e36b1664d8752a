"""Whisper's encoder against transformers' own, on utterances of their own length."""

from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from core.config import EncoderConfig
from core.encoders import build_encoder
from core.whisper import FrontEnd
from tests.core.small_checkpoints import LAYERS, noise, save_whisper

LIMIT = 32_000  # samples that the small checkpoint's 100 positions span


def stock_log_mel(waveform: np.ndarray) -> torch.Tensor:
    """What transformers computes of a waveform padded to 30 s: (3000, bands)."""
    extractor = WhisperFeatureExtractor()
    features = extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_features"]
    return features[0].T


def front_end(folder: Path) -> FrontEnd:
    found = build_encoder(EncoderConfig(name=str(folder))).front_end
    assert isinstance(found, FrontEnd)
    return found


@pytest.fixture
def clip(shared: Path) -> np.ndarray:
    return read_clips(shared, 1)[0]


def read_clips(shared: Path, count: int) -> list[np.ndarray]:
    paths = sorted((shared / "data" / "ravdess" / "Actor_01").glob("*.flac"))[:count]
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


@pytest.fixture
def tiny(shared: Path) -> Path:
    folder = shared / "models" / "whisper-tiny.en-encoder"
    if not folder.is_dir():
        pytest.skip(f"needs the real encoder at {folder}")
    return folder


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 8000, 31_999])
def test_log_mel_frames_are_transformers_own(samples: int, tmp_path: Path) -> None:
    save_whisper(tmp_path)
    waveforms = torch.zeros(1, 32_000)
    waveforms[:, :samples] = noise(1, samples) * torch.linspace(1, 0.001, samples)
    frames, mask = front_end(tmp_path).log_mel(waveforms, torch.tensor([samples]))
    count = -(-samples // 160)
    assert mask.sum() == count
    wanted = stock_log_mel(waveforms[0, :samples].numpy())[:count]
    torch.testing.assert_close(frames[0, :count], wanted, rtol=1e-4, atol=1e-4)


def test_log_mel_frames_of_real_speech_are_transformers_own(clip: np.ndarray, tiny: Path) -> None:
    lengths = torch.tensor([len(clip)])
    frames, mask = front_end(tiny).log_mel(torch.from_numpy(clip)[None], lengths)
    wanted = stock_log_mel(clip)[: int(mask.sum())]
    torch.testing.assert_close(frames[0, mask[0]], wanted, rtol=1e-4, atol=1e-4)


def test_silence_gives_finite_frames(tmp_path: Path) -> None:
    save_whisper(tmp_path)
    frames, _ = build_encoder(EncoderConfig(name=str(tmp_path)))(
        torch.zeros(2, 5000), torch.tensor([5000, 3])
    )
    assert frames.isfinite().all()


@pytest.mark.parametrize("whole", [True, False])
def test_every_layer_of_a_full_window_is_what_transformers_gives(
    whole: bool, tmp_path: Path
) -> None:
    stock = save_whisper(tmp_path, whole)
    waveforms, lengths = noise(1, LIMIT), torch.tensor([LIMIT])
    log_mel, _ = front_end(tmp_path).log_mel(waveforms, lengths)
    with torch.no_grad():
        expected = stock(log_mel.transpose(1, 2), output_hidden_states=True).hidden_states
    for layer in range(LAYERS + 1):
        encoder = build_encoder(EncoderConfig(name=str(tmp_path), layer=layer)).eval()
        frames, frame_mask = encoder(waveforms, lengths)
        assert frame_mask.all()
        torch.testing.assert_close(frames, expected[layer], rtol=1e-5, atol=1e-5)


def test_thirty_seconds_of_real_speech_are_encoded_as_by_transformers(
    shared: Path, tiny: Path
) -> None:
    joined = np.concatenate([clip for clip, _ in zip(cycle(read_clips(shared, 8)), range(16))])
    waveform = joined[:480_000]
    encoder = build_encoder(EncoderConfig(name=str(tiny), train="frozen"))
    frames, frame_mask = encoder(torch.from_numpy(waveform)[None], torch.tensor([480_000]))
    assert frame_mask.sum() == 1500
    stock = WhisperEncoder.from_pretrained(tiny).eval()
    with torch.no_grad():
        expected = stock(stock_log_mel(waveform).T[None]).last_hidden_state
    # The last window mirrors the end there and sees zeros here: 40 of its 400 samples.
    torch.testing.assert_close(frames[:, :-4], expected[:, :-4], rtol=1e-3, atol=1e-2)


def test_weights_stored_in_half_precision_become_single_precision_masters(tmp_path: Path) -> None:
    stock = save_whisper(tmp_path, whole=False)
    stock.half().save_pretrained(tmp_path)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path), train="all"))
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}
    frames, _ = encoder(noise(1, 8000), torch.tensor([8000]))
    assert frames.dtype == torch.float32


def test_positions_are_never_trained(tmp_path: Path) -> None:
    save_whisper(tmp_path)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path), train="all"))
    frozen = [name for name, weight in encoder.named_parameters() if not weight.requires_grad]
    assert frozen == ["transformer.positions.weight"]


def test_an_utterance_beyond_the_positions_is_refused_by_its_length(tmp_path: Path) -> None:
    save_whisper(tmp_path)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path)))
    wanted = r"at most 2 s, got one of 2\.50 s; crop them \(audio\.crop_s\)"
    with pytest.raises(ValueError, match=wanted):
        encoder(noise(2, 40_000), torch.tensor([100, 40_000]))


def test_padding_beyond_the_positions_is_no_error(tmp_path: Path) -> None:
    save_whisper(tmp_path)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path))).eval()
    frames, frame_mask = encoder(noise(1, 90_000), torch.tensor([LIMIT]))
    assert frame_mask.sum() == 100
    exact, _ = encoder(noise(1, 90_000)[:, :LIMIT], torch.tensor([LIMIT]))
    torch.testing.assert_close(frames, exact, rtol=0, atol=0)
