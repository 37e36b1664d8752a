"""A trained model as a folder in transformers' layout, whole without anything beside it.

    config.json, model.safetensors    the encoder, as transformers itself writes it, every layer of
                                      it; one without a checkpoint (log-mel) by our own names
    preprocessor_config.json          how that encoder wants its waveforms
    head.safetensors                  what stands on the encoder, and what it was trained as: see
                                      core/kept_model.py
So the encoder alone loads with transformers' `from_pretrained`, without this project; the method
reads the layer k of `hidden_states[k]` that the config in head.safetensors names.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from core.checkpoints import Checkpoint, CheckpointError, open_checkpoint
from core.classifier import Classifier
from core.config import SAMPLE_RATE_HZ
from core.encoder_catalog import is_pretrained
from core.kept_model import KeptModel, ModelError, read_model, write_model
from core.lora import additions
from core.schema import cut
from core.weights import load_weights, without_weights

HEAD, ENCODER, CONFIG = "head.safetensors", "model.safetensors", "config.json"
PREPROCESSOR, CARD = "preprocessor_config.json", "README.md"
OF_THE_ENCODER = ("encoder.front_end.", "encoder.transformer.")
OWN_TYPE = "ser-ablation-logmel"  # a `model_type` that transformers does not know

# Our modules' names -> those of transformers' models.
STOCK_NAMES = {
    "whisper": {
        "front_end.conv": "conv",
        "transformer.positions.": "embed_positions.",
        "transformer.layers.": "layers.",
        "transformer.layer_norm.": "layer_norm.",
    },
    "self-supervised": {
        "front_end.convolutions.": "feature_extractor.conv_layers.",
        "transformer.projection.": "feature_projection.",
        "transformer.encoder.": "encoder.",
    },
}


def export_model(model: KeptModel, folder: Path, card: str) -> None:
    """Write a model's folder, whole or not at all.

    Args:
        model: Its encoder's checkpoint must be at hand.
        card: The text of README.md.
    Raises:
        ModelError: the folder is not empty.
        CheckpointError: the checkpoint is missing or damaged.
        OSError: it can't be written.
    """
    refuse_used(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.urandom(8).hex()}")
    aside.mkdir()
    try:
        encoder = {
            name.removeprefix("encoder."): tensor.detach().cpu().contiguous()
            for name, tensor in model.tensors.items()
            if name.startswith(OF_THE_ENCODER)
        }
        head = {
            name: tensor
            for name, tensor in model.tensors.items()
            if not name.startswith(OF_THE_ENCODER)
        }
        if is_pretrained(model.config.encoder.name):
            _write_stock(model, encoder, aside)
        else:
            (aside / ENCODER).write_bytes(save(encoder, {"format": "pt"}))
            settings = {"model_type": OWN_TYPE, **_labels(model.facts.classes)}
            (aside / CONFIG).write_text(json.dumps(settings, indent=2))
        write_model(aside / HEAD, replace(model, tensors=head))
        (aside / CARD).write_text(card, encoding="utf-8")
        aside.rename(folder)  # takes the place of an empty one, and of no other
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def refuse_used(folder: Path) -> None:
    """Raise `ModelError` unless a folder is free to be written."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ModelError(f"{folder} must be a new or an empty folder, found something else")
    if folder.is_dir() and any(folder.iterdir()):
        raise ModelError(f"{folder} must be a new or an empty folder, found files in it")


def exported_classifier(folder: Path, device: torch.device) -> Classifier:
    """The classifier of an exported folder; nothing outside the folder is read.

    Raises:
        ModelError: the folder, or what is in it, is no such model.
    """
    folder = folder.resolve()
    for name in (HEAD, ENCODER, CONFIG):
        if not (folder / name).is_file():
            raise ModelError(f"{folder} must be an exported model, found no file {name} in it")
    model = read_model(folder / HEAD)
    try:
        if is_pretrained(model.config.encoder.name):
            encoder = replace(model.config.encoder, name=os.fspath(folder), lora_rank=0)
            return Classifier(model, encoder, device, elsewhere=OF_THE_ENCODER)
        whole = model.tensors | _own_encoder(folder / ENCODER)
        return Classifier(replace(model, tensors=whole), model.config.encoder, device)
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    except CheckpointError as error:
        raise ModelError(str(error)) from error


def _write_stock(model: KeptModel, trained: Mapping[str, Tensor], folder: Path) -> None:
    """The encoder's whole checkpoint, the trained tensors in place of its own."""
    checkpoint = open_checkpoint(model.config.encoder.name)
    is_whisper = checkpoint.family == "whisper"
    stock = _stock_model(checkpoint)
    weights = stock.state_dict()
    names = STOCK_NAMES["whisper" if is_whisper else "self-supervised"]
    if rank := model.config.encoder.lora_rank:  # weights and what was trained beside them, as one
        added = additions(trained, rank, model.config.encoder.lora_alpha)
        trained = {name: weights[_stock_name(name, names)] + by for name, by in added.items()}
    for name, tensor in trained.items():
        known = _stock_name(name, names)
        if known not in weights or weights[known].shape != tensor.shape:
            raise checkpoint.error(f"it must have a tensor {known} of {tuple(tensor.shape)}")
        weights[known] = tensor
    plain = {name: item.detach().contiguous() for name, item in weights.items()}
    # Not `save_file`, whose files only their owner may read.
    (folder / ENCODER).write_bytes(save(plain, {"format": "pt"}))
    settings = {**stock.config.to_dict(), **_labels(model.facts.classes)}
    settings |= {"architectures": [type(stock).__name__], "dtype": "float32"}
    (folder / CONFIG).write_text(json.dumps(settings, indent=2))
    asked = {"sampling_rate": SAMPLE_RATE_HZ, **checkpoint.preprocessor}
    if not is_whisper:  # transformers' defaults, where the checkpoint says nothing
        asked = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True} | asked
    (folder / PREPROCESSOR).write_text(json.dumps(asked, indent=2))


def _stock_model(checkpoint: Checkpoint) -> Any:
    """transformers' own model of a checkpoint, every layer of it; of Whisper the encoder alone.

    Not by `from_pretrained`, which draws at random what it does not find.
    """
    import transformers
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    is_whisper = checkpoint.family == "whisper"

    def make() -> Any:
        settings = transformers.CONFIG_MAPPING[checkpoint.family].from_dict(checkpoint.settings)
        if is_whisper:
            return WhisperEncoder(settings)
        settings.mask_time_prob = settings.mask_feature_prob = 0.0  # nor are they in training
        settings.add_adapter = False
        return transformers.AutoModel.from_config(settings)

    stock = without_weights(checkpoint, make)
    anchor = "conv1.weight" if is_whisper else "feature_projection.projection.weight"
    unused = () if is_whisper else ("masked_spec_embed", "adapter.")
    load_weights(stock, checkpoint, anchor=anchor, unused=unused)
    return stock


def _stock_name(name: str, names: Mapping[str, str]) -> str:
    for ours, theirs in names.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise ModelError(f"an encoder's tensor must have a name in transformers, found none for {name}")


def _own_encoder(path: Path) -> dict[str, Tensor]:
    """The tensors of an encoder without a checkpoint, under the model's names."""
    try:
        return {f"encoder.{name}": tensor for name, tensor in load_file(path).items()}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise ModelError(f"{path.name} must be intact, found: {cut(text)}") from error


def _labels(classes: Sequence[str]) -> dict[str, Any]:
    """The classes as transformers writes them."""
    return {
        "id2label": dict(enumerate(classes)),
        "label2id": {name: place for place, name in enumerate(classes)},
    }
