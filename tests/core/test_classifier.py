"""A kept model gives what its fold was scored on, from its file and from an exported folder."""

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from core.classifier import kept_classifier
from core.exported import export_model, exported_classifier
from core.kept_model import ModelError, read_model, write_model
from core.windows import windows_of
from tests.core.small_models import trained
from tests.core.small_speech import CPU

SETTINGS = [
    ({}, "bfloat16"),
    ({"encoder": "wavlm"}, "bfloat16"),
    ({"encoder": "whisper", "layer": 2}, "float32"),
    ({"encoder": "whisper", "train": "frozen"}, "float32"),
    ({"encoder": "hubert", "train": "frozen", "weigh_layers": True, "layer": 2}, "bfloat16"),
    ({"encoder": "wav2vec2", "layer": 1, "train": "frozen", "mixup": "eam"}, "float32"),
    ({"name": "logmel", "train": "frozen", "standardise": True}, "bfloat16"),
    ({"encoder": "whisper", "train": "frozen", "join_layers": [2, 0]}, "float32"),
    ({"encoder": "whisper", "standardise": True, "speeds": [0.9, 1.0]}, "float32"),
]


def heard(result, store, audio):
    """What the first window of each test utterance is, in the order of the predictions."""
    return [
        windows_of(store.waveform(item.utterance), audio)[0].heard for item in result.predictions
    ]


@pytest.mark.parametrize(("settings", "precision"), SETTINGS, ids=str)
def test_a_test_utterance_gets_what_the_fold_archived(tmp_path, settings, precision):
    path, result, store = trained(tmp_path, settings, precision)
    waveforms = heard(result, store, result.config.audio)
    archived = np.array([item.probabilities for item in result.predictions])
    kept = kept_classifier(path, CPU)
    assert np.abs(kept.probabilities(waveforms) - archived).max() <= 1e-5
    folder = tmp_path / "exported"
    export_model(read_model(path), folder, "a card")
    exported = exported_classifier(folder, CPU)
    assert np.abs(exported.probabilities(waveforms) - archived).max() <= 1e-5
    assert exported.classes == result.classes


def test_a_validated_model_is_kept_as_of_its_best_epoch(tmp_path):
    path, result, store = trained(tmp_path, {}, selection="validation")
    assert read_model(path).facts.epoch == result.best_epoch
    archived = np.array([item.probabilities for item in result.predictions])
    found = kept_classifier(path, CPU).probabilities(heard(result, store, result.config.audio))
    assert np.abs(found - archived).max() <= 1e-5


def test_what_an_oracle_picks_is_not_what_is_kept(tmp_path):
    path, result, _ = trained(tmp_path, {}, selection="oracle")
    assert read_model(path).facts.epoch == len(result.history)


def test_one_at_a_time_gives_what_a_batch_gives(tmp_path):
    path, result, store = trained(tmp_path, {})
    classifier, waveforms = kept_classifier(path, CPU), heard(result, store, result.config.audio)
    together = classifier.probabilities(waveforms)
    assert np.abs(classifier.probabilities(waveforms, 1) - together).max() <= 1e-6
    assert np.abs(classifier.probabilities(waveforms[::-1])[::-1] - together).max() <= 1e-6
    assert np.abs(together.sum(1) - 1).max() <= 1e-6


def test_another_checkpoint_than_the_one_trained_on_is_refused(tmp_path):
    path, _, _ = trained(tmp_path, {"encoder": "whisper"})
    weights = load_file(tmp_path / "encoder/model.safetensors")
    save_file({k: v + 1 for k, v in weights.items()}, tmp_path / "encoder/model.safetensors")
    with pytest.raises(ModelError, match=r"must be the one it was trained on .* found another"):
        kept_classifier(path, CPU)


def test_a_model_that_gives_no_numbers_says_so(tmp_path):
    path, result, store = trained(tmp_path, {})
    model = read_model(path)
    model.tensors["classify.weight"].fill_(3e38)
    write_model(path, model)
    with pytest.raises(ModelError, match="must give finite numbers"):
        kept_classifier(path, CPU).probabilities(heard(result, store, result.config.audio))
