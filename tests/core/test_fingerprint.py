"""The fingerprint: of what a corpus holds and of nothing else, whatever its cache holds."""

import json
import os
from dataclasses import replace

import pytest

from core.audio import AudioError
from core.corpora.utterance import Utterance
from core.fingerprint import fingerprint
from tests.core.small_audio import corpus


@pytest.mark.parametrize("changed", ["label", "speaker", "session", "name"])
def test_the_fingerprint_changes_with_what_an_utterance_is(tmp_path, changed):
    utterances = corpus(tmp_path)
    altered = [*utterances[:-1], replace(utterances[-1], **{changed: "other"})]
    assert fingerprint(altered) != fingerprint(utterances)


def test_the_fingerprint_changes_with_one_bit_of_audio(tmp_path):
    utterances = corpus(tmp_path)
    before = fingerprint(utterances)
    content = bytearray(utterances[0].path.read_bytes())
    content[-1] ^= 1
    utterances[0].path.write_bytes(content)
    assert fingerprint(utterances) != before


def test_the_fingerprint_ignores_folder_order_and_gender(tmp_path):
    here, there = corpus(tmp_path / "here"), corpus(tmp_path / "there" / "deep")
    there = [replace(item, gender="F") for item in reversed(there)]
    assert fingerprint(here) == fingerprint(there)


def test_the_fingerprint_of_a_known_corpus_is_the_same_everywhere(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"known")
    item = Utterance(name="a", path=tmp_path / "a.wav", label="sad", speaker="1", session="2")
    # sha256 of: [["a", "sad", "1", "2", null, null, "<sha256 of known>"]]
    assert fingerprint([item]) == "457ed2c2c2f58a49"


def test_the_fingerprint_names_every_file_that_cannot_be_read(tmp_path):
    utterances = corpus(tmp_path)
    utterances[0].path.unlink()
    utterances[1].path.unlink()
    with pytest.raises(AudioError, match="2 audio files can't be used") as caught:
        fingerprint(utterances)
    assert [path for path, _ in caught.value.problems] == [
        str(item.path) for item in utterances[:2]
    ]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"x": 3}', b"\xff\xfe"])
def test_a_damaged_hash_cache_is_ignored_and_mended(tmp_path, damage):
    utterances = corpus(tmp_path / "corpus")
    before = fingerprint(utterances, tmp_path)
    cache = json.loads((tmp_path / "hashes.json").read_text())
    (tmp_path / "hashes.json").write_bytes(damage)
    assert fingerprint(utterances, tmp_path) == before
    assert cache.items() <= json.loads((tmp_path / "hashes.json").read_text()).items()


def test_wrong_entries_of_the_hash_cache_are_ignored(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    before = fingerprint(utterances, tmp_path)
    cache = json.loads((tmp_path / "hashes.json").read_text())
    wrong = [None, 3, [], ["a", "b", "c"], [1, 2, "0" * 64], [*next(iter(cache.values()))[:2], "0"]]
    (tmp_path / "hashes.json").write_text(json.dumps(dict(zip(cache, wrong, strict=True))))
    assert fingerprint(utterances, tmp_path) == before


def test_a_file_changed_a_moment_ago_is_never_taken_from_the_cache(tmp_path):
    utterances = corpus(tmp_path / "corpus")
    os.utime(utterances[0].path)
    fingerprint(utterances, tmp_path)
    cached = json.loads((tmp_path / "hashes.json").read_text())
    assert sorted(map(os.path.basename, cached)) == sorted(
        item.path.name for item in utterances[1:]
    )
