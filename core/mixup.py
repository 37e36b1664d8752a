"""Mix each utterance with a partner: energy-adaptive (EAM), label-adaptive (LAM), plain mixup.

Drawing what to mix needs a generator and is kept apart from mixing, which is a pure function of
its inputs. The paper's letters: i host, j partner, s_i `host_starts`, s_j `partner_starts`,
l_mix `mix_lengths`, P' the power of a segment, lambda_mix `mix_ratio`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class MixDraw:
    """Everything random about mixing one batch.

    Attributes:
        mix_lengths: (B,) long. Samples of each mixed segment, at least 1.
        host_starts: (B,) long. Where the segment begins in the host.
        partner_starts: (B,) long. Where it begins in the partner.
        snr_db: (B,) float. Power of the host's segment over the partner's.
        applied: (B,) bool. False where the utterance stays as it is.
    """

    mix_lengths: Tensor
    host_starts: Tensor
    partner_starts: Tensor
    snr_db: Tensor
    applied: Tensor


def draw_mix(
    waveform_lengths: Tensor,
    partner_lengths: Tensor,
    generator: torch.Generator,
    *,
    probability: float,
    snr_min_db: float,
    snr_max_db: float,
    max_share: float,
) -> MixDraw:
    """Draw segments, SNR and whether to mix at all, for every utterance of a batch.

    Each utterance takes five numbers from the generator, mixed or not, so that its draw depends
    only on its place in the batch.

    Args:
        waveform_lengths: (B,) long. Real samples of each host.
        partner_lengths: (B,) long. Real samples of each partner.
        probability: Share of utterances that get a partner.
        max_share: A segment is shorter than this share of its host, unless that leaves no sample.
    Returns:
        The draw, on the device of `waveform_lengths` whatever the generator's.
    Source: P §2.2: l_mix under half of l_i, random starts, SNR in [-5, 10] dB. Equal chances for
        all three are C (SeeNet); cutting l_mix at the partner's length, and one sample as the
        least, are O. P mixes by no stated probability; C (LAM) has one.
    """
    host = waveform_lengths.to(generator.device, torch.long)
    partner = partner_lengths.to(generator.device, torch.long)
    if host.shape != partner.shape or host.ndim != 1:
        raise ValueError(
            "hosts and partners must pair up one to one, got lengths of shapes "
            f"{tuple(host.shape)} and {tuple(partner.shape)}"
        )
    lengths = torch.cat((host, partner))
    if (lengths < 1).any():
        raise ValueError(f"a waveform to mix must have at least 1 sample, got {int(lengths.min())}")

    # double: single precision can't tell apart the starts in an utterance of 2^24 samples
    uniform = torch.rand(
        (len(host), 5), generator=generator, device=generator.device, dtype=torch.float64
    )
    length_u, host_u, partner_u, snr_u, applied_u = uniform.unbind(1)

    longest = ((max_share * host.double()).ceil().long() - 1).clamp_min(1)
    mix_lengths = torch.minimum(1 + (length_u * longest).long(), partner)
    host_starts = (host_u * (host - mix_lengths + 1)).long()
    partner_starts = (partner_u * (partner - mix_lengths + 1)).long()
    snr_db = (snr_min_db + (snr_max_db - snr_min_db) * snr_u).float()

    device = waveform_lengths.device
    return MixDraw(
        mix_lengths=mix_lengths.to(device),
        host_starts=host_starts.to(device),
        partner_starts=partner_starts.to(device),
        snr_db=snr_db.to(device),
        applied=(applied_u < probability).to(device),
    )


def apply_energy_mix(
    waveforms: Tensor,
    waveform_lengths: Tensor,
    soft_labels: Tensor,
    partners: Tensor,
    partner_lengths: Tensor,
    partner_labels: Tensor,
    draw: MixDraw,
) -> tuple[Tensor, Tensor]:
    """Lay a segment of the partner over the host at the drawn SNR (EAM).

    An utterance is returned unmixed, with its own label, where `draw.applied` is False and where
    either segment is silent: no factor brings silence to an SNR.

    Args:
        waveforms: (B, N) float. Hosts; what lies beyond a host's length is ignored.
        waveform_lengths: (B,) long.
        soft_labels: (B, C) float. Each row sums to 1.
        partners: (B, M) float. M may differ from N.
        partner_lengths: (B,) long. The drawn segments lie within them.
        partner_labels: (B, C) float.
    Returns:
        (B, N) float, zero beyond each host's length, which mixing leaves as it was; (B, C) float.
    Source: P §2.2, Eq. 1-4; energy is mean power, and as both segments are l_mix long the sum
        gives the same. What to do with silence is O.
    """
    mixtures = _silence_padding(waveforms, waveform_lengths, waveforms.shape[1])
    # Slices, a loop over utterances: to gather all segments at once takes ten times as long, for
    # it touches every sample of the batch with an index.
    host_segments = _segments(mixtures, draw.host_starts, draw.mix_lengths)  # x'_i, in place
    partner_segments = _segments(partners, draw.partner_starts, draw.mix_lengths)  # x'_j
    host_power = _powers(host_segments)  # (B,)
    partner_power = _powers(partner_segments)
    mixed = draw.applied & (host_power > 0) & (partner_power > 0)

    snr = 10 ** (draw.snr_db.to(waveforms.dtype) / 10)
    scale = (host_power / (snr * partner_power.masked_fill(~mixed, 1))).sqrt() * mixed  # Eq. 1
    for segment, partner, factor in zip(
        host_segments, partner_segments, scale.tolist(), strict=True
    ):
        if factor:
            segment.add_(partner, alpha=factor)  # Eq. 2, 3

    # Eq. 4. P''_j = scale^2 P'_j is P'_i / snr, hence the energy share is free of either power
    energy_share = 1 / (snr + 1)
    mix_ratio = energy_share * draw.mix_lengths / waveform_lengths * mixed
    return mixtures, _blend(soft_labels, partner_labels, mix_ratio)


def apply_length_mix(
    waveforms: Tensor,
    waveform_lengths: Tensor,
    soft_labels: Tensor,
    partners: Tensor,
    partner_lengths: Tensor,
    partner_labels: Tensor,
    draw: MixDraw,
) -> tuple[Tensor, Tensor]:
    """Average host and partner whole and weigh their labels by length (LAM).

    The shorter of the two is continued with silence, so a mixture is as long as the longer: take
    the new lengths from `mixed_lengths`. Of the draw only `applied` counts.

    Args:
        waveforms: (B, N) float. Hosts; what lies beyond a host's length is ignored.
        waveform_lengths: (B,) long. Capped lengths, without padding.
        soft_labels: (B, C) float. Each row sums to 1.
        partners: (B, M) float. M may differ from N.
        partner_lengths: (B,) long. As `waveform_lengths`.
        partner_labels: (B, C) float.
    Returns:
        (B, max(N, M)) float, zero beyond each row's mixed length; (B, C) float.
    Source: C (LAM): 1/2 a + 1/2 b, weights len_a / (len_a + len_b). C loses the label mass of a
        pair that shares a class; here a label always sums to 1, as its formula says.
    """
    width = max(waveforms.shape[1], partners.shape[1])
    hosts = _silence_padding(waveforms, waveform_lengths, width)
    guests = _silence_padding(partners, partner_lengths, width)
    mixtures = torch.where(draw.applied.unsqueeze(1), (hosts + guests) / 2, hosts)

    mix_ratio = partner_lengths / (waveform_lengths + partner_lengths) * draw.applied
    return mixtures, _blend(soft_labels, partner_labels, mix_ratio)


def draw_host_shares(
    utterances: int, generator: torch.Generator, *, probability: float, alpha: float
) -> Tensor:
    """Draw what share of a plain mixture is the host's, one where it is not mixed.

    Each utterance takes two numbers from the generator, mixed or not.

    Args:
        utterances: B.
        alpha: Above 0; of Beta(alpha, alpha).
    Returns:
        (B,) float in 0..1, on the CPU.
    Source: Zhang et al. 2018, Eq. 1; a probability beside it is O, as for the others.
    """
    from scipy.special import betaincinv  # here: few settings need it

    uniform = torch.rand((utterances, 2), generator=generator, dtype=torch.float64)
    quantile, applied = uniform.unbind(1)
    shares = torch.from_numpy(betaincinv(alpha, alpha, quantile.numpy()))
    return torch.where(applied < probability, shares, 1.0).float()


def apply_plain_mix(
    waveforms: Tensor,
    waveform_lengths: Tensor,
    soft_labels: Tensor,
    partners: Tensor,
    partner_lengths: Tensor,
    partner_labels: Tensor,
    host_shares: Tensor,
) -> tuple[Tensor, Tensor]:
    """Add host and partner whole, each by its share, and their labels by the same (mixup).

    Over the length that both have they sound together. Beyond it the longer goes on alone, at its
    own share, as if silence followed the shorter: take the new lengths from `mixed_lengths`.

    Args:
        waveforms: (B, N) float. Hosts; what lies beyond a host's length is ignored.
        waveform_lengths: (B,) long.
        soft_labels: (B, C) float. Each row sums to 1.
        partners: (B, M) float. M may differ from N.
        partner_lengths: (B,) long.
        partner_labels: (B, C) float.
        host_shares: (B,) float in 0..1, lambda; one leaves an utterance and its label as they are.
    Returns:
        (B, max(N, M)) float, zero beyond each row's mixed length; (B, C) float.
    Source: Zhang et al. 2018, 2. What to do beyond the shorter is O, as `apply_length_mix`.
    """
    width = max(waveforms.shape[1], partners.shape[1])
    hosts = _silence_padding(waveforms, waveform_lengths, width)
    guests = _silence_padding(partners, partner_lengths, width)
    shares = host_shares.to(waveforms.dtype).unsqueeze(1)  # (B, 1)
    mixtures = shares * hosts + (1 - shares) * guests
    return mixtures, _blend(soft_labels, partner_labels, 1 - host_shares)


def mixed_lengths(waveform_lengths: Tensor, partner_lengths: Tensor, applied: Tensor) -> Tensor:
    """Real samples of each utterance after `apply_length_mix` or `apply_plain_mix`: (B,) long.

    `apply_energy_mix` changes no length.

    Args:
        applied: (B,) bool. Which are mixed.
    """
    longer = torch.maximum(waveform_lengths, partner_lengths)
    return torch.where(applied, longer, waveform_lengths)


def _silence_padding(waveforms: Tensor, lengths: Tensor, width: int) -> Tensor:
    """A copy (B, width) of (B, N) waveforms with every sample beyond its length exactly zero."""
    padded = waveforms.new_empty(len(waveforms), width)
    for row, waveform, length in zip(padded, waveforms, lengths.tolist(), strict=True):
        row[:length] = waveform[:length]
        row[length:] = 0
    return padded


def _segments(waveforms: Tensor, starts: Tensor, lengths: Tensor) -> list[Tensor]:
    """Views of (B, N) waveforms, one segment each."""
    places = zip(waveforms, starts.tolist(), lengths.tolist(), strict=True)
    return [waveform[start : start + length] for waveform, start, length in places]


def _powers(segments: list[Tensor]) -> Tensor:
    """Mean power of each: (B,)."""
    return torch.stack([segment.dot(segment) / len(segment) for segment in segments])


def _blend(soft_labels: Tensor, partner_labels: Tensor, mix_ratio: Tensor) -> Tensor:
    """Move a share `mix_ratio` (B,) of the label mass to the partner's (B, C) labels."""
    ratio = mix_ratio.to(soft_labels.dtype).unsqueeze(1)  # (B, 1)
    return (1 - ratio) * soft_labels + ratio * partner_labels
