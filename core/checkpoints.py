"""Where an encoder's weights are, what shape they have and which they are; without torch.

A name is an alias of `core.config.ENCODERS`, a folder in transformers' format, or a name on the
Hugging Face hub, in this order. Nothing in a checkpoint is ever executed: of its files only the two
JSON files and the tensors are read, and an `auto_map` in them is ignored.
"""

import json
import os
import re
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, Literal, cast, get_args

from core.config import SAMPLE_RATE_HZ, EncoderConfig
from core.encoder_catalog import ENCODERS, Geometry, is_pretrained
from core.schema import show, suggest

Family = Literal["hubert", "wav2vec2", "wavlm", "whisper"]

_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that is there is read
_NO_WEIGHTS = "0" * 16  # the fingerprint of an encoder that starts from a random draw
_HEAD = frozenset({"num_labels", "id2label", "label2id"})  # of a classifier, which is not read
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


class CheckpointError(ValueError):
    """An encoder's weights are not here, or are not what is asked of them."""


class MissingCheckpointError(CheckpointError):
    """The name is right, but its checkpoint was never downloaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint's folder and its two JSON files, read and checked."""

    name: str
    folder: Path
    family: Family
    settings: dict[str, Any]  # config.json
    preprocessor: dict[str, Any]  # preprocessor_config.json; {} where the folder has none

    def error(self, rule: str) -> CheckpointError:
        """The error that this checkpoint breaks a rule."""
        return CheckpointError(f"encoder {self.name!r} in {self.folder}: {rule}")

    def _count(self, key: str, most: int) -> int:
        """A whole number in 1..`most` from config.json."""
        value = self.settings.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            rule = f"{_CONFIG} must give {key} as a whole number in 1..{most}"
            raise self.error(f"{rule}, got {show(value)}")
        return value

    def geometry(self) -> Geometry:
        """Layers and features as config.json gives them."""
        if self.family == "whisper":
            layers, features = "encoder_layers", "d_model"
        else:
            layers, features = "num_hidden_layers", "hidden_size"
        source = "" if _is_folder(self.name) else _source(self.name)
        # O: WavLM Large has 24 of 1024; a million would take forever to put together.
        numbers = {"layers": self._count(layers, 1_000), "features": self._count(features, 100_000)}
        return Geometry(source=source, **numbers)

    def weight_files(self) -> tuple[Path, ...]:
        """The files that hold the tensors: one, or the shards that an index names."""
        for name in _WEIGHTS:
            if (single := self.folder / name).is_file():
                return (single,)
            if (index := self.folder / f"{name}.index.json").is_file():
                return self._shards(index)
        raise self.error(f"must hold {' or '.join(_WEIGHTS)}, found {_listing(self.folder)}")

    def _shards(self, index: Path) -> tuple[Path, ...]:
        names = _read_json(index, f"encoder {self.name!r}: ").get("weight_map")
        if not isinstance(names, dict) or not names:
            raise self.error(f"{index.name} must hold a weight_map, found none")
        shards = sorted({str(name) for name in names.values()})
        for name in shards:
            # os.path, for any text: pathlib raises on some
            if Path(name).name != name or not os.path.isfile(self.folder / name):
                raise self.error(f"{index.name} must name files beside it, got {show(name)}")
        return tuple(self.folder / name for name in shards)


def geometry(config: EncoderConfig) -> Geometry:
    """What must be known of an encoder before it is loaded.

    Raises:
        CheckpointError: no alias, and no folder or downloaded checkpoint of that name; or a
            layer that the config names is beyond the last.
    """
    if config.name in ENCODERS:
        found = ENCODERS[config.name]
    else:
        found = open_checkpoint(config.name).geometry()
    key = "join_layers" if config.join_layers else "layer"
    for layer in config.read_layers(found.layers):
        if not 0 <= layer <= found.layers:
            rule = f"encoder.{key} must lie in 0..{found.layers} for {config.name!r}"
            raise CheckpointError(f"{rule}, got {layer}")
    return found


def fingerprint(config: EncoderConfig) -> str:
    """Name the weights that training starts from, as 16 hexadecimal digits.

    A folder is named by the content of its files (about a second a gigabyte, once a process), a
    name on the hub by the downloaded commit; before the download by itself alone, so call `fetch`
    first. Every encoder that starts from a random draw has the same.
    """
    if not is_pretrained(config.name):
        return _NO_WEIGHTS
    if not _is_folder(config.name):
        snapshot = _cached_snapshot(_source(config.name))
        commit = snapshot.name if snapshot else ""
        return _short_hash(f"{_source(config.name)}@{commit}")
    checkpoint = open_checkpoint(config.name)
    optional = checkpoint.folder / _PREPROCESSOR
    files = [checkpoint.folder / _CONFIG, *([optional] if optional.is_file() else [])]
    lines = []
    for path in [*files, *checkpoint.weight_files()]:
        try:
            status = path.stat()
            lines.append(f"{path.name} {_file_hash(path, status.st_size, status.st_mtime_ns)}")
        except OSError as error:
            raise checkpoint.error(f"{path.name} must be readable, found: {error}") from error
    return _short_hash("\n".join(lines))


