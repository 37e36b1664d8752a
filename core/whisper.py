"""Whisper's encoder on utterances of their own length, not padded to 30 s of silence.

OpenAI's encoder always sees 30 s; here it sees the utterance, its positions sliced to it. The
log-mel frames are the same, but for the loudest band (to which the floor is relative), sought among
the utterance's own frames; attention no longer spreads over silence, and where the utterance ends
the convolutions see zeros as they do at 30 s. So the frames differ a little from those of the
padded model, except for an utterance of 30 s, and cost a fraction.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.whisper.configuration_whisper import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from core.attention import additive_mask, kernel
from core.checkpoints import Checkpoint
from core.config import SAMPLE_RATE_HZ
from core.masking import MaskDraw, hide
from core.spectrogram import HOP_SAMPLES, MelSpectrogram, count_mel_frames, mask_up_to
from core.weights import load_weights, without_weights


def build(checkpoint: Checkpoint, layers: int) -> tuple[nn.Module, nn.Module]:
    """Whisper's convolutions and its first transformer layers, with the checkpoint's weights."""
    network = without_weights(checkpoint, lambda: _network(checkpoint, layers))
    last = checkpoint.geometry().layers
    unused = [f"layers.{index}." for index in range(layers, last)]
    if layers < last:
        # As in hidden_states: the final norm belongs to the last layer's output alone.
        network.layer_norm = nn.Identity()
        unused.append("layer_norm.")
    load_weights(network, checkpoint, anchor="conv1.weight", unused=unused)
    return FrontEnd(network), Transformer(network)


def _network(checkpoint: Checkpoint, layers: int) -> WhisperEncoder:
    settings = WhisperConfig.from_dict(checkpoint.settings)
    settings.encoder_layers = layers
    settings.encoder_layerdrop = 0.0
    settings._attn_implementation = kernel()
    return WhisperEncoder(settings)


class FrontEnd(nn.Module):
    """The log-mel spectrogram and the two convolutions over it: 50 frames a second."""

    def __init__(self, network: WhisperEncoder) -> None:
        super().__init__()
        self.spectrogram = MelSpectrogram(network.num_mel_bins)
        self.conv1 = network.conv1
        self.conv2 = network.conv2
        self.max_samples = 2 * HOP_SAMPLES * network.max_source_positions

    def forward(
        self, waveforms: Tensor, waveform_lengths: Tensor, masks: MaskDraw | None = None
    ) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N), zero beyond their lengths, to frames (B, T, D) and their mask."""
        if waveforms.shape[1] > self.max_samples:
            self._refuse_long(waveform_lengths)
            waveforms = waveforms[:, : self.max_samples]
        log_mel, mel_mask = self.log_mel(waveforms, waveform_lengths)
        log_mel = hide(log_mel, mel_mask, masks)
        frames = functional.gelu(self.conv1(log_mel.transpose(1, 2)))  # (B, D, M)
        frames = frames.masked_fill(~mel_mask.unsqueeze(1), 0.0)
        frames = functional.gelu(self.conv2(frames)).transpose(1, 2)  # (B, T, D)
        return frames, mel_mask[:, ::2]

    def log_mel(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """OpenAI's features: log10, at most 8 below the utterance's loudest band, (x + 4) / 4.

        Returns:
            (B, M, bands) float32, zero beyond the utterance, and the mask (B, M) of its own frames.
        """
        log_power = self.spectrogram(waveforms).clamp_min(1e-10).log10()  # (B, M, bands)
        mel_mask = mask_up_to(count_mel_frames(waveform_lengths), log_power.shape[1])
        padding = ~mel_mask.unsqueeze(-1)
        loudest = log_power.masked_fill(padding, -10.0).amax((1, 2), keepdim=True)
        scaled = (torch.maximum(log_power, loudest - 8.0) + 4.0) / 4.0
        return scaled.masked_fill(padding, 0.0), mel_mask

    def _refuse_long(self, waveform_lengths: Tensor) -> None:
        longest = int(waveform_lengths.max())
        if longest > self.max_samples:
            raise ValueError(
                f"Whisper takes utterances of at most {self.max_samples / SAMPLE_RATE_HZ:g} s, got "
                f"one of {longest / SAMPLE_RATE_HZ:.2f} s; crop them (audio.crop_s)"
            )


class Transformer(nn.Module):
    """Positions, transformer layers and, after the last, the final layer norm.

    The positions are sinusoids and never trained, as in transformers.
    """

    def __init__(self, network: WhisperEncoder) -> None:
        super().__init__()
        self.positions = network.embed_positions.requires_grad_(False)
        self.layers = network.layers
        self.layer_norm = network.layer_norm
        self.dropout = network.dropout

    def forward(self, frames: Tensor, frame_mask: Tensor) -> list[Tensor]:
        """Frames (B, T, D) of the front end to those of every layer, its input the first."""
        attention_mask = additive_mask(frame_mask, frames.dtype)
        frames = frames + self.positions.weight[: frames.shape[1]]
        frames = functional.dropout(frames, self.dropout, self.training)
        every_layer = [frames]
        for layer in self.layers:
            every_layer.append(layer(every_layer[-1], attention_mask))
        every_layer[-1] = self.layer_norm(every_layer[-1])
        return every_layer
