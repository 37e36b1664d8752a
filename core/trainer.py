"""Training one model on one fold, an epoch at a time, without ever seeing the test fold."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core import losses
from core.batches import Batch, Batcher, derived_generator, derived_seed
from core.config import RunConfig, TrainingConfig
from core.corpora.utterance import Utterance
from core.metrics import Scores, score
from core.model import EmotionModel, Outputs
from core.result import EpochMetrics, Prediction
from core.store import AudioStore


class TrainingError(RuntimeError):
    """Training can't go on: a loss or a prediction is no longer a number."""


class Trainer:
    """One model, its two optimisers and its schedule on one fold's training utterances.

    The validation group, where one is held out, picks the epoch; the test fold is not known here.
    """

    def __init__(
        self,
        config: RunConfig,
        train: Sequence[Utterance],
        validation: Sequence[Utterance],
        store: AudioStore,
        classes: Sequence[str],
        device: torch.device,
    ) -> None:
        self.config = config
        self.device = device
        self._classes = len(classes)
        # Sums over more threads round differently, so their number belongs to the experiment.
        torch.set_num_threads(config.training.threads)
        # Initial weights and dropout draw from torch's global generators, which leave no choice.
        torch.manual_seed(derived_seed(config.seed, config.fold, "model"))
        self.model = EmotionModel(config, len(classes)).to(device)
        # C (LAM): centers start as standard normal draws.
        self.centers = nn.Parameter(
            torch.randn(len(classes), config.losses.projected_features).to(device)
        )
        self._optimiser, self._center_optimiser = _optimisers(
            config.training, self.model, self.centers
        )
        self._order = derived_generator(config.seed, config.fold, "order")
        self._mixing = derived_generator(config.seed, config.fold, "mixing")
        self._train = Batcher(train, store, classes, config.audio, config.training)
        self._validation = Batcher(validation, store, classes, config.audio, config.training)
        self.loss_weights = self._weights()
        self.epoch = 0
        self.best_epoch = 0
        self._best_ua = -math.inf
        self._best_weights: dict[str, Tensor] | None = None

    @property
    def finished(self) -> bool:
        """Whether every epoch has been trained."""
        return self.epoch >= self.config.training.epochs

    def train_epoch(self) -> EpochMetrics:
        """Train one epoch and, where a group is held out, judge it there.

        Raises:
            TrainingError: a loss is NaN or infinite; names the step, the term and the utterances.
        """
        started = time.perf_counter()
        self.epoch += 1
        rate = self._set_learning_rates()
        mean_losses = self._train_batches()
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
            self.model.load_state_dict(self._best_weights)

    def predict(self, batcher: Batcher) -> list[Prediction]:
        """Class probabilities for every utterance, in the order of their names.

        Raises:
            TrainingError: the weights give NaN or infinity; names the utterances.
        """
        self.model.eval()
        predictions = []
        with torch.inference_mode():
            for batch in batcher.in_order():
                logits = self._forward(batch.to(self.device)).logits.float()
                _refuse_nonfinite_logits(logits, batch.utterances, self.epoch)
                for utterance, label, row in zip(
                    batch.utterances, batch.labels.tolist(), logits.softmax(1).tolist(), strict=True
                ):
                    predictions.append(
                        Prediction(
                            utterance=utterance.name,
                            speaker=utterance.speaker,
                            label=label,
                            probabilities=tuple(row),
                        )
                    )
        return sorted(predictions, key=lambda prediction: prediction.utterance)

    def _train_batches(self) -> dict[str, float]:
        self.model.train()
        terms = self.config.losses.terms
        names: list[tuple[Utterance, ...]] = []
        rows: list[Tensor] = []
        for batch in self._train.shuffled(self.config.mixup, self._order, self._mixing):
            batch = batch.to(self.device)
            computed = self._terms(batch, self._forward(batch))
            total = losses.weighted_sum(computed, self.loss_weights)
            self._optimiser.zero_grad(set_to_none=True)
            self._center_optimiser.zero_grad(set_to_none=True)
            total.backward()
            self._optimiser.step()
            self._center_optimiser.step()
            names.append(batch.utterances)
            rows.append(torch.stack([total, *(computed[term] for term in terms)]).detach())
        # One transfer an epoch: reading each step's losses would make the CPU wait for the GPU.
        history = torch.stack(rows).cpu().double()  # (steps, 1 + terms)
        _refuse_nonfinite(history, ("total", *terms), names, self.epoch)
        return dict(zip(("total", *terms), history.mean(0).tolist(), strict=True))

    def _judge(self) -> Scores:
        scores = scores_of(self.predict(self._validation), self._classes)
        if scores.ua > self._best_ua:
            self._best_ua, self.best_epoch = scores.ua, self.epoch
            # A copy on the CPU: the weights go on changing, and GPU memory is the scarcer.
            self._best_weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in self.model.state_dict().items()
            }
        return scores

    def _forward(self, batch: Batch) -> Outputs:
        with torch.autocast(
            self.device.type,
            dtype=torch.bfloat16,
            enabled=self.config.training.precision == "bfloat16",
        ):
            return self.model(batch.waveforms, batch.waveform_lengths)

    def _terms(self, batch: Batch, outputs: Outputs) -> dict[str, Tensor]:
        """Eq. 6-10, those that the setting names, in float32."""
        constants, labels = self.config.losses, batch.labels
        logits = outputs.logits.float()
        computed: dict[str, Tensor] = {}
        for term in constants.terms:
            match term:
                case "kl":
                    computed[term] = losses.kl_divergence(logits, batch.soft_labels)
                case "focal":
                    computed[term] = losses.focal(logits, batch.soft_labels, constants.focal_gamma)
                case "center":
                    computed[term] = losses.center(outputs.embeddings.float(), labels, self.centers)
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

    def _weights(self) -> dict[str, float]:
        """Eq. 11's λ: fixed by the setting, or measured on the first batches before training."""
        constants = self.config.losses
        if constants.weighting == "fixed":
            return {term: getattr(constants, f"{term}_weight") for term in constants.terms}
        # Copies of the generators: the batches measured here are those that training then sees.
        order, mixing = self._order.clone_state(), self._mixing.clone_state()
        initial = []
        self.model.eval()
        with torch.no_grad():
            for batch, _ in zip(
                self._train.shuffled(self.config.mixup, order, mixing),
                range(constants.calibration_batches),
                strict=False,
            ):
                batch = batch.to(self.device)
                computed = self._terms(batch, self._forward(batch))
                initial.append({term: value.item() for term, value in computed.items()})
        return losses.calibrate(initial)

    def _set_learning_rates(self) -> float:
        """P §3.2: times 7/8 after each epoch, until the 20th."""
        training = self.config.training
        factor = training.decay ** (min(self.epoch, training.decay_epochs) - 1)
        for optimiser, rate in (
            (self._optimiser, training.learning_rate),
            (self._center_optimiser, training.center_learning_rate),
        ):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        return training.learning_rate * factor


