"""WavLM's attention against transformers' own."""

import pytest
import torch
from torch.nn import functional
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from core.attention import GatedAttention, attend, bucket
from core.gated import GatedByUtterance
from tests.core.small_checkpoints import noise


def test_buckets_are_transformers_own_at_every_distance() -> None:
    stock = WavLMAttention(32, 4, num_buckets=320, max_distance=800)
    distances = torch.arange(-2500, 2501)
    expected = stock._relative_positions_bucket(distances)
    assert torch.equal(bucket(distances, 320, 800), expected)


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize("frames", [1, 2, 37])
def test_frames_and_gradients_are_transformers_own(frames: int) -> None:
    torch.manual_seed(0)
    stock = WavLMAttention(32, 4, num_buckets=8, max_distance=20).double()
    torch.nn.init.normal_(stock.gru_rel_pos_const)
    hidden = noise(3, frames, 32).double().requires_grad_()
    mask = torch.arange(frames) < torch.tensor([[frames], [1], [max(1, frames // 2)]])
    expected, _, _ = stock(hidden, attention_mask=mask)
    grads = torch.autograd.grad(expected[mask].square().sum(), [hidden, *stock.parameters()])
    ours, weights, bias = GatedAttention(stock)(hidden, attention_mask=mask)
    assert weights is None
    assert bias.shape == (4, frames, frames)
    torch.testing.assert_close(ours[mask], expected[mask])
    found = torch.autograd.grad(ours[mask].square().sum(), [hidden, *stock.parameters()])
    for gradient, wanted in zip(found, grads, strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_dropped_weights_are_the_same_on_the_way_back() -> None:
    torch.manual_seed(0)
    query, key, value, gate = (torch.randn(2, 2, 5, size) for size in (4, 4, 4, 1))
    bias = torch.randn(2, 5, 5)
    leaves = [item.double().requires_grad_() for item in (query, key, value, gate, bias)]

    def attended(*leaves: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return GatedByUtterance.apply(*leaves, [5, 2], 0.4)

    torch.manual_seed(1)
    kept = [torch.empty(2, n, n, dtype=torch.bool).bernoulli_(0.6) for n in (5, 2)]
    found = attended(*leaves)
    for row, (n, stay) in enumerate(zip((5, 2), kept, strict=True)):
        q, k, v, g = (item[row, :, :n] for item in leaves[:4])
        scores = q @ k.transpose(1, 2) / 2 + g * leaves[4][:, :n, :n]
        expected = (scores.softmax(-1) * stay / 0.6) @ v
        torch.testing.assert_close(found[row, :, :n], expected)
    assert not found[1, :, 2:].any()
    assert torch.autograd.gradcheck(attended, leaves, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_plain_products_are_torch_s_fused_attention(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 4, 2, 7, 8, generator=generator).to(dtype)
    frame_mask = torch.arange(7) < torch.tensor([[7], [1], [4], [6]])
    expected = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=frame_mask[:, None, None, :]
    )
    found = attend(query, key, value, frame_mask)
    assert found.dtype == dtype
    # torch's own keeps the scores in single precision; half rounds each to three digits
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(found, expected, **tolerance)
