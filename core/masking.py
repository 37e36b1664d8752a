"""SpecAugment: parts of what an encoder's transformer is given are set to zero, in training only.

Drawn with the batch, before any encoder knows how many bands and frames there are; applied by the
encoder's front end. So a part of a batch is masked as it is in the whole, and scoring, whose
batches carry no draw, can't be masked.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from core.config import AugmentConfig


class MaskDraw(NamedTuple):
    """Everything random about masking one batch, F masks of bands and M of frames an utterance.

    Attributes:
        bands: (B, F, 2) double. Width in bands; and where it begins, from 0, the lowest place that
            there is for it, to 1, the highest.
        frames: (B, M, 2) double. Width as a share of the utterance's frames; where it begins.
    """

    bands: Tensor
    frames: Tensor


def draw_masks(utterances: int, generator: torch.Generator, augment: AugmentConfig) -> MaskDraw:
    """Draw the masks of a batch of so many utterances.

    Source: Park et al. 2019, 2: widths from 0 to the most, places among all that there are; time
        masks are bounded by a share of the utterance alone (their p), which is O.
    """
    masks = augment.frequency_masks + augment.time_masks
    shape = (utterances, masks, 2)
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    bands, frames = uniform.split([augment.frequency_masks, augment.time_masks], 1)
    width, start = bands.unbind(-1)
    widths = (width * (augment.frequency_width + 1)).floor()
    share, place = frames.unbind(-1)
    return MaskDraw(
        torch.stack((widths, start), -1), torch.stack((share * augment.time_share, place), -1)
    )


def hide(frames: Tensor, frame_mask: Tensor, draw: MaskDraw | None) -> Tensor:
    """Set the drawn bands and frames to zero.

    Args:
        frames: (B, T, D) float, D being bands of a spectrogram or channels of convolutions.
        frame_mask: (B, T) bool. True on real frames: masks lie among these.
        draw: None hides nothing.
    Returns:
        (B, T, D).
    Source: Park et al. 2019, 2; zero is about the mean of our log-mel frames. transformers gives
        self-supervised encoders its learned vector instead, after their projection: zero before it
        is O, and needs nothing that a checkpoint may lack.
    """
    if draw is None:
        return frames
    longest, bands = frames.shape[1:]
    counts = frame_mask.sum(1, keepdim=True)  # (B, 1)
    width, start = draw.bands.unbind(-1)  # (B, F)
    hidden_bands = _within(start * (bands - width + 1), width, bands)  # (B, D)
    share, start = draw.frames.unbind(-1)  # (B, M)
    width = (share * counts).floor()
    hidden_frames = _within(start * (counts - width + 1), width, longest)  # (B, T)
    return frames.masked_fill(hidden_frames.unsqueeze(2) | hidden_bands.unsqueeze(1), 0.0)


def _within(starts: Tensor, widths: Tensor, length: int) -> Tensor:
    """Which of so many places any of an utterance's masks covers: (B, length) bool."""
    places = torch.arange(length, device=starts.device)
    first = starts.floor().unsqueeze(-1)  # (B, masks, 1)
    return ((places >= first) & (places < first + widths.unsqueeze(-1))).any(1)
