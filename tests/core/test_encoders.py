"""What every encoder keeps to, whatever its family."""

from pathlib import Path
from typing import Any, Literal

import pytest
import torch

from core.checkpoints import CheckpointError, fingerprint
from core.config import EncoderConfig
from core.encoders import Encoder, build_encoder
from core.encoders import fingerprint as fingerprint_of_encoders
from tests.core.small_checkpoints import noise, save_self_supervised, save_whisper

Train = Literal["all", "transformer", "frozen"]
KINDS = ["wavlm-group", "wavlm-layer", "hubert-group", "wav2vec2-layer", "whisper", "logmel-small"]
PRETRAINED = KINDS[:-1]
WITH_BANDS = [*KINDS, "logmel"]  # which have neither layers nor weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint a kind, without dropout."""
    root = tmp_path_factory.mktemp("encoders")
    silent: dict[str, Any] = dict.fromkeys(
        ("hidden_dropout", "attention_dropout", "activation_dropout"), 0.0
    )
    for kind in KINDS[:-2]:
        family, norm = kind.split("-")
        save_self_supervised(root / kind, family, norm, feat_proj_dropout=0.0, **silent)
    save_whisper(root / "whisper")
    return root


def build(
    folders: Path, kind: str, train: Train = "all", layer: int | None = None, **readout: Any
) -> Encoder:
    torch.manual_seed(0)
    name = kind if kind.startswith("logmel") else str(folders / kind)
    return build_encoder(EncoderConfig(name=name, train=train, layer=layer, **readout))


@pytest.mark.parametrize("kind", WITH_BANDS)
def test_more_padding_never_changes_a_real_frame(kind: str, folders: Path) -> None:
    encoder = build(folders, kind).eval()
    lengths = torch.tensor([1, 399, 400, 3217, 8000])
    waveforms = torch.full((5, 30_000), 7.0)  # what stands beyond the lengths is not heard
    for row, length in zip(waveforms, lengths.tolist(), strict=True):
        row[:length] = noise(length, seed=length)
    together, frame_mask = encoder(waveforms, lengths)
    assert frame_mask.any(1).all()
    for row, length in enumerate(lengths.tolist()):
        alone, mask = encoder(waveforms[row : row + 1, :length], lengths[row : row + 1])
        count = int(mask.sum())
        assert frame_mask[row].tolist() == [True] * count + [False] * (len(frame_mask[row]) - count)
        torch.testing.assert_close(together[row, :count], alone[0, :count], rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("kind", WITH_BANDS)
def test_padded_frames_are_zero(kind: str, folders: Path) -> None:
    frames, frame_mask = build(folders, kind)(noise(2, 8000), torch.tensor([8000, 1500]))
    assert frames.shape[:2] == frame_mask.shape
    assert not frames[~frame_mask].any()
    assert frames[frame_mask].any(1).all()


@pytest.mark.parametrize("kind", WITH_BANDS)
def test_a_frozen_encoder_takes_no_gradient_and_always_evaluates(kind: str, folders: Path) -> None:
    encoder = build(folders, kind, "frozen")
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())
    frames, _ = encoder(noise(1, 4000), torch.tensor([4000]))
    assert not frames.requires_grad


@pytest.mark.parametrize("kind", PRETRAINED)
def test_training_the_transformer_leaves_the_front_end_out_of_the_graph(
    kind: str, folders: Path
) -> None:
    encoder = build(folders, kind, "transformer").train()
    front_end, _ = encoder.front_end(noise(1, 4000), torch.tensor([4000]))
    assert not front_end.requires_grad
    encoder(noise(1, 4000), torch.tensor([4000]))[0].square().sum().backward()
    for name, weight in encoder.named_parameters():
        is_trained = name.startswith("transformer.") and "positions" not in name
        assert weight.requires_grad == is_trained, name
        assert (weight.grad is not None) == is_trained, name


@pytest.mark.parametrize("kind", KINDS)
def test_training_all_reaches_every_weight(kind: str, folders: Path) -> None:
    encoder = build(folders, kind, "all").train()
    frames, _ = encoder(noise(2, 8000), torch.tensor([8000, 5000]))
    frames.pow(3).sum().backward()
    for name, weight in encoder.named_parameters():
        assert (weight.grad is not None) == ("positions" not in name), name


