"""The convolutions of WavLM and its kin over the waveform, as plain products of matrices.

Frames lie one after another, each with its channels together. Then what a convolution of stride s
sees moves on by s frames from one output to the next, and s frames of its window are a row of a
matrix that stands in memory as it is: nothing is copied, transposed or reordered, as it is for
torch's convolutions. On the CPU a piece of an utterance passes through all the convolutions before
the next one does, so that what stands between them stays in the cache.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.masking import MaskDraw, hide
from core.spectrogram import mask_up_to

FRAME_STEP_SAMPLES = 320  # 20 ms, as all published checkpoints have it
# Frames that pass together (measured on the CPU; a GPU wants large products, and no loop over
# utterances whose lengths it would have to wait for).
FRAMES_AT_ONCE = 64
UTTERANCES_AT_ONCE_ON_GPU = 4


class FrontEnd(nn.Module):
    """The convolutions over the waveform: 50 frames a second."""

    def __init__(self, network: Any, standardised: bool) -> None:
        super().__init__()
        self.convolutions = network.feature_extractor.conv_layers
        self.standardised = standardised
        self.span_samples = 1  # what one frame sees
        for block in reversed(self.convolutions):
            stride, width = block.conv.stride[0], block.conv.kernel_size[0]
            self.span_samples = (self.span_samples - 1) * stride + width

    def forward(
        self, waveforms: Tensor, waveform_lengths: Tensor, masks: MaskDraw | None = None
    ) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N), zero beyond their lengths, to frames (B, T, channels) and a mask."""
        if self.standardised:
            waveforms = standardise(waveforms, waveform_lengths)
        waveforms = functional.pad(waveforms, (0, max(0, self.span_samples - waveforms.shape[1])))
        lengths = waveform_lengths.clamp_min(self.span_samples)
        counts, total = self._count(lengths), self._count(waveforms.shape[1])  # (B,), T
        kind = waveforms.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        with torch.autocast(kind, enabled=False):  # what is given in a type is computed in it
            layers = [Convolution.of(block, dtype) for block in self.convolutions]
            pass_through = self._together if waveforms.is_cuda else self._one_by_one
            frames = pass_through(layers, waveforms, lengths, total)
        frame_mask = mask_up_to(counts, total)
        return hide(frames, frame_mask, masks), frame_mask

    def _count(self, samples: Any) -> Any:
        """Frames whose spans lie within so many samples."""
        return (samples - self.span_samples) // FRAME_STEP_SAMPLES + 1

    def _one_by_one(
        self, layers: Sequence["Convolution"], waveforms: Tensor, lengths: Tensor, total: int
    ) -> Tensor:
        """Each utterance's own frames alone, in pieces; zero beyond: (B, T, channels)."""
        own = [
            self._convolve(layers, waveform, length, count, FRAMES_AT_ONCE)[0]
            for waveform, length, count in zip(
                waveforms.split(1), lengths.split(1), self._count(lengths).tolist(), strict=True
            )
        ]
        frames = nn.utils.rnn.pad_sequence(own, batch_first=True)  # (B, longest, channels)
        return functional.pad(frames, (0, 0, 0, total - frames.shape[1]))

    def _together(
        self, layers: Sequence["Convolution"], waveforms: Tensor, lengths: Tensor, total: int
    ) -> Tensor:
        """A few utterances at once, padding and all: (B, T, channels)."""
        groups = zip(
            waveforms.split(UTTERANCES_AT_ONCE_ON_GPU),
            lengths.split(UTTERANCES_AT_ONCE_ON_GPU),
            strict=True,
        )
        return torch.cat([self._convolve(layers, *group, total, total) for group in groups])

    def _convolve(
        self,
        layers: Sequence["Convolution"],
        waveforms: Tensor,
        lengths: Tensor,
        count: int,
        at_once: int,
    ) -> Tensor:
        """The first `count` frames of (R, N), so many at once: (R, count, channels)."""
        first, rest = layers[0], layers[1:]
        if isinstance(norm := getattr(self.convolutions[0], "layer_norm", None), nn.GroupNorm):
            first = first.normed_over_time(waveforms, lengths, norm, rest[0].weights.dtype)
        pieces = []
        for start in range(0, count, at_once):
            frames = min(at_once, count - start)
            samples = (frames - 1) * FRAME_STEP_SAMPLES + self.span_samples
            # Rows follow one another; what a window finds beyond its row is in no frame that is
            # kept.
            row = (frames - 1) + math.ceil(self.span_samples / FRAME_STEP_SAMPLES)  # frames
            piece = waveforms[:, start * FRAME_STEP_SAMPLES :][:, :samples]
            piece = functional.pad(piece, (0, row * FRAME_STEP_SAMPLES - piece.shape[1]))
            given = first.of_waveforms(piece)
            for layer in rest:
                given = layer(given)
            missing = len(piece) * row - len(given)
            given = functional.pad(given, (0, 0, 0, missing)).unflatten(0, (-1, row))
            pieces.append(given[:, :frames])
        return torch.cat(pieces, 1)


