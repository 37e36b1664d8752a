"""A frozen encoder's frames of a whole corpus, computed once and mapped by every trial.

Beside the audio store that they are made from, a folder for each way of making them:
    <audio fingerprint>.frames/<key>/layer_04.f16   float16 little-endian, utterance after utterance
    <audio fingerprint>.frames/<key>/index.json     format, D, and the names and lengths in order
    <audio fingerprint>.frames/.lock                one builder at a time
Each utterance passes the encoder alone and on one thread, so that its frames depend on no companion
and no padding, nor on how many were at work.
"""

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from core.clips import Clips, Inputs
from core.config import RunConfig
from core.devices import computing
from core.encoders import build_encoder, fingerprint, geometry
from core.fingerprint import read_json, write_json
from core.node_cache import near
from core.store import AudioStore
from core.whole_files import only_builder, remove_abandoned, whole_file
from core.workers import in_order

FORMAT = 1  # raised when the files' layout changes, or what they are computed from
BYTES = 2  # of a float16


class FrameStore:
    """The frames of one layer, or of several, at one speed, mapped read-only.

    Raises:
        ValueError: they are not there, or not whole.
    """

    def __init__(
        self, folder: Path, layers: Sequence[int], at: Callable[[Path], Path] = Path
    ) -> None:
        self._lengths, features = _read_index(folder)
        starts = accumulate(self._lengths.values(), initial=0)  # one more, the end
        self._starts = dict(zip(self._lengths, starts, strict=False))
        shape = sum(self._lengths.values()), features
        self._layers = [_mapped(at(_layer_file(folder, layer)), shape) for layer in layers]

    def length(self, name: str) -> int:
        """Frames of an utterance."""
        return self._lengths[name]

    def read(self, name: str) -> np.ndarray:
        """An utterance's frames, (T, D) float16 of one layer or (T, layers, D) of several."""
        start = self._starts[name]
        parts = [frames[start : start + self._lengths[name]] for frames in self._layers]
        return parts[0] if len(parts) == 1 else np.stack(parts, 1)


class Frames:
    """What a setting with a frozen encoder trains on and is scored on: frames at each speed.

    Attributes:
        source: Equal where the frames are: their folders and layers.
    """

    def __init__(self, stores: Mapping[float, FrameStore], source: Hashable) -> None:
        self.source = source
        self._stores = stores

    def length(self, name: str, speed: float = 1.0) -> int:
        """Frames of an utterance."""
        return self._stores[speed].length(name)

    def read(self, name: str, speed: float = 1.0) -> np.ndarray:
        """As `FrameStore.read`."""
        return self._stores[speed].read(name)


def open_frames(config: RunConfig, audio: AudioStore, device: torch.device) -> Frames:
    """The frames that a setting with a frozen encoder trains on, computed unless they are there.

    Args:
        config: One that `stores_frames`.
        device: Where the encoder runs, if it must.
    Raises:
        As `build_frames`.
    """
    build_frames([config], audio, device)
    layers = _layers(config)
    folders = {speed: _folder(config, audio, speed) for speed in config.heard_speeds}
    stores = {speed: FrameStore(folder, layers, near) for speed, folder in folders.items()}
    return Frames(stores, (*folders.items(), layers))


def inputs_of(config: RunConfig, store: AudioStore, device: torch.device) -> Inputs:
    """What batches are cut from under a setting: stored frames, or clips.

    Raises:
        As `build_frames`.
    """
    if config.stores_frames:
        return open_frames(config, store, device)
    return Clips(store, config.audio)


