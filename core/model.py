"""Encoder, aggregation and heads put together (paper, Fig. 1)."""

from typing import NamedTuple

from torch import Tensor, nn

from core.config import RunConfig
from core.encoders import StoredFrames, build_encoder, stored_frames
from core.masking import MaskDraw
from core.pooling import build_pooling
from core.standardising import Standardiser


class Outputs(NamedTuple):
    """What one forward pass gives.

    Attributes:
        logits: (B, C).
        embeddings: (B, d), the paper's z.
        frames: (B, T, d), the paper's h, or None where no term asks for it.
        frame_mask: (B, T) bool, True on real frames.
    """

    logits: Tensor
    embeddings: Tensor
    frames: Tensor | None
    frame_mask: Tensor


class EmotionModel(nn.Module):
    """F = encoder(x); f, F' = pooling(F); z = Linear(f); logits = Linear(z); h = Linear(F').

    The classifier reads z, without a non-linearity between, as C (LAM) does: the 64-dimensional
    space that center loss shapes (P §3.2) is then the one that decides.
    """

    def __init__(self, config: RunConfig, classes: int) -> None:
        super().__init__()
        build = stored_frames if config.stores_frames else build_encoder
        self.encoder = build(config.encoder)
        features, projected = self.encoder.features, config.losses.projected_features
        self.pooling = build_pooling(config.pooling.method, features, config.pooling.heads)
        pooled = self.pooling.parts * features
        self.standardiser = Standardiser(pooled) if config.pooling.standardise else None
        self.project = nn.Linear(pooled, projected)
        self.classify = nn.Linear(projected, classes)
        with_frames = "supcon" in config.losses.terms
        self.project_frames = nn.Linear(features, projected) if with_frames else None

    def forward(self, inputs: Tensor, lengths: Tensor, masks: MaskDraw | None = None) -> Outputs:
        """Classify a padded batch.

        Args:
            inputs: Waveforms (B, N) float32 at 16 kHz, or a frozen encoder's stored frames
                (B, T, D) or (B, T, L + 1, D).
            lengths: (B,) long, samples or frames.
            masks: What of waveforms' spectrograms or frames is hidden from the encoder.
        """
        return self.judge(*self.pool(inputs, lengths, masks))

    @property
    def pools_once(self) -> bool:
        """Whether an utterance's vector never changes and nothing but it is read of the frames."""
        has_fixed_frames = isinstance(self.encoder, StoredFrames) and self.encoder.fixed
        return has_fixed_frames and self.pooling.fixed and self.project_frames is None

    def judge(self, utterances: Tensor, refined: Tensor, frame_mask: Tensor) -> Outputs:
        """Classify what `pool` gives."""
        if self.standardiser is not None:
            utterances = self.standardiser(utterances)
        embeddings = self.project(utterances)  # (B, d)
        projected = self.project_frames(refined) if self.project_frames else None  # (B, T, d)
        return Outputs(self.classify(embeddings), embeddings, projected, frame_mask)

    def pool(
        self, inputs: Tensor, lengths: Tensor, masks: MaskDraw | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Aggregate a padded batch, as `forward` has it.

        Returns:
            Utterances (B, D), refined frames (B, T, D) and the frames' mask (B, T).
        """
        hidden = () if masks is None else (masks,)
        frames, frame_mask = self.encoder(inputs, lengths, *hidden)
        return *self.pooling(frames, frame_mask), frame_mask
