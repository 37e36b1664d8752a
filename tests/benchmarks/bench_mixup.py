"""Energy-adaptive mixup of a batch, against a loop over its utterances.

    python tests/benchmarks/bench_mixup.py

16 utterances of 3 to 6.25 s, one thread. The peer does Eq. 1-4 utterance by utterance in numpy, as
augmentation libraries do; both start from the same draw and must give the same mixtures.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch import Tensor

from core.config import SAMPLE_RATE_HZ
from core.mixup import MixDraw, apply_energy_mix, draw_mix
from tests.benchmarks.paired import HEADER, Line, faster

UTTERANCES, CLASSES = 16, 8


def padded(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, lengths and one-hot labels."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3 * SAMPLE_RATE_HZ, 100_001, (UTTERANCES,), generator=generator)
    waveforms = torch.randn(UTTERANCES, 100_000, generator=generator)
    waveforms[torch.arange(100_000) >= lengths.unsqueeze(1)] = 0
    labels = torch.randint(CLASSES, (UTTERANCES,), generator=generator)
    return waveforms, lengths, torch.nn.functional.one_hot(labels, CLASSES).float()


def one_by_one(
    hosts: tuple[Tensor, Tensor, Tensor], partners: tuple[Tensor, Tensor, Tensor], draw: MixDraw
) -> tuple[Tensor, Tensor]:
    """Eq. 1-4 in a loop."""
    mixtures, soft_labels = hosts[0].numpy().copy(), hosts[2].numpy().copy()
    for i in range(UTTERANCES):
        length = int(draw.mix_lengths[i])
        own, other = int(draw.host_starts[i]), int(draw.partner_starts[i])
        segment = mixtures[i, own : own + length]
        partner = partners[0][i, other : other + length].numpy()
        host_power, partner_power = np.mean(segment**2), np.mean(partner**2)
        snr = 10 ** (float(draw.snr_db[i]) / 10)
        scaled = np.sqrt(host_power / (snr * partner_power)) * partner
        power = np.mean(scaled**2)
        ratio = power / (host_power + power) * length / int(hosts[1][i])
        segment += scaled
        soft_labels[i] = (1 - ratio) * soft_labels[i] + ratio * partners[2][i].numpy()
    return torch.from_numpy(mixtures), torch.from_numpy(soft_labels)


def lines() -> Iterator[Line]:
    """A batch, every utterance mixed."""
    torch.set_num_threads(1)
    hosts, partners = padded(0), padded(1)
    draw = draw_mix(
        hosts[1],
        partners[1],
        torch.Generator().manual_seed(2),
        probability=1.0,
        snr_min_db=-5.0,
        snr_max_db=10.0,
        max_share=0.5,
    )
    for ours, theirs in zip(
        apply_energy_mix(*hosts, *partners, draw), one_by_one(hosts, partners, draw), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    yield faster(
        f"EAM of {UTTERANCES} utterances, against a loop over them",
        lambda: [apply_energy_mix(*hosts, *partners, draw) for _ in range(10)],
        lambda: [one_by_one(hosts, partners, draw) for _ in range(10)],
        aim="no slower",
    )


if __name__ == "__main__":
    print(HEADER, *lines(), sep="\n")