def fetch(config: EncoderConfig) -> Path | None:
    """Make sure that an encoder's checkpoint is on this machine, downloading it if need be.

    The hub is asked only for what is not here, and never where HF_HUB_OFFLINE is set.

    Returns:
        Its folder; None for an encoder without weights.
    Raises:
        CheckpointError: it is not here and can't be downloaded; says what to do.
    """
    if not is_pretrained(config.name):
        return None
    try:
        return open_checkpoint(config.name).folder
    except MissingCheckpointError as missing:
        if _is_offline():
            raise
        return _download(_source(config.name), missing)


def open_checkpoint(name: str) -> Checkpoint:
    """Read a checkpoint's JSON files, from a folder or from the hub's cache on this machine.

    Raises:
        CheckpointError: it is not here, or its JSON files are not an encoder's.
    """
    folder = _locate(name)
    settings = _read_json(folder / _CONFIG, f"encoder {name!r}: ")
    optional = folder / _PREPROCESSOR
    preprocessor = _read_json(optional, f"encoder {name!r}: ") if optional.is_file() else {}
    family = settings.get("model_type")
    if family not in get_args(Family):
        raise CheckpointError(
            f"encoder {name!r}: model_type in {folder / _CONFIG} must be one of "
            f"{', '.join(get_args(Family))}, got {show(family)}"
        )
    rate = preprocessor.get("sampling_rate", SAMPLE_RATE_HZ)
    if rate != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"encoder {name!r}: sampling_rate in {optional} must be {SAMPLE_RATE_HZ}, "
            f"got {show(rate)}"
        )
    return Checkpoint(
        name=name,
        folder=folder,
        family=cast(Family, family),
        settings={key: value for key, value in settings.items() if key not in _HEAD},
        preprocessor=preprocessor,
    )


def _locate(name: str) -> Path:
    if _is_folder(name):
        folder = Path(name if "\0" in name else os.path.expanduser(name))
        if not os.path.isfile(folder / _CONFIG):
            raise CheckpointError(
                f"encoder {name!r} must be a folder that holds {_CONFIG}, found {_listing(folder)}"
            )
        return folder
    source = _source(name)
    if snapshot := _cached_snapshot(source):
        return snapshot
    raise MissingCheckpointError(
        f"encoder {name!r} is not here: download it while online (hf download {source}), or give "
        f"its folder instead of its name (--encoder FOLDER); looked in {_hub_folder(source)}"
    )


def _is_folder(name: str) -> bool:
    """Whether a name means a folder: it is one, or is written as only a path can be."""
    if name in ENCODERS:
        return False
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return is_path or os.path.exists(name)


def _source(name: str) -> str:
    """The hub's name for an alias or a hub name."""
    if name in ENCODERS:
        return ENCODERS[name].source
    if _HUB_NAME.fullmatch(name):
        return name
    raise CheckpointError(
        f"encoder must be one of {', '.join(ENCODERS)}, a folder in transformers' format or a name "
        f"on the hub (owner/name), got {name!r}{suggest(name, ENCODERS)}"
    )


def _hub_folder(source: str) -> Path:
    """Where huggingface_hub keeps a repository: its documented layout, read without its import."""
    environment = os.environ
    home = environment.get("HF_HOME") or os.path.join(
        environment.get("XDG_CACHE_HOME") or "~/.cache", "huggingface"
    )
    hub = environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE")
    folder = Path(os.path.expanduser(hub or os.path.join(home, "hub")))
    return folder / f"models--{source.replace('/', '--')}"


def _cached_snapshot(source: str) -> Path | None:
    """The downloaded commit that `main` points at, if its JSON and its weights are there."""
    folder = _hub_folder(source)
    try:
        commit = (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / os.path.basename(commit)  # never outside
    weights = (snapshot / f"{name}{end}" for name in _WEIGHTS for end in ("", ".index.json"))
    whole = os.path.isfile(snapshot / _CONFIG) and any(os.path.isfile(path) for path in weights)
    return snapshot if whole else None


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _download(source: str, missing: MissingCheckpointError) -> Path:
    # Imported here: it costs half a second, and only a download needs it.
    from huggingface_hub import snapshot_download

    described = [_CONFIG, _PREPROCESSOR]
    try:
        for name in _WEIGHTS:
            stem, _, kind = name.rpartition(".")
            patterns = [*described, name, f"{name}.index.json", f"{stem}-?????-of-?????.{kind}"]
            snapshot_download(source, allow_patterns=patterns, etag_timeout=10)
            if snapshot := _cached_snapshot(source):
                return snapshot
    except Exception as error:  # whatever the network, the disk or the hub can raise
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{missing} ({type(error).__name__}: {reason})") from error
    raise CheckpointError(f"{missing} (the hub's {source} holds no {' or '.join(_WEIGHTS)})")


def _read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}{path} must be a JSON file, found: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{where}{path} must hold a JSON object, got {type(values).__name__}")
    return values


def _listing(folder: Path) -> str:
    try:
        names = sorted(os.listdir(folder))
    except (OSError, ValueError) as error:
        return "no such folder" if isinstance(error, FileNotFoundError) else str(error)
    return ", ".join(names[:8] + ["..."] * (len(names) > 8)) or "an empty folder"


def _short_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


@cache
def _file_hash(path: Path, size: int, mtime_ns: int) -> str:
    """The content's hash; size and time are arguments so that a changed file is read again."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
