"""What is done to a training batch after it was made and mixed: noise, and the draw of masks."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from core.batches import Batch
from core.config import AugmentConfig
from core.masking import draw_masks

EXPONENTS = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls with frequency to this


def draws_of(augment: AugmentConfig) -> tuple[str, ...]:
    """For what generators are needed, one each; none where a setting has neither noise nor masks,
    so that what such a trainer remembers is what it always was."""
    wanted = {"noising": augment.noise_probability > 0, "masking": augment.masks}
    return tuple(purpose for purpose, is_wanted in wanted.items() if is_wanted)


def disturbed(
    batches: Iterable[Batch], augment: AugmentConfig, generators: Mapping[str, torch.Generator]
) -> Iterator[Batch]:
    """The same batches, with noise and with masks drawn for them, as the setting says.

    Args:
        generators: One at least for each of `draws_of`.
    """
    wanted = draws_of(augment)
    for batch in batches:
        if "noising" in wanted:
            noisy = add_noise(batch.inputs, batch.lengths, generators["noising"], augment)
            batch = replace(batch, inputs=noisy)
        if "masking" in wanted:
            masks = draw_masks(len(batch.utterances), generators["masking"], augment)
            batch = replace(batch, masks=masks)
        yield batch


def add_noise(
    waveforms: Tensor, lengths: Tensor, generator: torch.Generator, augment: AugmentConfig
) -> Tensor:
    """Add noise to some utterances of a batch; peaks may pass one, for nothing is levelled again.

    Each takes three numbers from the generator, noisy or not, and noise as long as itself.

    Args:
        waveforms: (B, N) float32, zero beyond the lengths.
        lengths: (B,) long.
    Returns:
        (B, N) float32, zero beyond the lengths.
    """
    uniform = torch.rand((len(waveforms), 3), generator=generator, dtype=torch.float64)
    low, high = augment.noise_snr_min_db, augment.noise_snr_max_db
    noisy = waveforms.clone()
    for row, length, (whether, snr, colour) in zip(
        noisy, lengths.tolist(), uniform.tolist(), strict=True
    ):
        if whether < augment.noise_probability:
            name = augment.noise_colours[int(colour * len(augment.noise_colours))]
            noise = coloured_noise(length, EXPONENTS[name], generator)
            row[:length] = at_snr(row[:length], noise, low + (high - low) * snr)
    return noisy


def coloured_noise(samples: int, exponent: float, generator: torch.Generator) -> Tensor:
    """Gaussian noise whose power falls with frequency to an exponent: (samples,) float32.

    Source: Timmer and König 1995: white noise, each frequency f weighed by f ** (-exponent / 2).
        That of 0 Hz weighs as the lowest above it, which is O.
    """
    white = torch.randn(samples, generator=generator)
    if exponent == 0:
        return white
    frequencies = torch.fft.rfftfreq(samples).clamp_min(1 / samples)
    return torch.fft.irfft(torch.fft.rfft(white) * frequencies ** (-exponent / 2), n=samples)


def at_snr(waveform: Tensor, noise: Tensor, snr_db: float) -> Tensor:
    """An utterance in noise so many decibels below its own mean power; silence stays silence.

    Args:
        waveform, noise: (N,) float.
    """
    power = waveform.square().mean()
    noise_power = noise.square().mean()
    if power == 0 or noise_power == 0:
        return waveform
    return waveform + noise * (power / (noise_power * 10 ** (snr_db / 10))).sqrt()
