"""Rates: one for the pretrained weights, one for what stands on them, both decaying alike."""

import pytest
import torch

from core.optimisers import Schedule, optimisers
from tests.core.small_folds import same_weights
from tests.core.small_speech import small_config
from tests.core.small_trainers import make_trainer


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
