"""A standardiser is fitted to the training set's vectors, and to nothing after."""

import numpy as np
import torch

from core.standardising import Standardiser
from tests.core.small_speech import small_config
from tests.core.small_trainers import UNMIXED, copy_of, make_trainer, same


def test_a_standardiser_is_fitted_to_the_training_set_and_left_alone():
    config = small_config(pooling={"method": "statistics", "standardise": True}, mixup=UNMIXED)
    trainer = make_trainer(config)
    standardiser = trainer.model.standardiser
    batches = list(trainer._train.in_order())
    with torch.no_grad():
        vectors = torch.cat([trainer.model.pool(b.inputs, b.lengths)[0] for b in batches])
    expected = vectors.double().numpy()
    np.testing.assert_allclose(standardiser.mean, expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(standardiser.deviation, expected.std(0), rtol=1e-4)
    before = copy_of(standardiser)
    trainer.train_epoch()
    assert same(before, copy_of(standardiser))
    standardised = standardiser(vectors).double()
    torch.testing.assert_close(
        standardised.mean(0), torch.zeros(vectors.shape[1]).double(), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        standardised.std(0, correction=0), torch.ones(vectors.shape[1]).double(), atol=1e-3, rtol=0
    )


def test_a_feature_that_never_moves_is_not_blown_up():
    standardiser = Standardiser(2)
    standardiser.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert standardiser(torch.tensor([[3.0, 5.5]])).tolist() == [[1.0, 0.5]]
