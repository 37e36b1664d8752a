"""A batch in parts must give the loss and the gradients of the batch at once, to rounding."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from core import losses, micro_batches
from core.batches import Batch
from core.config import EncoderConfig, RunConfig
from core.model import EmotionModel, Outputs
from core.objective import terms_of
from tests.core.small_checkpoints import noise, save_self_supervised, save_whisper
from tests.core.small_speech import small_config
from tests.core.small_trainers import make_trainer

LENGTHS = (4000, 8000, 6400, 5000, 7000)
CLASSES = 3
WEIGHTS = {"kl": 1.0, "center": 0.05, "focal": 0.7, "supcon": 0.3}


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(3)
    waveforms = noise(len(LENGTHS), max(LENGTHS))
    lengths = torch.tensor(LENGTHS)
    waveforms[torch.arange(max(LENGTHS)) >= lengths[:, None]] = 0
    soft_labels = torch.rand(len(LENGTHS), CLASSES, generator=generator).softmax(1)
    return Batch(waveforms, lengths, soft_labels, tuple(map(str, LENGTHS)))


class Training:
    """A model, centers and the whole objective on one batch."""

    def __init__(self, config: RunConfig) -> None:
        torch.manual_seed(0)
        self.config = config
        self.model = EmotionModel(config, CLASSES)
        self.centers = nn.Parameter(torch.randn(CLASSES, config.losses.projected_features))
        self.batch = make_batch()
        self.seen: list[Outputs] = []
        self.called = 0

    def forward(self, batch: Batch) -> Outputs:
        outputs = self.model(batch.inputs, batch.lengths)
        self.seen.append(outputs)
        return outputs

    def objective(self, outputs: Outputs) -> Tensor:
        self.called += 1
        constants = self.config.losses
        terms = terms_of(self.batch, outputs, self.centers, constants)
        self.total = losses.weighted_sum(terms, {name: WEIGHTS[name] for name in constants.terms})
        return self.total

    def backward(self, size: int | None) -> tuple[float, dict[str, Tensor]]:
        """The loss and every gradient."""
        parameters = {**dict(self.model.named_parameters()), "centers": self.centers}
        for parameter in parameters.values():
            parameter.grad = None
        self.seen.clear()
        generators = {"cpu": torch.default_generator}
        micro_batches.backward(self.forward, self.objective, self.batch, size, generators)
        found = {
            name: parameter.grad.clone()
            for name, parameter in parameters.items()
            if parameter.grad is not None
        }
        return self.total.item(), found


def assert_alike(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max().clamp_min(1e-3).item()
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=2e-4 * scale, msg=name)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("pooling", ["flam", "mean"])
def test_parts_give_the_loss_and_the_gradients_of_the_whole(size, pooling):
    training = Training(small_config(pooling={"method": pooling}))
    total, gradients = training.backward(None)
    assert training.called == len(training.seen) == 1
    total_of_parts, gradients_of_parts = training.backward(size)
    assert total_of_parts == pytest.approx(total, rel=1e-5)
    assert_alike(gradients_of_parts, gradients)
    assert "centers" in gradients
    assert any(name.startswith("encoder") for name in gradients)
    assert training.called == 2  # SupCon and the centers see the batch whole, and once
    assert max(len(outputs.logits) for outputs in training.seen) == size


@pytest.mark.parametrize("terms", [("kl",), ("focal", "center"), ("kl", "supcon")])
def test_a_head_that_no_term_reads_stays_without_a_gradient(terms):
    training = Training(small_config(losses={"terms": terms}))
    _, gradients = training.backward(None)
    _, gradients_of_parts = training.backward(2)
    assert_alike(gradients_of_parts, gradients)
    assert ("centers" in gradients) == ("center" in terms)


@pytest.mark.parametrize("family", ["wavlm", "hubert", "wav2vec2", "whisper"])
def test_every_family_of_encoders_may_pass_in_parts(tmp_path, family):
    # Without dropout: a part draws other masks than the whole.
    if family == "whisper":
        save_whisper(tmp_path, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)
    else:
        names = ("hidden", "activation", "attention", "feat_proj", "final")
        save_self_supervised(tmp_path, family, **{f"{name}_dropout": 0.0 for name in names})
    encoder = EncoderConfig(name=str(tmp_path), train="all")
    training = Training(replace(small_config(), encoder=encoder))
    total, gradients = training.backward(None)
    total_of_parts, gradients_of_parts = training.backward(2)
    assert total_of_parts == pytest.approx(total, rel=1e-4)
    assert_alike(gradients_of_parts, gradients)


def test_both_passes_of_a_part_draw_the_same_dropout_and_the_generator_goes_on():
    training = Training(small_config())
    training.model.project = nn.Sequential(nn.Dropout(0.5), training.model.project)
    torch.manual_seed(7)
    training.backward(2)
    once = torch.default_generator.get_state()
    first, second = training.seen[:3], training.seen[3:]
    for early, late in zip(first, second, strict=True):
        torch.testing.assert_close(early.logits, late.logits)
    # The next batch must not see the masks of this one again.
    torch.manual_seed(7)
    with torch.no_grad():
        for part in training.batch.split(2):
            training.forward(part)
    assert torch.equal(torch.default_generator.get_state(), once)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6, None])
def test_outputs_in_parts_are_those_of_the_whole(size):
    training = Training(small_config())
    whole = training.forward(training.batch)
    with torch.no_grad():
        outputs = micro_batches.forward(training.forward, training.batch, size)
    for part, wanted in zip(outputs, whole, strict=True):
        torch.testing.assert_close(part.float(), wanted.float(), rtol=1e-4, atol=1e-5)


def test_a_batch_split_and_joined_is_the_batch():
    batch = make_batch()
    parts = batch.split(2)
    assert [len(part.utterances) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat([part.inputs for part in parts]), batch.inputs)
    assert torch.equal(torch.cat([part.lengths for part in parts]), batch.lengths)
    assert torch.equal(torch.cat([part.soft_labels for part in parts]), batch.soft_labels)
    assert sum((part.utterances for part in parts), ()) == batch.utterances


def test_a_trainer_in_micro_batches_learns_what_the_whole_batch_teaches():
    config = small_config(training={"epochs": 2, "precision": "float32"})
    whole, parts = make_trainer(config), make_trainer(config, micro_batch=3)
    for _ in range(2):
        wanted, found = whole.train_epoch().losses, parts.train_epoch().losses
        assert found == pytest.approx(wanted, rel=1e-3)
    assert parts.loss_weights == pytest.approx(whole.loss_weights, rel=1e-4)
