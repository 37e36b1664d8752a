"""Thousands of damaged weights and configs: a whole encoder, or an error and none at all."""

import io
import json
import os
import pickle
import random
import socket
import struct
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from core.checkpoints import Checkpoint, CheckpointError
from core.config import EncoderConfig
from core.encoders import build_encoder
from core.weights import load_weights, without_weights
from tests.core.small_checkpoints import save_self_supervised, save_whisper
from tests.mutations import (
    INPUTS,
    ON_BYTES,
    bounded,
    bounded_memory,
    change_tree,
    damaged,
    is_fit_to_print,
    rewrite,
)

SEED = 20_240_308
ANCHOR = "conv1.weight"
CONFIGS = max(INPUTS // 10, 1)  # each makes a whole network of transformers
DTYPES = {
    **{"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "I16": 2},
    **{"F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8},
    **{"F4": 1, "F6_E2M3": 1, "NONE": 4},
}
VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 4, 7, 12, 2**31, 2**40, 2**62, 2**63, 10**30, 0.5, 1e308),
    *("", "F32", "F64", "I64", "BF16", "\x1b[2J", "x" * 5000, [], [0], [-1], [4, 3], [2**62, 4]),
    *([0, 12], {}, {"a": 1}, {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, [1] * 100),
]
KEYS = ["layer.conv1.weight", "conv1.weight", "conv1.bias", "dtype", "shape", "\x1b[31m", "", "x"]


class Network(nn.Module):
    """An encoder of two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Linear(3, 4)


TENSORS = {name: torch.randn(tensor.shape) for name, tensor in Network().state_dict().items()}


class Exploit:
    """What a pickle can do to whoever loads it without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def pickled(content: object, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def changed_header(content: bytes, chance: random.Random) -> bytes:
    """Wrong types, shapes, places and names of tensors in a header that stays one."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    for _ in range(chance.choice([1, 1, 2])):
        change_tree(header, chance, KEYS, VALUES)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def of_another_type(chance: random.Random) -> bytes:
    """One tensor as a type that may be no number of the kind that weights are."""
    dtype = chance.choice(list(DTYPES))
    start, header, body = 0, {}, b""
    for name, tensor in TENSORS.items():
        kind = dtype if name.endswith("bias") else "F32"
        size = tensor.numel() * DTYPES[kind]
        entry = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, start + size]}
        header[name], start = entry, start + size
        body += chance.choice([bytes(size), chance.randbytes(size), b"\x3f" * size])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def odd_contents(witness: Path) -> list[Any]:
    """What torch.save can hold beside tensors by name."""
    good = {name: tensor.clone() for name, tensor in TENSORS.items()}
    bias = good["conv1.bias"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, that nested tensors are new
        nested = torch.nested.nested_tensor([bias])
        quantised = torch.quantize_per_tensor(bias, 0.1, 0, torch.qint8)
    return [
        *(None, 3, [bias], bias, {}, {"state_dict": good}, {"conv1.weight": bias}, set()),
        *(good | {1: bias}, good | {None: 3}, good | {("a", 1): bias}, good | {"\x1b": bias}),
        *(good | {"conv1.bias": bias.to(kind)} for kind in (torch.int32, torch.bool, torch.cfloat)),
        *(good | {"conv1.bias": bias.to(kind)} for kind in (torch.float8_e4m3fn, torch.bfloat16)),
        good | {"conv1.bias": bias.to_sparse()},
        good | {"conv1.bias": bias.to("meta")},
        good | {"conv1.bias": nn.Parameter(bias)},
        good | {"conv1.bias": torch.zeros(1).expand(4)},
        good | {"conv1.bias": torch.zeros(1).expand(2**40)},
        good | {"conv1.bias": quantised},
        good | {"conv1.bias": nested},
        good | {"conv1.bias": bias.double() * 1e300},
        good | {"conv1.bias": torch.full((4,), torch.nan)},
        good | {"conv1.bias": Exploit(witness)},
        good | {f"x{number}\x1b[2J": bias for number in range(9)},
        good | {"y" * 10_000: bias},
        *(Exploit(witness), good, good),
    ]


def weights_file(index: int, witness: Path, odd: Sequence[Any]) -> tuple[str, bytes]:
    """Name and content of file number `index`; the same in every process."""
    chance = random.Random(SEED + index)
    stored = {f"encoder.{name}": tensor for name, tensor in TENSORS.items()}
    stored |= {"head.weight": torch.zeros(2)}
    content = save(chance.choice([TENSORS, stored]))
    if index < 2 * len(content):
        return "model.safetensors", content[: index // 2]
    match chance.randrange(8):
        case 0 | 1:
            return "model.safetensors", damaged(content, ON_BYTES, chance)
        case 2 | 3:
            return "model.safetensors", changed_header(content, chance)
        case 4:
            return "model.safetensors", of_another_type(chance)
        case 5:
            return "pytorch_model.bin", pickled(chance.choice(odd), chance.random() < 0.7)
        case 6:
            raw = pickle.dumps({"conv1.weight": Exploit(witness)}, chance.randrange(6))
            return "pytorch_model.bin", chance.choice([raw, damaged(raw, ON_BYTES, chance)])
        case _:
            whole = pickled(TENSORS, chance.random() < 0.7)
            return "pytorch_model.bin", damaged(whole, ON_BYTES, chance)


def refuse_wrongly_loaded(network: nn.Module, name: str, content: bytes) -> None:
    for key, parameter in network.state_dict().items():
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")
        assert parameter.shape == TENSORS[key].shape
        assert parameter.isfinite().all()
        if name == "model.safetensors":
            stored = load(content)
            (prefix,) = [full[: -len(ANCHOR)] for full in stored if full.endswith(ANCHOR)]
            assert torch.equal(parameter, stored[f"{prefix}{key}"].float())


def refuse_bad_refusal(error: CheckpointError, folder: Path) -> None:
    assert str(error).startswith(f"encoder '{folder}'")
    assert is_fit_to_print(str(error)), str(error)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own on what it has to do to load them
def test_a_damaged_file_of_weights_is_loaded_whole_or_not_at_all(tmp_path):
    folder, witness = tmp_path / "checkpoint", tmp_path / "owned"
    folder.mkdir()
    checkpoint = Checkpoint(
        name=str(folder), folder=folder, family="whisper", settings={}, preprocessor={}
    )
    odd = odd_contents(witness)
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(INPUTS):
            name, content = weights_file(index, witness, odd)
            rewrite(folder / name, content)
            network = without_weights(checkpoint, Network)
            with bounded(f"file {index}"):
                try:
                    load_weights(network, checkpoint, anchor=ANCHOR, unused=["head."])
                except CheckpointError as error:
                    ended[f"{name} refused"] += 1
                    refuse_bad_refusal(error, folder)
                    assert all(tensor.is_meta for tensor in network.state_dict().values()), index
                except Exception as error:
                    pytest.fail(f"file {index}: {type(error).__name__}: {error}")
                else:
                    ended[f"{name} read"] += 1
                    refuse_wrongly_loaded(network, name, content)
            (folder / name).unlink()
            assert not witness.exists(), index
    assert ended.total() == INPUTS
    assert len(ended) == 4
    assert min(ended.values()) > INPUTS // 100, ended
    assert list(tmp_path.iterdir()) == [folder]


SETTINGS = [
    *("encoder_layers", "d_model", "num_mel_bins", "max_source_positions", "encoder_ffn_dim"),
    *("encoder_attention_heads", "activation_function", "dropout", "decoder_layers", "hidden_size"),
    *("num_hidden_layers", "num_attention_heads", "intermediate_size", "conv_dim", "conv_kernel"),
    *("conv_stride", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "num_buckets"),
    *("feat_extract_norm", "do_stable_layer_norm", "hidden_act", "layer_norm_eps", "conv_bias"),
    *("auto_map", "num_labels", "id2label", "vocab_size", "dtype", "torch_dtype", "_name_or_path"),
    *("attn_implementation", "_attn_implementation", "quantization_config", "architectures"),
    *("trust_remote_code", "to_dict", "transformers_version", "num_feat_extract_layers", "a\x1b"),
]
CODE = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
CONFIG_VALUES = [
    *(None, True, False, 0, 1, -1, 2, 3, 4, 7, 32, 48, 1000, 10**9, 2**40, 2**63, 0.5, -0.5, 1e308),
    *(
        float("nan"),
        "",
        "gelu",
        "relu",
        "os.system",
        "evil/kernel",
        "../../x",
        "\x1b[2J",
        "x" * 5000,
    ),
    *(
        [],
        [16] * 7,
        [16] * 6,
        [10**9] * 7,
        [0] * 7,
        [[1]],
        ["x"],
        {},
        {"a": 1},
        CODE,
        "eager",
        "sdpa",
    ),
]


@pytest.mark.parametrize("family", ["whisper", "wavlm", "hubert", "wav2vec2"])
def test_a_damaged_config_gives_an_encoder_or_an_error_and_runs_nothing(
    tmp_path, monkeypatch, family
):
    def unreachable(*_: object) -> None:
        raise AssertionError("a config must not make anything call out")

    folder, witness = tmp_path / "checkpoint", tmp_path / "owned"
    if family == "whisper":
        save_whisper(folder, whole=False)
    else:
        save_self_supervised(folder, family)
    (folder / "evil.py").write_text(f"import os\nos.mkdir({str(witness)!r})\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    whole = json.loads((folder / "config.json").read_text())
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(CONFIGS):
            chance = random.Random(SEED + index)
            config = json.loads(json.dumps(whole))
            for _ in range(index and chance.choice([1, 1, 2, 3])):
                config[chance.choice([*SETTINGS, *config])] = chance.choice(CONFIG_VALUES)
            rewrite(folder / "config.json", json.dumps(config).encode())
            with bounded(f"config {index}"):
                try:
                    encoder = build_encoder(EncoderConfig(name=str(folder)))
                except CheckpointError as error:
                    ended["refused"] += 1
                    refuse_bad_refusal(error, folder)
                except Exception as error:
                    pytest.fail(f"config {index} {config}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
                    tensors = [*encoder.parameters(), *encoder.buffers()]
                    assert not any(tensor.is_meta for tensor in tensors), index
    assert min(ended["refused"], ended["read"]) > CONFIGS // 20, ended
    assert not witness.exists()
