"""Log-mel bands, and a small encoder on them, trained from scratch: for the demo and tests (O).

The level stays as it is, so that dynamics, tilt and pitch remain visible; the waveform's own
normalisation is the caller's (`audio.normalise`).
"""

from torch import Tensor, nn
from torch.nn import functional

from core.attention import attend
from core.masking import MaskDraw, hide
from core.spectrogram import MelSpectrogram, count_mel_frames, mask_up_to

BANDS = 64
FLOOR = 1e-8  # of power; digital silence has to end somewhere
KERNEL_FRAMES = 5
HEADS = 4


def build(features: int, layers: int) -> tuple[nn.Module, nn.Module]:
    """Random weights, drawn from torch's global generator; without layers, the bare bands."""
    if not layers:
        return Bands(), NoLayers()
    return FrontEnd(features), Transformer(features, layers)


class Bands(nn.Module):
    """The log-mel spectrogram: 100 frames a second of 64 bands."""

    def __init__(self) -> None:
        super().__init__()
        self.spectrogram = MelSpectrogram(BANDS)

    def forward(
        self, waveforms: Tensor, waveform_lengths: Tensor, masks: MaskDraw | None = None
    ) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N), zero beyond their lengths, to frames (B, M, bands) and their mask."""
        log_power = self.spectrogram(waveforms).clamp_min(FLOOR).log10()  # (B, M, bands)
        frame_mask = mask_up_to(count_mel_frames(waveform_lengths), log_power.shape[1])
        frames = (log_power + 4.0) / 2.0  # about zero mean and unit variance for speech
        frames = hide(frames, frame_mask, masks)
        return frames.masked_fill(~frame_mask.unsqueeze(-1), 0.0), frame_mask


class NoLayers(nn.Module):
    """In the place of a transformer: what it is given is all that there is."""

    def forward(self, frames: Tensor, frame_mask: Tensor) -> list[Tensor]:
        """As `Transformer`."""
        return [frames]


class FrontEnd(nn.Module):
    """The bands and two strided convolutions over them: 25 frames a second."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bands = Bands()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, features, KERNEL_FRAMES, stride=2, padding=KERNEL_FRAMES // 2)
            for channels in (BANDS, features)
        )

    def forward(
        self, waveforms: Tensor, waveform_lengths: Tensor, masks: MaskDraw | None = None
    ) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N), zero beyond their lengths, to frames (B, T, D) and their mask."""
        frames, frame_mask = self.bands(waveforms, waveform_lengths, masks)
        frames = frames.transpose(1, 2)  # (B, bands, M)
        for convolution in self.convolutions:
            frame_mask = frame_mask[:, ::2]
            frames = functional.gelu(convolution(frames))
            frames = frames.masked_fill(~frame_mask.unsqueeze(1), 0.0)
        return frames.transpose(1, 2), frame_mask


class Transformer(nn.Module):
    """Transformer layers and a norm after the last."""

    def __init__(self, features: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(features) for _ in range(layers))
        self.layer_norm = nn.LayerNorm(features)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> list[Tensor]:
        """Frames (B, T, D) of the front end to those of every layer, its input the first."""
        every_layer = [frames]
        for layer in self.layers:
            every_layer.append(layer(every_layer[-1], frame_mask))
        every_layer[-1] = self.layer_norm(every_layer[-1])
        return every_layer


class Layer(nn.Module):
    """Self-attention and a perceptron, each after a norm and added to its input; no positions.

    Attention lets every frame see the whole utterance, without which pooling by the first frame
    would see a moment of silence.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(features)
        self.query_key_value = nn.Linear(features, 3 * features)
        self.output = nn.Linear(features, features)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(features),
            nn.Linear(features, 2 * features),
            nn.GELU(),
            nn.Linear(2 * features, features),
        )

    def forward(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """Frames (B, T, D) to frames (B, T, D)."""
        normed = self.query_key_value(self.attention_norm(frames))  # (B, T, 3D)
        query, key, value = normed.unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = attend(query, key, value, frame_mask)  # (B, H, T, D/H)
        frames = frames + self.output(attended.transpose(1, 2).flatten(2))
        return frames + self.perceptron(frames)
