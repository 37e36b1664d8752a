"""A model's file comes back as it was, or is refused in one line."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.checkpoints import CheckpointError
from core.classifier import kept_classifier
from core.kept_model import ModelError, read_facts, read_model, write_model
from tests.core.small_models import trained
from tests.core.small_speech import CPU


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("kept"), {})[0]


def test_a_model_is_read_as_it_was_written(kept, tmp_path):
    model = read_model(kept)
    write_model(tmp_path / "there/again.safetensors", model)
    again = read_model(tmp_path / "there/again.safetensors")
    assert (again.facts, again.config) == (model.facts, model.config)
    assert again.tensors.keys() == model.tensors.keys()
    assert all(torch.equal(again.tensors[name], model.tensors[name]) for name in model.tensors)
    assert read_facts(kept) == model.facts
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["again.safetensors"]


def rewrite(kept, path, *, facts=None, config=None, tensors=None):
    """The same file with something changed about it."""
    model = read_model(kept)
    said = {
        "format": 1,
        "recipe": model.facts.recipe,
        "run_id": model.facts.run_id,
        "classes": list(model.facts.classes),
        "corpus_fingerprint": "0" * 16,
        "encoder_fingerprint": "0" * 16,
        "epoch": 2,
        "kept": "all",
    }
    plain = model.config.to_dict()
    for key, value in (config or {}).items():
        group, _, name = key.partition(".")
        plain[group][name] = value
    metadata = {"facts": json.dumps(said | (facts or {})), "config": json.dumps(plain)}
    save_file(load_file(kept) | (tensors or {}), path, metadata)
    return path


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"facts": {"format": 2}}, "another version of this program made it"),
        ({"facts": {"classes": ["a"]}}, "must have 2 to 1000 different classes, got 1"),
        ({"facts": {"classes": ["a", "a"]}}, "different classes, got 2"),
        ({"facts": {"classes": [str(n) for n in range(1001)]}}, "different classes, got 1001"),
        ({"facts": {"classes": ["a", "b\x1b[2J"]}}, "must be short printable text"),
        ({"facts": {"epoch": "2"}}, "epoch must be a snapshot's int"),
        ({"facts": {"more": 1}}, "its facts must be a model's"),
        ({"config": {"losses.projected_features": 10**9}}, "must lie in 1..4096"),
        ({"config": {"encoder.name": "nowhere/at/all"}}, "nowhere/at/all"),
        ({"config": {"pooling.method": "mean"}}, "its tensors must be this model's, but it has"),
        ({"tensors": {"classify.bias": torch.zeros(7)}}, r"must be torch.float32 \(4,\)"),
        ({"tensors": {"classify.bias": torch.full((4,), torch.nan)}}, "must hold finite numbers"),
        ({"tensors": {"more": torch.zeros(1)}}, "it has 'more'"),
    ],
    ids=lambda item: str(item)[:60],
)
def test_what_does_not_fit_is_refused_in_one_line(kept, tmp_path, changes, fault):
    path = rewrite(kept, tmp_path / "other.safetensors", **changes)
    with pytest.raises((ModelError, CheckpointError), match=fault) as caught:
        kept_classifier(path, CPU)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_file_that_is_no_model_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="must say what it was trained as"):
        read_model(tmp_path / "a.safetensors")
    for name, content in (("b", b""), ("c", b"\xff" * 64), ("d", b"\x08" + bytes(7) + b"[[[[[[[[")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match="must be an intact model"):
            read_model(tmp_path / name)
    with pytest.raises(ModelError, match="must be a file, found none"):
        read_model(tmp_path)


def test_damage_anywhere_gives_a_model_or_one_error(kept, tmp_path):
    """A flipped bit of a weight is another weight; nothing else passes, and nothing crashes."""
    content, draw = kept.read_bytes(), random.Random(0)
    path = tmp_path / "damaged.safetensors"
    said = []
    for _ in range(100):
        damaged = bytearray(content)
        if draw.random() < 0.3:
            del damaged[draw.randrange(1, len(damaged)) :]
        for _ in range(draw.choice([1, 1, 8])):
            place = min(int(draw.expovariate(1 / 2000)), len(damaged) - 1)
            damaged[place] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            read_model(path)
        except ModelError as error:
            said.append(str(error))
    assert said
    assert all(text.isprintable() for text in said)
