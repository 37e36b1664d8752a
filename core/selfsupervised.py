"""WavLM, HuBERT and wav2vec 2.0: one architecture, transformers' modules, padding masked.

A checkpoint whose preprocessor_config.json says `do_normalize` (transformers' default where the
file is missing) was trained on waveforms of zero mean and unit variance; each utterance is brought
to them over its own samples. The base models' first convolution is normalised over time: here over
the utterance's own frames alone, with the same weights.
"""

import math
from typing import Any

from torch import Tensor, nn

from core.attention import GatedAttention, additive_mask, kernel
from core.checkpoints import Checkpoint
from core.front_end import FRAME_STEP_SAMPLES, FrontEnd
from core.weights import load_weights, without_weights


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
