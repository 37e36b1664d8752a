"""From stored utterances to the padded batches that the model trains and is scored on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from core.config import SAMPLE_RATE_HZ, AudioConfig, MixupConfig, TrainingConfig
from core.corpora.utterance import Utterance
from core.mixup import apply_energy_mix, apply_length_mix, draw_mix, mixed_lengths
from core.store import AudioStore

LEAST_POOLS = 4  # O: in an epoch
TRIM_FRAME_SAMPLES = 160  # O: 10 ms


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Padded utterances with their targets.

    Attributes:
        waveforms: (B, N) float32 at 16 kHz, zero beyond each length.
        waveform_lengths: (B,) long, in samples.
        soft_labels: (B, C) float32, rows sum to one.
        utterances: The B hosts, in order.
    """

    waveforms: Tensor
    waveform_lengths: Tensor
    soft_labels: Tensor
    utterances: tuple[Utterance, ...]

    @property
    def labels(self) -> Tensor:
        """(B,) long: the dominant class, which center and SupCon loss take as the label."""
        return self.soft_labels.argmax(1)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(
            self.waveforms.to(device, non_blocking=True),
            self.waveform_lengths.to(device, non_blocking=True),
            self.soft_labels.to(device, non_blocking=True),
            self.utterances,
        )

    def split(self, size: int) -> list["Batch"]:
        """The same utterances, at most so many a part, padded as they are here."""
        return [
            Batch(
                self.waveforms[first : first + size],
                self.waveform_lengths[first : first + size],
                self.soft_labels[first : first + size],
                self.utterances[first : first + size],
            )
            for first in range(0, len(self.utterances), size)
        ]


