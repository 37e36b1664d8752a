"""The longest trials start first."""

from typing import Any

from ablation.workload import longest_first, work
from core.config import RunConfig
from tests.core.small_checkpoints import FEATURES, LAYERS, save_whisper


def config(name: str, **settings: Any) -> RunConfig:
    plain = {"mixup.method": "none", "pooling.method": "mean", "training.epochs": 10}
    return RunConfig.from_dict({"encoder.name": name, **plain, **settings})


def test_work_is_weights_passed_times_epochs(tmp_path):
    save_whisper(tmp_path)
    name, encoder, head = str(tmp_path), 12 * LAYERS * FEATURES**2, 64 * FEATURES
    flam = 4 * FEATURES**2
    assert work(config(name)) == 3 * (encoder + head) * 10
    assert work(config(name, **{"training.epochs": 5})) == 3 * (encoder + head) * 5
    assert work(config(name, **{"encoder.layer": 1})) == 3 * (encoder / LAYERS + head) * 10
    assert work(config(name, **{"pooling.method": "flam"})) == 3 * (encoder + head + flam) * 10
    assert work(config(name, **{"encoder.train": "frozen"})) == 3 * head * 10
    mixed = {"encoder.train": "frozen", "mixup.method": "eam"}
    assert work(config(name, **mixed)) == (encoder + 3 * head) * 10


def test_the_longest_come_first_and_equal_ones_in_their_order():
    trials = {
        "a": config("logmel-small"),
        "b": config("logmel-base"),
        "c": config("logmel-small", **{"training.epochs": 200}),
        "d": config("logmel-base", seed=3),
        "e": config("logmel-small", fold=2),
    }
    assert list(longest_first(trials)) == ["c", "b", "d", "a", "e"]
    assert longest_first(trials) == trials


def test_an_encoder_that_is_not_at_hand_stops_nothing(tmp_path):
    assert work(config(str(tmp_path / "nowhere"))) > 0
