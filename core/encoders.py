"""Encoders behind one interface: waveforms and lengths in, frames and mask out.

Where an encoder's weights are stands in `core.checkpoints`, which needs no torch; the families in
`core.whisper`, `core.selfsupervised` (WavLM, HuBERT, wav2vec 2.0) and `core.logmel`. A family is a
pair of modules: a convolutional front end, and the transformer above it.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from core import lora
from core.checkpoints import (
    CheckpointError,
    fetch,
    fingerprint,
    geometry,
    open_checkpoint,
)
from core.config import EncoderConfig
from core.encoder_catalog import is_pretrained
from core.masking import MaskDraw
from core.spectrogram import mask_up_to

__all__ = ["CheckpointError", "Encoder", "build_encoder", "fetch", "fingerprint", "geometry"]


class Encoder(nn.Module):
    """A network from waveforms to frames, and how much of it is trained.

    More padding never changes a real frame, and padded frames are zero. What is not trained is left
    out of the autograd graph, so that it costs no backward pass.

    Attributes:
        features: D, of the frames that it gives.
        layers: The transformer layers that are computed; those above the last read do not exist.
        readout: From their outputs to the frames.
    """

    def __init__(
        self,
        front_end: nn.Module,
        transformer: nn.Module,
        features: int,
        layers: int,
        trained: Literal["all", "transformer", "frozen"],
        readout: "Readout",
    ) -> None:
        super().__init__()
        self.front_end = front_end.requires_grad_(False) if trained != "all" else front_end
        self.transformer = transformer.requires_grad_(False) if trained == "frozen" else transformer
        self.features = features
        self.layers = layers
        self.trained = trained
        self.readout = readout
        self.train()

    def train(self, mode: bool = True) -> "Encoder":
        """As `nn.Module.train`, but a frozen encoder always evaluates: it has no dropout."""
        return super().train(mode and self.trained != "frozen")

    def forward(
        self, waveforms: Tensor, waveform_lengths: Tensor, masks: MaskDraw | None = None
    ) -> tuple[Tensor, Tensor]:
        """Encode a padded batch.

        An utterance shorter than 25 ms is taken as if zeros followed it up to there.

        Args:
            waveforms: (B, N) float32 at 16 kHz. Beyond the lengths anything may stand.
            waveform_lengths: (B,) long, samples, at least 1.
            masks: What the front end hides: of its spectrogram, or of the frames it gives.
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
            frames, frame_mask = self.front_end(waveforms, waveform_lengths, masks)
        with torch.set_grad_enabled(wants_grad and self.trained != "frozen"):
            every_layer = self.transformer(frames, frame_mask)  # L + 1 times (B, T, D)
        read = [every_layer[layer] for layer in self.readout.layers]
        chosen = read[0] if len(read) == 1 else torch.stack(read, 2)
        return self.readout(chosen).masked_fill(~frame_mask.unsqueeze(-1), 0.0), frame_mask

    def every_layer(self, waveform: Tensor) -> Tensor:
        """What every layer gives for one utterance, without a gradient.

        Args:
            waveform: (N,) float32 at 16 kHz, at least 1 sample.
        Returns:
            (L + 1, T, D) float, as transformers' `hidden_states`.
        """
        with torch.no_grad():
            lengths = torch.tensor([len(waveform)], device=waveform.device)
            frames, frame_mask = self.front_end(waveform.unsqueeze(0), lengths)
            return torch.cat(self.transformer(frames, frame_mask))


class Readout(nn.Module):
    """From what the layers give to the frames that the method takes.

    Each frame of each layer normed, where that is asked for; then, where more than one is read, a
    learned average over them, at first the plain one, or all of them side by side.

    Source: Yang et al. 2021, SUPERB, 3; the norm is that of its toolkit's featuriser. Side by side
        is O.

    Attributes:
        layers: Those that are read, K of them.
    """

    def __init__(self, layers: tuple[int, ...], weigh: bool, normalise: bool) -> None:
        super().__init__()
        self.layers = layers
        weighs = weigh and len(layers) > 1  # of one, the average is itself
        self.scores = nn.Parameter(torch.zeros(len(layers))) if weighs else None
        self.normalise = normalise

    def forward(self, chosen: Tensor) -> Tensor:
        """Frames of one layer (B, T, D), or of all that are read (B, T, K, D), to those of one.

        Returns:
            (B, T, D) float, or (B, T, K * D) where layers stand side by side.
        """
        if self.normalise:
            chosen = functional.layer_norm(chosen, chosen.shape[-1:])
        if self.scores is None:
            return chosen.flatten(2)
        # No matmul, which autocast would round to half precision.
        return (chosen * self.scores.softmax(0).unsqueeze(-1)).sum(2)


class StoredFrames(nn.Module):
    """In place of a frozen encoder: hands on the frames that it gave once and for all.

    Attributes:
        features: D.
    """

    def __init__(self, features: int, readout: Readout) -> None:
        super().__init__()
        self.features = features
        self.readout = readout

    @property
    def fixed(self) -> bool:
        """Whether it trains nothing: no weights over layers."""
        return self.readout.scores is None

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """As `Encoder`, from its frames.

        Args:
            frames: (B, T, D), or of all layers that are read (B, T, K, D), of any float type; zero
                beyond the lengths.
            lengths: (B,) long, frames.
        """
        # A norm leaves zero frames zero, and an average too.
        return self.readout(frames.float()), mask_up_to(lengths, frames.shape[1])


def build_encoder(config: EncoderConfig) -> Encoder:
    """Build an encoder with its weights; one without weights draws from torch's global generator.

    `layer` k of L is what transformers' `hidden_states[k]` is: 0 the input of the first transformer
    layer, k the output of the k-th. L, which is also the default, is the output of the last, after
    the model's final layer norm where it has one (Whisper; the large WavLM, HuBERT, wav2vec 2.0).
    Layers above the chosen one are not built.

    `train`: `transformer` leaves the convolutional front end (of WavLM and its kin the feature
    encoder, of Whisper both convolutions) as it is and trains everything above it; `frozen` trains
    nothing. An encoder without weights has no front end worth keeping, so there `transformer`
    trains all, and `frozen` leaves a random network; bare log-mel bands have nothing to train.

    Layer dropping is off, and the checkpoint's own masking (O: the paper names neither, and mixup
    is the augmentation under study; `augment` has masks for all families). Dropout is the
    checkpoint's.

    With a `lora_rank` all weights stay as they are, and additions to them are trained.

    `weigh_layers` gives a learned average over the layers 0 to k instead, `join_layers` those that
    it names side by side, `normalise` a layer norm without weights of each.

    Raises:
        CheckpointError: the weights are missing or damaged, or a layer is beyond the last.
    """
    fetch(config)
    shape = geometry(config)
    readout = _readout(config, shape.layers)
    layers = max(readout.layers)
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
    if config.lora_rank:
        lora.adapt(transformer, config.lora_rank, config.lora_alpha)
    features = config.frame_features(shape.features)
    return Encoder(front_end, transformer, features, layers, trained, readout)


def stored_frames(config: EncoderConfig) -> StoredFrames:
    """What takes the place of `build_encoder` where a frozen encoder's frames are stored."""
    shape = geometry(config)
    return StoredFrames(config.frame_features(shape.features), _readout(config, shape.layers))


def _readout(config: EncoderConfig, last: int) -> Readout:
    return Readout(config.read_layers(last), config.weigh_layers, config.normalise)
