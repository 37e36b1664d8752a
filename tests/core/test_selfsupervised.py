"""WavLM, HuBERT and wav2vec 2.0 against transformers' own models."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from core.checkpoints import CheckpointError
from core.config import EncoderConfig
from core.encoders import build_encoder
from core.front_end import Convolution, standardise
from tests.core.small_checkpoints import LAYERS, SELF_SUPERVISED, noise, save_self_supervised

KINDS = [(family, norm) for family in SELF_SUPERVISED for norm in ("group", "layer")]


@pytest.mark.parametrize(("family", "norm"), KINDS)
def test_every_layer_is_what_transformers_gives(family: str, norm: str, tmp_path: Path) -> None:
    stock = save_self_supervised(tmp_path, family, norm)
    waveforms = noise(1, 5000)
    centred = waveforms - waveforms.mean()
    with torch.no_grad():
        expected = stock(
            centred / (centred.square().mean() + 1e-7).sqrt(), output_hidden_states=True
        )
    for layer in range(LAYERS + 1):
        encoder = build_encoder(EncoderConfig(name=str(tmp_path), layer=layer)).eval()
        frames, frame_mask = encoder(waveforms, torch.tensor([5000]))
        # The last one is after the final layer norm, which WavLM's hidden_states leaves out.
        last = layer == LAYERS
        wanted = expected.last_hidden_state if last else expected.hidden_states[layer]
        assert frame_mask.all()
        torch.testing.assert_close(frames, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("family", "norm"), KINDS)
def test_neither_companions_nor_padding_change_what_transformers_gives_an_utterance_alone(
    family: str, norm: str, tmp_path: Path
) -> None:
    stock = save_self_supervised(tmp_path, family, norm, standardised=False)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path))).eval()
    lengths = torch.tensor([23_000, 400, 9_111])  # more than FRAMES_AT_ONCE, one frame, between
    waveforms = noise(3, 24_500)
    frames, frame_mask = encoder(waveforms, lengths)
    assert frame_mask.sum(1).tolist() == [71, 1, 28]
    for row, length in enumerate(lengths.tolist()):
        with torch.no_grad():
            expected = stock(waveforms[row, None, :length]).last_hidden_state[0]
        torch.testing.assert_close(frames[row][frame_mask[row]], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_several_utterances_pass_together_on_a_gpu_as_each_alone(norm: str, tmp_path: Path) -> None:
    save_self_supervised(tmp_path, "hubert", norm)
    front_end = build_encoder(EncoderConfig(name=str(tmp_path))).front_end
    layers = [Convolution.of(block, torch.float32) for block in front_end.convolutions]
    lengths = torch.tensor([3000, 700, 2345, 400, 3000, 1999])  # two groups
    waveforms = noise(6, 3000) * (torch.arange(3000) < lengths.unsqueeze(1))
    with torch.no_grad():
        together = front_end._together(layers, waveforms, lengths, 9)
        alone = front_end._one_by_one(layers, waveforms, lengths, 9)
    own = (alone != 0).any(-1)
    assert own.sum(1).tolist() == [9, 1, 7, 1, 9, 5]
    torch.testing.assert_close(together[own], alone[own], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_the_convolutions_gradients_are_transformers_own(norm: str, tmp_path: Path) -> None:
    stock = save_self_supervised(tmp_path, "wavlm", norm, standardised=False)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path), train="all")).eval()
    waveforms = noise(2, 23_000)
    frames, _ = encoder(waveforms, torch.tensor([23_000, 23_000]))
    frames.square().mean().backward()
    stock.feature_extractor.requires_grad_(True)
    stock(waveforms).last_hidden_state.square().mean().backward()
    wanted = dict(stock.feature_extractor.conv_layers.named_parameters())
    for name, weight in encoder.front_end.convolutions.named_parameters():
        expected = wanted[name].grad
        torch.testing.assert_close(weight.grad, expected, rtol=1e-3, atol=1e-3 * expected.std())


@pytest.mark.parametrize("family", SELF_SUPERVISED)
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
def test_a_padded_batch_is_what_transformers_gives_with_its_attention_mask(
    family: str, tmp_path: Path
) -> None:
    stock = save_self_supervised(tmp_path, family, "layer", standardised=False)
    lengths = torch.tensor([2500, 6000])
    real = torch.arange(6000) < lengths.unsqueeze(1)
    waveforms = noise(2, 6000) * real
    frames, frame_mask = build_encoder(EncoderConfig(name=str(tmp_path))).eval()(waveforms, lengths)
    with torch.no_grad():
        expected = stock(waveforms, attention_mask=real.long()).last_hidden_state
    assert frame_mask.sum(1).tolist() == [7, 18]  # (2500 - 400) // 320 + 1, (6000 - 400) // 320 + 1
    torch.testing.assert_close(frames[frame_mask], expected[frame_mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("standardised", [True, False])
def test_waveforms_are_standardised_where_the_checkpoint_says_so(
    standardised: bool, tmp_path: Path
) -> None:
    save_self_supervised(tmp_path, "hubert", "layer", standardised)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path))).eval()
    waveforms, lengths = noise(1, 3000), torch.tensor([3000])
    quiet, _ = encoder(waveforms, lengths)
    loud, _ = encoder(3 * waveforms + 0.2, lengths)
    assert torch.allclose(quiet, loud, atol=1e-3) == standardised


def test_standardising_heeds_only_real_samples() -> None:
    waveforms = torch.tensor([[1.0, 3.0, 9.0], [2.0, 2.0, 2.0]])
    expected = torch.tensor([[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(standardise(waveforms, torch.tensor([2, 3])), expected)


@pytest.mark.parametrize("offset", [0.0, 5.0])
def test_a_norm_over_time_folded_into_the_weights_is_the_group_norm_on_the_real_frames_alone(
    offset: float,
) -> None:
    block = SimpleNamespace(
        conv=nn.Conv1d(1, 4, 10, 5), layer_norm=nn.GroupNorm(4, 4), activation=nn.GELU()
    )
    nn.init.normal_(block.layer_norm.weight)
    nn.init.normal_(block.layer_norm.bias)
    waveforms, lengths = offset + noise(2, 100), torch.tensor([62, 100])
    plain = Convolution.of(block, torch.float32)
    folded = plain.normed_over_time(waveforms, lengths, block.layer_norm, torch.float32)
    found = folded.of_waveforms(waveforms).unflatten(0, (2, 20)).transpose(1, 2)
    for row, (length, frames) in enumerate([(62, 11), (100, 19)]):
        alone = block.conv(waveforms[row, None, None, :length])  # (1, 4, frames)
        expected = block.activation(block.layer_norm(alone))[0]
        assert alone.shape[2] == frames
        torch.testing.assert_close(found[row, :, :frames], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", SELF_SUPERVISED)
def test_training_drops_no_layer_and_masks_no_frame(family: str, tmp_path: Path) -> None:
    silent: dict[str, Any] = dict.fromkeys(_dropouts(family), 0.0)
    random: dict[str, Any] = {"layerdrop": 1.0, "mask_time_prob": 0.9, "mask_feature_prob": 0.9}
    save_self_supervised(tmp_path, family, "layer", **silent, **random)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path)))
    batch = noise(1, 4000), torch.tensor([4000])
    trained, _ = encoder.train()(*batch)
    evaluated, _ = encoder.eval()(*batch)
    torch.testing.assert_close(trained, evaluated, rtol=0, atol=0)


@pytest.mark.parametrize("family", SELF_SUPERVISED)
def test_dropout_is_the_checkpoints(family: str, tmp_path: Path) -> None:
    half: dict[str, Any] = dict.fromkeys(_dropouts(family), 0.5)
    save_self_supervised(tmp_path, family, "layer", **half)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path)))
    dropouts = [module.p for module in encoder.modules() if isinstance(module, nn.Dropout)]
    assert set(dropouts) == {0.5}
    batch = noise(1, 4000), torch.tensor([4000])
    assert not torch.equal(encoder.train()(*batch)[0], encoder.train()(*batch)[0])


def _dropouts(family: str) -> list[str]:
    settings = SELF_SUPERVISED[family][0]().to_dict()
    used = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
    return [name for name in used if name in settings]


def test_a_batch_norm_over_padding_is_refused(tmp_path: Path) -> None:
    save_self_supervised(tmp_path, "hubert", "layer", conv_pos_batch_norm=True)
    with pytest.raises(CheckpointError, match="conv_pos_batch_norm must be false"):
        build_encoder(EncoderConfig(name=str(tmp_path)))


def test_settings_that_describe_no_model_are_refused_by_folder(tmp_path: Path) -> None:
    save_self_supervised(tmp_path, "wav2vec2", "layer")
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"layer"', '"batch"'))
    with pytest.raises(CheckpointError, match=r"config\.json must describe a wav2vec2 model"):
        build_encoder(EncoderConfig(name=str(tmp_path)))


@pytest.mark.parametrize("family", SELF_SUPERVISED)
def test_a_checkpoint_inside_a_larger_model_gives_the_same_frames(
    family: str, tmp_path: Path
) -> None:
    import transformers

    stock = save_self_supervised(tmp_path / "alone", family, "layer")
    prefix = {"wavlm": "WavLM", "hubert": "Hubert", "wav2vec2": "Wav2Vec2"}[family]
    larger: Any = getattr(transformers, f"{prefix}ForSequenceClassification")(stock.config)
    getattr(larger, larger.base_model_prefix).load_state_dict(stock.state_dict())
    larger.save_pretrained(tmp_path / "within")
    batch = noise(1, 3000), torch.tensor([3000])
    frames = [
        build_encoder(EncoderConfig(name=str(tmp_path / folder))).eval()(*batch)[0]
        for folder in ("alone", "within")
    ]
    torch.testing.assert_close(*frames, rtol=0, atol=0)


def test_frames_of_wider_spans_than_25_ms_are_found_in_a_lone_sample(tmp_path: Path) -> None:
    strides = [5, 2, 2, 2, 2, 2, 2]
    save_self_supervised(tmp_path, "hubert", "group", conv_stride=strides, conv_kernel=[10] * 7)
    encoder = build_encoder(EncoderConfig(name=str(tmp_path))).eval()
    frames, frame_mask = encoder(noise(1, 1), torch.tensor([1]))
    assert frame_mask.tolist() == [[True]]
    assert functional.mse_loss(frames, torch.zeros_like(frames)) > 0


@pytest.mark.parametrize("stride", [1, 10**9])
def test_another_rate_of_frames_than_50_a_second_is_refused(tmp_path: Path, stride: int) -> None:
    save_self_supervised(tmp_path, "hubert", "group")
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(settings | {"conv_stride": [stride] * 7}))
    with pytest.raises(CheckpointError) as caught:
        build_encoder(EncoderConfig(name=str(tmp_path)))
    expected = f"conv_stride must give a frame every 320 samples, got {stride**7}"
    assert expected in str(caught.value)
