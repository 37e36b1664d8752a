"""The walk over a folder and the error that gathers problems."""

import os
import pickle
from pathlib import Path

import pytest

from core.corpora import ravdess, savee
from core.corpora.utterance import (
    CorpusError,
    label_lines,
    one_file_each,
    printable,
    visible_files,
    walk_files,
)


def test_a_long_list_of_problems_is_cut_and_the_rest_counted():
    error = CorpusError("broken", [f"problem {n}" for n in range(23)])
    lines = str(error).split("\n")
    assert lines[0] == "broken"
    assert lines[1:21] == [f"  problem {n}" for n in range(20)]
    assert lines[21:] == ["  and 3 more"]
    assert len(error.problems) == 23


def test_the_error_survives_a_trip_between_processes():
    error = pickle.loads(pickle.dumps(CorpusError("broken", ["a", "b"])))
    assert str(error) == "broken\n  a\n  b"
    assert error.problems == ["a", "b"]


def test_hidden_files_and_folders_are_not_walked(tmp_path, plant):
    plant(tmp_path, ["a.wav", "._a.wav", ".trash/b.wav", "c/D.WAV", "e.txt"])
    assert walk_files(tmp_path, {".wav"}) == [tmp_path / "a.wav", tmp_path / "c/D.WAV"]


def test_a_folder_that_goes_by_two_names_is_walked_under_both(tmp_path, plant):
    root = plant(tmp_path, ["store/first/a01.wav"])
    (root / "DC").symlink_to(root / "store/first", target_is_directory=True)
    found = [path.relative_to(root).as_posix() for path in walk_files(root, {".wav"})]
    assert found == ["DC/a01.wav", "store/first/a01.wav"]


def test_a_file_keeps_its_own_path_and_not_that_of_a_link(tmp_path, plant):
    root = plant(tmp_path, ["z/Actor_01/b.wav", "a/c.wav"])
    (root / "a/Actor_01").symlink_to(root / "z/Actor_01", target_is_directory=True)
    found = [path.relative_to(root).as_posix() for path in walk_files(root, {".wav"})]
    assert found == ["a/c.wav", "z/Actor_01/b.wav"]


def test_many_folders_linked_to_one_another_come_to_an_end(tmp_path, plant):
    folders = [plant(tmp_path / f"f{n}", ["a.wav"]) for n in range(8)]
    for folder in folders:
        for other in folders:
            (folder / f"to {other.name}").symlink_to(other, target_is_directory=True)
    found = walk_files(tmp_path, {".wav"})
    assert {path.resolve() for path in found} == {folder / "a.wav" for folder in folders}


def test_links_that_lead_nowhere_are_no_files(tmp_path):
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    (tmp_path / "itself.wav").symlink_to(tmp_path / "itself.wav")
    assert walk_files(tmp_path, {".wav"}) == []


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="nothing: must be a folder that can be listed: "):
        walk_files(tmp_path / "nothing", {".wav"})


def test_a_label_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="must be a label file that can be read: "):
        label_lines(tmp_path)


def test_lines_end_as_on_any_system_and_nowhere_else(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\n b\x85\x0cc \rd\n")
    assert [line for line in label_lines(path) if line] == ["a", "b\x85\x0cc", "d"]


def test_the_nearest_file_is_kept_then_wav_then_the_first_by_path(tmp_path, plant):
    names = ["x/a.wav", "a.flac", "b.flac", "b.wav", "y/c.wav", "x/c.wav"]
    plant(tmp_path, names)
    kept, copies = one_file_each(((tmp_path / name).stem, tmp_path / name) for name in names)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in kept.items()} == {
        **{"a": "a.flac", "b": "b.wav", "c": "x/c.wav"}
    }
    assert [path.relative_to(tmp_path).as_posix() for path in copies] == [
        *("b.flac", "x/a.wav", "y/c.wav")
    ]


def test_a_second_way_to_the_same_file_is_no_copy(tmp_path, plant):
    plant(tmp_path, ["DC/a01.wav"])
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/a01.wav").symlink_to(tmp_path / "DC/a01.wav")
    named = [("a01", path) for path in walk_files(tmp_path, {".wav"})]
    assert len(named) == 2
    assert one_file_each(named) == ({"a01": tmp_path / "DC/a01.wav"}, [])


def test_a_path_is_quoted_only_where_it_could_steer_a_terminal():
    assert printable(Path("größe 音/a b.wav")) == "größe 音/a b.wav"
    assert printable(Path("a\x1b[2J\n")) == r"'a\x1b[2J\n'"
    assert printable("\udcff") == r"'\udcff'"


def test_only_the_files_of_a_folder_are_listed_in_their_order(tmp_path, plant):
    plant(tmp_path, ["b.txt", "A.txt", ".hidden", "sub/c.txt"])
    (tmp_path / "z").symlink_to("b.txt")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    assert [path.name for path in visible_files(tmp_path)] == ["A.txt", "b.txt", "z"]


@pytest.mark.parametrize(
    ("parse", "good", "bad"),
    [
        (ravdess.parse, "03-01-06-01-02-01-01.wav", "\x1b[2J/03-01-06-01-02-01-99.wav"),
        (savee.parse, "DC_a01.wav", "DC/a\x1b[2J.wav"),
    ],
    ids=["ravdess", "savee"],
)
def test_a_clip_that_is_left_out_is_named_without_steering_a_terminal(
    tmp_path, plant, parse, good, bad
):
    plant(tmp_path, [good, bad])
    expected = f"{str(tmp_path / bad)!r}: the release has no clip of this name"
    assert parse(tmp_path).problems == [expected]