class Convolution(NamedTuple):
    """One of them, with its norm and activation, its weights laid out for products.

    Attributes:
        weights: (R or 1, width * channels in, channels out), the window's frames in order. R rows
            have weights of their own where a norm over time is folded into them.
        bias: (R or 1, 1, channels out).
    """

    weights: Tensor
    bias: Tensor
    width: int
    stride: int
    norm: tuple[Tensor, Tensor, float] | None
    activation: Any

    @classmethod
    def of(cls, block: Any, dtype: torch.dtype) -> "Convolution":
        """From transformers' layer, to compute in the given type."""
        conv, norm = block.conv, getattr(block, "layer_norm", None)
        weight = conv.weight  # (channels out, channels in, width)
        bias = weight.new_zeros(len(weight)) if conv.bias is None else conv.bias
        over_time = isinstance(norm, nn.GroupNorm)
        if norm is not None and not over_time:
            norm = (norm.weight.to(dtype), norm.bias.to(dtype), norm.eps)
        kept = weight.dtype if over_time else dtype  # a norm is folded in before it is rounded
        return cls(
            weights=weight.permute(2, 1, 0).flatten(0, 1).unsqueeze(0).to(kept),
            bias=bias[None, None].to(kept),
            width=conv.kernel_size[0],
            stride=conv.stride[0],
            norm=None if over_time else norm,
            activation=block.activation,
        )

    def of_waveforms(self, waveforms: Tensor) -> Tensor:
        """Waveforms (R, N), N a multiple of the stride, to frames (R * N / stride, channels).

        The last windows of a row reach into the next one.
        """
        flat = functional.pad(waveforms.flatten(), (0, max(0, self.width - self.stride)))
        windows = flat.unfold(0, self.width, self.stride).unflatten(0, (len(waveforms), -1))
        weights = self.weights.expand(len(waveforms), -1, -1)
        given = torch.baddbmm(self.bias, windows.to(weights.dtype), weights)
        return self._normed(given.flatten(0, 1))

    def __call__(self, frames: Tensor) -> Tensor:
        """Frames (n, channels in) to those (m, channels out) whose windows lie within them."""
        channels, weights = frames.shape[1], self.weights[0]
        count = (len(frames) - self.width) // self.stride + 1
        given = self.bias[0]
        for place in range(0, self.width, self.stride):  # in the window
            columns = min(self.stride, self.width - place) * channels
            rows = frames.as_strided(
                (count, columns),
                (self.stride * channels, 1),
                frames.storage_offset() + place * channels,
            )
            part = weights[place * channels :][:columns]
            given = torch.addmm(given, rows, part) if place == 0 else given.addmm_(rows, part)
        return self._normed(given)

    def _normed(self, frames: Tensor) -> Tensor:
        if self.norm is not None:
            weight, bias, epsilon = self.norm
            frames = functional.layer_norm(frames, weight.shape, weight, bias, epsilon)
        return self.activation(frames)

    def normed_over_time(
        self, waveforms: Tensor, lengths: Tensor, norm: nn.GroupNorm, dtype: torch.dtype
    ) -> "Convolution":
        """Fold in the norm of each channel over an utterance's own frames, a group a channel.

        The mean of a channel is the product of its weights with the mean window, its variance their
        product with the windows' covariance: the channels need not be computed twice.

        Args:
            waveforms: (R, N) float32.
            lengths: (R,) long, samples.
            norm: Gives weight, bias and epsilon.
            dtype: To compute in, once they are folded.
        """
        windows = waveforms.unfold(1, self.width, self.stride).double()  # (R, T, width)
        counts = (lengths - self.width) // self.stride + 1
        mask = mask_up_to(counts, windows.shape[1]).unsqueeze(-1)
        counts = counts[:, None, None]
        mean = (windows * mask).sum(1, keepdim=True) / counts  # (R, 1, width)
        centred = (windows - mean) * mask
        covariance = centred.transpose(1, 2) @ centred / counts  # (R, width, width)
        weights = self.weights.double()  # (1, width, channels)
        variance = (weights * (covariance @ weights)).sum(1, keepdim=True)  # (R, 1, channels)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        bias = norm.bias - scale * (mean @ weights)  # the convolution's own goes with the mean
        return self._replace(weights=(scale * weights).to(dtype), bias=bias.to(dtype))


def standardise(waveforms: Tensor, waveform_lengths: Tensor) -> Tensor:
    """Zero mean and unit variance over each utterance's own samples, zero beyond them.

    Args:
        waveforms: (B, N) float32.
        waveform_lengths: (B,) long.
    """
    mask = mask_up_to(waveform_lengths, waveforms.shape[1])
    count = mask.sum(-1, keepdim=True)
    mean = waveforms.masked_fill(~mask, 0.0).sum(-1, keepdim=True) / count
    centred = (waveforms - mean).masked_fill(~mask, 0.0)
    variance = centred.square().sum(-1, keepdim=True) / count
    return centred * (variance + 1e-7).rsqrt()
