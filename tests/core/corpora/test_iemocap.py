"""IEMOCAP against the counts of the release, and against folders that are not quite it."""

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.corpora import iemocap
from core.corpora.catalog import CORPORA
from core.corpora.check import count, differences
from core.corpora.utterance import CorpusError, Parsed

Plant = Callable[..., Path]

LABEL_FILE = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
AUDIO = "Session1/sentences/wav/Ses01F_impro01"


def line(name: str, label: str) -> bytes:
    return f"[6.2901 - 8.2357]\t{name}\t{label}\t[2.5000, 2.5000, 2.5000]\n".encode()


@pytest.fixture(scope="module")
def parsed(iemocap_replica: Path) -> Parsed:
    return iemocap.parse(iemocap_replica)


@pytest.fixture
def small(tmp_path: Path, plant: Plant) -> Path:
    """Two turns, one of each speaker, the sensors on her."""
    turns = line("Ses01F_impro01_F000", "neu") + line("Ses01F_impro01_M000", "ang")
    names = [f"{AUDIO}/Ses01F_impro01_F000.wav", f"{AUDIO}/Ses01F_impro01_M000.wav"]
    return plant(tmp_path / "small", names, **{LABEL_FILE: turns})


def test_the_release_parses_to_the_published_counts(parsed):
    counts = count(parsed.utterances)
    assert counts.classes == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    assert counts.sessions == {
        "1": {"total": 1085, "F": 528, "M": 557},
        "2": {"total": 1023, "F": 481, "M": 542},
        "3": {"total": 1151, "F": 522, "M": 629},
        "4": {"total": 1031, "F": 528, "M": 503},
        "5": {"total": 1241, "F": 590, "M": 651},
    }
    assert counts.speakers == {
        **{"Ses01_F": 528, "Ses01_M": 557, "Ses02_F": 481, "Ses02_M": 542},
        **{"Ses03_F": 522, "Ses03_M": 629, "Ses04_F": 528, "Ses04_M": 503},
        **{"Ses05_F": 590, "Ses05_M": 651},
    }
    assert counts.total == 5531
    assert differences(counts, CORPORA["iemocap"].expected) == []
    assert (parsed.missing, parsed.duplicates, parsed.problems) == ([], [], [])


@pytest.mark.parametrize(
    ("session", "angry", "happy", "sad", "neutral"),
    [
        ("1", 229, 135 + 143, 194, 384),
        ("2", 137, 117 + 210, 197, 362),
        ("3", 240, 135 + 151, 305, 320),
        ("4", 327, 65 + 238, 143, 258),
        ("5", 170, 143 + 299, 245, 384),
    ],
)
def test_every_session_has_its_published_classes(parsed, session, angry, happy, sad, neutral):
    counts = count(u for u in parsed.utterances if u.session == session)
    assert counts.classes == {"angry": angry, "happy": happy, "neutral": neutral, "sad": sad}


def test_every_utterance_has_the_label_and_the_audio_of_its_own_name(parsed, iemocap_labels):
    names = [utterance.name for utterance in parsed.utterances]
    assert names == sorted(iemocap_labels)
    for utterance in parsed.utterances:
        assert utterance.label == iemocap.LABELS[iemocap_labels[utterance.name]]
        assert utterance.path.stem == utterance.name
        assert (utterance.start_s, utterance.end_s) == (None, None)
    assert all(utterance.path.is_file() for utterance in parsed.utterances)


@pytest.mark.parametrize(
    ("dialogue", "turns"),
    [
        ("Ses03M_impro05a", 44),
        ("Ses03M_impro05b", 46),
        ("Ses03M_impro08a", 32),
        ("Ses03M_impro08b", 28),
        ("Ses05M_script01_1b", 24),
    ],
)
def test_dialogues_with_irregular_names_are_read(parsed, iemocap_labels, dialogue, turns):
    assert sum(1 for name in iemocap_labels if name.startswith(f"{dialogue}_")) == turns
    assert sum(1 for u in parsed.utterances if u.name.startswith(f"{dialogue}_")) == turns


def test_what_was_merged_and_dropped_is_said(parsed):
    dropped = "dis 644, fea 644, fru 1288, oth 644, sur 644, xxx 644"
    assert parsed.notes == [
        "1041 turns labelled exc are counted as happy",
        f"4508 turns of other labels dropped ({dropped})",
    ]


def test_the_speaker_is_the_last_letter_and_not_the_wearer_of_the_sensors(parsed):
    wearers = [utterance.name[5] for utterance in parsed.utterances]
    speakers = [utterance.gender for utterance in parsed.utterances]
    assert sum(w != s for w, s in zip(wearers, speakers, strict=True)) == 2750
    assert all(u.speaker == f"Ses{u.name[3:5]}_{u.gender}" for u in parsed.utterances)


