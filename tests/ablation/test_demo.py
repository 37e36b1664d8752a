import pytest

from ablation.demo import TRAINING, demo_settings
from core.config import RunConfig


@pytest.mark.parametrize(
    ("encoder", "stand_in"),
    [
        ("hubert-large", "logmel-small"),
        ("hubert-base", "logmel-small"),
        ("wavlm-large", "logmel-base"),
        ("../somewhere/whisper", "logmel-base"),
        (17, "logmel-base"),  # refused by the gate afterwards, not here
    ],
)
def test_the_papers_two_encoders_become_two_of_different_size(encoder, stand_in):
    assert demo_settings({"encoder.name": encoder})["encoder.name"] == stand_in


def test_bare_bands_stay_themselves_with_the_demo_s_schedule():
    settings = {"encoder.name": "logmel", "encoder.train": "frozen"}
    config = RunConfig.from_dict(settings | demo_settings(settings))
    assert config.encoder.name == "logmel"
    assert config.training.epochs == TRAINING["training.epochs"]


def test_the_default_encoder_is_the_papers_wavlm():
    assert demo_settings({})["encoder.name"] == "logmel-base"


def test_a_layer_of_the_real_encoder_means_nothing_in_the_demo():
    assert demo_settings({"encoder.layer": 22})["encoder.layer"] is None


def test_a_demo_config_passes_the_gate():
    config = RunConfig.from_dict({"encoder.layer": 22} | demo_settings({"encoder.layer": 22}))
    assert config.training.epochs == TRAINING["training.epochs"]
