"""RAVDESS from generated names, and the real clips where they are at hand."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.corpora import ravdess
from core.corpora.catalog import CORPORA
from core.corpora.check import count, differences
from core.corpora.utterance import CorpusError

Plant = Callable[..., Path]


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory, plant: Plant, ravdess_names: list[str]
) -> Path:
    """The release with every actor folder twice, songs, videos and AppleDouble files."""
    root = tmp_path_factory.mktemp("ravdess") / "RAVDESS speech"
    names = [f"{name}.wav" for name in ravdess_names]
    names += [f"audio_speech_actors_01-24/{name}.wav" for name in ravdess_names]
    names += [f"{name.replace('/', '/._')}.wav" for name in ravdess_names[:20]]
    names += [name.replace("/03-01", "/03-02") + ".wav" for name in ravdess_names[:7]]
    names += [name.replace("/03-01", "/01-01") + ".mp4" for name in ravdess_names[:7]]
    return plant(root, names)


def assert_complete(parsed):
    counts = count(parsed.utterances)
    others = ("calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    assert counts.classes == {"neutral": 96, **dict.fromkeys(others, 192)}
    assert counts.speakers == {f"{actor:02d}": 60 for actor in range(1, 25)}
    assert all(u.gender == ("M" if u.speaker in ODD else "F") for u in parsed.utterances)
    assert all(u.session == u.speaker for u in parsed.utterances)
    assert differences(counts, CORPORA["ravdess"].expected) == []
    assert (parsed.missing, parsed.problems) == ([], [])


ODD = {f"{actor:02d}" for actor in range(1, 25, 2)}


def test_doubled_actor_folders_are_counted_once_and_said(release, ravdess_names):
    parsed = ravdess.parse(release)
    assert_complete(parsed)
    assert len(parsed.utterances) == 1440
    assert [u.path for u in parsed.utterances] == [
        release / f"{name}.wav" for name in sorted(ravdess_names, key=lambda name: name[9:])
    ]
    assert len(parsed.duplicates) == 1440
    assert parsed.notes[0] == "7 files of song or video left out"
    assert parsed.notes[1].startswith(
        "1440 duplicate copies ignored: 'audio_speech_actors_01-24/Actor_01/03-01-01-01-01-01-01"
    )


def test_the_emotion_is_the_third_field(release):
    labels = {utterance.name: utterance.label for utterance in ravdess.parse(release).utterances}
    assert {code: labels[f"03-01-{code}-01-02-01-12"] for code in ravdess.LABELS} == {
        **{"01": "neutral", "02": "calm", "03": "happy", "04": "sad"},
        **{"05": "angry", "06": "fearful", "07": "disgust", "08": "surprised"},
    }


def test_the_folder_above_and_upper_case_suffixes_will_do(tmp_path, plant, ravdess_names):
    names = [f"{name}.{'WAV' if i % 2 else 'flac'}" for i, name in enumerate(ravdess_names)]
    plant(tmp_path / "data" / "RAVDESS", names)
    assert_complete(ravdess.parse(tmp_path / "data"))


def test_links_in_a_circle_change_nothing(tmp_path, plant, ravdess_names):
    root = plant(tmp_path / "here", [f"{name}.wav" for name in ravdess_names])
    (root / "again").symlink_to(root, target_is_directory=True)
    (root / "Actor_01" / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "itself").symlink_to(root / "itself")
    parsed = ravdess.parse(root)
    assert_complete(parsed)
    assert (parsed.notes, parsed.duplicates) == ([], [])


def test_the_real_clips_check_clean(shared):
    folder = shared / "data" / "ravdess"
    if not folder.is_dir():
        pytest.skip(f"needs the real RAVDESS clips at {folder}")
    parsed = ravdess.parse(folder)
    assert_complete(parsed)
    assert (parsed.notes, parsed.duplicates) == ([], [])


def test_a_missing_clip_is_named(tmp_path, plant, ravdess_names):
    plant(tmp_path, [f"{name}.wav" for name in ravdess_names if name != ravdess_names[700]])
    parsed = ravdess.parse(tmp_path)
    assert len(parsed.utterances) == 1439
    assert parsed.missing == [ravdess_names[700].partition("/")[2]]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Actor_01/03-01-09-01-01-01-01.wav", "the release has no clip of this name"),
        ("Actor_01/03-01-01-02-01-01-01.wav", "the release has no clip of this name"),
        ("Actor_01/03-01-03-01-01-01-25.wav", "the release has no clip of this name"),
        ("Actor_02/03-01-03-01-01-01-01.wav", "the name says actor 01, the folder actor 02"),
    ],
)
def test_a_clip_under_a_wrong_name_is_left_out_and_named(tmp_path, plant, name, reason):
    plant(tmp_path, ["Actor_01/03-01-05-01-01-01-01.wav", name])
    parsed = ravdess.parse(tmp_path)
    assert [utterance.label for utterance in parsed.utterances] == ["angry"]
    assert parsed.problems == [f"{tmp_path / name}: {reason}"]
    assert len(parsed.missing) == 59


def test_a_folder_of_wrong_names_only_is_refused(tmp_path, plant):
    name = "Actor_01/03-01-09-01-01-01-01.wav"
    plant(tmp_path, [name])
    with pytest.raises(CorpusError) as caught:
        ravdess.parse(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no clip of RAVDESS\n"
        f"  {tmp_path / name}: the release has no clip of this name"
    )


def test_another_folder_is_refused_with_what_was_expected_and_found(tmp_path, plant):
    layout = "it must hold audio such as 'Actor_01/03-01-06-01-02-01-01.wav', at any depth"
    cases = {
        plant(tmp_path / "empty"): "an empty folder",
        plant(tmp_path, ["a file"]) / "a file": "a file",
        tmp_path / "nothing": "no such folder",
        plant(tmp_path / "savee", ["DC/a01.wav", "JE/a01.wav"]): "'DC', 'JE'",
        plant(tmp_path / "many", [f"{n}.wav" for n in range(8)]): (
            "'0.wav', '1.wav', '2.wav', '3.wav', '4.wav' and 3 more"
        ),
    }
    for root, found in cases.items():
        with pytest.raises(CorpusError) as caught:
            ravdess.parse(root)
        assert str(caught.value) == f"{root} is not RAVDESS: {layout}; found {found}"
