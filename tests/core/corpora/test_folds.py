"""Folds: who is tested, who is held out, and that nobody is on two sides."""

import re
from pathlib import Path

import pytest

from core.corpora.catalog import CORPORA
from core.corpora.folds import FoldScheme, inner_groups, split
from core.corpora.utterance import Utterance

SESSIONS = FoldScheme("sessions", "session", (("1",), ("2",), ("3",)))


def utterance(name: str, speaker: str, session: str) -> Utterance:
    path = Path(f"{name}.wav")
    return Utterance(name=name, path=path, label="sad", speaker=speaker, session=session)


PEOPLE = [utterance(f"{s}{g}{n}", f"{g}{s}", s) for n in "ab" for s in "123" for g in "FM"]


def names(utterances: list[Utterance]) -> list[str]:
    return [utterance.name for utterance in utterances]


def test_the_group_of_the_fold_is_tested_and_the_others_train_in_the_order_given():
    made = split(PEOPLE, SESSIONS, 2, hold_out_validation=False)
    assert names(made.test) == ["2Fa", "2Ma", "2Fb", "2Mb"]
    assert names(made.train) == ["1Fa", "1Ma", "3Fa", "3Ma", "1Fb", "1Mb", "3Fb", "3Mb"]
    assert made.validation == []


@pytest.mark.parametrize(("fold", "held_out"), [(1, "2"), (2, "3"), (3, "1")])
def test_the_next_group_is_held_out_and_the_first_follows_the_last(fold, held_out):
    made = split(PEOPLE, SESSIONS, fold, hold_out_validation=True)
    assert {u.session for u in made.validation} == {held_out}
    assert {u.session for u in made.train} == {"1", "2", "3"} - {held_out, str(fold)}
    assert len(made.train) + len(made.validation) + len(made.test) == len(PEOPLE)


@pytest.mark.parametrize("hold_out_validation", [False, True])
@pytest.mark.parametrize(
    ("corpus", "scheme"),
    [(c, s) for c in CORPORA.values() for s in c.schemes if s != "halves"],  # too few to hold out
    ids=lambda item: getattr(item, "name", item),
)
def test_published_folds_test_every_speaker_once_and_share_none(
    corpus, scheme, hold_out_validation
):
    folds = corpus.schemes[scheme]
    people = [utterance(s, s, session_of(corpus.name, s)) for s in corpus.expected.speakers]
    tested: list[str] = []
    for fold in range(1, len(folds.groups) + 1):
        made = split(people, folds, fold, hold_out_validation)
        sides = [{u.speaker for u in side} for side in (made.train, made.validation, made.test)]
        assert sum(len(side) for side in sides) == len(people) == len(set.union(*sides))
        assert bool(made.validation) == hold_out_validation
        tested += sorted(sides[2])
    assert sorted(tested) == sorted(corpus.expected.speakers)


def session_of(corpus: str, speaker: str) -> str:
    if corpus == "iemocap":
        return str(int(speaker[3:5]))
    return str(int(speaker[1:])) if corpus == "msp_improv" else speaker


@pytest.mark.parametrize(
    ("fold", "hold_out_validation", "sides"),
    [(3, False, "train and test"), (3, True, "validation and test"), (2, True, "train and test")],
)
def test_a_speaker_on_two_sides_is_refused_by_name(fold, hold_out_validation, sides):
    shared = {"train and test": "M1", "validation and test": "F1"}[sides]
    moved = {"M1": "3" if fold == 3 else "2", "F1": "3"}[shared]
    people = [*PEOPLE, utterance("stray", shared, moved)]
    if sides == "train and test" and fold == 3:
        people = [u for u in people if u.session != "2"] + [utterance("other", "F2", "2")]
    expected = f"fold {fold} is not speaker-independent: ['{shared}'] in {sides}"
    with pytest.raises(ValueError, match=re.escape(expected)):
        split(people, SESSIONS, fold, hold_out_validation)


