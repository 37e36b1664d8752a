"""Where an encoder's weights are, without torch and without the network."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.checkpoints import (
    CheckpointError,
    fetch,
    fingerprint,
    geometry,
    is_pretrained,
    open_checkpoint,
)
from core.config import EncoderConfig
from core.encoder_catalog import ENCODERS, Geometry

WHISPER = {"model_type": "whisper", "encoder_layers": 4, "d_model": 384}
HUBERT = {"model_type": "hubert", "num_hidden_layers": 12, "hidden_size": 768}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    folder = tmp_path / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


def named(name: str | Path, layer: int | None = None) -> EncoderConfig:
    return EncoderConfig(name=str(name), layer=layer)


def write(folder: Path, values: dict[str, Any] = WHISPER, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def download(hub: Path, source: str, commit: str = "c0ffee", **kept: Any) -> Path:
    """What a download of the hub's client leaves behind."""
    folder = hub / f"models--{source.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return write(folder / "snapshots" / commit, **kept)


def test_an_alias_has_its_geometry_before_any_download() -> None:
    assert geometry(named("wavlm-large")) == ENCODERS["wavlm-large"]
    assert geometry(named("logmel-small", layer=2)) == ENCODERS["logmel-small"]


@pytest.mark.parametrize(("values", "layers", "features"), [(WHISPER, 4, 384), (HUBERT, 12, 768)])
def test_a_folders_geometry_stands_in_its_config(
    values: dict[str, Any], layers: int, features: int, tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", values)
    assert geometry(named(folder)) == Geometry(source="", layers=layers, features=features)


def test_a_downloaded_name_has_the_geometry_of_its_config(hub: Path) -> None:
    download(hub, "some/model", values=HUBERT)
    assert geometry(named("some/model")) == Geometry(source="some/model", layers=12, features=768)


def test_a_layer_beyond_the_last_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    assert geometry(named(folder, layer=4)).layers == 4
    with pytest.raises(CheckpointError, match=r"encoder\.layer must lie in 0\.\.4 for .*, got 5"):
        geometry(named(folder, layer=5))


def test_a_checkpoint_that_was_never_downloaded_is_asked_for(hub: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        fetch(named("wavlm-large"))
    assert str(caught.value) == (
        "encoder 'wavlm-large' is not here: download it while online "
        "(hf download microsoft/wavlm-large), or give its folder instead of its name "
        f"(--encoder FOLDER); looked in {hub / 'models--microsoft--wavlm-large'}"
    )


@pytest.mark.parametrize(
    "commit", ["../../elsewhere", "/tmp", "..", "a\0b", "x" * 5000, "", "c0\nffee", "\x1b[2J"]
)
def test_a_cache_that_points_at_no_commit_of_its_own_is_as_if_it_were_empty(
    hub: Path, commit: str
) -> None:
    kept = download(hub, "some/model")
    write(kept.parents[2] / "elsewhere")
    (kept.parents[1] / "refs" / "main").write_text(commit)
    with pytest.raises(CheckpointError, match="'some/model' is not here"):
        geometry(named("some/model"))


def test_a_download_that_fails_gives_the_same_message_and_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the hub\nwith many more lines")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(CheckpointError) as caught:
        fetch(named("hubert-large"))
    assert str(caught.value).startswith("encoder 'hubert-large' is not here: download it")
    assert str(caught.value).endswith("(ConnectionError: no route to the hub)")


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_download_prefers_safetensors_and_takes_no_more_than_it_needs(
    weights: str, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def serve(source: str, allow_patterns: list[str], **_: Any) -> None:
        asked.append(allow_patterns)
        folder = download(hub, source)
        (folder / "model.safetensors").rename(folder / weights)
        if weights not in allow_patterns:
            (folder / weights).unlink()

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.snapshot_download", serve)
    folder = fetch(named("whisper-tiny"))
    assert folder == hub / "models--openai--whisper-tiny" / "snapshots" / "c0ffee"
    assert len(asked) == (1 if weights == "model.safetensors" else 2)
    assert fetch(named("whisper-tiny")) == folder
    assert len(asked) < 3


def test_an_encoder_without_weights_needs_no_download() -> None:
    assert fetch(named("logmel-base")) is None
    assert not is_pretrained("logmel-base")
    assert is_pretrained("hubert-base")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("wavlm-larg", r"must be one of wavlm-large, .*, got 'wavlm-larg'; did you mean 'wavlm-la"),
        ("whisper", r"or a name on the hub \(owner/name\), got 'whisper'"),
        ("./absent", r"'\./absent' must be a folder that holds config\.json, found no such folder"),
        ("/no/such/place", r"must be a folder that holds config\.json, found no such folder"),
        ("a/b/c", r"must be a folder that holds config\.json, found no such folder"),
    ],
)
def test_a_name_that_means_nothing_is_refused(name: str, wanted: str) -> None:
    for ask in (geometry, fingerprint, fetch):
        with pytest.raises(CheckpointError, match=wanted):
            ask(named(name))


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1) | st.text("~./\0ab", min_size=1) | st.just("x" * 5000))
def test_any_name_is_an_encoder_or_a_clear_error(name: str) -> None:
    try:
        geometry(named(name))
        fingerprint(named(name))
    except CheckpointError as error:
        message = str(error)
    else:
        message = repr(name)
    assert repr(name) in message


