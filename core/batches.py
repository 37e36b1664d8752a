"""From single utterances to the padded batches that the model trains and is scored on."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from core.clips import Inputs
from core.config import MixupConfig, TrainingConfig
from core.corpora.utterance import Utterance
from core.masking import MaskDraw
from core.mixup import (
    apply_energy_mix,
    apply_length_mix,
    apply_plain_mix,
    draw_host_shares,
    draw_mix,
    mixed_lengths,
)

LEAST_POOLS = 4  # O: in an epoch


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Padded utterances with their targets.

    Attributes:
        inputs: Waveforms (B, N) float32 at 16 kHz; or, of a frozen encoder, the frames that it
            made, (B, T, D) or of several layers (B, T, L, D) float16, or one vector for all of
            them, (B, 1, D) float32. Zero beyond each length.
        lengths: (B,) long, in samples or frames.
        soft_labels: (B, C) float32, rows sum to one.
        utterances: The B hosts, in order.
        masks: What of the encoder's input is hidden; in training only.
    """

    inputs: Tensor
    lengths: Tensor
    soft_labels: Tensor
    utterances: tuple[Utterance, ...]
    masks: MaskDraw | None = None

    @property
    def labels(self) -> Tensor:
        """(B,) long: the dominant class, which center and SupCon loss take as the label."""
        return self.soft_labels.argmax(1)

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> "Batch":
        """The same batch in page-locked memory, from which a GPU copies while it computes."""
        return self._each(Tensor.pin_memory)

    def split(self, size: int) -> list["Batch"]:
        """The same utterances, at most so many a part, padded as they are here."""
        places = (slice(first, first + size) for first in range(0, len(self.utterances), size))
        return [
            replace(self._each(itemgetter(place)), utterances=self.utterances[place])
            for place in places
        ]

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same of every tensor."""
        return Batch(
            change(self.inputs),
            change(self.lengths),
            change(self.soft_labels),
            self.utterances,
            None if self.masks is None else MaskDraw(*map(change, self.masks)),
        )


class Batcher:
    """Cuts one set of utterances into batches, the same way in training and in scoring."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        inputs: Inputs,
        classes: Sequence[str],
        training: TrainingConfig,
        speeds: Sequence[float] = (1.0,),
    ) -> None:
        """`speeds` are those that `shuffled` may draw."""
        self.utterances = tuple(utterances)
        self._inputs = inputs
        self._labels = torch.tensor([classes.index(item.label) for item in utterances])
        self._classes = len(classes)
        self._batch_size = training.batch_size
        # Never a pool that is most of a small set: its batches would be the same every epoch.
        most = len(utterances) // (LEAST_POOLS * training.batch_size)
        self._pool = training.batch_size * max(1, min(training.length_pool, most))
        self._balanced = training.balanced
        self._speeds = tuple(speeds)
        self._lengths = self._lengths_at(1.0)  # (U,)
        self._sped = [self._lengths_at(speed) for speed in speeds]

    def __len__(self) -> int:
        return -(-len(self.utterances) // self._batch_size)

    def in_order(self, speed: float = 1.0) -> Iterator[Batch]:
        """Every utterance once, unmixed, neighbours of similar length together: for scoring."""
        spoken = self._as_spoken() if speed == 1.0 else self._all_at(speed)
        order = torch.argsort(spoken.lengths, stable=True)
        for indices in order.split(self._batch_size):
            yield self._batch(indices, spoken)

    def shuffled(
        self,
        mixup: MixupConfig,
        order: torch.Generator,
        mixing: torch.Generator,
        speeding: torch.Generator | None = None,
    ) -> Iterator[Batch]:
        """Every utterance once as a host, in a drawn order, mixed as the setting says.

        Where training is balanced, as many hosts, drawn class by class: of a large class many stay
        away for an epoch, and one of a small class may meet itself in a batch.

        An utterance has one speed an epoch, as host and as partner; without `speeding`, its own.

        Partners come from the whole set, not from the batch, so that a mixture's kind does not
        depend on the batch size (C (LAM) draws them so too). The generators are apart so that
        settings that mix, or speed up, and settings that do not see the same order. Drawing an
        epoch takes time and memory that grow with the number of utterances; one batch is in memory
        at a time.
        """
        spoken = self._draw_speeds(speeding)
        for indices in self._draw_batches(order, spoken.lengths):
            hosts = self._batch(indices, spoken)
            if mixup.method == "none":
                yield hosts
            else:
                chosen = torch.randint(len(self.utterances), (len(indices),), generator=mixing)
                yield _mix(hosts, self._batch(chosen, spoken), mixup, mixing)

    def _lengths_at(self, speed: float) -> Tensor:
        """(U,) long, samples or frames."""
        return torch.tensor([self._inputs.length(item.name, speed) for item in self.utterances])

    def _as_spoken(self) -> "_Spoken":
        return _Spoken((1.0,) * len(self.utterances), self._lengths)

    def _all_at(self, speed: float) -> "_Spoken":
        return _Spoken((speed,) * len(self.utterances), self._lengths_at(speed))

    def _draw_speeds(self, speeding: torch.Generator | None) -> "_Spoken":
        if speeding is None or self._speeds == (1.0,):
            return self._as_spoken()
        drawn = torch.randint(len(self._speeds), (len(self.utterances),), generator=speeding)
        lengths = torch.stack(self._sped).gather(0, drawn.unsqueeze(0)).squeeze(0)  # (U,)
        return _Spoken(tuple(self._speeds[index] for index in drawn.tolist()), lengths)

    def _draw_batches(self, order: torch.Generator, lengths: Tensor) -> list[Tensor]:
        """Cut a drawn order into pools, each pool by length into batches, and draw their order.

        Every utterance stays equally likely in every step of the epoch; only its companions are
        of similar length, so that less is spent on padding. A set that fits in one pool is cut the
        same way each epoch, but for ties.
        """
        drawn = self._draw_hosts(order)
        batches: list[Tensor] = []
        for pool in drawn.split(self._pool):
            by_length = pool[torch.argsort(lengths[pool], stable=True)]
            batches.extend(by_length.split(self._batch_size))
        places = torch.randperm(len(batches), generator=order)
        return [batches[place] for place in places.tolist()]

    def _draw_hosts(self, order: torch.Generator) -> Tensor:
        """(U,) long: all utterances in a drawn order; or of classes drawn evenly, any of each."""
        count = len(self.utterances)
        if not self._balanced:
            return torch.randperm(count, generator=order)
        of_class = torch.bincount(self._labels, minlength=self._classes)
        chances = 1 / of_class[self._labels].double()  # a class in all has the chance of any other
        return torch.multinomial(chances, count, replacement=True, generator=order)

    def _batch(self, indices: Tensor, spoken: "_Spoken") -> Batch:
        places = indices.tolist()
        chosen = tuple(self.utterances[place] for place in places)
        parts = [
            self._inputs.read(item.name, spoken.speeds[place])
            for item, place in zip(chosen, places, strict=True)
        ]
        lengths = torch.tensor([len(part) for part in parts])
        padded = np.zeros((len(parts), int(lengths.max()), *parts[0].shape[1:]), parts[0].dtype)
        for row, part in zip(padded, parts, strict=True):
            row[: len(part)] = part
        soft = torch.nn.functional.one_hot(self._labels[indices], self._classes).float()
        return Batch(torch.from_numpy(padded), lengths, soft, chosen)


@dataclass(frozen=True, slots=True, eq=False)
class _Spoken:
    """How fast every utterance is heard in one epoch, and how long it is then.

    Attributes:
        speeds: U of them.
        lengths: (U,) long, samples or frames.
    """

    speeds: tuple[float, ...]
    lengths: Tensor


def derived_generator(seed: int, fold: int, purpose: str) -> torch.Generator:
    """A generator for one purpose of one fold, independent of all others with the same seed."""
    return torch.Generator().manual_seed(derived_seed(seed, fold, purpose))


def derived_seed(seed: int, fold: int, purpose: str) -> int:
    """A 63-bit seed from the experiment's seed, the fold and what it is for."""
    digest = sha256(f"{seed}/{fold}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _mix(hosts: Batch, partners: Batch, mixup: MixupConfig, generator: torch.Generator) -> Batch:
    parts = (
        hosts.inputs,
        hosts.lengths,
        hosts.soft_labels,
        partners.inputs,
        partners.lengths,
        partners.soft_labels,
    )
    if mixup.method == "mixup":
        shares = draw_host_shares(
            len(hosts.utterances), generator, probability=mixup.probability, alpha=mixup.alpha
        )
        applied = shares < 1
        waveforms, soft_labels = apply_plain_mix(*parts, shares)
        return _cut(hosts, partners, waveforms, soft_labels, applied)
    draw = draw_mix(
        hosts.lengths,
        partners.lengths,
        generator,
        probability=mixup.probability,
        snr_min_db=mixup.snr_min_db,
        snr_max_db=mixup.snr_max_db,
        max_share=mixup.max_share,
    )
    if mixup.method == "eam":
        waveforms, soft_labels = apply_energy_mix(*parts, draw)
        return Batch(waveforms, hosts.lengths, soft_labels, hosts.utterances)
    waveforms, soft_labels = apply_length_mix(*parts, draw)
    return _cut(hosts, partners, waveforms, soft_labels, draw.applied)


def _cut(
    hosts: Batch, partners: Batch, waveforms: Tensor, soft_labels: Tensor, applied: Tensor
) -> Batch:
    """Mixtures as long as the longer of each two, padded to the longest of them."""
    lengths = mixed_lengths(hosts.lengths, partners.lengths, applied)
    width = int(lengths.max())
    return Batch(waveforms[:, :width], lengths, soft_labels, hosts.utterances)
