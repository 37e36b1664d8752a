"""LoRA: at first the encoder itself; then W + B A alpha / rank, of which B and A alone are kept."""

import numpy as np
import pytest
import torch

from core.classifier import kept_classifier
from core.clips import loud_extent, to_peak
from core.config import EncoderConfig
from core.encoders import build_encoder
from core.exported import export_model, exported_classifier
from core.kept_model import read_model
from core.lora import Adapted, additions
from tests.core.small_checkpoints import FEATURES, LAYERS, noise, save_self_supervised, save_whisper
from tests.core.small_models import trained
from tests.core.small_speech import CPU

FAMILIES = ["whisper", "wavlm", "hubert", "wav2vec2"]
LENGTHS = torch.tensor([4000, 2400])


def save(folder, family):
    if family == "whisper":
        save_whisper(folder)
    else:
        save_self_supervised(folder, family)


def frames_of(encoder):
    with torch.no_grad():
        return encoder.eval()(noise(2, 4000), LENGTHS)[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapted_encoder_starts_as_itself_and_is_then_its_weights_and_their_additions(
    tmp_path, family
):
    save(tmp_path, family)
    plain = build_encoder(EncoderConfig(name=str(tmp_path)))
    torch.manual_seed(1)
    adapted = build_encoder(EncoderConfig(name=str(tmp_path), lora_rank=3, lora_alpha=6.0))
    assert torch.equal(frames_of(adapted), frames_of(plain))
    found = [item for item in adapted.modules() if isinstance(item, Adapted)]
    assert len(found) == 2 * LAYERS
    trainable = [tuple(item.shape) for item in adapted.parameters() if item.requires_grad]
    assert trainable == [(3, FEATURES), (FEATURES, 3)] * (2 * LAYERS)
    merged = plain.state_dict()
    with torch.no_grad():
        for name, module in adapted.named_modules():
            if isinstance(module, Adapted):
                module.up.normal_()
                product = module.up.double().numpy() @ module.down.double().numpy()
                merged[f"{name}.weight"] += torch.from_numpy(2.0 * product).float()  # 6 / 3
    plain.load_state_dict(merged)
    given, wanted = frames_of(adapted), frames_of(plain)
    assert (given - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    assert not torch.allclose(given, frames_of(build_encoder(EncoderConfig(name=str(tmp_path)))))


def test_what_is_added_stands_under_the_weight_s_name():
    tensors = {
        "layers.0.q_proj.down": torch.tensor([[1.0, 2.0]]),
        "layers.0.q_proj.up": torch.tensor([[3.0], [-1.0]]),
        "classify.weight": torch.ones(1),
    }
    (found,) = additions(tensors, rank=1, alpha=0.5).items()
    assert found[0] == "layers.0.q_proj.weight"
    assert found[1].tolist() == [[1.5, 3.0], [-0.5, -1.0]]


@pytest.mark.parametrize("family", ["whisper", "wavlm"])
def test_a_kept_model_holds_the_additions_alone_and_an_exported_one_is_whole(tmp_path, family):
    path, result, store = trained(tmp_path, {"encoder": family, "lora_rank": 2})
    model = read_model(path)
    of_encoder = [name for name in model.tensors if name.startswith("encoder.")]
    assert len(of_encoder) == 4 * LAYERS
    assert all(name.endswith((".down", ".up")) for name in of_encoder)
    assert any(model.tensors[name].any() for name in of_encoder if name.endswith(".up"))
    names = [item.utterance for item in result.predictions]
    wanted = np.array([item.probabilities for item in result.predictions])
    heard = [heard_of(store.waveform(name)) for name in names]
    found = kept_classifier(path, CPU).probabilities(heard)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    export_model(model, tmp_path / "out", "a card")
    (tmp_path / "encoder").rename(tmp_path / "hidden")
    exported = exported_classifier(tmp_path / "out", CPU).probabilities(heard)
    np.testing.assert_allclose(exported, wanted, atol=1e-4)


def heard_of(waveform):
    """As `trained` has it heard: trimmed by 30 dB, 0.15 s of it, to its peak."""
    start, stop = loud_extent(waveform, 30.0)
    return to_peak(waveform[start : min(stop, start + 2400)])
