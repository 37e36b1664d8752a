"""Small random checkpoints in transformers' own format, as its models write them."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

SELF_SUPERVISED = {
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
    "hubert": (transformers.HubertConfig, transformers.HubertModel),
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
}
LAYERS = 3
FEATURES = 32


def save_self_supervised(
    folder: Path, family: str, norm: str = "layer", standardised: bool = True, **settings: Any
) -> Any:
    """A model of the base kind (`norm` "group") or of the large kind ("layer"), and itself."""
    config_class, model_class = SELF_SUPERVISED[family]
    config = config_class(
        **{
            "hidden_size": FEATURES,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "conv_dim": [16] * 7,
            "num_conv_pos_embeddings": 16,
            # oneDNN 3.11 gives wrong sums in bf16 with AMX for groups of 8 channels; published
            # checkpoints have 48 or 64
            "num_conv_pos_embedding_groups": 2,
            "feat_extract_norm": norm,
            "do_stable_layer_norm": norm == "layer",
            "vocab_size": 8,
            **settings,
        }
    )
    model = _noisy(model_class(config))
    model.save_pretrained(folder)
    text = json.dumps({"do_normalize": standardised, "sampling_rate": 16_000})
    (folder / "preprocessor_config.json").write_text(text)
    return model


def save_whisper(folder: Path, whole: bool = True, positions: int = 100, **settings: Any) -> Any:
    """A Whisper that takes 2 s, whole or its encoder alone; returns its encoder."""
    config = transformers.WhisperConfig(
        **{
            "d_model": FEATURES,
            "encoder_layers": LAYERS,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_layers": 1,
            "decoder_attention_heads": 4,
            "decoder_ffn_dim": 48,
            "max_source_positions": positions,
            "max_target_positions": 8,
            "vocab_size": 16,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 3,
            "begin_suppress_tokens": None,
            **settings,
        }
    )
    model = _noisy(transformers.WhisperForConditionalGeneration(config))
    encoder = model.model.encoder
    (model if whole else encoder).save_pretrained(folder)
    return encoder


def _noisy(model: Any) -> Any:
    """Weights far from zero and one, so that no part of the network could be left out unseen."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    """Waveforms of faint noise."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
