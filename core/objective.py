"""The terms of Eq. 11 that a setting names, from what the model gave for a batch."""

from torch import Tensor

from core import losses
from core.batches import Batch
from core.config import LossConfig
from core.model import Outputs


def terms_of(
    batch: Batch, outputs: Outputs, centers: Tensor, constants: LossConfig
) -> dict[str, Tensor]:
    """Eq. 6-10, those that the setting names, in float32 and in its order.

    Args:
        batch: For its labels.
        outputs: Of this batch, whole.
        centers: (C, d) float.
    Returns:
        () float each.
    """
    labels, logits = batch.labels, outputs.logits.float()
    targets = losses.smoothed(batch.soft_labels, constants.label_smoothing)
    computed: dict[str, Tensor] = {}
    for term in constants.terms:
        match term:
            case "kl":
                computed[term] = losses.kl_divergence(logits, targets)
            case "focal":
                computed[term] = losses.focal(logits, targets, constants.focal_gamma)
            case "center":
                computed[term] = losses.center(outputs.embeddings.float(), labels, centers)
            case "supcon":
                assert outputs.frames is not None
                computed[term] = losses.supervised_contrastive(
                    losses.broadcast_context(outputs.frames.float(), outputs.frame_mask),
                    outputs.frame_mask,
                    labels,
                    constants.temperature,
                    normalise=constants.normalise_frames,
                )
    return computed
