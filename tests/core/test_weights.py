"""A checkpoint's tensors are all read, or the fault is named."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.checkpoints import CheckpointError
from core.config import EncoderConfig
from core.encoders import Encoder, build_encoder
from tests.core.small_checkpoints import noise, save_self_supervised, save_whisper

Change = Callable[[dict[str, Tensor]], Any]


def build(folder: Path) -> Encoder:
    return build_encoder(EncoderConfig(name=str(folder))).eval()


def rewrite(folder: Path, change: Change) -> dict[str, Tensor]:
    """Change the tensors of a checkpoint on disk."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return tensors


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda tensors: tensors.pop("layers.1.fc1.bias"), r"missing: layers\.1\.fc1\.bias$"),
        (
            lambda tensors: tensors.update({"layers.0.lora.weight": torch.ones(2)}),
            r"unexpected: layers\.0\.lora\.weight$",
        ),
        (
            lambda tensors: tensors.update({"layers.3.fc1.bias": torch.ones(2)}),
            r"unexpected: layers\.3\.fc1\.bias$",
        ),
        (
            lambda tensors: tensors.update({"layers.0.fc1.bias": torch.ones(2)}),
            r"misshapen: layers\.0\.fc1\.bias \(2,\) for \(48,\)$",
        ),
        (
            lambda tensors: tensors["conv1.bias"].fill_(torch.nan),
            r"non-finite: conv1\.bias$",
        ),
        (
            lambda tensors: [tensors.pop(name) for name in list(tensors) if "fc" in name],
            r"missing: layers\.0\.fc1\.bias, .* and 8 more$",
        ),
        (
            lambda tensors: tensors.pop("conv1.weight"),
            r"must hold one whisper encoder with a tensor conv1\.weight, found 0$",
        ),
    ],
)
def test_what_is_amiss_is_named(change: Change, fault: str, tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    rewrite(tmp_path, change)
    with pytest.raises(CheckpointError, match=fault) as caught:
        build(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        lambda tensor: tensor.to(torch.int32),
        lambda tensor: tensor.to(torch.bool),
        lambda tensor: tensor.to(torch.cfloat),
        lambda tensor: tensor.to(torch.float8_e4m3fn),
        lambda tensor: tensor.to_sparse(),
        lambda tensor: tensor.to("meta"),
        lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    ],
    ids=["whole", "bool", "complex", "float8", "sparse", "empty", "quantised"],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, on what it has to do to load these
def test_tensors_that_are_no_plain_real_numbers_are_named(odd: Any, tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(tensors | {"conv1.bias": odd(tensors["conv1.bias"])}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no plain real numbers: conv1\.bias$"):
        build(tmp_path)


def test_a_number_that_is_too_large_for_a_float32_is_not_finite(tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    large = torch.tensor(1e300, dtype=torch.float64)
    rewrite(tmp_path, lambda tensors: tensors.update({"conv1.bias": large.expand(32).clone()}))
    with pytest.raises(CheckpointError, match=r"non-finite: conv1\.bias$"):
        build(tmp_path)


def test_a_file_whose_names_are_no_texts_is_read_by_those_that_are(tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(
        tensors | {3: torch.ones(1), ("a", 1): torch.ones(1)}, tmp_path / "pytorch_model.bin"
    )
    build(tmp_path)


def test_what_a_file_says_reaches_a_message_on_one_line_and_cut(tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    more = {f"\x1b[2J{'x' * 5000}\n": torch.ones(1)}
    rewrite(tmp_path, lambda tensors: tensors.update(more))
    with pytest.raises(CheckpointError, match=r"unexpected: \\x1b\[2Jx{70}\.\.\.$"):
        build(tmp_path)
    torch.save(Exploit(tmp_path / "owned"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="must hold tensors only, found: Unpick") as caught:
        build(tmp_path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + 2 * len(str(tmp_path))


@pytest.mark.parametrize("kept", [0, 4, 500, -1])
def test_a_damaged_file_is_named(kept: int, tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors must be readable"):
        build(tmp_path)


def test_weight_norm_in_the_older_spelling_and_format_is_read(tmp_path: Path) -> None:
    save_self_supervised(tmp_path, "hubert", "layer")
    batch = noise(1, 3000), torch.tensor([3000])
    expected, _ = build(tmp_path)(*batch)
    tensors = load_file(tmp_path / "model.safetensors")
    spelled = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in tensors.items()
    }
    assert spelled.keys() != tensors.keys()
    (tmp_path / "model.safetensors").unlink()
    torch.save(spelled, tmp_path / "pytorch_model.bin")
    torch.testing.assert_close(build(tmp_path)(*batch)[0], expected, rtol=0, atol=0)


def test_shards_are_read_together(tmp_path: Path) -> None:
    stock = save_whisper(tmp_path)
    batch = noise(1, 3000), torch.tensor([3000])
    expected, _ = build(tmp_path)(*batch)
    (tmp_path / "model.safetensors").unlink()
    stock.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    torch.testing.assert_close(build(tmp_path)(*batch)[0], expected, rtol=0, atol=0)


class Exploit:
    """What a pickle can do to whoever loads it without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_runs_nothing(zipped: bool, tmp_path: Path) -> None:
    save_whisper(tmp_path, whole=False)
    (tmp_path / "model.safetensors").unlink()
    content = {"conv1.weight": Exploit(tmp_path / "owned")}
    if zipped:
        torch.save(content, tmp_path / "pytorch_model.bin")
    else:
        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(content))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin must hold tensors only"):
        build(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_code_that_a_checkpoint_names_is_not_run(tmp_path: Path) -> None:
    save_whisper(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "evil.py").write_text(f"import os; os.mkdir({str(tmp_path / 'owned')!r})")
    build(tmp_path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "sub/x.safetensors"])
def test_an_index_that_points_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    save_whisper(folder)
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"weight_map": {"conv1.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="must name files beside it"):
        build(folder)