def test_an_encoder_without_weights_trains_all_of_itself_as_transformer(folders: Path) -> None:
    encoder = build(folders, "logmel-small", "transformer")
    assert all(weight.requires_grad for weight in encoder.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("train", ["all", "transformer", "frozen"])
def test_bfloat16_autocast_runs_forward_and_backward(
    kind: str, train: Train, folders: Path
) -> None:
    encoder = build(folders, kind, train)
    batch = noise(2, 8000), torch.tensor([8000, 900])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        frames, frame_mask = encoder(*batch)
    exact, _ = encoder(*batch)
    assert (frames - exact)[frame_mask].abs().mean() < 0.1 * exact[frame_mask].abs().mean()
    if train != "frozen":
        frames.float().square().mean().backward()
        gradients = [weight.grad for weight in encoder.parameters() if weight.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_layers_above_the_chosen_one_do_not_exist(kind: str, folders: Path) -> None:
    whole = build(folders, kind)
    sizes = []
    for layer in range(whole.layers + 1):
        encoder = build(folders, kind, layer=layer)
        assert encoder.layers == layer
        assert encoder.features == whole.features
        sizes.append(sum(weight.numel() for weight in encoder.parameters()))
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == sum(weight.numel() for weight in whole.parameters())


@pytest.mark.parametrize("kind", WITH_BANDS)
def test_a_layer_beyond_the_last_is_refused(kind: str, folders: Path) -> None:
    with pytest.raises(CheckpointError, match=r"encoder\.layer must lie in 0\.\.\d for .*, got 9"):
        build(folders, kind, layer=9)


@pytest.mark.parametrize("kind", PRETRAINED)
def test_loading_weights_draws_nothing_from_the_global_generator(kind: str, folders: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build_encoder(EncoderConfig(name=str(folders / kind)))
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_survive_a_round_through_a_state_dict(folders: Path) -> None:
    batch = noise(1, 4000), torch.tensor([4000])
    for kind in KINDS:
        trained = build(folders, kind).eval()
        with torch.no_grad():
            for weight in trained.parameters():
                weight.mul_(1.1)
        fresh = build(folders, kind).eval()
        fresh.load_state_dict(trained.state_dict())
        torch.testing.assert_close(fresh(*batch)[0], trained(*batch)[0], rtol=0, atol=0)


def test_the_fingerprint_is_the_checkpoints() -> None:
    assert fingerprint_of_encoders is fingerprint


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [None, 1])
def test_weighed_layers_are_at_first_the_mean_of_all(
    kind: str, layer: int | None, folders: Path
) -> None:
    batch = noise(2, 8000), torch.tensor([8000, 1500])
    last = build(folders, kind, layer=layer).layers
    outputs = [build(folders, kind, layer=k).eval()(*batch)[0] for k in range(last + 1)]
    torch.manual_seed(0)
    name = kind if kind.startswith("logmel") else str(folders / kind)
    config = EncoderConfig(name=name, layer=layer, weigh_layers=True, train="frozen")
    encoder = build_encoder(config)
    frames, frame_mask = encoder(*batch)
    if kind != "logmel-small":  # whose weights are drawn anew, fewer for fewer layers
        torch.testing.assert_close(frames, torch.stack(outputs).mean(0), rtol=1e-4, atol=1e-5)
    assert not frames[~frame_mask].any()
    frames.square().mean().backward()
    trained = {key for key, value in encoder.named_parameters() if value.grad is not None}
    assert trained == {"readout.scores"}
    assert encoder.readout.scores.grad.abs().min() > 0


@pytest.mark.parametrize("kind", PRETRAINED)
def test_the_average_over_one_layer_is_that_layer(kind: str, folders: Path) -> None:
    batch = noise(2, 8000), torch.tensor([8000, 1500])
    alone, _ = build(folders, kind, layer=0).eval()(*batch)
    weighed = build(folders, kind, layer=0, weigh_layers=True).eval()
    torch.testing.assert_close(weighed(*batch)[0], alone, rtol=0, atol=0)
    assert weighed.readout.scores is None


@pytest.mark.parametrize("kind", PRETRAINED)
def test_every_layer_of_one_utterance_is_each_layer_s_own_output(kind: str, folders: Path) -> None:
    waveform = noise(3217)
    encoder = build(folders, kind).eval()
    every_layer = encoder.every_layer(waveform)
    assert every_layer.shape[0] == encoder.layers + 1
    assert not every_layer.requires_grad
    for layer, frames in enumerate(every_layer):
        alone = build(folders, kind, layer=layer).eval()
        expected, _ = alone(waveform.unsqueeze(0), torch.tensor([3217]))
        torch.testing.assert_close(frames, expected[0])


@pytest.mark.parametrize("kind", KINDS)
def test_normed_frames_have_no_mean_and_unit_variance(kind: str, folders: Path) -> None:
    name = kind if kind.startswith("logmel") else str(folders / kind)
    encoder = build_encoder(EncoderConfig(name=name, layer=1, normalise=True)).eval()
    frames, frame_mask = encoder(noise(2, 8000), torch.tensor([8000, 1500]))
    real = frames[frame_mask]
    torch.testing.assert_close(real.mean(1), torch.zeros(len(real)), atol=1e-5, rtol=0)
    expected = torch.ones(len(real))
    torch.testing.assert_close(real.var(1, correction=0), expected, atol=2e-3, rtol=0)
    assert not frames[~frame_mask].any()


@pytest.mark.parametrize("kind", PRETRAINED)
def test_joined_layers_stand_side_by_side_each_normed(kind: str, folders: Path) -> None:
    batch = noise(2, 8000), torch.tensor([8000, 1500])
    singles = [build(folders, kind, layer=k, normalise=True).eval()(*batch)[0] for k in (2, 0)]
    joined = build(folders, kind, join_layers=(2, 0), normalise=True).eval()
    assert joined.layers == 2
    assert joined.features == 2 * singles[0].shape[-1]
    frames, frame_mask = joined(*batch)
    torch.testing.assert_close(frames, torch.cat(singles, -1))
    assert not frames[~frame_mask].any()


def test_a_joined_layer_beyond_the_last_is_refused(folders: Path) -> None:
    with pytest.raises(
        CheckpointError, match=r"encoder\.join_layers must lie in 0\.\.\d+ for .*, got 9"
    ):
        build(folders, "whisper", join_layers=(0, 9))