def build_frames(
    configs: Sequence[RunConfig],
    audio: AudioStore,
    device: torch.device,
    *,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> bool:
    """Compute what is missing of the frames that these settings train on, in one pass each.

    Processes that need the same frames take turns: one computes, the others find them.

    Args:
        configs: Settings that `stores_frames`.
        workers: On the CPU, utterances that pass an encoder beside one another.
        on_progress: Called with the utterances done in a pass and their number.
    Returns:
        Whether an encoder had to run.
    Raises:
        core.checkpoints.CheckpointError: an encoder is not at hand.
        ValueError: a frame is too large for float16, or an utterance too long for its encoder.
        OSError: the frames can't be written.
    """
    has_run = False
    wanted: dict[Path, tuple[RunConfig, float, set[int]]] = {}
    for config in configs:
        for speed in config.heard_speeds:
            folder = _folder(config, audio, speed)
            wanted.setdefault(folder, (config, speed, set()))[2].update(_layers(config))
    for folder, (config, speed, layers) in wanted.items():
        if not _missing(folder, layers):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        with only_builder(folder.parent):
            if missing := _missing(folder, layers):  # else built by whom we waited for
                remove_abandoned(folder)
                passing = _Pass(config, speed, missing, workers, on_progress)
                _build(folder, passing, audio, device)
                has_run = True
    return has_run


@dataclass(frozen=True, slots=True)
class _Pass:
    """A corpus through an encoder once."""

    config: RunConfig
    speed: float
    layers: Sequence[int]
    workers: int
    on_progress: Callable[[int, int], None] | None


def _build(folder: Path, passing: _Pass, audio: AudioStore, device: torch.device) -> None:
    config, layers = passing.config, passing.layers
    plain = replace(config.encoder, layer=max(layers), weigh_layers=False, join_layers=())
    encoder = build_encoder(plain)
    encoder.to(device)
    clips = Clips(audio, config.audio)

    def frames_of(name: str) -> np.ndarray:
        waveform = torch.tensor(clips.read(name, passing.speed), device=device)
        with computing(device, config.training.precision):
            every_layer = encoder.every_layer(waveform)
        chosen = every_layer[list(layers)].to(torch.float16)
        if not chosen.isfinite().all():
            raise ValueError(
                f"{config.encoder.name}'s frames of {name!r} must be within float16, found "
                f"magnitudes up to {every_layer.abs().max():g}"
            )
        return chosen.cpu().numpy()  # (layers, T, D)

    on_gpu, threads = device.type == "cuda", torch.get_num_threads()
    lengths: dict[str, int] = {}
    try:
        with ExitStack() as files:
            opened = [files.enter_context(whole_file(_layer_file(folder, k))) for k in layers]
            passed = in_order(
                frames_of,
                audio.lengths,
                1 if on_gpu else passing.workers,
                lambda: torch.set_num_threads(1),
            )
            for done, (name, frames) in enumerate(passed, start=1):
                lengths[name] = frames.shape[1]
                for file, of_layer in zip(opened, frames, strict=True):
                    file.write(np.ascontiguousarray(of_layer, "<f2").data)
                if passing.on_progress:
                    passing.on_progress(done, len(audio))
    finally:
        torch.set_num_threads(threads)
    index = {"format": FORMAT, "features": encoder.features, "lengths": lengths}
    write_json(folder / "index.json", index)


def _folder(config: RunConfig, audio: AudioStore, speed: float) -> Path:
    """Of everything that decides about the frames, but for the layer."""
    identity = {
        "encoder": fingerprint(config.encoder),
        "audio": asdict(config.audio),
        "precision": config.training.precision,
        "speed": speed,
    }
    key = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    return audio.frames_folder / key


def _layers(config: RunConfig) -> tuple[int, ...]:
    return config.encoder.read_layers(geometry(config.encoder).layers)


def _missing(folder: Path, layers: set[int]) -> list[int]:
    """Layers whose frames are not there, or not whole."""
    missing = []
    for layer in sorted(layers):
        try:
            FrameStore(folder, [layer])
        except ValueError:
            missing.append(layer)
    return missing


def _layer_file(folder: Path, layer: int) -> Path:
    return folder / f"layer_{layer:02}.f16"


def _read_index(folder: Path) -> tuple[dict[str, int], int]:
    index = read_json(folder / "index.json")
    lengths, features = index.get("lengths"), index.get("features")
    is_whole = (
        index.get("format") == FORMAT
        and isinstance(lengths, dict)
        and type(features) is int
        and all(type(length) is int and length > 0 for length in lengths.values())
    )
    if not (is_whole and lengths and features):
        raise ValueError(f"{folder} must hold frames of format {FORMAT}, found none")
    return lengths, features


def _mapped(path: Path, shape: tuple[int, int]) -> np.ndarray:
    try:
        found = path.stat().st_size
        if found != BYTES * shape[0] * shape[1]:
            raise ValueError(f"{path} must hold {BYTES * shape[0] * shape[1]} bytes, found {found}")
        return np.memmap(path, "<f2", "r", shape=shape)
    except OSError as error:
        raise ValueError(f"{path} must be readable, found: {error.strerror}") from error
