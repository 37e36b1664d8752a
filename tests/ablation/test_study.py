import json

import pytest

from ablation.study import check_encoder
from core.config import EncoderConfig, PoolingConfig


def test_a_folders_features_must_be_divisible_by_the_heads_before_anything_starts(tmp_path):
    settings = {"model_type": "whisper", "d_model": 40, "encoder_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    encoder = EncoderConfig(name=str(tmp_path))
    check_encoder(encoder, PoolingConfig(heads=8))
    check_encoder(encoder, PoolingConfig(method="mean"))
    with pytest.raises(ValueError, match=r"pooling.heads must divide the 40 features of .* got 16"):
        check_encoder(encoder, PoolingConfig())


def test_a_layer_that_the_folder_does_not_have_is_refused(tmp_path):
    settings = {"model_type": "whisper", "d_model": 40, "encoder_layers": 2}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=r"must lie in 0\.\.2 .* got 3"):
        check_encoder(EncoderConfig(name=str(tmp_path), layer=3), PoolingConfig(method="mean"))
