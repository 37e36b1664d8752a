"""Noise: at the SNR that was drawn, of its colour, and on nothing but the utterance itself."""

import math

import numpy as np
import pytest
import torch

from core.augmentation import add_noise, at_snr, coloured_noise, disturbed, draws_of
from core.config import AugmentConfig
from tests.core.small_speech import small_config
from tests.core.small_trainers import make_batcher


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_has_the_power_that_the_ratio_asks_for(snr_db, exponent):
    waveform = torch.sin(torch.arange(2000) * 0.1).double()
    noise = coloured_noise(2000, exponent, generator()).double()
    added = (at_snr(waveform, noise, snr_db) - waveform).numpy()
    ratio = np.mean(waveform.numpy() ** 2) / np.mean(added**2)
    assert 10 * math.log10(ratio) == pytest.approx(snr_db, abs=1e-9)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_power_of_coloured_noise_falls_with_frequency(exponent):
    """A line through the logarithms of power and frequency has the exponent as its slope."""
    noise = coloured_noise(2**14, exponent, generator()).double().numpy()
    power = np.abs(np.fft.rfft(noise)[1:-1]) ** 2
    slope, _ = np.polyfit(np.log(np.arange(1, len(power) + 1)), np.log(power), 1)
    # A periodogram's logarithm deviates by pi / sqrt(6), that of an even frequency by 1.
    assert abs(slope + exponent) < 5 * math.pi / math.sqrt(6 * len(power))


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_shortest_utterances_get_their_noise(samples):
    for exponent in (1.0, 2.0):
        noise = coloured_noise(samples, exponent, generator())
        assert noise.shape == (samples,)
        assert noise.isfinite().all()
        assert noise.square().mean() > 0


def test_silence_and_padding_stay_silent():
    waveforms = torch.tensor([[0.0] * 6, [0.5, -0.5, 0.5, -0.5, 0.0, 0.0]])
    always = AugmentConfig(noise_probability=1.0)
    noisy = add_noise(waveforms, torch.tensor([6, 4]), generator(), always)
    assert noisy[0].tolist() == [0.0] * 6
    assert noisy[1, 4:].tolist() == [0.0] * 2
    assert (noisy[1, :4] != waveforms[1, :4]).all()


def test_a_share_of_the_utterances_is_noisy_at_ratios_drawn_evenly():
    waveforms = torch.ones(2000, 8)
    augment = AugmentConfig(noise_probability=0.25, noise_snr_min_db=0.0, noise_snr_max_db=10.0)
    noisy = add_noise(waveforms, torch.full((2000,), 8), generator(), augment)
    power = (noisy - 1).double().square().mean(1)
    ratios = -10 * power[power > 0].log10()
    assert abs(len(ratios) - 500) < 5 * math.sqrt(2000 * 0.25 * 0.75)
    assert -1e-4 < ratios.min() < 0.2
    assert 9.8 < ratios.max() < 10.0001
    assert abs(ratios.mean() - 5) < 5 * 10 / math.sqrt(12 * 500)


def test_each_noisy_utterance_has_one_of_the_colours():
    waveforms, lengths = torch.ones(400, 256), torch.full((400,), 256)
    augment = AugmentConfig(noise_probability=1.0, noise_colours=("white", "brown"))
    noise = (add_noise(waveforms, lengths, generator(), augment) - 1).double().numpy()
    power = np.abs(np.fft.rfft(noise)) ** 2
    is_brown = power[:, 64:].sum(1) < 0.1 * power.sum(1)  # white: half of its power is up there
    assert abs(is_brown.sum() - 200) < 5 * math.sqrt(400 / 4)


def test_noise_is_the_generator_s_and_changes_nothing_else():
    config = small_config(augment={"noise_probability": 1.0})
    batches = list(make_batcher(config).in_order())
    before = [batch.inputs.clone() for batch in batches]
    one, two, other = (
        list(disturbed(batches, config.augment, {"noising": generator(seed)})) for seed in (1, 1, 2)
    )
    for batch, clean, again, else_, own in zip(batches, before, two, other, one, strict=True):
        assert torch.equal(batch.inputs, clean)
        assert torch.equal(own.inputs, again.inputs)
        assert not torch.equal(own.inputs, else_.inputs)
        assert own.utterances == batch.utterances
        assert torch.equal(own.soft_labels, batch.soft_labels)
        assert own.masks is None


def test_a_setting_without_noise_and_masks_needs_no_generator():
    assert draws_of(AugmentConfig()) == ()
    assert draws_of(AugmentConfig(noise_probability=0.1, time_masks=1)) == ("noising", "masking")
    batches = list(make_batcher(small_config()).in_order())
    assert list(disturbed(batches, AugmentConfig(), {})) == batches
