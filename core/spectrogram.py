"""Mel spectrograms of padded batches, in which padding never reaches a real frame."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from core.config import SAMPLE_RATE_HZ

WINDOW_SAMPLES = 400  # 25 ms, as Whisper has it
HOP_SAMPLES = 160  # 10 ms, as Whisper has it


class MelSpectrogram(nn.Module):
    """Power in mel bands (Slaney's scale and norm), 100 frames a second, always in float32.

    Frames are centred on every 160th sample; the start is mirrored, and zeros follow the end.
    """

    def __init__(self, bands: int) -> None:
        super().__init__()
        filters = melscale_fbanks(
            WINDOW_SAMPLES // 2 + 1,
            f_min=0.0,
            f_max=SAMPLE_RATE_HZ / 2,
            n_mels=bands,
            sample_rate=SAMPLE_RATE_HZ,
            norm="slaney",
            mel_scale="slaney",
        )
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        self.register_buffer("filters", filters, persistent=False)  # (201, bands)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Analyse waveforms that are zero beyond their lengths.

        Args:
            waveforms: (B, N) float32.
        Returns:
            (B, ceil(N / 160), bands) float32; at least 3 frames.
        """
        waveforms = functional.pad(waveforms, (0, max(0, WINDOW_SAMPLES - waveforms.shape[1])))
        samples, side = waveforms.shape[1], WINDOW_SAMPLES // 2
        frames = -(-samples // HOP_SAMPLES)
        after = (frames - 1) * HOP_SAMPLES + side - samples
        padded = torch.cat([waveforms[:, 1 : side + 1].flip(1), waveforms], 1)
        padded = functional.pad(padded, (0, after))
        windowed = padded.unfold(1, WINDOW_SAMPLES, HOP_SAMPLES) * self.window  # (B, frames, 400)
        # Half precision would lose the quiet bands.
        with torch.autocast(waveforms.device.type, enabled=False):
            spectrum = torch.fft.rfft(windowed)
            power = spectrum.real.square() + spectrum.imag.square()  # (B, frames, 201)
            return power @ self.filters


def count_mel_frames(waveform_lengths: Tensor) -> Tensor:
    """How many mel frames are centred on real samples."""
    return waveform_lengths.add(HOP_SAMPLES - 1) // HOP_SAMPLES


def mask_up_to(lengths: Tensor, longest: int) -> Tensor:
    """True on the first `lengths` places.

    Args:
        lengths: (B,) long.
    Returns:
        (B, longest) bool.
    """
    return torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)
