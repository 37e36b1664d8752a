"""A frozen encoder at work: for one classifier, or for several that hear the same waveforms."""

from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from core.config import RunConfig
from core.devices import computing
from core.encoders import build_encoder
from core.kept_model import ModelError


class Hearing:
    """Frames of one waveform at a time, on one thread: as they were stored (`core.features`)."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self._encoder = build_encoder(config.encoder).to(device)
        self._layers = tuple(sorted(set(self._encoder.readout.layers)))
        self._device, self._precision = device, config.training.precision
        self._kept: dict[bytes, Tensor] | None = None  # by waveform; None where nobody shares it

    def share(self, other: "Hearing") -> None:
        """Answer for another one of the same checkpoint and precision too.

        From now on what a waveform gave is kept until `forget`.
        """
        if other is not self:
            self._encoder = max(self._encoder, other._encoder, key=lambda each: each.layers)
            self._layers = tuple(sorted({*self._layers, *other._layers}))
            self._kept = {}

    def forget(self) -> None:
        """Let go of all frames."""
        if self._kept:
            self._kept.clear()

    def frames(self, waveform: np.ndarray, layers: tuple[int, ...]) -> Tensor:
        """Of one layer (T, D), or of several (T, K, D); float16, on the CPU.

        Args:
            waveform: (N,) float32 at 16 kHz, as the encoder hears it.
        Raises:
            ModelError: a frame is beyond float16.
        """
        found = self._of_layers(waveform)
        chosen = found[[self._layers.index(layer) for layer in layers]]  # (K, T, D)
        if not chosen.isfinite().all():
            raise ModelError("its encoder's frames must be within float16, found others")
        return chosen[0] if len(layers) == 1 else chosen.transpose(0, 1)

    def _of_layers(self, waveform: np.ndarray) -> Tensor:
        """(K, T, D) of every layer that may be asked for."""
        if self._kept is None:
            return self._passed(waveform)
        key = blake2b(np.ascontiguousarray(waveform).data).digest()
        if key not in self._kept:
            self._kept[key] = self._passed(waveform)
        return self._kept[key]

    def _passed(self, waveform: np.ndarray) -> Tensor:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with torch.inference_mode(), computing(self._device, self._precision):
            every_layer = self._encoder.every_layer(torch.tensor(waveform, device=self._device))
        torch.set_num_threads(threads)
        return every_layer[list(self._layers)].to(torch.float16).cpu()
