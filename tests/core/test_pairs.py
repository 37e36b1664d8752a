"""Sums over all pairs, made block by block, are those of the whole matrix."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core import pairs
from core.pairs import log_sum_exp_of_others

BOUNDS = [pytest.param(20.0, id="bounded"), pytest.param(None, id="any size")]


def unit_rows(rows: int, seed: int, size: float = 4.0) -> Tensor:
    """(rows, 5) float64 of equal length, so that no product exceeds its square."""
    drawn = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return size * torch.nn.functional.normalize(drawn, dim=1)


def of_the_whole_matrix(rows: Tensor) -> Tensor:
    itself = torch.eye(len(rows), dtype=torch.bool)
    return (rows @ rows.T).masked_fill(itself, -torch.inf).logsumexp(1)


@pytest.mark.parametrize("bound", BOUNDS)
@settings(max_examples=40, deadline=None)
@given(rows=st.integers(2, 23), block=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_blocks_of_any_size_give_the_sums_and_gradients_of_the_whole(rows, block, seed, bound):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "CPU_ROWS", block)
        values = unit_rows(rows, seed).requires_grad_()
        slopes = torch.randn(rows, dtype=torch.float64)
        found, expected = log_sum_exp_of_others(values, bound), of_the_whole_matrix(values)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(part, values, slopes) for part in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_sums_of_hand_worked_rows():
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    expected = [math.log(math.exp(2) + 1), math.log(math.exp(2) + 1), math.log(2)]
    for bound in (9.0, None):
        assert log_sum_exp_of_others(rows, bound).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [math.sqrt(pairs.MOST_EXPONENT), 30.0, 1e4])
def test_products_up_to_the_bound_and_far_beyond_stay_finite(size):
    rows = unit_rows(40, seed=3, size=size)
    rows[20:] = -rows[:20]  # each has its opposite, whose exp is the smallest there can be
    exact = rows.clone().requires_grad_()
    single = rows.float().requires_grad_()
    found = log_sum_exp_of_others(single, size**2)
    expected = log_sum_exp_of_others(exact, None)
    torch.testing.assert_close(found, expected.float())
    found.sum().backward()
    assert single.grad.isfinite().all()


def test_two_opposite_rows_keep_their_only_sum():
    rows = torch.tensor([[1.0], [-1.0]]) * math.sqrt(pairs.MOST_EXPONENT)
    found = log_sum_exp_of_others(rows, pairs.MOST_EXPONENT)
    assert found.tolist() == pytest.approx([-pairs.MOST_EXPONENT] * 2)


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor held that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for item in tree_leaves(made):
            if isinstance(item, Tensor):
                self.numbers = max(self.numbers, item.numel())
        return made


@pytest.mark.parametrize("bound", BOUNDS)
def test_no_tensor_grows_with_the_pairs(monkeypatch, bound):
    monkeypatch.setattr(pairs, "CPU_ROWS", 8)
    for rows in (64, 256):
        values = unit_rows(rows, seed=1).requires_grad_()
        with Largest() as largest:
            log_sum_exp_of_others(values, bound).sum().backward()
        assert largest.numbers <= 8 * rows