def scores_of(predictions: Sequence[Prediction], classes: int) -> Scores:
    """WA, UA and confusion of predictions that carry their labels."""
    labels = [prediction.label for prediction in predictions]
    return score(labels, [prediction.predicted for prediction in predictions], classes)


def _optimisers(
    training: TrainingConfig, model: nn.Module, centers: nn.Parameter
) -> tuple[torch.optim.Adam, torch.optim.Adam]:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    betas = (training.beta1, training.beta2)
    return (
        torch.optim.Adam(trainable, training.learning_rate, betas, training.epsilon, fused=True),
        torch.optim.Adam([centers], training.center_learning_rate, betas, training.epsilon),
    )


def _refuse_nonfinite(
    history: Tensor,
    terms: Sequence[str],
    utterances: Sequence[tuple[Utterance, ...]],
    epoch: int,
) -> None:
    broken = ~history.isfinite()
    if not broken.any():
        return
    step = int(broken.any(1).nonzero()[0])
    # The sum is broken whenever a term is: name the terms, and the sum only where it alone is.
    named = [term for term, bad in zip(terms, broken[step].tolist(), strict=True) if bad]
    named = [term for term in named if term != "total"] or named
    batch = ", ".join(utterance.name for utterance in utterances[step])
    raise TrainingError(
        f"every loss must be a finite number; epoch {epoch}, step {step + 1}: "
        f"{', '.join(f'{term} is {history[step, terms.index(term)]:g}' for term in named)} "
        f"on utterances {batch}"
    )


def _refuse_nonfinite_logits(logits: Tensor, utterances: Sequence[Utterance], epoch: int) -> None:
    """The last step of training can break the weights after the last loss was seen to be whole."""
    finite = logits.isfinite().all(1).tolist()
    if not all(finite):
        broken = [item.name for item, whole in zip(utterances, finite, strict=True) if not whole]
        raise TrainingError(
            f"every prediction must be a finite number; after epoch {epoch}, "
            f"not so on utterances {', '.join(broken)}"
        )
