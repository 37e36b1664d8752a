"""Encoders behind one interface: waveforms and lengths in, frames and mask out.

Where an encoder's weights are stands in `core.checkpoints`, which needs no torch; the families in
`core.whisper`, `core.selfsupervised` (WavLM, HuBERT, wav2vec 2.0) and `core.logmel`. A family is a
pair of modules: a convolutional front end, and the transformer above it.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from core.checkpoints import (
    CheckpointError,
    fetch,
    fingerprint,
    geometry,
    is_pretrained,
    open_checkpoint,
)
from core.config import EncoderConfig
from core.spectrogram import mask_up_to

__all__ = ["CheckpointError", "Encoder", "build_encoder", "fetch", "fingerprint", "geometry"]


class Encoder(nn.Module):
    """A network from waveforms to frames, and how much of it is trained.

    More padding never changes a real frame, and padded frames are zero. What is not trained is left
    out of the autograd graph, so that it costs no backward pass.

    Attributes:
        features: D.
        layers: The transformer layers that are computed; those above the chosen one do not exist.
    """

    def __init__(
        self,
        front_end: nn.Module,
        transformer: nn.Module,
        features: int,
        layers: int,
        trained: Literal["all", "transformer", "frozen"],
    ) -> None:
        super().__init__()
        self.front_end = front_end.requires_grad_(False) if trained != "all" else front_end
        self.transformer = transformer.requires_grad_(False) if trained == "frozen" else transformer
        self.features = features
        self.layers = layers
        self.trained = trained
        self.train()

    def train(self, mode: bool = True) -> "Encoder":
        """As `nn.Module.train`, but a frozen encoder always evaluates: it has no dropout."""
        return super().train(mode and self.trained != "frozen")

    def forward(self, waveforms: Tensor, waveform_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a padded batch.

        An utterance shorter than 25 ms is taken as if zeros followed it up to there.

        Args:
            waveforms: (B, N) float32 at 16 kHz. Beyond the lengths anything may stand.
            waveform_lengths: (B,) long, samples, at least 1.
        Returns:
            Frames (B, T, D) float, and their mask (B, T) bool: True on real frames, at least one
            each.
        Raises:
            ValueError: Whisper alone: an utterance is longer than its positions (30 s).
        """
        real = mask_up_to(waveform_lengths, waveforms.shape[1])  # (B, N)
        waveforms = waveforms.masked_fill(~real, 0.0)
        wants_grad = torch.is_grad_enabled()
        with torch.set_grad_enabled(wants_grad and self.trained == "all"):
            frames, frame_mask = self.front_end(waveforms, waveform_lengths)
        with torch.set_grad_enabled(wants_grad and self.trained != "frozen"):
            frames = self.transformer(frames, frame_mask)  # (B, T, D)
            return frames.masked_fill(~frame_mask.unsqueeze(-1), 0.0), frame_mask


def build_encoder(config: EncoderConfig) -> Encoder:
    """Build an encoder with its weights; one without weights draws from torch's global generator.

    `layer` k of L is what transformers' `hidden_states[k]` is: 0 the input of the first transformer
    layer, k the output of the k-th. L, which is also the default, is the output of the last, after
    the model's final layer norm where it has one (Whisper; the large WavLM, HuBERT, wav2vec 2.0).
    Layers above the chosen one are not built.

    `train`: `transformer` leaves the convolutional front end (of WavLM and its kin the feature
    encoder, of Whisper both convolutions) as it is and trains everything above it; `frozen` trains
    nothing. An encoder without weights has no front end worth keeping, so there `transformer`
    trains all, and `frozen` leaves a random network.

    Layer dropping and the masking of SpecAugment are off (O: the paper names neither, and mixup is
    the augmentation under study); dropout is the checkpoint's.

    Raises:
        CheckpointError: the weights are missing or damaged, or `config.layer` is beyond the last.
    """
    fetch(config)
    shape = geometry(config)
    layers = shape.layers if config.layer is None else config.layer
    trained = config.train
    # Imported here: transformers costs three seconds, and an encoder without weights needs none.
    if not is_pretrained(config.name):
        from core import logmel

        front_end, transformer = logmel.build(shape.features, layers)
        trained = "frozen" if config.train == "frozen" else "all"
    elif (checkpoint := open_checkpoint(config.name)).family == "whisper":
        from core import whisper

        front_end, transformer = whisper.build(checkpoint, layers)
    else:
        from core import selfsupervised

        front_end, transformer = selfsupervised.build(checkpoint, layers)
    return Encoder(front_end, transformer, shape.features, layers, trained)
