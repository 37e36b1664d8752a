"""Finished folds on disk: whole or not there, and what they cost."""

import json
import math
import os

import pytest

from ablation.archive import Archive, write_whole
from ablation.costs import Cost, kind_of
from core.identity import config_key
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
    archive.save(result, around_seconds=1.5)
    assert archive.costs() == [
        Cost(
            config_key=config_key(result.config),
            encoder="logmel-small",
            corpus="savee",
            epoch_seconds=result.seconds / 2,  # its two epochs
            fold=1,
            kind=kind_of(result.config),
            around_seconds=1.5,
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


def test_a_fold_that_finishes_leaves_no_trace_of_its_troubles(archive):
    log = archive.log_failure(RUN_ID, "why")
    assert log.read_text() == "why"
    archive.take_less(RUN_ID, None, 16)
    archive.save(result_of(RUN_ID))
    assert sorted(path.name for path in archive.folder(RUN_ID).iterdir()) == [
        "cost.json",
        "result.json",
    ]


def test_a_forgotten_fold_forgets_its_troubles(archive):
    archive.log_failure(RUN_ID, "why")
    archive.take_less(RUN_ID, None, 16)
    archive.forget(RUN_ID)
    assert archive.micro_batch(RUN_ID, None) is None
    assert list(archive.folder(RUN_ID).iterdir()) == []


def test_every_full_memory_halves_what_passes_at_once_until_nothing_is_left(archive):
    remarks = [archive.take_less(RUN_ID, None, 12) for _ in range(4)]
    assert remarks == [
        "out of memory: goes on with 6 utterances at once",
        "out of memory: goes on with 3 utterances at once",
        "out of memory: goes on with 1 utterance at once",
        None,
    ]
    assert archive.micro_batch(RUN_ID, None) == 1


@pytest.mark.parametrize(
    ("asked", "noted", "expected"),
    [
        (None, None, None),
        (8, None, 8),
        (None, "4", 4),
        (2, "4", 2),
        (8, "4", 4),
        (8, "", 8),
        (8, "0", 8),
        (8, "-3", 8),
        (None, "x", None),
        (None, "\xe9", None),
    ],
)
def test_the_smaller_of_what_is_asked_and_noted_counts(archive, asked, noted, expected):
    if noted is not None:
        archive.folder(RUN_ID).mkdir(parents=True)
        (archive.folder(RUN_ID) / "micro_batch.txt").write_text(noted, encoding="utf-8")
    assert archive.micro_batch(RUN_ID, asked) == expected


def test_what_is_noted_larger_than_a_batch_is_halved_from_the_batch(archive):
    assert archive.take_less(RUN_ID, 64, 16) == "out of memory: goes on with 8 utterances at once"


@pytest.mark.parametrize("text", ["", "nan", "inf", "{}", "soon", "1" * 500])
def test_a_calibration_whose_start_is_no_number_has_none(archive, tmp_path, text):
    archive.note_calibration([], start_seconds=4.5)
    assert archive.calibrated() == ([], 4.5)
    (path,) = tmp_path.rglob("start.txt")
    path.write_text(text)
    assert archive.calibrated()[1] in (0.0, 1e9)
