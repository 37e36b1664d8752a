"""Mel spectrograms."""

import math

import pytest
import torch
from transformers.audio_utils import mel_filter_bank

from core.spectrogram import MelSpectrogram, count_mel_frames, mask_up_to
from tests.core.small_checkpoints import noise


@pytest.mark.parametrize("bands", [64, 80, 128])
def test_the_filters_are_whispers(bands: int) -> None:
    expected = torch.from_numpy(mel_filter_bank(201, bands, 0, 8000, 16_000, "slaney", "slaney"))
    torch.testing.assert_close(
        MelSpectrogram(bands).filters, expected.float(), rtol=1e-4, atol=1e-7
    )


def test_a_tone_falls_into_the_band_around_it() -> None:
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(16_000) / 16_000)
    power = MelSpectrogram(80)(tone.unsqueeze(0))  # (1, 100, 80)
    assert power.shape == (1, 100, 80)
    # 1000 Hz is mel 15 of 45.25 on Slaney's scale, and 81 steps divide the scale.
    assert (power[0, 2:-2].argmax(1) == round(15 / 45.25 * 81) - 1).all()


def test_frames_are_those_of_a_centred_fourier_transform() -> None:
    waveform = noise(1, 4000)
    spectrum = torch.stft(
        waveform, 400, 160, window=torch.hann_window(400), center=True, return_complex=True
    )
    mel = MelSpectrogram(64)
    expected = spectrum.abs().square().transpose(1, 2) @ mel.filters
    # The last frame sees a mirror there, and zeros here.
    torch.testing.assert_close(mel(waveform)[:, :24], expected[:, :24], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (160, 1), (161, 2), (480_000, 3000)])
def test_a_frame_stands_on_every_160th_sample(samples: int, frames: int) -> None:
    assert count_mel_frames(torch.tensor([samples])).tolist() == [frames]


def test_a_mask_is_true_up_to_each_length() -> None:
    expected = [[False, False, False], [True, True, False], [True, True, True]]
    assert mask_up_to(torch.tensor([0, 2, 5]), 3).tolist() == expected
