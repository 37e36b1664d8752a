"""The four terms of the objective and their weighted sum (P §2.4, Eq. 6-11).

Every term is a mean over the batch and is computed in float32 at least, under autocast too; memory
grows with the frames of the batch, not with their pairs.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from core.pairs import log_sum_exp_of_others


def smoothed(soft_labels: Tensor, smoothing: float) -> Tensor:
    """Spread a share of each target evenly over all classes, its own included.

    Args:
        soft_labels: (B, C) float. Each row sums to 1.
        smoothing: In 0..1; 0 changes nothing.
    Returns:
        (B, C) float. Each row sums to 1.
    Source: Szegedy et al. 2016, 7.
    """
    return (1 - smoothing) * soft_labels + smoothing / soft_labels.shape[1]


def kl_divergence(logits: Tensor, soft_labels: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the prediction from the soft label, 0 log 0 being 0.

    Args:
        logits: (B, C) float. Before the softmax.
        soft_labels: (B, C) float. Each row sums to 1.
    Returns:
        () float.
    Source: P §2.4, Eq. 6.
    """
    log_probabilities = _wide(logits).log_softmax(1)
    return F.kl_div(
        log_probabilities, soft_labels.to(log_probabilities.dtype), reduction="batchmean"
    )


def focal(logits: Tensor, soft_labels: Tensor, gamma: float) -> Tensor:
    """Cross-entropy that weighs a class by (1 - its probability) ** gamma.

    Args:
        logits: (B, C) float. Before the softmax; two classes at least.
        soft_labels: (B, C) float. Each row sums to 1.
        gamma: At least 0; 0 is plain cross-entropy.
    Returns:
        () float.
    Source: P §2.4, Eq. 7.
    """
    log_probabilities = _wide(logits).log_softmax(1)  # (B, C)
    # log(1 - y_c) as the log-sum-exp of the others: 1 - y_c itself rounds to 0 for a sure
    # prediction, where its power has no finite slope if gamma < 1
    itself = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    others = log_probabilities.unsqueeze(1).masked_fill(itself, -torch.inf)  # (B, C, C)
    focus = (gamma * others.logsumexp(2)).exp()  # (B, C)
    return -(soft_labels * focus * log_probabilities).sum(1).mean()


def center(embeddings: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Squared distance of each embedding to the center of its class.

    Args:
        embeddings: (B, d) float. z, the projected utterances.
        labels: (B,) long. The dominant class of each.
        centers: (C, d) float. Learnt with their own rate.
    Returns:
        () float.
    Source: P §2.4, Eq. 8: a mean over the batch without the customary 1/2.
    """
    return (_wide(embeddings) - _wide(centers)[labels]).square().sum(1).mean()


def broadcast_context(frames: Tensor, frame_mask: Tensor) -> Tensor:
    """Average each frame with the mean frame of its utterance.

    Args:
        frames: (B, T, d) float. h, the projected frames.
        frame_mask: (B, T) bool. True on real frames, of which each utterance has one or more.
    Returns:
        (B, T, d) float, in float32 at least; zero on padding.
    Source: P §2.4, Eq. 9. Leaving the padding out of the mean is O.
    """
    padding = ~frame_mask.unsqueeze(-1)  # (B, T, 1)
    wide = _wide(frames).masked_fill(padding, 0)
    frame_counts = frame_mask.sum(1)[:, None, None]  # (B, 1, 1)
    return ((wide + wide.sum(1, keepdim=True) / frame_counts) / 2).masked_fill(padding, 0)


def supervised_contrastive(
    frames: Tensor,
    frame_mask: Tensor,
    labels: Tensor,
    temperature: float,
    normalise: bool = True,
) -> Tensor:
    """Pull together all frames of one class in the batch, push apart all others.

    Each real frame is an anchor i: A(i) is every other real frame of the batch, P(i) those of its
    class. The mean runs over the anchors that have a positive; without any, the loss is 0. Time
    grows with the square of the frames, memory with the frames.

    Args:
        frames: (B, T, d) float. Frames after `broadcast_context`.
        frame_mask: (B, T) bool. True on real frames.
        labels: (B,) long. The dominant class of each utterance, which all its frames share.
        temperature: tau, above 0.
        normalise: Whether to bring every frame to unit length first.
    Returns:
        () float.
    Source: P §2.4, Eq. 10. Unit length is C (Khosla et al.); padding and frames without a positive,
        for which Eq. 10 would divide by 0, stay out of the mean by O.
    """
    with torch.autocast(frames.device.type, enabled=False):
        frames = _wide(frames).masked_fill(~frame_mask.unsqueeze(-1), 0)
        if normalise:
            frames = F.normalize(frames, dim=2)
        anchors = frames[frame_mask]  # (R, d): the R real frames of the batch
        if len(anchors) < 2:
            return anchors.sum() * 0  # a graph for `backward`, though nothing to compare

        # The sum over P(i) is linear in h_i, h_i (S - h_i) with S the sum of its class: only the
        # denominator needs all R x R pairs, and never at once
        same_class = (labels.unsqueeze(1) == labels).to(frames.dtype)  # (B, B)
        class_sums = same_class @ frames.sum(1)  # (B, d), S
        positives = same_class @ frame_mask.sum(1).to(frames.dtype) - 1  # (B,), |P(i)|
        similarity = (frames * (class_sums.unsqueeze(1) - frames)).sum(2) / temperature  # (B, T)
        similarity = similarity / positives.clamp_min(1).unsqueeze(1)  # mean over P(i)

        bound = 1 / temperature if normalise else None
        total = log_sum_exp_of_others(anchors / temperature**0.5, bound)  # (R,)
        losses = total - similarity[frame_mask]
        has_positive = (positives > 0).unsqueeze(1).expand_as(frame_mask)[frame_mask]
        return (losses * has_positive).sum() / has_positive.sum().clamp_min(1)


def weighted_sum(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """The objective: each term times its weight.

    Source: P §2.4, Eq. 11.
    """
    if not terms or terms.keys() != weights.keys():
        raise ValueError(
            "every loss term needs one weight and every weight its term, "
            f"got terms {sorted(terms)} and weights {sorted(weights)}"
        )
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def calibrate(initial: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Weights that bring every term to 1 on average over the given batches.

    Args:
        initial: The unweighted terms of each of the first batches.
    Returns:
        For each term 1 / its mean.
    Source: P §2.4: "empirically set to normalize each weighted loss component into the [0, 1]
        range"; this way of doing so is O.
    """
    if not initial:
        raise ValueError("calibrating the loss weights needs at least one batch, got none")
    names = list(initial[0])
    for batch in initial:
        if batch.keys() != initial[0].keys():
            raise ValueError(
                "every batch must report the same loss terms, "
                f"got {sorted(names)} and {sorted(batch)}"
            )
    weights = {}
    for name in names:
        mean = fmean(batch[name] for batch in initial)
        if not (isfinite(mean) and mean > 0 and isfinite(1 / mean)):
            raise ValueError(
                f"the mean of loss term {name!r} over {len(initial)} initial batches must be "
                f"above 0 and finite to calibrate its weight, got {mean:g}"
            )
        weights[name] = 1 / mean
    return weights


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
