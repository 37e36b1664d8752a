"""SAVEE in the official and the flat layout."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.corpora import savee
from core.corpora.catalog import CORPORA
from core.corpora.check import count, differences
from core.corpora.utterance import CorpusError

Plant = Callable[..., Path]

LAYOUTS: dict[str, Callable[[str], str]] = {
    "official": lambda name: f"AudioData/{name}.wav",
    "flat": lambda name: f"ALL/{name.replace('/', '_')}.wav",
    "upper case": lambda name: f"Audio Data/{name.upper()}.WAV",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_parses_to_the_published_counts(tmp_path, plant, savee_names, layout):
    names = [LAYOUTS[layout](name) for name in savee_names]
    plant(
        tmp_path, [*names, "AudioData/DC/._a01.wav", "AudioData/Info.txt", "VideoData/DC/a01.avi"]
    )
    parsed = savee.parse(tmp_path)
    counts = count(parsed.utterances)
    assert counts.classes == {
        **{"angry": 60, "disgust": 60, "fearful": 60, "happy": 60},
        **{"neutral": 120, "sad": 60, "surprised": 60},
    }
    assert counts.speakers == {"DC": 120, "JE": 120, "JK": 120, "KL": 120}
    assert counts.sessions["KL"] == {"total": 120, "F": 0, "M": 120}
    assert differences(counts, CORPORA["savee"].expected) == []
    assert [u.name for u in parsed.utterances] == sorted(n.replace("/", "_") for n in savee_names)
    assert (parsed.notes, parsed.missing, parsed.problems) == ([], [], [])


def test_two_letter_emotions_are_not_taken_for_one_letter_ones(tmp_path, plant):
    plant(tmp_path, [f"DC_{code}01.wav" for code in savee.LABELS])
    assert {u.name: u.label for u in savee.parse(tmp_path).utterances} == {
        **{"DC_a01": "angry", "DC_d01": "disgust", "DC_f01": "fearful", "DC_h01": "happy"},
        **{"DC_n01": "neutral", "DC_sa01": "sad", "DC_su01": "surprised"},
    }


def test_both_layouts_at_once_are_counted_once(tmp_path, plant, savee_names):
    for layout in ("official", "flat"):
        plant(tmp_path, [LAYOUTS[layout](name) for name in savee_names])
    parsed = savee.parse(tmp_path)
    assert len(parsed.utterances) == 480
    assert len(parsed.duplicates) == 480
    assert parsed.notes[0].startswith("480 duplicate copies ignored: 'AudioData/DC/a01.wav', ")


def test_a_missing_clip_is_named(tmp_path, plant, savee_names):
    plant(tmp_path, [f"{name}.wav" for name in savee_names if name != "JK/sa07"])
    assert savee.parse(tmp_path).missing == ["JK_sa07"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("JE/x01.wav", "the release has no clip of this name"),
        ("JE/a16.wav", "the release has no clip of this name"),
        ("KL/JE_a01.wav", "the name says speaker JE, the folder KL"),
    ],
)
def test_a_clip_under_a_wrong_name_is_left_out_and_named(tmp_path, plant, name, reason):
    plant(tmp_path, ["DC/a01.wav", name])
    parsed = savee.parse(tmp_path)
    assert [utterance.name for utterance in parsed.utterances] == ["DC_a01"]
    assert parsed.problems == [f"{tmp_path / name}: {reason}"]


def test_a_folder_of_wrong_names_only_is_refused(tmp_path, plant):
    plant(tmp_path, ["DC/x01.wav"])
    with pytest.raises(CorpusError, match=r"holds no clip of SAVEE\n  .*DC/x01\.wav: the release"):
        savee.parse(tmp_path)


@pytest.mark.parametrize(("names", "found"), [(["a01.wav"], "'a01.wav'"), ([], "an empty folder")])
def test_another_folder_is_refused_with_what_was_expected_and_found(tmp_path, plant, names, found):
    plant(tmp_path, names)
    with pytest.raises(CorpusError) as caught:
        savee.parse(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not SAVEE: it must hold audio such as 'AudioData/DC/a01.wav' or "
        f"'DC_a01.wav', at any depth; found {found}"
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="found no such folder"):
        savee.parse(tmp_path / "nothing")
