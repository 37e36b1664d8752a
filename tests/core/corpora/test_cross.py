"""Two sides of a cross-corpus study: which utterances, under which classes, on which side."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.corpora.cross import class_mapping, cross_corpus
from core.corpora.folds import split
from core.corpora.synthetic import write_corpus
from core.corpora.utterance import Parsed, Utterance

RAVDESS, SAVEE, IEMOCAP = CORPORA["ravdess"], CORPORA["savee"], CORPORA["iemocap"]


def corpus_of(corpus: Corpus, labels: list[str], problems: tuple[str, ...] = ()) -> Corpus:
    """A corpus that holds one utterance of each label from each test group's first key."""
    scheme = corpus.schemes[corpus.default_scheme]
    utterances = [
        Utterance(
            name=f"{group[0]}-{label}",
            path=Path("x.wav"),
            label=label,
            speaker=group[0],
            session=group[0],
        )
        for group in scheme.groups
        for label in labels
    ]
    parsed = Parsed(utterances=utterances, notes=["a note"], missing=[], problems=list(problems))
    return replace(corpus, parse=lambda folder: parsed, expected=None)


def test_the_classes_are_those_that_both_sides_have_in_the_training_side_s_order():
    pair = cross_corpus([RAVDESS], SAVEE, {})
    assert pair.name == "ravdess-to-savee"
    assert pair.sources == ("ravdess", "savee")
    # all of SAVEE's seven; calm alone is missing
    assert pair.classes == (
        *("neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
    )
    assert cross_corpus([IEMOCAP], RAVDESS, {}).classes == ("angry", "happy", "sad", "neutral")


def test_several_corpora_teach_what_any_of_them_has():
    pair = cross_corpus([IEMOCAP, RAVDESS], SAVEE, {})
    assert pair.name == "iemocap-ravdess-to-savee"
    assert pair.classes == (
        *("angry", "happy", "sad", "neutral", "fearful", "disgust", "surprised"),
    )


def test_a_class_map_renames_and_leaves_out():
    class_map = {"ravdess": {"calm": "neutral", "disgust": None}}
    assert class_mapping(RAVDESS, class_map) == {
        "neutral": "neutral",
        "calm": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "fearful": "fearful",
        "disgust": None,
        "surprised": "surprised",
    }
    pair = cross_corpus([RAVDESS], SAVEE, class_map)
    assert "disgust" not in pair.classes
    assert pair.remark.endswith(
        "tested on savee (angry, fearful, happy, neutral, sad, surprised, without disgust)"
    )
    parsed = cross_corpus(
        [corpus_of(RAVDESS, ["calm", "neutral", "disgust", "happy"])],
        corpus_of(SAVEE, ["neutral", "disgust", "happy"]),
        class_map,
    ).parse(Path(), Path())
    # six groups of RAVDESS and four speakers of SAVEE, an utterance of each label in each
    sides = Counter((item.name.partition("/")[0], item.label) for item in parsed.utterances)
    assert sides == {
        ("ravdess", "neutral"): 12,
        ("ravdess", "happy"): 6,
        ("savee", "neutral"): 4,
        ("savee", "happy"): 4,
    }
    assert parsed.notes[0] == (
        "trained on 18 utterances of ravdess: neutral, calm as neutral, happy, sad, angry, "
        "fearful, surprised, without disgust"
    )
    assert "ravdess: a note" in parsed.notes


@pytest.mark.parametrize("validate", [False, True])
def test_the_one_fold_trains_on_one_corpus_and_tests_on_the_other(validate):
    pair = cross_corpus([corpus_of(RAVDESS, ["happy", "sad"])], corpus_of(SAVEE, ["happy"]), {})
    utterances = pair.parse(Path(), Path()).utterances
    scheme = pair.schemes[pair.default_scheme]
    assert scheme.folds == 1
    made = split(utterances, scheme, 1, validate)
    assert {item.speaker for item in made.test} == {
        f"savee/{who}" for who in ("DC", "JE", "JK", "KL")
    }
    first = {"ravdess/01"}  # the first key of RAVDESS's first group
    assert {item.speaker for item in made.validation} == (first if validate else set())
    assert {item.speaker for item in made.train} == {
        f"ravdess/{actor}" for actor in ("01", "05", "09", "13", "17", "21")
    } - (first if validate else set())
    with pytest.raises(ValueError, match=r"fold must lie in 1\.\.1, got 2"):
        split(utterances, scheme, 2, validate)


def test_where_a_side_parts_from_the_papers_corpus_is_a_problem_of_the_pair():
    side = corpus_of(SAVEE, ["happy", "sad"], problems=("DC/x.wav: odd",))
    parsed = cross_corpus([corpus_of(RAVDESS, ["happy", "sad"])], side, {}).parse(Path(), Path())
    assert parsed.problems == ["savee: DC/x.wav: odd"]


@pytest.mark.parametrize(
    ("train", "test", "class_map", "text"),
    [
        ([SAVEE], SAVEE, {}, "must stand once in train_on and test_on, found ['savee'] twice"),
        (
            [RAVDESS],
            SAVEE,
            {"savee": {"hapy": "happy"}},
            "found 'hapy'; did you mean 'happy'?",
        ),
        (
            [RAVDESS],
            IEMOCAP,
            {"iemocap": {"angry": None, "happy": None, "sad": None}},
            "both sides must share two classes or more, found neutral",
        ),
    ],
)
def test_sides_that_do_not_fit_are_refused(train, test, class_map, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        cross_corpus(train, test, class_map)


def test_real_layouts_are_parsed_on_both_sides(tmp_path):
    folders = [write_corpus(name, tmp_path, 0, 16) for name in ("ravdess", "savee")]
    pair = cross_corpus([RAVDESS], SAVEE, {"ravdess": {"calm": "neutral"}})
    parsed = pair.parse(*folders)
    alone = RAVDESS.parse(folders[0]).utterances, SAVEE.parse(folders[1]).utterances
    assert len(parsed.utterances) == len(alone[0]) + len(alone[1])
    assert all(item.path.is_file() for item in parsed.utterances)
    assert any("in all:" in text for text in parsed.problems)  # a small corpus is not the paper's
