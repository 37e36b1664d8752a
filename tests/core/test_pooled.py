"""Vectors in the place of stored frames: the same figures, each utterance pooled but once."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.features import FrameStore
from core.fold import Fold
from core.model import EmotionModel
from core.pooled import _vectors
from tests.core.small_checkpoints import save_whisper
from tests.core.small_folds import interrupted, of, run, timeless
from tests.core.small_speech import CPU, small_config, tones

JOINED = {"normalise": True, "join_layers": [2, 0]}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    save_whisper(folder)
    return str(folder)


@pytest.fixture
def speech(tmp_path: Path):
    utterances, clips = tones()
    clips.frames_folder = tmp_path / "frames"
    return utterances, clips


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often each utterance's frames are read."""
    counted: Counter[str] = Counter()
    read = FrameStore.read

    def counting(store: FrameStore, name: str):
        counted[name] += 1
        return read(store, name)

    monkeypatch.setattr(FrameStore, "read", counting)
    return counted


def frozen(folder: str, method: str, **changes):
    chosen = {"name": folder, "train": "frozen"} | changes.pop("encoder", {})
    pooling = {"method": method} | changes.pop("pooling", {})
    settings = {"mixup": {"method": "none"}, "losses": {"terms": ["kl", "center"]}} | changes
    return small_config(encoder=chosen, pooling=pooling, **settings)


@pytest.mark.parametrize("method", ["first", "mean", "max", "statistics"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"encoder": JOINED, "pooling": {"standardise": True}},
        {"losses": {"terms": ["kl", "center", "focal"]}, "training": {"length_pool": 1}},
        {"augment": {"speeds": [0.9, 1.1]}, "evaluation": {"speeds": [1.0, 1.1]}},
        {"evaluation": {"selection": "validation", "record_oracle": True}},
        {"training": {"precision": "float32", "balanced": True}},
    ],
    ids=str,
)
def test_vectors_give_every_figure_that_frames_give(encoder, speech, monkeypatch, method, changes):
    config = frozen(encoder, method, **changes)
    pooled = run(config, *speech)
    monkeypatch.setattr(EmotionModel, "pools_once", False)
    assert timeless(pooled) == timeless(run(config, *speech))


def test_an_utterance_is_pooled_once_however_many_epochs_there_are(encoder, speech, reads):
    utterances, clips = speech
    run(frozen(encoder, "mean", training={"epochs": 4}), utterances, clips)
    assert reads == {utterance.name: 1 for utterance in utterances}


def test_what_an_epoch_needs_is_there_before_the_first(encoder, speech, reads):
    utterances, clips = speech
    speeds = {"augment": {"speeds": [0.9, 1.0, 1.1]}}
    fold = Fold(frozen(encoder, "max", **speeds), of(utterances, clips), CPU)
    built = dict(reads)
    assert set(built.values()) == {3}
    assert len(built) < len(utterances)
    fold.step()
    assert reads == built


def test_the_folds_and_seeds_of_a_row_share_what_was_pooled(encoder, speech, reads):
    utterances, clips = speech
    for fold, seed in ((1, 0), (2, 0), (2, 1)):
        run(frozen(encoder, "mean").on_fold(fold, seed), utterances, clips)
    assert reads == {utterance.name: 1 for utterance in utterances}


@pytest.mark.parametrize(
    "other",
    [
        {"method": "max"},
        {"method": "mean", "encoder": {"normalise": True}},
        {"method": "mean", "encoder": {"layer": 1}},
        {"method": "mean", "audio": {"trim_db": 35}},
        {"method": "mean", "training": {"threads": 2}},
        {"method": "mean", "training": {"precision": "bfloat16"}},
    ],
    ids=str,
)
def test_vectors_made_otherwise_are_made_anew(encoder, speech, reads, other):
    run(frozen(encoder, "mean", training={"threads": 1}), *speech)
    config = frozen(encoder, **other)
    after_another = run(config, *speech)
    assert set(reads.values()) == {2}
    _vectors.cache_clear()
    assert timeless(after_another) == timeless(run(config, *speech))


@pytest.mark.parametrize(
    ("method", "changes", "once"),
    [
        ("mean", {}, True),
        ("statistics", {"encoder": JOINED}, True),
        ("flam", {}, False),
        ("mean", {"encoder": {"weigh_layers": True}}, False),
        ("mean", {"losses": {"terms": ["kl", "supcon"]}}, False),
        ("mean", {"encoder": {"train": "transformer"}}, False),
        ("mean", {"augment": {"noise_probability": 1.0}}, False),
    ],
    ids=str,
)
def test_frames_are_pooled_once_where_nothing_of_them_changes(encoder, method, changes, once):
    assert EmotionModel(frozen(encoder, method, **changes), 4).pools_once == once


def test_a_snapshot_of_vectors_goes_on_undisturbed(encoder, speech, tmp_path):
    config = frozen(encoder, "statistics", training={"epochs": 3}, pooling={"standardise": True})
    undisturbed = run(config, *speech)
    resumed = interrupted(config, *speech, tmp_path / "fold")
    assert timeless(resumed) == timeless(undisturbed)