def test_a_folder_with_other_files_is_shown_them(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(CheckpointError, match="found an empty folder"):
        geometry(named(folder))
    (folder / "weights.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"found weights\.pt"):
        geometry(named(folder))
    (folder / "config.json").write_text(json.dumps(WHISPER))
    with pytest.raises(
        CheckpointError, match=r"must hold model\.safetensors or pytorch_model\.bin"
    ):
        fingerprint(named(folder))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", r"config\.json must be a JSON file, found: Expecting"),
        ("[" * 100_000, r"config\.json must be a JSON file"),
        ("[]", r"config\.json must hold a JSON object, got list"),
        ("{}", r"must be one of hubert, wav2vec2, wavlm, whisper, got nothing"),
        ('{"model_type": "bert"}', r"must be one of hubert, .*, got 'bert'"),
        (
            '{"model_type": "whisper"}',
            r"must give encoder_layers as a whole number in 1\.\.1000, got n",
        ),
        (
            '{"model_type": "hubert", "num_hidden_layers": 2, "hidden_size": "x"}',
            r"must give hidden_size as a whole number in 1\.\.100000, got 'x'",
        ),
        (
            '{"model_type": "whisper", "encoder_layers": 1000000000, "d_model": 8}',
            r"must give encoder_layers as a whole number in 1\.\.1000, got 1000000000",
        ),
        ('{"model_type": ["' + "x" * 5000 + '"]}', r"got \['x{75}\.\.\.$"),
    ],
)
def test_a_config_that_is_no_encoders_is_refused(text: str, wanted: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=wanted):
        geometry(named(folder))


def test_a_checkpoint_for_another_sampling_rate_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    (folder / "preprocessor_config.json").write_text('{"sampling_rate": 8000}')
    with pytest.raises(CheckpointError, match=r"sampling_rate in .* must be 16000, got 8000"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("name", ["x" * 300, "../model.safetensors", "..", "a\0b", "\ud800"])
def test_an_index_that_names_no_file_beside_it_is_refused(name: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="must name files beside it, got '") as caught:
        fingerprint(named(folder))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2 * len(str(folder)) + 200


def test_a_million_labels_of_a_classifier_are_not_made(tmp_path: Path) -> None:
    """transformers would make a name for each."""
    folder = write(tmp_path / "model", {**WHISPER, "num_labels": 10**12, "id2label": {}})
    assert open_checkpoint(str(folder)).settings == WHISPER


def test_a_fingerprint_names_every_byte_that_counts(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    first = fingerprint(named(folder))
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert fingerprint(named(write(tmp_path / "copy"))) == first
    assert fingerprint(named(write(tmp_path / "other", weights=b"Weights"))) != first
    assert fingerprint(named(write(tmp_path / "config", {**WHISPER, "dropout": 0.1}))) != first
    (folder / "README.md").write_text("no part of it")
    assert fingerprint(named(folder)) == first
    (folder / "preprocessor_config.json").write_text("{}")
    assert fingerprint(named(folder)) != first


def test_a_fingerprint_follows_a_file_that_changes(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    first = fingerprint(named(folder))
    write(folder, weights=b"longer weights")
    assert fingerprint(named(folder)) != first


def test_a_downloaded_checkpoint_is_named_by_its_commit_alone(hub: Path) -> None:
    before = fingerprint(named("wavlm-base"))
    download(hub, "microsoft/wavlm-base", "aaaa")
    after = fingerprint(named("wavlm-base"))
    assert fingerprint(named("microsoft/wavlm-base")) == after
    download(hub, "microsoft/wavlm-base", "bbbb")
    assert len({before, after, fingerprint(named("wavlm-base"))}) == 3


def test_encoders_without_weights_share_a_fingerprint() -> None:
    assert fingerprint(named("logmel-small")) == fingerprint(named("logmel-base")) == "0" * 16


def test_nothing_here_imports_torch_or_transformers(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    code = (
        "import sys; from core.checkpoints import *; from core.config import EncoderConfig\n"
        f"config = EncoderConfig(name={str(folder)!r})\n"
        "geometry(config), fingerprint(config), fetch(config)\n"
        "print({'torch', 'transformers', 'huggingface_hub', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
