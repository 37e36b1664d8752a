"""WavLM's attention on the CPU: an utterance at a time, no scores kept for the backward pass.

The scores of one utterance fit in the cache; those of a batch, with their bias, their softmax and
its dropout, are what a step of stock WavLM spends its memory and much of its time on. Here the
forward pass keeps the sum of each query's exponentials and which weights dropout dropped; the
backward pass computes the rest again (Dao et al. 2022, FlashAttention, without its tiles).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class GatedByUtterance(torch.autograd.Function):
    """softmax(q k / sqrt(d) + gate * bias) v over each utterance's own frames.

    Args:
        query, key, value: (B, H, T, d) float.
        gate: (B, H, T, 1) float, how far each query heeds the bias.
        position_bias: (H, T, T) float32.
        lengths: B numbers of real frames.
        dropout: Probability in 0..1, not 1.
    Returns:
        (B, H, T, d); zero beyond the lengths.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        gate: Tensor,
        position_bias: Tensor,
        lengths: list[int],
        dropout: float,
    ) -> Tensor:
        """One after another; dropout draws from torch's global generator."""
        batch, heads, length, features = query.shape
        attended = value.new_zeros(batch, length, heads, features)
        sums = position_bias.new_empty(batch, heads, length, 1)
        kept: list[Tensor | None] = []
        for at, count in enumerate(lengths):
            scores = _scores(query, key, gate, position_bias, at, count)
            sums[at, :, :count] = scores.logsumexp(-1, keepdim=True)
            weights = scores.sub_(sums[at, :, :count]).exp_()
            kept.append(_draw(weights, dropout))
            weights = _dropped(weights, kept[-1], dropout).to(value.dtype)
            attended[at, :count] = (weights @ value[at, :, :count]).transpose(0, 1)
        attended = attended.transpose(1, 2)
        tensors = (query, key, value, gate, position_bias, attended, sums)
        ctx.save_for_backward(*tensors, *kept)
        ctx.lengths, ctx.dropout = lengths, dropout
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        """Of the five tensors."""
        query, key, value, gate, position_bias, attended, sums, *kept = ctx.saved_tensors
        slopes = [torch.zeros_like(item) for item in (query, key, value, gate, position_bias)]
        of_query, of_key, of_value, of_gate, of_bias = slopes
        scale = query.shape[-1] ** -0.5
        for at, count in enumerate(ctx.lengths):
            own = (at, slice(None), slice(count))
            weights = _scores(query, key, gate, position_bias, at, count)
            weights.sub_(sums[own]).exp_()  # (H, n, n)
            of_weights = (slope[own] @ value[own].transpose(1, 2)).to(weights.dtype)
            of_weights = _dropped(of_weights, kept[at], ctx.dropout)
            projected = (slope[own] * attended[own]).to(weights.dtype).sum(-1, keepdim=True)
            of_scores = of_weights.sub_(projected).mul_(weights)
            dropped = _dropped(weights, kept[at], ctx.dropout).to(value.dtype)
            of_value[own] = dropped.transpose(1, 2) @ slope[own]
            bias = position_bias[:, :count, :count]
            of_gate[own] = (of_scores * bias).sum(-1, keepdim=True).to(gate.dtype)
            of_bias[:, :count, :count].addcmul_(of_scores, gate[own].to(weights.dtype))
            rounded = of_scores.mul_(scale).to(query.dtype)
            of_query[own] = rounded @ key[own]
            of_key[own] = rounded.transpose(1, 2) @ query[own]
        return (*slopes, None, None)


def _scores(
    query: Tensor, key: Tensor, gate: Tensor, position_bias: Tensor, at: int, count: int
) -> Tensor:
    """Of one utterance's frames for one another: (H, n, n) float32."""
    own = (at, slice(None), slice(count))
    products = (query[own] * query.shape[-1] ** -0.5) @ key[own].transpose(1, 2)
    bias = position_bias[:, :count, :count]
    return torch.addcmul(products.to(bias.dtype), bias, gate[own].to(bias.dtype))


def _draw(weights: Tensor, dropout: float) -> Tensor | None:
    """Which weights stay: (H, n, n) bool; None where all do."""
    if dropout == 0:
        return None
    return torch.empty_like(weights, dtype=torch.bool).bernoulli_(1 - dropout)


def _dropped(weights: Tensor, kept: Tensor | None, dropout: float) -> Tensor:
    """In place."""
    return weights if kept is None else weights.mul_(kept).div_(1 - dropout)
