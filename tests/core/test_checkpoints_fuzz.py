"""Thousands of damaged JSON files of a checkpoint: a geometry and files beside, or an error."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from core.checkpoints import CheckpointError, fetch, fingerprint, geometry, open_checkpoint
from core.config import EncoderConfig
from tests.mutations import (
    INPUTS,
    ON_TEXT,
    bounded,
    bounded_memory,
    change_tree,
    damaged,
    is_fit_to_print,
    rewrite,
)

SEED = 20_240_307
WHISPER = {"model_type": "whisper", "encoder_layers": 4, "d_model": 384, "num_labels": 2}
HUBERT = {"model_type": "hubert", "num_hidden_layers": 12, "hidden_size": 768, "conv_dim": [8, 8]}
PREPROCESSOR = {"sampling_rate": 16_000, "do_normalize": True, "feature_size": 1}
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = {
    "metadata": {"total_size": 8},
    "weight_map": {"conv1.weight": SHARDS[0], "conv1.bias": SHARDS[0], "conv2.weight": SHARDS[1]},
}
FILES: dict[str, dict[str, Any]] = {
    "config.json": WHISPER,
    "preprocessor_config.json": PREPROCESSOR,
    "model.safetensors.index.json": INDEX,
}
VALUES = [
    *(None, True, False, 0, 1, -1, 2, 1000, 1001, 2**31, 2**63, 10**30, 10**400, -(10**400)),
    *(0.5, 4.0, -0.0, 1e308, float("nan"), float("inf"), "", "4", "whisper", "hubert", "bert"),
    *("../x", "../../model.safetensors", "/etc/passwd", "..", ".", "./", "a/b", "a\\b", "a\0b"),
    *("x" * 300, "x" * 100_000, "\x1b[2J", "\u202e", "\ud800", "é", "C:x", "~", "~root", SHARDS[1]),
    *(
        "config.json",
        "sub",
        "pipe",
        "loop",
        "outside",
        "nowhere",
        [],
        {},
        [[]],
        [SHARDS[0]],
        {"a": 1},
    ),
    *(["x" * 100] * 10_000, {"a" * 5_000: "\x1b"}, 16_000.0, 8_000, "16000"),
]
KEYS = [
    *("model_type", "encoder_layers", "d_model", "num_hidden_layers", "hidden_size", "auto_map"),
    *("sampling_rate", "do_normalize", "weight_map", "metadata", "", "\x1b", "trust_remote_code"),
    *("conv1.weight", "num_labels", "id2label", "x" * 10_000),
]
WHOLE = [
    *(b"", b"\0", b"null", b"[]", b"7", b'"x"', b"\xef\xbb\xbf{}", b"\xff\xfe{\0}\0", b"{} {}"),
    *(b"[" * 1_000_000, b'{"a":' * 100_000, b'{"a": ' + b"9" * 1_000_000 + b"}", b'"' * 1_000_000),
    b'{"model_type": "' + b"\\ud800" * 100_000 + b'"}',
    b"{" + b'"model_type": "whisper", ' * 50_000 + b'"a": 1}',
]


def json_file(name: str, index: int) -> bytes:
    """File number `index` of that name; the same in every process."""
    chance = random.Random(SEED + index)
    if index < len(WHOLE) * len(FILES):
        return WHOLE[index // len(FILES)]
    tree = json.loads(
        json.dumps(chance.choice([WHISPER, HUBERT]) if name == "config.json" else FILES[name])
    )
    if chance.random() < 0.3:
        return damaged(json.dumps(tree, indent=2).encode(), ON_TEXT, chance)
    for _ in range(chance.choice([1, 1, 2, 4])):
        change_tree(tree, chance, KEYS, VALUES)
    return json.dumps(tree, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in two shards, and beside them what an index could lead astray by."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    inside = tmp_path / "above" / "checkpoint"
    (inside / "sub").mkdir(parents=True)
    for name in (*SHARDS, "sub/inner.safetensors", "../x", "../../model.safetensors"):
        (inside / name).write_bytes(b"tensors")
    (inside / "loop").symlink_to("loop")
    (inside / "nowhere").symlink_to("nothing")
    for name, tree in FILES.items():
        (inside / name).write_text(json.dumps(tree))
    return inside


def read(folder: Path) -> None:
    """All that is asked of a checkpoint before its tensors are read."""
    config = EncoderConfig(name=str(folder))
    found = geometry(config)
    assert 1 <= found.layers <= 1000
    assert 1 <= found.features <= 100_000
    assert len(fingerprint(config)) == 16
    assert fetch(config) == folder
    for path in open_checkpoint(str(folder)).weight_files():
        assert path.parent == folder
        assert path.is_file()


def test_the_files_that_are_damaged_are_read(folder):
    read(folder)


def test_a_damaged_json_file_gives_a_checkpoint_or_an_error_that_can_be_printed(folder):
    ended: Counter[str] = Counter()
    before = sorted(folder.parent.parent.rglob("*"))
    with bounded_memory():
        for index in range(INPUTS):
            name = list(FILES)[index % len(FILES)]
            rewrite(folder / name, json_file(name, index))
            with bounded(f"{name} {index}"):
                try:
                    read(folder)
                except CheckpointError as error:
                    ended["refused"] += 1
                    message = str(error)
                    assert is_fit_to_print(message), index
                    assert message.startswith(f"encoder '{folder}'"), index
                except AssertionError:
                    raise
                except Exception as error:
                    pytest.fail(f"{name} {index}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
            rewrite(folder / name, json.dumps(FILES[name]).encode())
    assert ended.total() == INPUTS
    assert min(ended["refused"], ended["read"]) > INPUTS // 20, ended
    assert sorted(folder.parent.parent.rglob("*")) == before