def test_a_speaker_from_the_wrong_letter_is_found_by_the_counts(iemocap_replica, monkeypatch):
    wearer = re.compile(r"Ses(?P<session>[0-9]{2})(?P<speaker>[FM])_\w+_[FM][0-9A-Z]+", re.ASCII)
    monkeypatch.setattr(iemocap, "TURN_NAME", wearer)
    counts = count(iemocap.parse(iemocap_replica).utterances)
    found = differences(counts, CORPORA["iemocap"].expected)
    assert [text.partition(":")[0] for text in found[:2]] == [
        "session 1, women",
        "session 1, men",
    ]


def test_a_full_size_tree_parses_in_less_than_three_seconds(iemocap_replica):
    start_s = time.process_time()
    iemocap.parse(iemocap_replica)
    assert time.process_time() - start_s < 3


def test_the_folder_above_and_the_one_above_that_will_do(iemocap_replica, parsed):
    for root in (iemocap_replica.parent, iemocap_replica.parent.parent):
        names = [utterance.name for utterance in iemocap.parse(root).utterances]
        assert names == [utterance.name for utterance in parsed.utterances]


def test_folder_and_suffix_names_may_be_in_another_case(tmp_path, plant):
    turns = line("Ses02M_script01_1_F000", "EXC")
    name = "session2/SENTENCES/WAV/Ses02M_script01_1_F000.WAV"
    plant(tmp_path, [name], **{"session2/Dialog/EMOEVALUATION/Ses02M_script01_1.TXT": turns})
    (utterance,) = iemocap.parse(tmp_path).utterances
    assert (utterance.label, utterance.speaker, utterance.session) == ("happy", "Ses02_F", "2")
    assert utterance.path == tmp_path / name


def test_turns_without_audio_are_named_missing(small):
    (small / AUDIO / "Ses01F_impro01_M000.wav").unlink()
    parsed = iemocap.parse(small)
    assert [utterance.name for utterance in parsed.utterances] == ["Ses01F_impro01_F000"]
    assert parsed.missing == ["Ses01F_impro01_M000"]


def test_audio_without_a_label_is_remarked(small, plant):
    plant(small, [f"{AUDIO}/Ses01F_impro01_M001.wav"])
    assert iemocap.parse(small).notes == [
        "1 audio files without a label ignored: 'Ses01F_impro01_M001'"
    ]


def test_a_second_copy_of_the_release_is_remarked_and_not_counted(small):
    shutil.copytree(small / "Session1", small / "again" / "Session1")
    parsed = iemocap.parse(small.parent)
    assert len(parsed.utterances) == 2
    assert parsed.duplicates == []  # the nearest sessions only
    shutil.copytree(small, small.parent / "other")
    parsed = iemocap.parse(small.parent)
    assert [path.name for path in parsed.duplicates] == [
        "Ses01F_impro01_F000.wav",
        "Ses01F_impro01_M000.wav",
    ]
    assert parsed.notes[0].startswith("2 duplicate copies ignored: 'small/Session1/sentences/")
    assert {utterance.path.parts[-6] for utterance in parsed.utterances} == {"other"}


