"""From the frames of an utterance to one vector: FLAM and the aggregations it is compared with.

Every module maps `(frames, frame_mask)` to `(utterance, refined_frames)`:
    frames: (B, T, D) float. Encoder output, padding included.
    frame_mask: (B, T) bool. True on real frames: at least one an utterance, and first.
    utterance: (B, D) float; (B, parts * D) where a class has `parts` other than 1.
    refined_frames: (B, T, D) float. What the frame-level loss sees: F' for FLAM, else `frames`.
Whatever stands in the padding, infinities included, changes no real frame and no utterance.
"""

import torch
from torch import Tensor, nn

from core.attention import attend

VARIANCE_FLOOR = 1e-5  # the square root has no slope at zero: of a single frame, or of silence


class Pooling(nn.Module):
    """What all of them are.

    Attributes:
        parts: How many times the features of a frame an utterance's vector has.
        fixed: Whether the same frames always give the same vector: no weights, no draws.
    """

    parts = 1
    fixed = False


class FirstFrame(Pooling):
    """Take the first frame.

    Source: C (LAM), `feat[0]`: the baseline's aggregation, in the rows of Table 3 with no tick.
    """

    fixed = True

    def forward(self, frames: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        return frames[:, 0], frames  # (B, D)


class MeanPool(Pooling):
    """Average the real frames.

    Source: P Table 3. Leaving the padding out is O.
    """

    fixed = True

    def forward(self, frames: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        wide = _wide(_without_padding(frames, frame_mask))
        mean = wide.sum(1) / frame_mask.sum(1, keepdim=True)  # (B, D)
        return mean.to(frames.dtype), frames


class MaxPool(Pooling):
    """Take the largest value of each feature over the real frames.

    Source: P Table 3. Leaving the padding out is O.
    """

    fixed = True

    def forward(self, frames: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        real = frames.masked_fill(~frame_mask.unsqueeze(-1), -torch.inf)
        return real.amax(1), frames  # (B, D)


class StatisticsPool(Pooling):
    """Mean and standard deviation of each feature over the real frames, side by side.

    Source: Snyder et al. 2018, X-vectors, 2.1; the floor under the variance is O.
    """

    parts = 2
    fixed = True

    def forward(self, frames: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        real = frame_mask.unsqueeze(-1)  # (B, T, 1)
        wide, count = _wide(frames).masked_fill(~real, 0.0), real.sum(1)
        mean = wide.sum(1) / count  # (B, D)
        apart = (wide - mean.unsqueeze(1)).masked_fill(~real, 0.0)
        deviation = (apart.square().sum(1) / count).clamp_min(VARIANCE_FLOOR).sqrt()
        return torch.cat([mean, deviation], 1).to(frames.dtype), frames  # (B, 2D)


class Flam(Pooling):
    """Frame-level attention: self-attention with a residual, then attention pooling.

    The paper's letters: F `frames`, F' `refined_frames`, w `frame_vector`, alpha `attention`.

    Source: P §2.3, Eq. 5. Initial weights are O: of the self-attention as in
        `nn.MultiheadAttention`, of w as in `nn.Linear`.
    """

    def __init__(self, dim: int, heads: int = 16) -> None:
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide dim, got {heads} heads for dim {dim}")
        self.heads = heads
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        self.frame_vector = nn.Parameter(torch.empty(dim))
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.output.bias)
        nn.init.uniform_(self.frame_vector, -(dim**-0.5), dim**-0.5)

    def forward(self, frames: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
        refined = self._refine(frames, frame_mask)
        weights = self._weigh(refined, frame_mask).unsqueeze(-1)  # (B, T, 1)
        utterance = (weights * refined).sum(1)  # (B, D)
        return utterance.to(refined.dtype), refined

    def attention(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """alpha of Eq. 5: (B, T) float, zero on padding; each row sums to 1."""
        return self._weigh(self._refine(frames, frame_mask), frame_mask)

    def _refine(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """F' = F + MSA(F): (B, T, D), zero on padding."""
        frames = _without_padding(frames, frame_mask)
        heads = self.query_key_value(frames).unflatten(-1, (3, self.heads, -1))  # (B, T, 3, H, D/H)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (B, H, T, D/H) each
        seen = attend(query, key, value, frame_mask)
        refined = frames + self.output(seen.transpose(1, 2).flatten(2))  # (B, T, D)
        return _without_padding(refined, frame_mask)

    def _weigh(self, refined: Tensor, frame_mask: Tensor) -> Tensor:
        """Softmax of f'_t w over the real frames: (B, T).

        A product and a sum, not a matmul, which autocast would round to half precision.
        """
        scores = (_wide(refined) * self.frame_vector).sum(-1)  # (B, T)
        return scores.masked_fill(~frame_mask, -torch.inf).softmax(1)


POOLINGS: dict[str, type[Pooling]] = {
    "first": FirstFrame,
    "mean": MeanPool,
    "max": MaxPool,
    "statistics": StatisticsPool,
    "flam": Flam,
}


def build_pooling(method: str, dim: int, heads: int) -> Pooling:
    """The pooling of that name, for frames of `dim` features; only FLAM has `heads`."""
    if method not in POOLINGS:
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {method!r}")
    return Flam(dim, heads) if method == "flam" else POOLINGS[method]()


def _without_padding(frames: Tensor, frame_mask: Tensor) -> Tensor:
    return frames.masked_fill(~frame_mask.unsqueeze(-1), 0)


def _wide(frames: Tensor) -> Tensor:
    """At least single precision: sums over hundreds of frames lose half precision's few digits."""
    return frames.to(torch.promote_types(frames.dtype, torch.float32))
