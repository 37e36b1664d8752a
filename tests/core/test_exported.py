"""An exported folder: whole, stock for transformers, and refused where it is damaged."""

import json
import os
import random
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from core.encoders import build_encoder
from core.exported import export_model, exported_classifier
from core.kept_model import ModelError, read_model
from tests.core.small_checkpoints import noise
from tests.core.small_models import trained
from tests.core.small_speech import CPU


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A fine-tuned Whisper's file."""
    return trained(tmp_path_factory.mktemp("kept"), {"encoder": "whisper"})[0]


@pytest.fixture
def exported(kept, tmp_path):
    export_model(read_model(kept), tmp_path / "out", "# A card")
    return tmp_path / "out"


@pytest.mark.parametrize("family", ["wavlm", "wav2vec2"])
def test_transformers_loads_the_trained_encoder_without_this_project(tmp_path, family):
    """Layer 2 of 3 was trained on, so it is `hidden_states[2]`."""
    path, _, _ = trained(tmp_path, {"encoder": family, "layer": 2})
    model = read_model(path)
    export_model(model, tmp_path / "out", "a card")
    stock, told = transformers.AutoModel.from_pretrained(
        tmp_path / "out", output_loading_info=True, attn_implementation="eager"
    )
    assert not any(told[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    waveform = noise(1, 4_000)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "out")
    given = extractor(waveform[0].numpy(), sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        theirs = stock.eval()(given.input_values, output_hidden_states=True).hidden_states[2]
    ours = build_encoder(model.config.encoder)
    ours.load_state_dict(
        {k.removeprefix("encoder."): v for k, v in model.tensors.items() if "encoder." in k},
        strict=False,
    )
    with torch.no_grad():
        frames, _ = ours.eval()(waveform, torch.tensor([4_000]))
    assert (frames - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def test_whisper_s_encoder_loads_with_every_trained_weight(kept, exported):
    stock, told = WhisperEncoder.from_pretrained(exported, output_loading_info=True)
    assert not any(told[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    trained_weights, weights = read_model(kept).tensors, stock.state_dict()
    for ours, theirs in (
        ("encoder.transformer.layers.1.fc1.weight", "layers.1.fc1.weight"),
        ("encoder.transformer.layer_norm.bias", "layer_norm.bias"),
    ):
        assert torch.equal(trained_weights[ours], weights[theirs])
    assert stock.config.id2label == dict(enumerate(read_model(kept).facts.classes))


def test_a_folder_needs_nothing_beside_it(kept, exported, tmp_path):
    away = tmp_path / "another machine"
    exported.rename(away)
    checkpoint = kept.parent / "encoder"
    hidden = checkpoint.with_name("hidden")
    checkpoint.rename(hidden)
    try:
        found = exported_classifier(away, CPU).probabilities([np.ones(2000, np.float32)])
    finally:
        hidden.rename(checkpoint)
    assert abs(found.sum() - 1) <= 1e-6


def test_only_a_new_or_empty_folder_is_written(kept, tmp_path):
    model = read_model(kept)
    (tmp_path / "empty").mkdir()
    export_model(model, tmp_path / "empty", "a card")
    with pytest.raises(ModelError, match="must be a new or an empty folder, found files in it"):
        export_model(model, tmp_path / "empty", "a card")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ModelError, match="found something else"):
        export_model(model, tmp_path / "file", "a card")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="found something else"):
        export_model(model, tmp_path / "link", "a card")
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "file", "link"}


def test_an_export_that_fails_leaves_nothing(kept, tmp_path, monkeypatch):
    def full(*args, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.exported.write_model", full)
    with pytest.raises(OSError, match="No space"):
        export_model(read_model(kept), tmp_path / "out", "a card")
    assert list(tmp_path.iterdir()) == []


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda f: (f / "head.safetensors").unlink(), "found no file head.safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "must be a JSON file"),
        (lambda f: edit(f / "config.json", d_model=10**12), "d_model"),
        (lambda f: edit(f / "config.json", d_model=96), "misshapen"),
        (lambda f: edit(f / "config.json", encoder_layers=10**9), "encoder_layers"),
        (lambda f: edit(f / "config.json", encoder_ffn_dim=10**11), "misshapen"),
        (lambda f: edit(f / "config.json", max_source_positions=10**10), "misshapen|describe"),
        (lambda f: edit(f / "config.json", num_mel_bins=10**9), "misshapen|describe"),
        (lambda f: edit(f / "config.json", model_type="bert"), "model_type"),
        (lambda f: os.truncate(f / "model.safetensors", 5_000), "must be readable"),
        (lambda f: os.truncate(f / "head.safetensors", 500), "must be an intact model"),
        (lambda f: shutil.copy(f / "model.safetensors", f / "head.safetensors"), "found a file"),
        (lambda f: shutil.copy(f / "head.safetensors", f / "model.safetensors"), "must hold one"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04pickle"), "must be readable"),
    ],
)
def test_a_damaged_folder_gives_one_error(exported, spoil, fault):
    spoil(exported)
    with pytest.raises(ModelError, match=fault) as caught:
        exported_classifier(exported, CPU)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_weights_of_another_shape_or_without_numbers_are_refused(exported):
    weights = load_file(exported / "model.safetensors")
    for bad, fault in (
        (torch.full((32,), torch.inf), "non-finite"),
        (torch.zeros(31), "misshapen"),
        (torch.zeros(32, dtype=torch.int32), "no plain real numbers"),
    ):
        save_file(weights | {"layer_norm.bias": bad}, exported / "model.safetensors")
        with pytest.raises(ModelError, match=fault):
            exported_classifier(exported, CPU)


def test_no_path_in_a_folder_leads_out_of_it(exported, tmp_path):
    (exported / "model.safetensors").rename(tmp_path / "away.safetensors")
    index = {"weight_map": {"conv1.weight": "../away.safetensors"}}
    (exported / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"found no file model\.safetensors"):
        exported_classifier(exported, CPU)


def test_any_damage_to_the_json_gives_a_model_or_one_error(exported):
    path, draw = exported / "config.json", random.Random(1)
    content = path.read_bytes()
    said = []
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 2, 5])):
            damaged[draw.randrange(len(damaged))] = draw.choice(b'0123456789{}[]",:aeE-. ')
        path.write_bytes(damaged)
        try:
            exported_classifier(exported, CPU)
        except ModelError as error:
            said.append(str(error))
    assert said
    assert all(text.isprintable() for text in said)