def test_another_label_for_the_same_turn_elsewhere_is_refused(small):
    shutil.copytree(small, small.parent / "other")
    other = small.parent / "other" / LABEL_FILE
    other.write_bytes(line("Ses01F_impro01_F000", "sad"))
    expected = f"{small / LABEL_FILE}: Ses01F_impro01_F000 is neu here, sad elsewhere"
    with pytest.raises(CorpusError, match=re.escape(expected)):
        iemocap.parse(small.parent)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", ": must hold a line for each turn; found none"),
        (b"C-E1:\tAnger;\t()\n", ": must hold a line for each turn; found none"),
        (
            b"\n[1.0 - 2.0]\tSes01F_impro01_F000\n",
            ":2: a turn must read '[start - end] Ses01F_impro01_F000 neu [v, a, d]'; "
            "found '[1.0 - 2.0]\\tSes01F_impro01_F000'",
        ),
        (
            b"[1.0 - 2.0]\tSes01F_impro01_F000\t\t[2.5, 2.5, 2.5]\n",
            ":1: a turn must read '[start - end] Ses01F_impro01_F000 neu [v, a, d]'; "
            "found '[1.0 - 2.0]\\tSes01F_impro01_F000\\t\\t[2.5, 2.5, 2.5]'",
        ),
        (
            line("Ses01F_impro01_X000", "neu"),
            ":1: a turn must read '[start - end] Ses01F_impro01_F000 neu [v, a, d]'; "
            "found '[6.2901 - 8.2357]\\tSes01F_impro01_X000\\tneu\\t[2.5000, 2.5000, 2.5000]'",
        ),
        (
            line("Ses01F_impro01_F000", "neu") + line("Ses01F_impro01_F000", "ang"),
            ":2: Ses01F_impro01_F000 is ang here, neu above",
        ),
        (
            line("Ses01F_impro01_F000", "nue"),
            ":1: the label of Ses01F_impro01_F000 must be one of ang, hap, exc, sad, neu, dis, "
            "fea, fru, oth, sur, xxx; found 'nue'",
        ),
        (
            line("Ses01F_impro01_F000", "n" * 5000),
            ":1: the label of Ses01F_impro01_F000 must be one of ang, hap, exc, sad, neu, dis, "
            f"fea, fru, oth, sur, xxx; found '{'n' * 80}'",
        ),
        (
            line(f"Ses01F_{'x' * 5000}_F000", "neu"),
            ":1: a turn must read '[start - end] Ses01F_impro01_F000 neu [v, a, d]'; "
            f"found '[6.2901 - 8.2357]\\tSes01F_{'x' * 55}'",
        ),
    ],
)
def test_a_label_file_that_cannot_be_trusted_is_named_with_its_line(small, content, problem):
    (small / LABEL_FILE).write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        iemocap.parse(small)
    assert str(caught.value) == (
        f"{small}: the labels of IEMOCAP cannot be trusted\n  {small / LABEL_FILE}{problem}"
    )


def test_a_file_name_that_could_steer_a_terminal_is_quoted(small):
    odd = small / LABEL_FILE.replace("Ses01F", "Ses01F\x1b[2J")
    (small / LABEL_FILE).rename(odd)
    odd.write_bytes(line("Ses01F_impro01_X000", "neu"))
    with pytest.raises(CorpusError) as caught:
        iemocap.parse(small)
    assert caught.value.problems[0].startswith(f"{str(odd)!r}:1: a turn must read ")


def test_a_folder_of_labels_that_cannot_be_listed_is_refused(small, monkeypatch):
    listed = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("EmoEvaluation"):
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr("os.scandir", refuse)
    expected = f"{(small / LABEL_FILE).parent}: must be a folder that can be listed: "
    with pytest.raises(CorpusError, match=re.escape(expected)):
        iemocap.parse(small)


def test_a_session_without_labels_is_refused(small, plant):
    plant(small, ["Session2/sentences/wav/Ses02F_impro01/Ses02F_impro01_F000.wav"])
    expected = f"{small / 'Session2'}: must hold dialog/EmoEvaluation/Ses*.txt; found none"
    with pytest.raises(CorpusError, match=re.escape(expected)):
        iemocap.parse(small)


def test_labels_without_any_audio_are_refused(small):
    shutil.rmtree(small / "Session1/sentences")
    with pytest.raises(CorpusError) as caught:
        iemocap.parse(small)
    assert str(caught.value) == (
        f"{small}: IEMOCAP must hold audio of its turns, such as "
        "'Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav'; found none of 2"
    )


def test_another_folder_is_refused_with_what_was_expected_and_found(tmp_path, plant):
    plant(tmp_path, ["session1/S01A/P/x.wav", "Evalution.txt"])
    with pytest.raises(CorpusError) as caught:
        iemocap.parse(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not IEMOCAP: it must hold folders Session1 to Session5 with labels such as "
        "'Session1/dialog/EmoEvaluation/Ses01F_impro01.txt' and audio such as "
        "'Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav'; "
        "found 'Evalution.txt', 'session1'"
    )


@settings(max_examples=150, deadline=None, database=None)
@given(content=st.binary(max_size=200) | st.text(alphabet="[]0. -\t\r\nSes1FM_neu").map(str.encode))
def test_any_bytes_give_labels_or_a_corpus_error(content, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "iemocap-fuzz"
    label_file, audio = root / LABEL_FILE, root / AUDIO / "Ses01F_impro01_F000.wav"
    for path in (label_file, audio):
        path.parent.mkdir(parents=True, exist_ok=True)
    audio.touch()
    label_file.write_bytes(line("Ses01F_impro01_F000", "neu") + content)
    try:
        outcome = ", ".join(utterance.label for utterance in iemocap.parse(root).utterances)
    except CorpusError as error:
        outcome = str(error)
    assert outcome == "neutral" or LABEL_FILE in outcome