def test_a_speaker_in_train_and_validation_is_refused_too():
    people = [*PEOPLE, utterance("stray", "M3", "2")]
    expected = "fold 1 is not speaker-independent: ['M3'] in train and validation"
    with pytest.raises(ValueError, match=re.escape(expected)):
        split(people, SESSIONS, 1, hold_out_validation=True)


def test_an_utterance_of_no_group_is_refused():
    people = [*PEOPLE, utterance("a", "F7", "7"), utterance("b", "F6", "6")]
    expected = (
        "folds 'sessions': every utterance must belong to a group by its session; "
        "2 do not, of session '6', '7'"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        split(people, SESSIONS, 1, hold_out_validation=False)


def test_a_group_without_utterances_is_refused():
    people = [u for u in PEOPLE if u.session != "2"]
    expected = (
        "folds 'sessions': every group must hold utterances; group 2, session '2', holds none"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        split(people, SESSIONS, 1, hold_out_validation=False)


@pytest.mark.parametrize("fold", [-1, 0, 4])
def test_a_fold_out_of_range_is_refused(fold):
    with pytest.raises(
        ValueError, match=rf"^folds 'sessions': fold must lie in 1\.\.3, got {fold}$"
    ):
        split(PEOPLE, SESSIONS, fold, hold_out_validation=False)


@pytest.mark.parametrize(
    ("groups", "hold_out_validation", "expected"),
    [
        ((("1", "2", "3"),), False, "train and test need 2 groups, got 1"),
        ((("1", "2"), ("3",)), True, "train, validation and test need 3 groups, got 2"),
    ],
)
def test_too_few_groups_are_refused(groups, hold_out_validation, expected):
    scheme = FoldScheme("few", "session", groups)
    with pytest.raises(ValueError, match=f"^folds 'few': {expected}$"):
        split(PEOPLE, scheme, 1, hold_out_validation)


def test_a_speaker_listed_in_two_groups_is_refused():
    expected = "folds 'x': a speaker must belong to one group, ['b'] to several"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        FoldScheme("x", "speaker", (("a", "b"), ("b", "c")))


def sessions_of(made):
    sides = (made.train, made.validation, made.test)
    return [sorted({u.session for u in side}) for side in sides]


FOUR = FoldScheme("four", "session", (("1",), ("2",), ("3",), ("4",)))
QUARTET = [utterance(f"{s}{g}", f"{g}{s}", s) for s in "1234" for g in "FM"]


@pytest.mark.parametrize(("fold", "inner"), [(f, i) for f in range(1, 5) for i in range(1, 5)])
def test_an_inner_fold_is_tested_and_the_fold_s_own_group_is_on_no_side(fold, inner):
    if fold == inner:
        rule = f"one of {', '.join(str(g) for g in range(1, 5) if g != fold)}, got {inner}"
        with pytest.raises(ValueError, match=re.escape(rule)):
            split(QUARTET, FOUR, fold, False, inner)
        return
    rest = [s for s in "1234" if s not in (str(fold), str(inner))]
    assert sessions_of(split(QUARTET, FOUR, fold, False, inner)) == [rest, [], [str(inner)]]
    train, validation, test = sessions_of(split(QUARTET, FOUR, fold, True, inner))
    after = next(s for s in "12341234"[inner:] if s in rest)  # the next that is neither
    assert (train, validation, test) == ([s for s in rest if s != after], [after], [str(inner)])


def test_a_fold_without_a_third_group_has_no_inner_one():
    pair = FoldScheme("pair", "session", (("1",), ("2",)))
    with pytest.raises(ValueError, match="train and test inside a fold need 3 groups, got 2"):
        split(QUARTET[:4], pair, 1, False, 2)


def test_the_inner_groups_are_the_training_side_from_the_next_group_on():
    assert [inner_groups(FOUR, fold) for fold in (1, 3, 4)] == [[2, 3, 4], [4, 1, 2], [1, 2, 3]]
