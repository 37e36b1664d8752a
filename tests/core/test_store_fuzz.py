"""Damaged files of a store: it is opened as it was built, or refused and built anew."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from core.audio import AudioError
from core.corpora.utterance import Utterance
from core.store import AudioStore, StoreReport, build_store
from tests.core.small_audio import corpus, leftovers
from tests.mutations import (
    INPUTS,
    ON_TEXT,
    bounded,
    bounded_memory,
    change_tree,
    damaged,
    rewrite,
)

SEED = 20_240_310
BUILDS = max(INPUTS // 50, 1)  # after the damage
VALUES = [
    *(None, True, 0, 1, -1, 4, 800, 2**31, 2**62, 10**400, 0.5, 800.0, float("nan"), "", "800"),
    *([], {}, [800], {"u001": 800}, "x" * 1000, "\x1b"),
]
KEYS = ["format", "lengths", "left_out", "u000", "u001", "u009", "", "\x1b"]


def changed(content: bytes, index: int) -> bytes:
    """Content number `index` in the place of the given JSON; the same in every process."""
    chance = random.Random(SEED + index)
    if chance.random() < 0.3:
        return damaged(content, ON_TEXT, chance)
    tree = json.loads(content)
    for _ in range(chance.choice([1, 1, 2])):
        change_tree(tree, chance, KEYS, VALUES)
    return json.dumps(tree).encode()


@pytest.fixture
def utterances(tmp_path: Path) -> list[Utterance]:
    return [item for item in corpus(tmp_path / "corpus") if item.name != "u002"]  # at 16 kHz


@pytest.fixture
def built(tmp_path: Path, utterances: list[Utterance]) -> StoreReport:
    return build_store(utterances, tmp_path / "s", workers=1)


def test_a_damaged_index_is_refused_or_names_the_samples_that_there_are(tmp_path, built):
    folder = tmp_path / "s"
    path = folder / built.fingerprint / "index.json"
    whole = path.read_bytes()
    samples = AudioStore.open(folder, built.fingerprint).total_s
    ended: Counter[str] = Counter()
    with bounded_memory():
        for index in range(INPUTS):
            rewrite(path, changed(whole, index))
            with bounded(f"index {index}"):
                try:
                    store = AudioStore.open(folder, built.fingerprint)
                except ValueError as error:
                    ended["refused"] += 1
                    message = str(error)
                    assert message.startswith(f"{path.parent} must "), index
                except Exception as error:
                    pytest.fail(f"index {index}: {type(error).__name__}: {error}")
                else:
                    ended["read"] += 1
                    assert store.total_s == samples
                    for name, length in store.lengths.items():
                        assert len(store.waveform(name)) == length > 0, index
    assert min(ended["refused"], ended["read"]) > INPUTS // 100, ended


@pytest.mark.parametrize("name", ["index.json", "samples.f32", "hashes.json", "left_out.json"])
def test_a_store_whose_files_are_damaged_is_built_anew(tmp_path, utterances, name):
    folder = tmp_path / "s"
    spoilt = utterances[0].name
    utterances[0].path.write_bytes(b"no audio")
    built = build_store(utterances, folder, workers=1, skip_bad_audio=True)
    (path,) = folder.rglob(f"*{name}")
    whole = path.read_bytes()
    for index in range(BUILDS):
        if name == "samples.f32":
            rewrite(path, whole[: random.Random(SEED + index).randrange(len(whole))])
        else:
            rewrite(path, changed(whole, index))
        report = build_store(utterances, folder, workers=1, skip_bad_audio=True)
        assert report.left_out.keys() == {spoilt}, index
        if name != "hashes.json":  # which is believed where it stays in form
            assert report.fingerprint == built.fingerprint, index
            assert report.total_s == built.total_s, index
        with pytest.raises(AudioError, match=spoilt):
            build_store(utterances, folder, workers=1)
        assert leftovers(folder) == []