class Batcher:
    """Cuts one set of utterances into batches, the same way in training and in scoring."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        store: AudioStore,
        classes: Sequence[str],
        audio: AudioConfig,
        training: TrainingConfig,
    ) -> None:
        self.utterances = tuple(utterances)
        self._store = store
        self._labels = torch.tensor([classes.index(item.label) for item in utterances])
        self._classes = len(classes)
        self._crop_samples = round(audio.crop_s * SAMPLE_RATE_HZ)
        self._to_peak = audio.normalise == "peak"
        self._extents = [self._extent(item, audio.trim_db) for item in utterances]
        self._batch_size = training.batch_size
        # Never a pool that is most of a small set: its batches would be the same every epoch.
        most = len(utterances) // (LEAST_POOLS * training.batch_size)
        self._pool = training.batch_size * max(1, min(training.length_pool, most))
        self._lengths = torch.tensor([stop - start for start, stop in self._extents])  # (U,)

    def __len__(self) -> int:
        return -(-len(self.utterances) // self._batch_size)

    def in_order(self) -> Iterator[Batch]:
        """Every utterance once, unmixed, neighbours of similar length together: for scoring."""
        order = torch.argsort(self._lengths, stable=True)
        for indices in order.split(self._batch_size):
            yield self._batch(indices)

    def shuffled(
        self, mixup: MixupConfig, order: torch.Generator, mixing: torch.Generator
    ) -> Iterator[Batch]:
        """Every utterance once as a host, in a drawn order, mixed as the setting says.

        Partners come from the whole set, not from the batch, so that a mixture's kind does not
        depend on the batch size (C (LAM) draws them so too). The two generators are apart so that
        settings that mix and settings that do not see the same order.
        """
        for indices in self._draw_batches(order):
            hosts = self._batch(indices)
            if mixup.method == "none":
                yield hosts
            else:
                chosen = torch.randint(len(self.utterances), (len(indices),), generator=mixing)
                yield _mix(hosts, self._batch(chosen), mixup, mixing)

    def _draw_batches(self, order: torch.Generator) -> list[Tensor]:
        """Cut a drawn order into pools, each pool by length into batches, and draw their order.

        Every utterance stays equally likely in every step of the epoch; only its companions are
        of similar length, so that less is spent on padding. A set that fits in one pool is cut the
        same way each epoch, but for ties.
        """
        drawn = torch.randperm(len(self.utterances), generator=order)
        batches: list[Tensor] = []
        for pool in drawn.split(self._pool):
            by_length = pool[torch.argsort(self._lengths[pool], stable=True)]
            batches.extend(by_length.split(self._batch_size))
        places = torch.randperm(len(batches), generator=order)
        return [batches[place] for place in places.tolist()]

    def _extent(self, utterance: Utterance, trim_db: float | None) -> tuple[int, int]:
        """The samples of an utterance that the model may see: first, and one past the last."""
        start, stop = 0, self._store.lengths[utterance.name]
        if trim_db is not None:
            start, stop = loud_extent(self._store.waveform(utterance.name), trim_db)
        return start, min(stop, start + self._crop_samples)

    def _batch(self, indices: Tensor) -> Batch:
        chosen = tuple(self.utterances[index] for index in indices.tolist())
        waveforms = [
            self._store.waveform(self.utterances[index].name)[slice(*self._extents[index])]
            for index in indices.tolist()
        ]
        lengths = torch.tensor([len(waveform) for waveform in waveforms])
        padded = np.zeros((len(chosen), int(lengths.max())), dtype=np.float32)  # (B, N)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform
        batch = torch.from_numpy(padded)
        if self._to_peak:
            batch = to_peak(batch)
        soft = torch.nn.functional.one_hot(self._labels[indices], self._classes).float()
        return Batch(batch, lengths, soft, chosen)


def to_peak(waveforms: Tensor) -> Tensor:
    """Scale each utterance's largest magnitude to one; silence stays silence.

    Args:
        waveforms: (B, N) float, zero beyond each utterance's end.
    Returns:
        (B, N) float.
    Source: C (LAM), before the mix.
    """
    peak = waveforms.abs().amax(1, keepdim=True)  # (B, 1)
    return waveforms / torch.where(peak > 0, peak, 1.0)


def loud_extent(waveform: np.ndarray, trim_db: float) -> tuple[int, int]:
    """Where an utterance begins and ends, silence at either end left out.

    Args:
        waveform: (N,) float at 16 kHz.
        trim_db: How far below the power of the loudest 10 ms another 10 ms still counts as sound.
    Returns:
        The first sample of the first such 10 ms and one past the last of the last; all of a silent
        utterance.
    Source: O.
    """
    frames = -(-len(waveform) // TRIM_FRAME_SAMPLES)
    padded = np.zeros(frames * TRIM_FRAME_SAMPLES, dtype=np.float32)
    padded[: len(waveform)] = waveform
    power = np.square(padded.reshape(frames, TRIM_FRAME_SAMPLES)).sum(1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-trim_db / 10))
    start, stop = int(loud[0]) * TRIM_FRAME_SAMPLES, (int(loud[-1]) + 1) * TRIM_FRAME_SAMPLES
    return start, min(stop, len(waveform))


def derived_generator(seed: int, fold: int, purpose: str) -> torch.Generator:
    """A generator for one purpose of one fold, independent of all others with the same seed."""
    return torch.Generator().manual_seed(derived_seed(seed, fold, purpose))


def derived_seed(seed: int, fold: int, purpose: str) -> int:
    """A 63-bit seed from the experiment's seed, the fold and what it is for."""
    digest = sha256(f"{seed}/{fold}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _mix(hosts: Batch, partners: Batch, mixup: MixupConfig, generator: torch.Generator) -> Batch:
    draw = draw_mix(
        hosts.waveform_lengths,
        partners.waveform_lengths,
        generator,
        probability=mixup.probability,
        snr_min_db=mixup.snr_min_db,
        snr_max_db=mixup.snr_max_db,
        max_share=mixup.max_share,
    )
    parts = (
        hosts.waveforms,
        hosts.waveform_lengths,
        hosts.soft_labels,
        partners.waveforms,
        partners.waveform_lengths,
        partners.soft_labels,
    )
    if mixup.method == "eam":
        waveforms, soft_labels = apply_energy_mix(*parts, draw)
        return Batch(waveforms, hosts.waveform_lengths, soft_labels, hosts.utterances)
    waveforms, soft_labels = apply_length_mix(*parts, draw)
    lengths = mixed_lengths(hosts.waveform_lengths, partners.waveform_lengths, draw)
    width = int(lengths.max())
    return Batch(waveforms[:, :width], lengths, soft_labels, hosts.utterances)
