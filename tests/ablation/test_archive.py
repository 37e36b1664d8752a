"""Finished folds on disk: whole or not there, and what they cost."""

import json
import math
import os

import pytest

from ablation.archive import Archive, Cost, write_whole
from core.config import config_key
from tests.ablation.stand_ins import result_of

RUN_ID = "0123456789ab"


@pytest.fixture
def archive(tmp_path) -> Archive:
    return Archive(tmp_path / "runs")


def test_a_fold_is_read_back_as_it_was_saved(archive):
    result = result_of(RUN_ID)
    assert not archive.holds(RUN_ID)
    archive.save(result)
    assert archive.holds(RUN_ID)
    assert archive.load(RUN_ID) == result


def test_a_fold_tells_its_cost(archive):
    result = result_of(RUN_ID)
    archive.save(result)
    assert archive.costs() == [
        Cost(
            config_key=config_key(result.config),
            encoder="logmel-small",
            corpus="savee",
            epoch_seconds=result.seconds / 2,  # its two epochs
        )
    ]


def test_without_a_folder_there_are_no_costs(archive):
    assert archive.costs() == []


def test_a_cost_without_its_result_is_of_no_fold(archive):
    archive.save(result_of(RUN_ID))
    (archive.folder(RUN_ID) / "result.json").unlink()
    assert archive.costs() == []


COST = {"config_key": "k", "encoder": "e", "corpus": "c", "epoch_seconds": 2}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "3",
        "[]",
        '"text"',
        '["config_key"]',
        "{}",
        json.dumps(COST | {"epoch_seconds": "soon"}),
        json.dumps(COST | {"epoch_seconds": -1}),
        json.dumps(COST | {"epoch_seconds": math.nan}),
        json.dumps(COST | {"encoder": None}),
        json.dumps(COST | {"more": 1}),
        '{"config_key": "\xff"}'.encode("latin-1"),
    ],
)
def test_a_file_that_is_no_cost_is_left_out(archive, text):
    folder = archive.folder(RUN_ID)
    write_whole(folder / "result.json", "{}")
    (folder / "cost.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    other = archive.folder("b" * 12)
    write_whole(other / "result.json", "{}")
    write_whole(other / "cost.json", json.dumps(COST))
    assert archive.costs() == [Cost(config_key="k", encoder="e", corpus="c", epoch_seconds=2.0)]


def test_half_a_result_is_refused_by_name(archive):
    archive.save(result_of(RUN_ID))
    path = archive.folder(RUN_ID) / "result.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="must be a finished fold") as caught:
        archive.load(RUN_ID)
    assert str(caught.value).startswith(f"{path} must be a finished fold, found: ")
    assert str(caught.value).endswith("; delete it to train it again")


def test_a_missing_result_is_refused_by_name(archive):
    with pytest.raises(ValueError, match=r"result\.json must be a finished fold, found: "):
        archive.load(RUN_ID)


def test_writing_replaces_a_file_whole(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_whole(path, "first, and longer")
    write_whole(path, "sécond")
    assert path.read_text(encoding="utf-8") == "sécond"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_whole(path, "old")

    def broken(handle):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_others_may_read_what_is_written(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "file.txt", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644
