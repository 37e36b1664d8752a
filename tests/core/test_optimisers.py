"""Two Adams of the baseline's constants; rates of weights, heads and centers, decaying alike."""

import pytest
import torch

from core.optimisers import Schedule, optimisers
from tests.core.small_folds import same_weights
from tests.core.small_speech import small_config, tones
from tests.core.small_trainers import UNMIXED, make_trainer


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        (
            {"epochs": 22},  # 7/8 an epoch, 7^19 / 8^19 from the 20th epoch on
            {1: 1e-4, 2: 8.75e-5, 3: 7.65625e-5, 19: 9.03951e-6, 20: 7.90957e-6}
            | {21: 7.90957e-6, 22: 7.90957e-6},
        ),
        (
            {"epochs": 5, "decay": 0.5, "decay_epochs": 3, "learning_rate": 4e-4}
            | {"center_learning_rate": 2e-2},
            {1: 4e-4, 2: 2e-4, 3: 1e-4, 4: 1e-4, 5: 1e-4},
        ),
    ],
)
def test_both_learning_rates_fall_each_epoch_until_the_last_of_the_decay(steps, training, expected):
    config = small_config(training=training, losses={"terms": ["kl"]}, mixup=UNMIXED)
    utterances, _ = tones()
    trainer = make_trainer(config, utterances[:4])  # one step an epoch
    metrics = [trainer.train_epoch() for _ in range(config.training.epochs)]
    logged = {epoch.epoch: epoch.learning_rate for epoch in metrics}
    used = dict(enumerate((step.rate for step in steps[::2]), 1))
    centers = dict(enumerate((step.rate for step in steps[1::2]), 1))
    assert len(logged) == len(used) == len(centers) == config.training.epochs
    assert logged == used
    for epoch, rate in expected.items():
        assert used[epoch] == pytest.approx(rate, rel=1e-5)
        assert centers[epoch] == pytest.approx(50 * rate, rel=1e-5)  # 5e-3 is 50 times 1e-4
    assert trainer.finished


def test_adam_has_the_baselines_constants(steps):
    make_trainer(small_config()).train_epoch()
    assert {(step.betas, step.epsilon, step.weight_decay) for step in steps} == {
        ((0.9, 0.98), 1e-9, 0)
    }
    other = {"beta1": 0.5, "beta2": 0.75, "epsilon": 1e-3}
    steps.clear()
    make_trainer(small_config(training=other)).train_epoch()
    assert {(step.betas, step.epsilon) for step in steps} == {((0.5, 0.75), 1e-3)}


@pytest.mark.parametrize("trained", ["all", "frozen"])
def test_the_two_optimisers_share_no_parameter_and_miss_none(steps, trained):
    trainer = make_trainer(small_config(encoder={"train": trained}))
    trainer.train_epoch()
    model, centers = ({id(item) for item in step.parameters} for step in steps[:2])
    assert centers == {id(trainer.centers)}
    assert model == {id(item) for item in trainer.model.parameters() if item.requires_grad}
    assert not model & centers
    assert len(steps) == 2 * 4  # each takes one step for each of the four batches


def test_the_first_step_is_one_learning_rate_long():
    """Adam's first step is the rate times the sign of the gradient, whatever the loss weighs."""
    utterances, _ = tones()
    two_classes = [item for item in utterances if item.label in ("angry", "sad")][:4]
    config = small_config(losses={"terms": ["kl", "center"], "weighting": "fixed"}, mixup=UNMIXED)
    trainer = make_trainer(config, two_classes)
    centers, bias = trainer.centers.detach().clone(), trainer.model.project.bias.detach().clone()
    trainer.train_epoch()
    moved = (trainer.centers.detach() - centers).abs()
    assert torch.allclose(moved[[0, 2]], torch.tensor(5e-3), atol=1e-5)
    assert (moved[[1, 3]] == 0).all()  # no happy or neutral utterance was seen
    moved = (trainer.model.project.bias.detach() - bias).abs()
    assert torch.allclose(moved, torch.tensor(1e-4), atol=1e-6)


def test_the_heads_have_their_own_rate_and_the_encoder_the_model_s():
    config = small_config(
        training={"learning_rate": 1e-3, "head_learning_rate": 1e-2},
        encoder={"weigh_layers": True},
    )
    trainer = make_trainer(config)
    trained = optimisers(config.training, trainer.model, trainer.centers)
    encoder, heads = (group["params"] for group in trained[0].param_groups)
    names = {id(item): name for name, item in trainer.model.named_parameters()}
    assert all(
        names[id(item)].startswith(("encoder.front_end.", "encoder.transformer."))
        for item in encoder
    )
    assert {names[id(item)].split(".")[0] for item in heads} == {
        "encoder",  # the average over its layers, which no checkpoint has
        "pooling",
        "project",
        "classify",
        "project_frames",
    }
    assert [names[id(item)] for item in heads if "encoder" in names[id(item)]] == [
        "encoder.readout.scores"
    ]
    assert len(encoder) + len(heads) == len(names)
    schedule = Schedule(config.training, trained)
    for epoch, factor in ((1, 1.0), (3, (7 / 8) ** 2), (20, (7 / 8) ** 19), (30, (7 / 8) ** 19)):
        assert schedule.set_epoch(epoch) == pytest.approx(1e-3 * factor)
        rates = [group["lr"] for each in trained for group in each.param_groups]
        assert rates == pytest.approx([1e-3 * factor, 1e-2 * factor, 5e-3 * factor])


def test_the_same_rate_for_both_is_one_rate():
    one, two = (
        make_trainer(small_config(training={"learning_rate": 3e-3, "head_learning_rate": rate}))
        for rate in (None, 3e-3)
    )
    for trainer in (one, two):
        trainer.train_epoch()
    assert same_weights([one, two])


def test_nothing_but_heads_is_a_group_of_heads_alone():
    config = small_config(encoder={"train": "frozen"}, training={"head_learning_rate": 1e-2})
    trainer = make_trainer(config)
    before = trainer.model.encoder.transformer.layer_norm.weight.clone()
    (group,) = optimisers(config.training, trainer.model, trainer.centers)[0].param_groups
    assert group["lr"] == 1e-2
    trainer.train_epoch()
    assert torch.equal(trainer.model.encoder.transformer.layer_norm.weight, before)
