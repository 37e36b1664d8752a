"""Stored frames: the encoder's own, computed once, whole or not at all."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import core.features
from core.clips import Clips
from core.config import RunConfig
from core.corpora.utterance import Utterance
from core.encoders import build_encoder
from core.features import build_frames, open_frames
from core.spectrogram import MelSpectrogram
from tests.core.small_checkpoints import FEATURES, LAYERS, save_self_supervised, save_whisper
from tests.core.small_folds import interrupted, run, timeless
from tests.core.small_speech import CPU, MemoryStore, small_config, tones


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    save_whisper(tmp_path / "encoder")
    return str(tmp_path / "encoder")


@pytest.fixture
def speech(tmp_path: Path) -> tuple[list[Utterance], MemoryStore]:
    utterances, clips = tones()
    clips.frames_folder = tmp_path / "frames"
    return utterances, clips


def frozen(folder: str, mixup: str = "none", **changes: Any) -> RunConfig:
    chosen = {"name": folder, "train": "frozen"} | changes.pop("encoder", {})
    return small_config(encoder=chosen, mixup={"method": mixup}, **changes)


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and content, locks aside."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def refuse_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the encoder must not run again")

    monkeypatch.setattr(core.features, "build_encoder", never)


def test_stored_log_mel_bands_are_the_bands(speech):
    config = frozen("logmel")
    frames = open_frames(config, speech[1], CPU)
    clips = Clips(speech[1], config.audio)
    for item in speech[0]:
        waveform = torch.tensor(clips.read(item.name))
        power = MelSpectrogram(64)(waveform.unsqueeze(0))[0].numpy().astype(np.float64)
        expected = (np.log10(np.maximum(power, 1e-8)) + 4) / 2
        assert frames.length(item.name) == -(-len(waveform) // 160)
        np.testing.assert_allclose(frames.read(item.name), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("family", ["whisper", "hubert", "wavlm"])
@pytest.mark.parametrize("layer", [None, 0, 2])
def test_stored_frames_are_the_encoder_s_own(tmp_path, speech, family, layer):
    folder = tmp_path / family
    save_whisper(folder) if family == "whisper" else save_self_supervised(folder, family)
    config = frozen(str(folder), encoder={"layer": layer})
    frames = open_frames(config, speech[1], CPU)
    built, clips = build_encoder(config.encoder), Clips(speech[1], config.audio)
    for item in speech[0]:
        waveform = torch.tensor(clips.read(item.name))
        expected, _ = built(waveform.unsqueeze(0), torch.tensor([len(waveform)]))
        found = frames.read(item.name)
        assert found.dtype == np.float16
        assert found.shape == (frames.length(item.name), FEATURES)
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-3, atol=1e-3)


def test_frames_are_stored_at_every_speed_that_is_heard(encoder, speech):
    config = frozen(encoder, augment={"speeds": [0.9, 1.1]})
    frames = open_frames(config, speech[1], CPU)
    plain = open_frames(frozen(encoder), speech[1], CPU)
    built, clips = build_encoder(config.encoder), Clips(speech[1], config.audio)
    for item in speech[0]:
        np.testing.assert_array_equal(frames.read(item.name), plain.read(item.name))
        for speed in (0.9, 1.1):
            waveform = torch.tensor(clips.read(item.name, speed))
            expected, _ = built(waveform.unsqueeze(0), torch.tensor([len(waveform)]))
            found = frames.read(item.name, speed)
            assert len(found) == frames.length(item.name, speed)
            np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-3, atol=1e-3)


def test_the_frames_of_several_layers_stand_side_by_side(encoder, speech):
    config = frozen(encoder, encoder={"weigh_layers": True})
    several = open_frames(config, speech[1], CPU)
    for layer in range(LAYERS + 1):
        single = open_frames(frozen(encoder, encoder={"layer": layer}), speech[1], CPU)
        for item in speech[0]:
            np.testing.assert_array_equal(several.read(item.name)[:, layer], single.read(item.name))


def test_joined_layers_read_what_single_ones_stored(encoder, speech, monkeypatch):
    singles = [
        open_frames(frozen(encoder, encoder={"layer": layer}), speech[1], CPU) for layer in (1, 2)
    ]
    refuse_building(monkeypatch)
    joined = open_frames(frozen(encoder, encoder={"join_layers": [2, 1]}), speech[1], CPU)
    for item in speech[0]:
        one, two = (single.read(item.name) for single in singles)
        np.testing.assert_array_equal(joined.read(item.name), np.stack([two, one], 1))


def test_the_last_build_leaves_every_layer_readable(encoder, speech):
    open_frames(frozen(encoder, encoder={"layer": 1}), speech[1], CPU)
    open_frames(frozen(encoder, encoder={"join_layers": [0, 2]}), speech[1], CPU)
    single = open_frames(frozen(encoder, encoder={"layer": 1}), speech[1], CPU)
    assert single.read(speech[0][0].name).shape[1] == FEATURES


def test_workers_and_earlier_builds_change_no_byte(encoder, speech, tmp_path):
    config = frozen(encoder, encoder={"weigh_layers": True})
    for place, workers in (("one", 1), ("three", 3)):
        speech[1].frames_folder = tmp_path / place
        build_frames([config], speech[1], CPU, workers=workers)
    speech[1].frames_folder = tmp_path / "in turn"
    for layer in (2, 0, 3, 1):
        build_frames([frozen(encoder, encoder={"layer": layer})], speech[1], CPU)
    contents = [
        {name: content for name, (_, content) in files(tmp_path / place).items()}
        for place in ("one", "three", "in turn")
    ]
    assert contents[0] == contents[1] == contents[2]
    assert len(contents[0]) == LAYERS + 2


def test_what_is_there_is_not_computed_again(encoder, speech, monkeypatch):
    configs = [frozen(encoder, encoder={"layer": layer}) for layer in (1, 3)]
    seen: list[tuple[int, int]] = []
    build_frames(configs, speech[1], CPU, on_progress=lambda *at: seen.append(at))
    assert seen == [(done, 20) for done in range(1, 21)]  # both layers in one pass
    before = files(speech[1].frames_folder)
    others = [
        replace(configs[0], fold=2, seed=5),
        frozen(encoder, encoder={"layer": 1}, pooling={"method": "mean"}, losses={"terms": ["kl"]}),
    ]
    with monkeypatch.context() as patch:
        refuse_building(patch)
        for config in (*configs, *others):
            open_frames(config, speech[1], CPU)
    open_frames(frozen(encoder, encoder={"layer": 2}), speech[1], CPU)
    after = files(speech[1].frames_folder)
    assert len(after) == len(before) + 1
    for name, content in before.items():
        assert after[name] == content or name.endswith("index.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"audio": {"crop_s": 0.1}},
        {"audio": {"trim_db": 1.0}},
        {"audio": {"normalise": "none"}},
        {"training": {"precision": "bfloat16"}},
    ],
    ids=str,
)
def test_another_sound_or_precision_gives_other_frames(encoder, speech, changes):
    plain, other = frozen(encoder), frozen(encoder, **changes)
    stores = [open_frames(config, speech[1], CPU) for config in (plain, other)]
    pairs = [[store.read(item.name) for store in stores] for item in speech[0]]
    assert any(one.shape != two.shape or (one != two).any() for one, two in pairs)
    assert len(list(speech[1].frames_folder.iterdir())) == 3  # two, and the lock


@pytest.mark.parametrize("damage", ["shorter", "gone", "index", "no index"])
def test_damaged_frames_are_computed_again(encoder, speech, damage):
    config = frozen(encoder)
    build_frames([config], speech[1], CPU)
    (layer,) = speech[1].frames_folder.rglob("*.f16")
    index, whole = layer.with_name("index.json"), layer.read_bytes()
    match damage:
        case "shorter":
            layer.write_bytes(whole[:-2])
        case "gone":
            layer.unlink()
        case "index":
            index.write_text('{"format": 1, "features": 32, "lengths": {"a": -1}}')
        case "no index":
            index.unlink()
    (layer.parent / ".layer_03.f16.0123456789abcdef").write_bytes(b"of a killed builder")
    open_frames(config, speech[1], CPU)
    assert sorted(path.name for path in layer.parent.iterdir()) == ["index.json", "layer_03.f16"]
    assert layer.read_bytes() == whole


def test_of_several_builders_one_computes(encoder, speech, monkeypatch):
    built = []

    def counted(config: Any) -> Any:
        built.append(config)
        return build_encoder(config)

    monkeypatch.setattr(core.features, "build_encoder", counted)
    config = frozen(encoder)
    threads = [
        threading.Thread(target=build_frames, args=([config], speech[1], CPU)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    open_frames(config, speech[1], CPU)


def test_a_builder_that_fails_leaves_nothing_that_looks_whole(encoder, speech, monkeypatch):
    class LostError(Exception):
        pass

    def lost(done: int, total: int) -> None:
        if done == 7:
            raise LostError

    with pytest.raises(LostError):
        build_frames([frozen(encoder)], speech[1], CPU, workers=2, on_progress=lost)
    assert files(speech[1].frames_folder) == {}


def test_frames_beyond_float16_are_refused_by_utterance(tmp_path, speech):
    stock = save_whisper(tmp_path / "loud")
    with torch.no_grad():
        stock.layer_norm.weight.fill_(1e6)
    stock.save_pretrained(tmp_path / "loud")
    first = next(iter(speech[1].lengths))
    message = rf"loud's frames of '{first}' must be within float16, found magnitudes up to \d"
    with pytest.raises(ValueError, match=message):
        open_frames(frozen(str(tmp_path / "loud")), speech[1], CPU)
    assert files(speech[1].frames_folder) == {}


@pytest.mark.parametrize(
    "readout",
    [
        {},
        {"weigh_layers": True},
        {"normalise": True, "weigh_layers": True},
        {"normalise": True, "join_layers": [2, 0]},
    ],
    ids=str,
)
def test_a_fold_on_stored_frames_is_the_fold_on_waveforms(encoder, speech, monkeypatch, readout):
    config = frozen(encoder, encoder=readout, training={"epochs": 4})
    stored = run(config, *speech)
    again = run(config, *speech)
    assert timeless(stored) == timeless(again)
    monkeypatch.setattr(RunConfig, "stores_frames", property(lambda _: False))
    heard = run(config, *speech)
    for one, other in zip(stored.history, heard.history, strict=True):
        assert one.losses == pytest.approx(other.losses, rel=5e-3)
    for one, other in zip(stored.predictions, heard.predictions, strict=True):
        assert one.utterance == other.utterance
        assert one.probabilities == pytest.approx(other.probabilities, abs=5e-3)


@pytest.mark.parametrize("pooling", ["mean", "statistics", "flam"])
def test_a_fold_on_stored_bands_is_the_fold_on_waveforms(speech, monkeypatch, pooling):
    config = frozen("logmel", pooling={"method": pooling}, training={"epochs": 2})
    stored = run(config, *speech)
    monkeypatch.setattr(RunConfig, "stores_frames", property(lambda _: False))
    heard = run(config, *speech)
    for one, other in zip(stored.predictions, heard.predictions, strict=True):
        assert one.utterance == other.utterance
        assert one.probabilities == pytest.approx(other.probabilities, abs=5e-3)


def test_a_fold_on_stored_frames_goes_on_from_its_snapshot(encoder, speech, tmp_path):
    config = frozen(encoder, encoder={"weigh_layers": True}, training={"epochs": 3})
    undisturbed = run(config, *speech)
    resumed = interrupted(config, *speech, tmp_path / "fold")
    assert timeless(resumed) == timeless(undisturbed)


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({}, True),
        ({"mixup": "eam"}, False),
        ({"mixup": "lam"}, False),
        ({"encoder": {"train": "transformer"}}, False),
        ({"encoder": {"name": "logmel-small"}}, False),  # drawn anew by each seed
        ({"encoder": {"name": "logmel"}}, True),
        ({"encoder": {"name": "logmel"}, "mixup": "eam"}, False),
    ],
    ids=str,
)
def test_frames_are_stored_where_nothing_before_them_is_random(encoder, changes, stored):
    assert frozen(encoder, **changes).stores_frames == stored
