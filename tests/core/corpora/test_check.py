"""Counts and the words for their differences."""

from pathlib import Path

from core.corpora.catalog import CORPORA
from core.corpora.check import Counts, Expected, class_differences, count, differences
from core.corpora.iemocap import LABELS
from core.corpora.utterance import Utterance

EXPECTED = Expected(
    classes={"sad": 1084, "happy": 1},
    sessions={"1": {"total": 1085, "F": 1000, "M": 85}},
    speakers={"F1": 1000, "M1": 85},
)
AS_EXPECTED = Counts(
    classes={"sad": 1084, "happy": 1},
    sessions={"1": {"total": 1085, "F": 1000, "M": 85}},
    speakers={"F1": 1000, "M1": 85},
)


def utterance(label: str, speaker: str, session: str, gender: str) -> Utterance:
    return Utterance(
        name="", path=Path(), label=label, speaker=speaker, session=session, gender=gender
    )


def test_utterances_are_counted_by_class_session_gender_and_speaker():
    counts = count(
        [
            utterance("sad", "b", "2", "F"),
            utterance("happy", "a", "1", "M"),
            utterance("sad", "a", "1", "M"),
            utterance("sad", "c", "1", ""),
        ]
    )
    assert counts == Counts(
        classes={"happy": 1, "sad": 3},
        sessions={"1": {"total": 3, "F": 0, "M": 2}, "2": {"total": 1, "F": 1, "M": 0}},
        speakers={"a": 2, "b": 1, "c": 1},
    )
    assert list(counts.classes) == ["happy", "sad"]
    assert counts.total == 4


def test_equal_counts_have_no_difference():
    assert differences(AS_EXPECTED, EXPECTED) == []


def test_every_difference_is_said_in_words():
    counts = Counts(
        classes={"sad": 1083, "calm": 1},
        sessions={
            "1": {"total": 1083, "F": 1000, "M": 83},
            "2": {"total": 1, "F": 0, "M": 0},
        },
        speakers={"F1": 1000, "M1": 83, "Z": 1},
    )
    assert differences(counts, EXPECTED) == [
        "in all: 1084 utterances, the paper's corpus has 1085",
        "sad: 1083 utterances, the paper's corpus has 1084",
        "happy: no utterances, the paper's corpus has 1",
        "calm: 1 utterance, the paper's corpus has none",
        "session 1: 1083 utterances, the paper's corpus has 1085",
        "session 1, men: 83 utterances, the paper's corpus has 85",
        "session 2: 1 utterance, the paper's corpus has none",
        "speaker M1: 83 utterances, the paper's corpus has 85",
        "speaker Z: 1 utterance, the paper's corpus has none",
    ]


def test_a_session_that_is_absent_is_said():
    counts = Counts(classes=AS_EXPECTED.classes, sessions={}, speakers=AS_EXPECTED.speakers)
    assert differences(counts, EXPECTED) == [
        "session 1: no utterances, the paper's corpus has 1085",
        "session 1, women: no utterances, the paper's corpus has 1000",
        "session 1, men: no utterances, the paper's corpus has 85",
    ]


def test_what_is_not_known_of_the_paper_is_not_compared():
    known = Expected(classes={"sad": 2}, speakers={"F1": None, "M1": None})
    sessions = {"9": {"total": 2, "F": 2, "M": 0}}
    counts = Counts(classes={"sad": 2}, sessions=sessions, speakers={"F1": 2})
    assert differences(counts, known) == ["speaker M1: no utterance, the paper's corpus has some"]


def test_classes_are_compared_within_sessions_where_the_paper_knows_them():
    known = Expected(classes={}, session_classes={"1": {"sad": 2, "happy": 1}})
    utterances = [
        utterance("sad", "a", "1", "F"),
        utterance("happy", "a", "1", "F"),
        utterance("happy", "a", "1", "F"),
        utterance("sad", "b", "2", "M"),
    ]
    assert class_differences(utterances, known) == [
        "session 1, sad: 1 utterance, the paper's corpus has 2",
        "session 1, happy: 2 utterances, the paper's corpus has 1",
        "session 2, sad: 1 utterance, the paper's corpus has none",
    ]
    assert class_differences(utterances, Expected(classes={})) == []


def test_the_published_labels_of_iemocap_agree_session_by_session(iemocap_labels):
    utterances = [
        utterance(LABELS[label], "", name[4], "") for name, label in iemocap_labels.items()
    ]
    expected = CORPORA["iemocap"].expected
    assert class_differences(utterances, expected) == []
    assert sum(sum(classes.values()) for classes in expected.session_classes.values()) == 5531
