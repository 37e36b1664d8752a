"""Embeddings, attention and single mixtures, against the model's own words and Eq. 1-4."""

import numpy as np
import pytest
import torch

from core.batches import Batcher
from core.clips import Clips
from core.inspection import attend, embed, mix
from core.model import EmotionModel
from tests.core.small_speech import CLASSES, small_config, tones


@pytest.fixture(params=[False, True], ids=["plain", "standardised"])
def setting(request):
    torch.manual_seed(0)
    config = small_config(pooling={"method": "flam", "standardise": request.param})
    utterances, store = tones()
    model = EmotionModel(config, len(CLASSES))
    if model.standardiser is not None:
        model.standardiser.fit(torch.randn(50, model.encoder.features) * 3 + 1)
    return config, model, utterances, Clips(store, config.audio)


def test_embeddings_are_the_model_s_own_without_dropout(setting):
    config, model, utterances, clips = setting
    model.train()
    found, labels = embed(model, config, clips, CLASSES, utterances)
    again, _ = embed(model, config, clips, CLASSES, utterances)
    assert model.training  # as before
    assert np.array_equal(found, again)
    batch = next(Batcher(utterances, clips, CLASSES, config.training).in_order())
    with torch.inference_mode():
        own = model.eval()(batch.inputs, batch.lengths).embeddings
    assert found[: len(own)] == pytest.approx(own.numpy(), abs=1e-6)
    assert labels[: len(own)].tolist() == batch.labels.tolist()
    assert found.shape == (len(utterances), config.losses.projected_features)


def test_attention_is_flam_s_over_the_real_frames_and_the_guess_the_model_s(setting):
    config, model, utterances, clips = setting
    heard = attend(model, config, clips, CLASSES, utterances[0])
    assert heard.weights.sum() == pytest.approx(1, abs=1e-5)
    assert (heard.weights > 0).all()
    batch = next(Batcher(utterances[:1], clips, CLASSES, config.training).in_order())
    with torch.inference_mode():
        outputs = model.eval()(batch.inputs, batch.lengths)
    assert len(heard.weights) == int(outputs.frame_mask.sum())
    assert heard.probabilities == pytest.approx(outputs.logits.softmax(1)[0].numpy(), abs=1e-6)


def test_another_pooling_has_no_attention_to_draw(setting):
    _, _, utterances, clips = setting
    config = small_config(pooling={"method": "mean"})
    model = EmotionModel(config, len(CLASSES))
    with pytest.raises(ValueError, match=r"needs pooling\.method flam, got mean"):
        attend(model, config, clips, CLASSES, utterances[0])


@pytest.mark.parametrize("partner", [1, 0])  # another class, and the very same utterance
def test_a_mixture_has_the_drawn_snr_and_the_paper_s_lambda(setting, partner):
    _, _, utterances, clips = setting
    mixup = small_config(mixup={"method": "eam"}).mixup
    made = mix(utterances[0], utterances[partner], clips, mixup, torch.Generator().manual_seed(3))
    start, stop = made.host_span
    host, added = made.host[start:stop], (made.mixture - made.host)[start:stop]
    outside = np.delete(made.mixture - made.host, slice(start, stop))
    assert not outside.any()
    snr = np.square(host).mean() / np.square(added).mean()
    assert 10 * np.log10(snr) == pytest.approx(made.snr_db, abs=0.01)
    assert made.mix_ratio == pytest.approx((stop - start) / len(made.host) / (snr + 1), rel=1e-3)
    assert made.partner_span[1] - made.partner_span[0] == stop - start


def test_length_mixing_spans_the_whole_of_both(setting):
    _, _, utterances, clips = setting
    mixup = small_config(mixup={"method": "lam"}).mixup
    made = mix(utterances[0], utterances[1], clips, mixup, torch.Generator())
    lengths = len(made.host), len(made.partner)
    assert (made.host_span, made.partner_span) == ((0, lengths[0]), (0, lengths[1]))
    assert made.mix_ratio == pytest.approx(lengths[1] / sum(lengths))
    assert np.isnan(made.snr_db)


def test_plain_mixing_spans_the_whole_of_both_by_the_share_it_labels(setting):
    _, _, utterances, clips = setting
    mixup = small_config(mixup={"method": "mixup", "alpha": 4.0}).mixup
    made = mix(utterances[0], utterances[1], clips, mixup, torch.Generator().manual_seed(3))
    both = min(len(made.host), len(made.partner))
    expected = (1 - made.mix_ratio) * made.host[:both] + made.mix_ratio * made.partner[:both]
    np.testing.assert_allclose(made.mixture[:both], expected, atol=1e-6)
    assert 0 < made.mix_ratio < 1
    assert (made.host_span, made.partner_span) == ((0, len(made.host)), (0, len(made.partner)))


def test_a_setting_that_mixes_nothing_has_no_example(setting):
    _, _, utterances, clips = setting
    mixup = small_config(mixup={"method": "none"}).mixup
    with pytest.raises(ValueError, match=r"need mixup\.method lam, eam or mixup, got none"):
        mix(utterances[0], utterances[1], clips, mixup, torch.Generator())
