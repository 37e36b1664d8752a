"""One frozen encoder for several classifiers: fewer passes, and nothing else changes."""

import numpy as np
import pytest

from core.classifier import kept_classifier
from core.conditions import CLEAN, Condition
from core.encoders import Encoder
from core.fold import Fold
from core.kept_model import ModelError, write_model
from core.stress import hear
from tests.core.small_checkpoints import save_whisper
from tests.core.small_folds import of
from tests.core.small_speech import CPU, small_config, tones

READ = ({"layer": 1}, {"join_layers": [2, 0]}, {"layer": 3, "normalise": True})
TESTED = 4  # utterances of a session


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The small corpus and three kept models of its fold 1, which read layers of one encoder."""
    folder = tmp_path_factory.mktemp("hearing")
    save_whisper(folder / "encoder")
    utterances, store = tones()
    store.frames_folder = folder / "frames"
    corpus = of(utterances, store)
    paths = []
    for place, read in enumerate(READ):
        config = small_config(
            encoder={"name": str(folder / "encoder"), "train": "frozen", **read},
            mixup={"method": "none"},
            pooling={"method": "mean"},
            losses={"terms": ["kl"]},
            training={"epochs": 1},
        )
        fold = Fold(config, corpus, CPU)
        fold.step()
        paths.append(folder / f"{place}.safetensors")
        write_model(paths[-1], fold.kept_model("all"))
    return corpus, paths


@pytest.fixture
def passes(monkeypatch):
    """Waveforms that have passed an encoder."""
    found = []
    every_layer = Encoder.every_layer
    monkeypatch.setattr(
        Encoder,
        "every_layer",
        lambda self, heard: (found.append(heard), every_layer(self, heard))[1],
    )
    return found


def shared(paths):
    hearings = {}
    classifiers = [kept_classifier(path, CPU) for path in paths]
    for classifier in classifiers:
        classifier.share(hearings)
    assert len(hearings) == 1
    return classifiers


@pytest.mark.parametrize("order", [1, -1])
def test_classifiers_that_share_an_encoder_say_what_each_says_alone(study, passes, order):
    corpus, paths = study
    classifiers = shared(paths[::order])
    for condition in (Condition(CLEAN), Condition("white", 0.0)):
        passes.clear()
        together = hear(classifiers, corpus, condition)
        assert len(passes) == TESTED
        alone = [hear([kept_classifier(path, CPU)], corpus, condition)[0] for path in paths]
        assert len(passes) == (1 + len(READ)) * TESTED
        assert together[::order] == alone
    assert alone[0] != alone[1]


def test_frames_are_let_go_of_once_a_condition_was_heard(study, passes):
    corpus, paths = study
    classifiers = shared(paths)
    for _ in range(2):
        hear(classifiers, corpus, Condition(CLEAN))
    assert len(passes) == 2 * TESTED


def test_a_layer_beyond_float16_is_refused_only_where_it_is_read(study, monkeypatch):
    corpus, paths = study
    every_layer = Encoder.every_layer

    def too_large(self, heard):
        frames = every_layer(self, heard).clone()
        frames[-1] *= 1e9
        return frames

    deepest, *_ = classifiers = shared(paths[::-1])
    monkeypatch.setattr(Encoder, "every_layer", too_large)
    heard = [np.array(corpus.store.waveform(corpus.utterances[0].name))]
    with pytest.raises(ModelError, match="must be within float16"):
        deepest.probabilities(heard)
    assert classifiers[-1].probabilities(heard).shape == (1, len(corpus.classes))
