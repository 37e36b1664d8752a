"""Sums over all pairs of a batch's frames, in memory that grows with the frames, not the pairs.

A pair's similarity is needed once forward and once backward, and is the same both ways: so blocks
of it are made, used and forgotten, and only those on one side of the diagonal.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# exp of it, and sums of millions of such, lie within float32 on both sides of 1.
MOST_EXPONENT = 60.0
# O: rows of a block. On the CPU one fits a core's own cache (512 x 512 float32 is 1 MiB); a GPU
# wants enough work for each of its kernels (268 MB of them at most).
CPU_ROWS, GPU_ROWS = 512, 8192


def log_sum_exp_of_others(rows: Tensor, bound: float | None) -> Tensor:
    """For each row, the log of the sum over all other rows of exp of their product.

    Time is quadratic in the rows, memory linear, forward and backward.

    Args:
        rows: (R, d) float32 or float64, two or more.
        bound: What no product exceeds in size; None where nothing is known.
    Returns:
        (R,) float.
    """
    if bound is not None and bound <= MOST_EXPONENT:
        return _Bounded.apply(rows)
    # Any size: a block of whole rows sees its own maximum, and is made anew for the backward pass.
    starts = range(0, len(rows), _size(rows))
    parts = [checkpoint(_of_block, rows, start, use_reentrant=False) for start in starts]
    return torch.cat(parts)


def _of_block(rows: Tensor, start: int) -> Tensor:
    products = rows[start : start + _size(rows)] @ rows.T  # (b, R)
    itself = torch.arange(len(products), device=rows.device)
    products[itself, itself + start] = -torch.inf
    return products.logsumexp(1)


class _Bounded(torch.autograd.Function):
    """Where exp can neither overflow nor vanish, no maximum is sought and each pair is met once."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        sums = rows.new_zeros(len(rows))
        for one, other, block in _blocks(rows):
            sums[one] += block.sum(1)
            if other != one:
                sums[other] += block.sum(0)
        ctx.save_for_backward(rows, sums)
        return sums.log()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        rows, sums = ctx.saved_tensors
        slopes = slopes / sums  # (R,); a pair's slope is the sum of its two rows'
        gradient = torch.zeros_like(rows)
        with torch.autocast(rows.device.type, enabled=False):  # as forward, whoever calls
            for one, other, block in _blocks(rows):
                block *= slopes[one].unsqueeze(1) + slopes[other]
                gradient[one].addmm_(block, rows[other])
                if other != one:
                    gradient[other].addmm_(block.T, rows[one])
        return gradient


def _blocks(rows: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """exp of the products of the rows of two slices, every pair of rows once, none with itself."""
    size = _size(rows)
    slices = [slice(start, start + size) for start in range(0, len(rows), size)]
    for place, one in enumerate(slices):
        for other in slices[place:]:
            block = (rows[one] @ rows[other].T).exp_()
            yield one, other, block.fill_diagonal_(0) if other == one else block


def _size(rows: Tensor) -> int:
    return GPU_ROWS if rows.device.type == "cuda" else CPU_ROWS
