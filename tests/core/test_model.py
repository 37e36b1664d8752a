"""The model: heads put together as the paper draws them, and blind to padding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from core.model import EmotionModel
from tests.core.small_speech import small_config

POOLINGS = ("first", "mean", "max", "flam")
LENGTHS = (1600, 2750, 4000, 401)


def make_model(pooling: str = "flam", classes: int = 4, **changes: object) -> EmotionModel:
    torch.manual_seed(0)
    return EmotionModel(small_config(pooling={"method": pooling}, **changes), classes).eval()


def make_batch(filler: float = 0.0, extra: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    waveforms = torch.full((len(LENGTHS), max(LENGTHS) + extra), filler)
    for row, length in zip(waveforms, LENGTHS, strict=True):
        row[:length] = torch.randn(length, generator=generator) / 4
    return waveforms, torch.tensor(LENGTHS)


def apply_by_hand(layer: torch.nn.Linear, inputs: Tensor) -> np.ndarray:
    weight, bias = layer.weight.double().numpy(), layer.bias.double().numpy()
    return inputs.double().numpy() @ weight.T + bias


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_logits_are_two_linear_layers_after_the_pooling(pooling):
    model = make_model(pooling)
    waveforms, lengths = make_batch()
    outputs = model(waveforms, lengths)
    frames, frame_mask = model.encoder(waveforms, lengths)
    pooled, refined = model.pooling(frames, frame_mask)
    embeddings = apply_by_hand(model.project, pooled)
    logits = apply_by_hand(model.classify, torch.from_numpy(embeddings))
    np.testing.assert_allclose(outputs.embeddings.numpy(), embeddings, atol=1e-5)
    np.testing.assert_allclose(outputs.logits.numpy(), logits, atol=1e-5)
    assert torch.equal(outputs.frame_mask, frame_mask)
    projected = apply_by_hand(model.project_frames, refined)[frame_mask.numpy()]
    np.testing.assert_allclose(outputs.frames[frame_mask].numpy(), projected, atol=1e-5)
    # F' of FLAM, and not the encoder's F, is what SupCon sees
    assert torch.equal(frames, refined) == (pooling != "flam")


@torch.no_grad()
def test_dimensions_follow_the_setting():
    outputs = make_model(classes=7, losses={"projected_features": 10})(*make_batch())
    assert outputs.logits.shape == (4, 7)
    assert outputs.embeddings.shape == (4, 10)
    assert outputs.frames.shape == (*outputs.frame_mask.shape, 10)
    assert make_model().project.out_features == 64  # P §3.2


@pytest.mark.parametrize("terms", [("kl",), ("kl", "center"), ("kl", "center", "focal")])
@torch.no_grad()
def test_frames_are_projected_for_the_frame_level_loss_alone(terms):
    without = make_model(losses={"terms": terms})
    outputs = without(*make_batch())
    assert outputs.frames is None
    assert not [name for name, _ in without.named_parameters() if "project_frames" in name]
    # The head is drawn last, so that settings with and without it start from the same weights.
    assert torch.equal(outputs.logits, make_model()(*make_batch()).logits)


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_padding_never_changes_the_outputs(pooling):
    model = make_model(pooling)
    waveforms, lengths = make_batch()
    together = model(waveforms, lengths)
    more = model(*make_batch(filler=0.7, extra=3333))
    for row, length in enumerate(LENGTHS):
        alone = model(waveforms[row : row + 1, :length], lengths[row : row + 1])
        frames = int(alone.frame_mask.sum())
        for padded in (together, more):
            assert int(padded.frame_mask[row].sum()) == frames
            for one, other in (
                (alone.logits[0], padded.logits[row]),
                (alone.embeddings[0], padded.embeddings[row]),
                (alone.frames[0, :frames], padded.frames[row, :frames]),
            ):
                assert torch.allclose(one, other, atol=1e-5)
    assert (together.logits[0] - together.logits[1]).abs().max() > 1e-3


@pytest.mark.parametrize("trained", ["all", "transformer", "frozen"])
def test_what_is_trained_is_what_the_setting_names(trained):
    model = make_model(encoder={"train": trained}).train()
    outputs = model(*make_batch())
    (outputs.logits.sum() + outputs.frames.sum()).backward()
    encoder = {name for name, _ in model.named_parameters() if name.startswith("encoder.")}
    heads = {name for name, _ in model.named_parameters()} - encoder
    assert {name.split(".")[0] for name in heads} == {
        "pooling",
        "project",
        "classify",
        "project_frames",
    }
    # An encoder that starts from a random draw has no front end worth keeping.
    expected = heads if trained == "frozen" else heads | encoder
    parameters = dict(model.named_parameters())
    assert {name for name, item in parameters.items() if item.requires_grad} == expected
    assert {name for name, item in parameters.items() if item.grad is not None} == expected


def test_the_setting_chooses_the_layer_of_the_encoder():
    config = small_config()
    for layer in (0, 1, 2):
        encoder = replace(config.encoder, layer=layer)
        assert EmotionModel(replace(config, encoder=encoder), 4).encoder.layers == layer
