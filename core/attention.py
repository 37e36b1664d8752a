"""Plain attention by the faster kernel, and WavLM's own, whose bias depends on the query."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.gated import GatedByUtterance


def kernel() -> str:
    """transformers' name for the plain attention that is faster on this machine.

    On the CPU, for utterances of seconds, the fused kernel's backward pass takes over twice as long
    as plain products do (measured: bf16, 16 x 6 heads x 190 frames, 105 ms against 65 ms).
    """
    return "sdpa" if torch.cuda.is_available() else "eager"


def attend(query: Tensor, key: Tensor, value: Tensor, frame_mask: Tensor) -> Tensor:
    """Scaled-dot-product attention over real frames, by the kernel that is faster here.

    Args:
        query, key, value: (B, H, T, D / H) float, finite on padding, too.
        frame_mask: (B, T) bool, True on real frames, of which each utterance has one or more.
    Returns:
        (B, H, T, D / H).
    """
    if query.device.type == "cuda":
        mask = frame_mask[:, None, None, :]  # (B, 1, 1, T)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)  # (B, H, T, T)
    # Added in place, not filled in: no second copy of the scores, and no backward pass of its own.
    scores += additive_mask(frame_mask, scores.dtype)
    return scores.softmax(-1).to(value.dtype) @ value


def additive_mask(frame_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What transformers' layers add to their scores, so that none attends to padding.

    Args:
        frame_mask: (B, T) bool, True on real frames.
    Returns:
        (B, 1, 1, T), of the given type.
    """
    nowhere = torch.zeros(frame_mask.shape, dtype=dtype, device=frame_mask.device)
    return nowhere.masked_fill(~frame_mask, -torch.inf)[:, None, None, :]


class GatedAttention(nn.Module):
    """transformers' `WavLMAttention`, its weights and outputs, by scaled-dot-product attention.

    Chen et al. 2022, WavLM, Eq. 2-5. The bias by distance is computed in the first layer, which
    alone has its embedding, and handed on by the encoder.
    """

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.heads: int = stock.num_heads
        self.dropout: float = stock.dropout
        self.q_proj, self.k_proj, self.v_proj = stock.q_proj, stock.k_proj, stock.v_proj
        self.out_proj = stock.out_proj
        self.gru_rel_pos_const = stock.gru_rel_pos_const
        self.gru_rel_pos_linear = stock.gru_rel_pos_linear
        self.max_distance: int = stock.max_distance
        self.rel_attn_embed: nn.Embedding | None = getattr(stock, "rel_attn_embed", None)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        position_bias: Tensor | None = None,
        **_: Any,
    ) -> tuple[Tensor, None, Tensor]:
        """Attend; the arguments' names are transformers'.

        Args:
            hidden_states: (B, T, D) float.
            attention_mask: (B, T) bool, True on real frames.
            position_bias: (H, T, T) float from the first layer; None in the first layer itself.
        Returns:
            Frames (B, T, D), no attention weights, and the position bias for the next layer.
        """
        batch, length, _features = hidden_states.shape
        if position_bias is None:
            position_bias = self._position_bias(length)
        by_head = hidden_states.view(batch, length, self.heads, -1).transpose(
            1, 2
        )  # (B, H, T, D/H)
        gate = self._gate(by_head)  # (B, H, T, 1)
        query, key, value = (
            project(hidden_states).view(batch, length, self.heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        dropout = self.dropout if self.training else 0.0
        if query.device.type == "cpu":
            real = (
                attention_mask.sum(1).tolist() if attention_mask is not None else [length] * batch
            )
            attended = GatedByUtterance.apply(query, key, value, gate, position_bias, real, dropout)
        else:
            bias = gate * position_bias  # (B, H, T, T)
            if attention_mask is not None:
                bias = bias.masked_fill(~attention_mask[:, None, None, :], -torch.inf)
            attended = functional.scaled_dot_product_attention(
                query, key, value, attn_mask=bias.to(query.dtype), dropout_p=dropout
            )
        merged = attended.transpose(1, 2).reshape(batch, length, -1)
        return self.out_proj(merged), None, position_bias

    def _position_bias(self, length: int) -> Tensor:
        """The learned bias by distance from query to key: (H, T, T)."""
        assert self.rel_attn_embed is not None, "only the first layer holds the bias"
        weight = self.rel_attn_embed.weight  # (buckets, H)
        distances = torch.arange(1 - length, length, device=weight.device)
        by_distance = weight[bucket(distances, weight.shape[0], self.max_distance)]  # (2T - 1, H)
        places = torch.arange(length, device=weight.device)
        return by_distance[places - places.unsqueeze(1) + length - 1].permute(2, 0, 1)

    def _gate(self, by_head: Tensor) -> Tensor:
        """How far each query heeds distance: (B, H, T, D/H) to (B, H, T, 1)."""
        halves = self.gru_rel_pos_linear(by_head).unflatten(-1, (2, 4)).sum(-1)  # (B, H, T, 2)
        update, reset = torch.sigmoid(halves).chunk(2, dim=-1)
        return update * (reset * self.gru_rel_pos_const - 1.0) + 2.0


def bucket(distances: Tensor, buckets: int, max_distance: int) -> Tensor:
    """Which learned bias a distance has: near ones each their own, far ones by their logarithm.

    Args:
        distances: (n,) long, key minus query. The upper half of the buckets is for those above 0.
    Returns:
        (n,) long in 0..buckets - 1.
    """
    side = buckets // 2
    exact = side // 2
    size = distances.abs()
    growth = (size.clamp_min(1).float() / exact).log() / math.log(max_distance / exact)
    far = (exact + (growth * (side - exact)).long()).clamp_max(side - 1)
    return torch.where(size < exact, size, far) + side * (distances > 0)
