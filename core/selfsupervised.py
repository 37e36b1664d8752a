"""WavLM, HuBERT and wav2vec 2.0: one architecture, transformers' modules, padding masked.

A checkpoint whose preprocessor_config.json says `do_normalize` (transformers' default where the
file is missing) was trained on waveforms of zero mean and unit variance; each utterance is brought
to them over its own samples. The base models' first convolution is normalised over time: here over
the utterance's own frames alone, with the same weights.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.attention import GatedAttention, additive_mask, kernel
from core.checkpoints import Checkpoint
from core.spectrogram import mask_up_to
from core.weights import load_weights, without_weights

FRAME_STEP_SAMPLES = 320  # 20 ms, as all published checkpoints have it


def build(checkpoint: Checkpoint, layers: int) -> tuple[nn.Module, nn.Module]:
    """The convolutions over the waveform and the first transformer layers, with their weights."""
    network = without_weights(checkpoint, lambda: _network(checkpoint, layers))
    step = math.prod(block.conv.stride[0] for block in network.feature_extractor.conv_layers)
    if step != FRAME_STEP_SAMPLES:  # a frame a sample would fill the memory with the first batch
        raise checkpoint.error(
            f"conv_stride must give a frame every {FRAME_STEP_SAMPLES} samples, got {step}"
        )
    last = checkpoint.geometry().layers
    unused = ["masked_spec_embed", "adapter."]
    unused += [f"encoder.layers.{index}." for index in range(layers, last)]
    if layers < last and network.config.do_stable_layer_norm:
        # As in hidden_states: the final norm belongs to the last layer's output alone.
        network.encoder.layer_norm = nn.Identity()
        unused.append("encoder.layer_norm.")
    load_weights(network, checkpoint, anchor="feature_projection.projection.weight", unused=unused)
    if checkpoint.family == "wavlm":
        for layer in network.encoder.layers:
            layer.attention = GatedAttention(layer.attention)
    standardised = checkpoint.preprocessor.get("do_normalize", True)
    if not isinstance(standardised, bool):
        raise checkpoint.error(f"do_normalize must be true or false, got {standardised!r}")
    return FrontEnd(network, standardised), Transformer(network)


def _network(checkpoint: Checkpoint, layers: int) -> Any:
    """transformers' model of the first layers, its randomness but for dropout switched off."""
    if checkpoint.settings.get("conv_pos_batch_norm"):
        raise checkpoint.error(
            "conv_pos_batch_norm must be false (batch statistics would mix padding in), got true"
        )
    config_class, model_class = _classes(checkpoint)
    settings = config_class.from_dict(checkpoint.settings)
    settings.num_hidden_layers = layers
    settings.layerdrop = 0.0
    settings.mask_time_prob = settings.mask_feature_prob = 0.0
    settings.add_adapter = False
    # transformers has no other for WavLM, which gets its own in `build`.
    settings._attn_implementation = "eager" if checkpoint.family == "wavlm" else kernel()
    return model_class(settings)


def _classes(checkpoint: Checkpoint) -> tuple[Any, Any]:
    match checkpoint.family:
        case "wavlm":
            from transformers import WavLMConfig, WavLMModel

            return WavLMConfig, WavLMModel
        case "hubert":
            from transformers import HubertConfig, HubertModel

            return HubertConfig, HubertModel
        case _:
            from transformers import Wav2Vec2Config, Wav2Vec2Model

            return Wav2Vec2Config, Wav2Vec2Model


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

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, N), zero beyond their lengths, to frames (B, T, channels) and a mask."""
        if self.standardised:
            waveforms = standardise(waveforms, waveform_lengths)
        waveforms = functional.pad(waveforms, (0, max(0, self.span_samples - waveforms.shape[1])))
        lengths = waveform_lengths.clamp_min(self.span_samples)
        frames = waveforms.unsqueeze(1)  # (B, 1, N)
        for block in self.convolutions:
            conv, norm = block.conv, getattr(block, "layer_norm", None)
            lengths = (lengths - conv.kernel_size[0]) // conv.stride[0] + 1
            if isinstance(norm, nn.GroupNorm):
                frames = block.activation(normalise_channels(conv(frames), lengths, norm))
            else:
                frames = block(frames)
        return frames.transpose(1, 2), mask_up_to(lengths, frames.shape[2])


class Transformer(nn.Module):
    """Projection, positional convolution and transformer layers."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.projection = network.feature_projection
        self.encoder = network.encoder
        self.norm_is_last = bool(network.config.do_stable_layer_norm)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> list[Tensor]:
        """Frames (B, T, channels) of the front end to those (B, T, D) of every layer.

        The first are the input of the first layer. Padded frames are zero before the positional
        convolution and masked in the attention.
        """
        projected = self.projection(frames)
        if isinstance(projected, tuple):  # wav2vec 2.0 and WavLM also give the unprojected frames
            projected = projected[0]
        projected = projected.masked_fill(~frame_mask.unsqueeze(-1), 0.0)
        encoder = self.encoder
        positioned = projected + encoder.pos_conv_embed(projected)
        if not self.norm_is_last:
            positioned = encoder.layer_norm(positioned)
        every_layer = [encoder.dropout(positioned)]
        attention_mask, position_bias = additive_mask(frame_mask, projected.dtype), None
        for layer in encoder.layers:
            if isinstance(layer.attention, GatedAttention):
                given, position_bias = layer(every_layer[-1], frame_mask, position_bias)
            else:
                given = layer(every_layer[-1], attention_mask)
            every_layer.append(given)
        if self.norm_is_last:
            every_layer[-1] = encoder.layer_norm(every_layer[-1])
        return every_layer


def standardise(waveforms: Tensor, waveform_lengths: Tensor) -> Tensor:
    """Zero mean and unit variance over each utterance's own samples, zero beyond them.

    Args:
        waveforms: (B, N) float32.
        waveform_lengths: (B,) long.
    """
    return _standardise(waveforms, mask_up_to(waveform_lengths, waveforms.shape[1]), 1e-7)


def normalise_channels(frames: Tensor, lengths: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A group norm of one channel a group, its statistics over each utterance's own frames.

    Args:
        frames: (B, channels, T) float.
        lengths: (B,) long, frames.
        norm: Gives weight, bias and epsilon.
    Returns:
        (B, channels, T) float32; padded frames hold the bias.
    """
    mask = mask_up_to(lengths, frames.shape[2]).unsqueeze(1)  # (B, 1, T)
    scaled = _standardise(frames.float(), mask, norm.eps)
    return torch.addcmul(norm.bias.unsqueeze(-1), scaled, norm.weight.unsqueeze(-1))


def _standardise(values: Tensor, mask: Tensor, epsilon: float) -> Tensor:
    """Over the last axis, where the mask is True; zero elsewhere."""
    count = mask.sum(-1, keepdim=True)
    mean = values.masked_fill(~mask, 0.0).sum(-1, keepdim=True) / count
    centred = (values - mean).masked_fill(~mask, 0.0)
    variance = centred.square().sum(-1, keepdim=True) / count
    return centred * (variance + epsilon).rsqrt()
