"""The encoders that need no weights: bare log-mel bands, and a network on them."""

import math

import pytest
import torch
from torch import nn

from core.config import EncoderConfig
from core.encoder_catalog import ENCODERS
from core.encoders import Encoder, build_encoder
from core.masking import MaskDraw
from tests.core.small_checkpoints import noise

NAMES = ["logmel-small", "logmel-base"]


def build(name: str, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return build_encoder(EncoderConfig(name=name))


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_25_frames_a_second_of_the_stated_width(name: str) -> None:
    frames, frame_mask = build(name)(noise(1, 32_000), torch.tensor([32_000]))
    assert frames.shape == (1, 50, ENCODERS[name].features)
    assert frame_mask.all()


@pytest.mark.parametrize("name", NAMES)
def test_its_weights_come_from_the_global_seed_alone(name: str) -> None:
    batch = noise(2, 9000), torch.tensor([9000, 4000])
    frames = [build(name, seed)(*batch)[0] for seed in (1, 1, 2)]
    assert torch.equal(frames[0], frames[1])
    assert not torch.allclose(frames[0], frames[2])


@pytest.mark.parametrize(("power_ratio", "rise"), [(1.0, 0.0), (100.0, 1.0), (1e4, 2.0)])
def test_bare_bands_are_half_the_logarithm_of_power(power_ratio: float, rise: float) -> None:
    encoder = build("logmel")
    lengths = torch.tensor([32_000])
    frames, frame_mask = encoder(noise(1, 32_000), lengths)
    louder, _ = encoder(math.sqrt(power_ratio) * noise(1, 32_000), lengths)
    assert frames.shape == (1, 200, 64)  # one every 10 ms
    assert frame_mask.all()
    torch.testing.assert_close(louder - frames, torch.full_like(frames, rise), rtol=0, atol=1e-4)


def test_bare_bands_of_silence_lie_at_the_floor() -> None:
    frames, _ = build("logmel")(torch.zeros(1, 1600), torch.tensor([1600]))
    assert (frames == -2.0).all()  # (log10(1e-8) + 4) / 2


def test_bare_bands_hide_what_a_mask_covers_and_have_no_weights() -> None:
    encoder = build("logmel")
    masks = MaskDraw(torch.tensor([[[5.0, 0.0]]]).double(), torch.zeros(1, 0, 2).double())
    frames, _ = encoder(noise(1, 1600), torch.tensor([1600]), masks)
    assert not frames[..., :5].any()
    assert frames[..., 5:].all()
    assert not encoder.state_dict()


def test_a_gain_stays_visible() -> None:
    encoder = build("logmel-small")
    lengths = torch.tensor([9000])
    quiet, _ = encoder(noise(1, 9000), lengths)
    loud, _ = encoder(8 * noise(1, 9000), lengths)
    assert (quiet - loud).abs().mean() > 0.05


def test_its_first_frame_hears_the_whole_utterance() -> None:
    waveforms = noise(1, 48_000)
    changed = waveforms.clone()
    changed[:, 40_000:] *= 3
    encoder = build("logmel-small")
    frames = [encoder(given, torch.tensor([48_000]))[0][0, 0] for given in (waveforms, changed)]
    assert not torch.allclose(*frames)


def test_it_learns_to_tell_two_tones_in_40_steps() -> None:
    encoder = build("logmel-small")
    classify = nn.Linear(encoder.features, 2)
    parameters = [*encoder.parameters(), *classify.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)
    labels = torch.arange(8) % 2
    times_s = torch.arange(8000) / 16_000
    tones = torch.sin(2 * math.pi * (300 + 200 * labels.unsqueeze(1)) * times_s)
    for step in range(40):
        waveforms = 0.3 * tones + noise(8, 8000, seed=step)
        logits = classify(encoder(waveforms, torch.full((8,), 8000))[0].mean(1))
        loss = nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert (logits.argmax(1) == labels).all()
    assert loss < 0.4
