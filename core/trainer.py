"""Training one model on one fold, an epoch at a time, without ever seeing the test fold."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice

import torch
from torch import Tensor, nn

from core import losses, micro_batches
from core.augmentation import disturbed, draws_of
from core.batches import Batch, Batcher, derived_generator, derived_seed
from core.clips import Inputs
from core.config import RunConfig
from core.corpora.utterance import Utterance
from core.devices import computing
from core.metrics import Scores, score
from core.model import EmotionModel, Outputs
from core.nonfinite import TrainingError, refuse_nonfinite_logits, refuse_nonfinite_losses
from core.objective import terms_of
from core.optimisers import Schedule, optimisers
from core.pooled import pooled_once
from core.prefetch import on_device
from core.result import EpochMetrics, Prediction
from core.spectrogram import mask_up_to
from core.standardising import standardise
from core.training_state import (
    Progress,
    global_generators,
    moments,
    prefixed,
    refuse_generators,
    refuse_misfits,
    refuse_progress,
    restore_moments,
    trained_weights,
    unprefixed,
)

__all__ = ["Trainer", "TrainingError", "scores_of"]

DRAWS = ("order", "mixing", "speeding")  # what `Batcher.shuffled` draws, a generator each


class Trainer:
    """One model, its two optimisers and its schedule on one fold's training utterances.

    The validation group, where one is held out, picks the epoch; the test fold is not known here.
    """

    def __init__(
        self,
        config: RunConfig,
        train: Sequence[Utterance],
        validation: Sequence[Utterance],
        inputs: Inputs,
        classes: Sequence[str],
        device: torch.device,
        micro_batch: int | None = None,
    ) -> None:
        self.config = config
        self.device = device
        self._micro_batch = micro_batch  # utterances that pass the model at once; None: a batch
        self._classes = len(classes)
        self._labels = {label: index for index, label in enumerate(classes)}
        # Sums over more threads round differently, so their number belongs to the experiment.
        torch.set_num_threads(config.training.threads)
        # Initial weights and dropout draw from torch's global generators, which leave no choice.
        torch.manual_seed(derived_seed(config.seed, config.fold, "model"))
        self.model = EmotionModel(config, len(classes)).to(device)
        # C (LAM): centers start as standard normal draws.
        self.centers = nn.Parameter(
            torch.randn(len(classes), config.losses.projected_features).to(device)
        )
        trained = optimisers(config.training, self.model, self.centers)
        self._optimiser, self._center_optimiser = trained
        self._schedule = Schedule(config.training, trained)
        self._draws = (*DRAWS, *draws_of(config.augment))
        self._generators = global_generators(device) | {
            purpose: derived_generator(config.seed, config.fold, purpose) for purpose in self._draws
        }
        # What is scored by this trainer must be cut from these, too.
        self.inputs = pooled_once(self.model, inputs, [*train, *validation], config)
        self._train = Batcher(train, self.inputs, classes, config.training, config.augment.speeds)
        self._validation = Batcher(validation, self.inputs, classes, config.training)
        with on_device(self._train.in_order(), device) as batches:
            standardise(self.model, self._pool, batches, device, config.training.precision)
        self.epoch = 0
        self.best_epoch = 0
        self._best_ua = -1.0
        self._best_weights: dict[str, Tensor] | None = None

    @property
    def finished(self) -> bool:
        """Whether every epoch has been trained, or enough without a better one."""
        patience = self.config.evaluation.patience
        is_stuck = patience is not None and self.epoch - self.best_epoch >= patience
        return is_stuck or self.epoch >= self.config.training.epochs

    @cached_property
    def loss_weights(self) -> dict[str, float]:
        """Eq. 11's λ: fixed by the setting, or measured on the first batches before training."""
        constants = self.config.losses
        if constants.weighting == "fixed":
            return {term: getattr(constants, f"{term}_weight") for term in constants.terms}
        # Copies of the generators: the batches measured here are those that training then sees.
        copies = {name: self._generators[name].clone_state() for name in self._draws}
        initial = []
        self.model.eval()
        first = islice(self._drawn(copies), constants.calibration_batches)
        with torch.no_grad(), on_device(first, self.device) as batches:
            for batch in batches:
                outputs = micro_batches.forward(self._forward, batch, self._micro_batch)
                computed = terms_of(batch, outputs, self.centers, constants)
                initial.append({term: value.item() for term, value in computed.items()})
        return losses.calibrate(initial)

    def train_epoch(self, steps: int | None = None) -> EpochMetrics:
        """Train one epoch and, where a group is held out, judge it there.

        Args:
            steps: At most so many batches, to see how long they take; None is all of them.
        Raises:
            TrainingError: a loss is NaN or infinite; names the step, the term and the utterances.
        """
        weights = self.loss_weights  # here, since calibrating is no part of the first epoch
        started = time.perf_counter()
        self.epoch += 1
        rate = self._schedule.set_epoch(self.epoch)
        mean_losses = self._train_batches(weights, steps)
        validation = None
        if self._validation.utterances:
            scores = self._judge()
            validation = {"wa": scores.wa, "ua": scores.ua}
        else:
            self.best_epoch = self.epoch
        return EpochMetrics(
            epoch=self.epoch,
            losses=mean_losses,
            learning_rate=rate,
            validation=validation,
            oracle=None,
            seconds=time.perf_counter() - started,
            finished_at_ms=time.time_ns() // 1_000_000,
        )

    def restore_best(self) -> None:
        """Go back to the weights of the best epoch on the held-out group, if one picks it."""
        if self._best_weights is not None:
            self.model.load_state_dict(self._best_weights, strict=False)

    def state(self) -> tuple[Progress, dict[str, Tensor]]:
        """All that the coming epochs depend on, to be taken between two of them.

        The tensors are the trainer's own and go on changing with it.
        """
        progress = Progress(
            epoch=self.epoch,
            best_epoch=self.best_epoch,
            best_ua=self._best_ua,
            loss_weights=self.loss_weights,
        )
        return progress, self._tensors()

    def restore(self, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
        """Go on from the state of a trainer of the same config, on the same utterances.

        Raises:
            SnapshotError: it can't be such a trainer's; this one is as it was before.
        """
        refuse_progress(progress, self.config, bool(self._validation.utterances))
        refuse_misfits(tensors, self._tensors())
        states = unprefixed("generator", tensors)
        refuse_generators(states, self._generators)
        self.epoch, self.best_epoch = progress.epoch, progress.best_epoch
        self._best_ua, self.loss_weights = progress.best_ua, dict(progress.loss_weights)
        self.model.load_state_dict(unprefixed("model", tensors), strict=False)
        self.centers.data.copy_(tensors["centers"])
        restore_moments(self._optimiser, unprefixed("optimiser", tensors))
        restore_moments(self._center_optimiser, unprefixed("center_optimiser", tensors))
        best = unprefixed("best", tensors)
        self._best_weights = {name: tensor.clone() for name, tensor in best.items()} or None
        for name, generator in self._generators.items():
            generator.set_state(states[name])

    def predict(self, batcher: Batcher) -> list[Prediction]:
        """Class probabilities for every utterance, in the order of their names.

        Raises:
            TrainingError: the weights give NaN or infinity; names the utterances.
        """
        speeds = self.config.evaluation.speeds
        heard = [self._logits(batcher, speed) for speed in speeds]
        rows = (torch.stack(heard).sum(0) / len(speeds)).softmax(1)  # (U, C)
        labels = [self._labels[utterance.label] for utterance in batcher.utterances]
        predictions = [
            Prediction(
                utterance=utterance.name,
                speaker=utterance.speaker,
                label=label,
                probabilities=tuple(row),
            )
            for utterance, label, row in zip(batcher.utterances, labels, rows.tolist(), strict=True)
        ]
        return sorted(predictions, key=lambda prediction: prediction.utterance)

    def _logits(self, batcher: Batcher, speed: float) -> Tensor:
        """(U, C) float32 on the CPU, every utterance heard at one speed."""
        self.model.eval()
        places = {utterance.name: place for place, utterance in enumerate(batcher.utterances)}
        found = torch.empty(len(places), self._classes)
        with torch.inference_mode(), on_device(batcher.in_order(speed), self.device) as batches:
            for batch in batches:
                outputs = micro_batches.forward(self._forward, batch, self._micro_batch)
                logits = outputs.logits.float()
                refuse_nonfinite_logits(logits, batch.utterances, self.epoch)
                found[[places[utterance.name] for utterance in batch.utterances]] = logits.cpu()
        return found

    def _train_batches(self, weights: Mapping[str, float], steps: int | None) -> dict[str, float]:
        self.model.train()
        terms = self.config.losses.terms
        names: list[tuple[Utterance, ...]] = []
        rows: list[Tensor] = []
        drawn = islice(self._drawn(self._generators), steps)
        with on_device(drawn, self.device) as batches:
            for batch in batches:
                self._optimiser.zero_grad(set_to_none=True)
                self._center_optimiser.zero_grad(set_to_none=True)
                rows.append(self._backward(batch, weights))
                self._optimiser.step()
                self._center_optimiser.step()
                names.append(batch.utterances)
        # One transfer an epoch: reading each step's losses would make the CPU wait for the GPU.
        history = torch.stack(rows).cpu().double()  # (steps, 1 + terms)
        refuse_nonfinite_losses(history, ("total", *terms), names, self.epoch)
        return dict(zip(("total", *terms), history.mean(0).tolist(), strict=True))

    def _drawn(self, generators: Mapping[str, torch.Generator]) -> Iterator[Batch]:
        """The batches of an epoch."""
        draws = (generators[name] for name in DRAWS)
        batches = self._train.shuffled(self.config.mixup, *draws)
        return disturbed(batches, self.config.augment, generators)

    def _judge(self) -> Scores:
        scores = scores_of(self.predict(self._validation), self._classes)
        if scores.ua > self._best_ua:
            self._best_ua, self.best_epoch = scores.ua, self.epoch
            # A copy on the CPU: the weights go on changing, and GPU memory is the scarcer.
            weights = trained_weights(self.model, self.config.encoder)
            self._best_weights = {name: item.to("cpu", copy=True) for name, item in weights.items()}
        return scores

    def _backward(self, batch: Batch, weights: Mapping[str, float]) -> Tensor:
        """Add a batch's gradients; returns (1 + terms,) float, the weighted sum and each term."""
        row: list[Tensor] = []

        def objective(outputs: Outputs) -> Tensor:
            computed = terms_of(batch, outputs, self.centers, self.config.losses)
            total = losses.weighted_sum(computed, weights)
            row.append(torch.stack([total, *computed.values()]).detach())
            return total

        dropout = {name: self._generators[name] for name in global_generators(self.device)}
        micro_batches.backward(self._forward, objective, batch, self._micro_batch, dropout)
        return row[0]

    def _forward(self, batch: Batch) -> Outputs:
        with computing(self.device, self.config.training.precision):
            if self.model.pools_once:
                return self.model.judge(*self._pool(batch))
            return self.model(batch.inputs, batch.lengths, batch.masks)

    def _pool(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """As `EmotionModel.pool`, which there is no need of where the inputs are vectors."""
        if self.model.pools_once:
            return batch.inputs[:, 0], batch.inputs, mask_up_to(batch.lengths, 1)
        return self.model.pool(batch.inputs, batch.lengths, batch.masks)

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of `state`. Names, types and shapes are the same from the start."""
        weights = trained_weights(self.model, self.config.encoder)
        best = (self._best_weights or weights) if self._validation.utterances else {}
        states = {name: generator.get_state() for name, generator in self._generators.items()}
        return {
            **prefixed("model", weights),
            **prefixed("best", best),
            "centers": self.centers.detach(),
            **prefixed("optimiser", moments(self._optimiser)),
            **prefixed("center_optimiser", moments(self._center_optimiser)),
            **prefixed("generator", states),
        }


def scores_of(predictions: Sequence[Prediction], classes: int) -> Scores:
    """WA, UA and confusion of predictions that carry their labels."""
    labels = [prediction.label for prediction in predictions]
    return score(labels, [prediction.predicted for prediction in predictions], classes)
