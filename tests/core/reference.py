"""The paper's equations as plain loops over numbers in double precision.

Written from the paper alone, slow on purpose, and sharing no line with `core`: where the two agree,
the fast code computes the formula. Waveforms and frames arrive here without padding, as one array
per utterance.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def power(segment: Array) -> float:
    return sum(float(sample) ** 2 for sample in segment) / len(segment)


def energy_mix(
    host: Array,
    host_label: Array,
    partner: Array,
    partner_label: Array,
    mix: tuple[int, int, int, float],
) -> tuple[Array, Array]:
    """Eq. 1-4 for one pair; `mix` is l_mix, s_i, s_j and the SNR in dB."""
    l_mix, s_i, s_j, snr_db = mix
    x_i, x_j = host[s_i : s_i + l_mix], partner[s_j : s_j + l_mix]
    if power(x_i) == 0 or power(x_j) == 0:
        return host.copy(), host_label.copy()
    scale = math.sqrt(power(x_i) / (10 ** (snr_db / 10) * power(x_j)))
    adjusted = np.array([scale * sample for sample in x_j])
    mixture = host.copy()
    for offset in range(l_mix):
        mixture[s_i + offset] = x_i[offset] + adjusted[offset]
    ratio = power(adjusted) / (power(x_i) + power(adjusted)) * l_mix / len(host)
    return mixture, (1 - ratio) * host_label + ratio * partner_label


def length_mix(
    host: Array, host_label: Array, partner: Array, partner_label: Array
) -> tuple[Array, Array]:
    """LAM for one pair: half of each, the shorter continued with silence."""
    mixture = np.zeros(max(len(host), len(partner)))
    for position, sample in enumerate(host):
        mixture[position] += sample / 2
    for position, sample in enumerate(partner):
        mixture[position] += sample / 2
    total = len(host) + len(partner)
    return mixture, len(host) / total * host_label + len(partner) / total * partner_label


def self_attention(
    frames: Array, weight: Array, bias: Array, out_weight: Array, out_bias: Array, heads: int
) -> Array:
    """MSA(F) of one utterance (T, D): query, key and value stacked in `weight` (3D, D)."""
    count, dim = frames.shape
    size = dim // heads
    projected = frames @ weight.T + bias  # (T, 3D)
    joined = np.zeros((count, dim))
    for head in range(heads):
        columns = slice(head * size, (head + 1) * size)
        query, key, value = (projected[:, k * dim : (k + 1) * dim][:, columns] for k in range(3))
        for t in range(count):
            scores = [float(query[t] @ key[m]) / math.sqrt(size) for m in range(count)]
            for m, share in enumerate(softmax(scores)):
                joined[t, columns] += share * value[m]
    return joined @ out_weight.T + out_bias


def attention_pool(refined: Array, w: Array) -> tuple[Array, Array]:
    """Eq. 5 for one utterance: f (D,) and alpha (T,)."""
    alpha = softmax([float(frame @ w) for frame in refined])
    pooled = np.zeros(refined.shape[1])
    for weight, frame in zip(alpha, refined, strict=True):
        pooled += weight * frame
    return pooled, np.array(alpha)


def softmax(scores: Sequence[float]) -> list[float]:
    largest = max(scores)
    exponentials = [math.exp(score - largest) for score in scores]
    return [exponential / math.fsum(exponentials) for exponential in exponentials]


def kl_divergence(logits: Array, soft_labels: Array) -> float:
    """Eq. 6, its mean over the batch."""
    losses = []
    for scores, label in zip(logits, soft_labels, strict=True):
        pairs = zip(label, softmax(list(scores)), strict=True)
        losses.append(sum(y * math.log(y / guess) for y, guess in pairs if y > 0))
    return sum(losses) / len(losses)


def focal(logits: Array, soft_labels: Array, gamma: float) -> float:
    """Eq. 7, its mean over the batch."""
    losses = []
    for scores, label in zip(logits, soft_labels, strict=True):
        pairs = zip(label, softmax(list(scores)), strict=True)
        losses.append(-sum(y * (1 - guess) ** gamma * math.log(guess) for y, guess in pairs))
    return sum(losses) / len(losses)


def center(embeddings: Array, labels: Sequence[int], centers: Array) -> float:
    """Eq. 8."""
    total = 0.0
    for z, y in zip(embeddings, labels, strict=True):
        total += sum((float(a) - float(b)) ** 2 for a, b in zip(z, centers[y], strict=True))
    return total / len(embeddings)


def broadcast_context(utterances: Sequence[Array]) -> list[Array]:
    """Eq. 9 for each utterance (T, d)."""
    broadcast = []
    for frames in utterances:
        mean = sum(frames) / len(frames)
        broadcast.append(np.array([0.5 * (frame + mean) for frame in frames]))
    return broadcast


def supervised_contrastive(
    utterances: Sequence[Array], labels: Sequence[int], tau: float, normalise: bool
) -> float:
    """Eq. 10, its mean over the frames that have a positive."""
    h = [frame for frames in utterances for frame in frames]
    if normalise:
        h = [frame / math.sqrt(float(frame @ frame)) for frame in h]
    y = [label for frames, label in zip(utterances, labels, strict=True) for _ in frames]
    losses = []
    for i in range(len(h)):
        others = [k for k in range(len(h)) if k != i]
        positives = [j for j in others if y[j] == y[i]]
        if not positives:
            continue
        scores = {k: float(h[i] @ h[k]) / tau for k in others}
        largest = max(scores.values())
        denominator = largest + math.log(sum(math.exp(s - largest) for s in scores.values()))
        losses.append(-sum(scores[j] - denominator for j in positives) / len(positives))
    return sum(losses) / len(losses) if losses else 0.0


def confusion(labels: Sequence[int], predictions: Sequence[int], classes: int) -> list[list[int]]:
    counts = [[0] * classes for _ in range(classes)]
    for label, prediction in zip(labels, predictions, strict=True):
        counts[label][prediction] += 1
    return counts
