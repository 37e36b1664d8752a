"""A trained model at work: from what it hears to the probabilities of its classes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.checkpoints import CheckpointError, fetch, fingerprint, geometry
from core.clips import heard_at
from core.config import EncoderConfig
from core.devices import computing
from core.hearing import Hearing
from core.kept_model import KeptModel, ModelError, read_model, refuse_other_tensors
from core.model import EmotionModel
from core.training_state import trained_weights


class Classifier:
    """A model that is done with training, as its fold was scored: same precision, same batches.

    Attributes:
        model: What was kept of it.
    """

    def __init__(
        self,
        model: KeptModel,
        encoder: EncoderConfig,
        device: torch.device,
        elsewhere: tuple[str, ...] = (),
    ) -> None:
        """Put a model together.

        Args:
            encoder: Where its encoder's weights are; else as it was trained.
            elsewhere: How the names of tensors begin that come from there alone.
        Raises:
            ModelError, CheckpointError: the parts don't fit one another.
        """
        self.model = model
        self.device = device
        config = replace(model.config, encoder=encoder)
        # Before all else: its tensors show how large the rest must be.
        self._hearing = Hearing(config, device) if config.stores_frames else None
        features = encoder.frame_features(geometry(encoder).features)
        heads = config.pooling.heads
        if config.pooling.method == "flam" and features % heads:
            raise ModelError(f"pooling.heads must divide {features} features, got {heads}")
        self._network = EmotionModel(config, len(model.facts.classes))
        wanted = trained_weights(self._network, encoder)
        refuse_other_tensors(
            model.tensors,
            {name: item for name, item in wanted.items() if not name.startswith(elsewhere)},
        )
        self._network.load_state_dict(model.tensors, strict=False)
        self._network.to(device).eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.model.facts.classes

    def share(self, hearings: dict[tuple[str, str], Hearing]) -> None:
        """Hear through the frozen encoder that another classifier hears through, if there is one.

        Each waveform then passes it but once for all of them, until they `forget`.

        Args:
            hearings: Those of the others, by checkpoint and precision; its own joins them.
        """
        if self._hearing is not None:
            key = self.model.facts.encoder_fingerprint, self.model.config.training.precision
            shared = hearings.setdefault(key, self._hearing)
            shared.share(self._hearing)
            self._hearing = shared

    def forget(self) -> None:
        """Let go of what a shared encoder made of waveforms."""
        if self._hearing is not None:
            self._hearing.forget()

    def probabilities(
        self, heard: Sequence[np.ndarray], batch_size: int | None = None
    ) -> np.ndarray:
        """Classify what was heard; neighbours of similar length share a batch, as in scoring.

        On the CPU a batch's company changes a result by rounding alone: in float32 by 1e-7, in
        bfloat16 by up to about 1e-3.

        Args:
            heard: (N,) float32 at 16 kHz each, trimmed and levelled, N at least 1.
            batch_size: None is that of training.
        Returns:
            (U, C) float32; rows sum to one.
        Raises:
            ModelError: the weights give NaN or infinity.
            ValueError: something is longer than the encoder can take.
        """
        config = self.model.config
        speeds, size = config.evaluation.speeds, batch_size or config.training.batch_size
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(config.training.threads)
            with torch.inference_mode():
                logits = [
                    self._logits([self._at(waveform, speed) for waveform in heard], size)
                    for speed in speeds
                ]
                return (torch.stack(logits).sum(0) / len(speeds)).softmax(1).numpy()
        finally:
            torch.set_num_threads(threads)

    def _at(self, waveform: np.ndarray, speed: float) -> np.ndarray:
        if speed == 1.0:
            return waveform
        return heard_at(waveform, speed, self.model.config.audio)

    def _logits(self, heard: Sequence[np.ndarray], size: int) -> Tensor:
        """(U, C) float32 on the CPU."""
        found = torch.empty(len(heard), len(self.classes))
        for places, inputs, lengths in self._batches(heard, size):
            with self._computing():
                logits = self._network(inputs, lengths).logits.float()
            if not logits.isfinite().all():
                raise ModelError("its weights must give finite numbers, gave others")
            found[places] = logits.cpu()
        return found

    def _batches(
        self, heard: Sequence[np.ndarray], size: int
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """Places, padded inputs and their lengths."""
        inputs = [self._input(waveform) for waveform in heard]
        every_length = torch.tensor([len(item) for item in inputs])
        order = torch.argsort(every_length, stable=True)
        for places in order.split(size):
            chosen = [inputs[place] for place in places.tolist()]
            padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            yield places.tolist(), padded.to(self.device), every_length[places].to(self.device)

    def _input(self, waveform: np.ndarray) -> Tensor:
        """What the network takes: the waveform, or of a frozen encoder the frames it stored."""
        if self._hearing is None:
            return torch.tensor(waveform)
        return self._hearing.frames(waveform, self._network.encoder.readout.layers)

    def _computing(self) -> torch.autocast:
        return computing(self.device, self.model.config.training.precision)


def kept_classifier(path: Path, device: torch.device) -> Classifier:
    """The classifier of a file that a finished fold left, its encoder's checkpoint at hand.

    Raises:
        ModelError: the file is no such model, or the checkpoint is another than it was trained on.
        CheckpointError: the checkpoint is missing or damaged.
    """
    model = read_model(path)
    encoder = model.config.encoder
    fetch(encoder)
    if (found := fingerprint(encoder)) != (wanted := model.facts.encoder_fingerprint):
        raise ModelError(
            f"{path}: its encoder {encoder.name!r} must be the one it was trained on ({wanted}), "
            f"found another ({found})"
        )
    try:
        return Classifier(model, encoder, device)
    except CheckpointError:
        raise
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
