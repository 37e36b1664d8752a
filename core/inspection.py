"""Looking into a model: embeddings, frame attention, and single mixtures as training makes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from core.batches import Batch, Batcher
from core.clips import Clips, Inputs
from core.config import MixupConfig, RunConfig
from core.corpora.utterance import Utterance
from core.devices import computing
from core.mixup import (
    apply_energy_mix,
    apply_length_mix,
    apply_plain_mix,
    draw_host_shares,
    draw_mix,
)
from core.model import EmotionModel
from core.pooling import Flam


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One utterance as the model hears it.

    Attributes:
        weights: (T,) float32, Eq. 5's alpha over its real frames.
        probabilities: (C,) float32.
    """

    weights: NDArray[np.float32]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Mixture:
    """A host, its partner and what became of them: (N,) float32 waveforms, spans in samples."""

    host: NDArray[np.float32]
    partner: NDArray[np.float32]
    mixture: NDArray[np.float32]
    host_span: tuple[int, int]
    partner_span: tuple[int, int]
    mix_ratio: float
    snr_db: float


def embed(
    model: EmotionModel,
    config: RunConfig,
    inputs: Inputs,
    classes: Sequence[str],
    utterances: Sequence[Utterance],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The paper's z of each utterance, without dropout: (n, d), and (n,) class numbers.

    Both in the batches' order, which is that of length.
    """
    embeddings, labels = [], []
    batcher = Batcher(utterances, inputs, classes, config.training)
    with _judging(model):
        for batch in batcher.in_order():
            batch = batch.to(_device(model))
            embeddings.append(_forward(model, config, batch).float().cpu())
            labels.append(batch.labels.cpu())
    return torch.cat(embeddings).numpy(), torch.cat(labels).numpy()


def attend(
    model: EmotionModel,
    config: RunConfig,
    inputs: Inputs,
    classes: Sequence[str],
    utterance: Utterance,
) -> Heard:
    """How the frames of one utterance weigh, and what it is taken for.

    Raises:
        ValueError: the model's pooling has no attention.
    """
    if not isinstance(model.pooling, Flam):
        raise ValueError(f"frame attention needs pooling.method flam, got {config.pooling.method}")
    batch = next(Batcher([utterance], inputs, classes, config.training).in_order())
    batch = batch.to(_device(model))
    with _judging(model), computing(_device(model), config.training.precision):
        frames, frame_mask = model.encoder(batch.inputs, batch.lengths)
        weights = model.pooling.attention(frames, frame_mask)[0, frame_mask[0]]  # (T,)
        utterances, refined = model.pooling(frames, frame_mask)
        logits = model.judge(utterances, refined, frame_mask).logits[0]  # (C,)
    return Heard(weights.float().cpu().numpy(), logits.float().softmax(0).cpu().numpy())


def mix(
    host: Utterance,
    partner: Utterance,
    clips: Clips,
    mixup: MixupConfig,
    generator: torch.Generator,
) -> Mixture:
    """Mix one utterance with another by the setting's method, drawn as in training.

    Raises:
        ValueError: the setting mixes nothing.
    """
    if mixup.method == "none":
        raise ValueError("mixing examples need mixup.method lam, eam or mixup, got none")
    hosts, partners = (
        torch.from_numpy(np.array(clips.read(each.name)))[None] for each in (host, partner)
    )  # (1, N), (1, M)
    host_lengths, partner_lengths = (torch.tensor([each.shape[1]]) for each in (hosts, partners))
    draw = draw_mix(
        host_lengths,
        partner_lengths,
        generator,
        probability=1.0,
        snr_min_db=mixup.snr_min_db,
        snr_max_db=mixup.snr_max_db,
        max_share=mixup.max_share,
    )
    # Two classes of their own, so that lambda can be read off even where both share their class.
    own, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    by_energy = mixup.method == "eam"
    parts = (hosts, host_lengths, own, partners, partner_lengths, other)
    if mixup.method == "mixup":
        shares = draw_host_shares(1, generator, probability=1.0, alpha=mixup.alpha)
        mixture, label = apply_plain_mix(*parts, shares)
    else:
        mixture, label = (apply_energy_mix if by_energy else apply_length_mix)(*parts, draw)
    spans = [(0, int(host_lengths)), (0, int(partner_lengths))]
    if by_energy:
        starts = (int(draw.host_starts), int(draw.partner_starts))
        spans = [(start, start + int(draw.mix_lengths)) for start in starts]
    return Mixture(
        host=hosts[0].numpy(),
        partner=partners[0].numpy(),
        mixture=mixture[0].numpy(),
        host_span=spans[0],
        partner_span=spans[1],
        mix_ratio=float(label[0, 1]),
        snr_db=float(draw.snr_db) if by_energy else float("nan"),
    )


@contextmanager
def _judging(model: EmotionModel) -> Iterator[None]:
    """Without dropout and gradients; the model's mode is as before afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def _forward(model: EmotionModel, config: RunConfig, batch: Batch) -> torch.Tensor:
    with computing(_device(model), config.training.precision):
        return model(batch.inputs, batch.lengths).embeddings


def _device(model: EmotionModel) -> torch.device:
    return next(model.parameters()).device
