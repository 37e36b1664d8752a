"""Fold schemes of speakers first met in a manifest: which are offered, and how groups balance."""

import random
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.corpora.folds import split
from core.corpora.groups import balanced_groups, fold_schemes, natural_key
from core.corpora.utterance import Utterance


def utterance(
    speaker: str, label: str = "sad", *, number: int = 0, session: str = "", fold: str = ""
) -> Utterance:
    name = f"{speaker}-{label}-{number}"
    return Utterance(
        name=name,
        path=Path(f"{name}.wav"),
        label=label,
        speaker=speaker,
        session=session or speaker,
        fold=fold,
    )


def people(**counts: dict[str, int]) -> list[Utterance]:
    """Make so many utterances of each speaker and label."""
    return [
        utterance(speaker, label, number=number)
        for speaker, labels in counts.items()
        for label, count in labels.items()
        for number in range(count)
    ]


def test_whole_numbers_in_names_are_sorted_by_value():
    names = ["s10", "s2", "10", "2", "02", "b", "a1b10", "a1b9", "", "٣"]
    expected = ["", "02", "2", "10", "a1b9", "a1b10", "b", "s2", "s10", "٣"]
    assert sorted(names, key=natural_key) == expected
    names.reverse()
    assert sorted(names, key=natural_key) == expected


def test_twenty_four_equal_speakers_make_six_groups_of_four_with_equal_classes():
    labels = {"neutral": 4, "calm": 8, "happy": 8, "sad": 8, "angry": 8}  # of one actor
    actors = people(**{f"actor {n}": labels for n in range(1, 25)})
    groups = balanced_groups(actors, 6)
    assert groups[0] == ("actor 1", "actor 7", "actor 13", "actor 19")
    assert groups[5] == ("actor 6", "actor 12", "actor 18", "actor 24")
    assert [len(group) for group in groups] == [4] * 6
    for group in groups:
        held = Counter(u.label for u in actors if u.speaker in group)
        assert held == {"neutral": 16, "calm": 32, "happy": 32, "sad": 32, "angry": 32}


def test_the_largest_speaker_comes_first_and_the_smaller_group_is_filled():
    # 5 -> 1st, 4 -> 2nd, 3 -> 2nd (4 < 5), 2 -> 1st (5 < 7), 2 -> 1st (7 = 7, the first)
    five = people(d={"sad": 2}, e={"sad": 2}, a={"sad": 5}, c={"sad": 3}, b={"sad": 4})
    assert balanced_groups(five, 2) == (("a", "d", "e"), ("b", "c"))


def test_a_speaker_goes_where_its_classes_are_rare():
    # Sizes are equal. a -> 1st, b -> 2nd; c is sad, 1st holds none of it; d is angry, 2nd neither.
    four = people(a={"angry": 6}, b={"sad": 6}, c={"sad": 6}, d={"angry": 6})
    assert balanced_groups(four, 2) == (("a", "c"), ("b", "d"))
    # Every class counts as a whole: of 2 fearful and 40 sad, the fearful ones are parted too.
    rare = people(
        a={"sad": 9, "fearful": 1}, b={"sad": 10}, c={"sad": 9, "fearful": 1}, d={"sad": 10}
    )
    assert balanced_groups(rare, 2) == (("a", "d"), ("b", "c"))


@settings(max_examples=100, deadline=None)
@given(
    counts=st.dictionaries(
        st.sampled_from([f"s{n}" for n in range(12)]),
        st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
        min_size=2,
    ),
    count=st.integers(2, 12),
    seed=st.integers(0, 1000),
)
def test_groups_part_all_speakers_whatever_the_order_of_the_rows(counts, count, seed):
    count = min(count, len(counts))
    rows = people(**counts)
    groups = balanced_groups(rows, count)
    random.Random(seed).shuffle(rows)
    assert balanced_groups(rows, count) == groups
    assert len(groups) == count
    assert all(groups)
    assert sorted(speaker for group in groups for speaker in group) == sorted(counts)


def unevenness(counts: dict[str, Counter[str]], groups: Iterable[Iterable[str]]) -> float:
    """Compute the sum that the docstring gives."""
    everything: Counter[str] = sum(counts.values(), Counter())
    total = 0.0
    for group in groups:
        held: Counter[str] = sum((counts[speaker] for speaker in group), Counter())
        total += (held.total() / everything.total()) ** 2
        total += sum((held[label] / everything[label]) ** 2 for label in everything)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_groups_of_unequal_speakers_are_more_even_than_chance_makes_them(seed):
    draw = random.Random(seed)
    counts = {f"s{n}": Counter({c: draw.randint(5, 30) for c in "abcd"}) for n in range(24)}
    found = unevenness(counts, balanced_groups(people(**counts), 6))
    by_chance = []
    for _ in range(200):
        speakers = draw.sample(list(counts), k=24)
        by_chance.append(unevenness(counts, [speakers[n::6] for n in range(6)]))
    assert sum(other <= found for other in by_chance) <= 10


@pytest.mark.parametrize("count", [-1, 0, 1, 4])
def test_too_many_or_too_few_groups_are_refused(count):
    rows = people(a={"sad": 1}, b={"sad": 1}, c={"sad": 1})
    with pytest.raises(ValueError, match=rf"^groups must lie in 2\.\.3, got {count}$"):
        balanced_groups(rows, count)


def test_a_fold_column_is_the_default_and_keeps_the_natural_order():
    rows = [utterance(f"s{n}", session=f"x{n // 2}", fold=str(n)) for n in (10, 2, 1, 3, 9)]
    schemes = fold_schemes(rows)
    assert list(schemes) == ["column", "leave-one-session-out", "leave-one-speaker-out"]
    assert (schemes["column"].by, schemes["column"].groups) == (
        "fold",
        (("1",), ("2",), ("3",), ("9",), ("10",)),
    )
    sessions = schemes["leave-one-session-out"]
    assert (sessions.by, sessions.groups) == ("session", (("x0",), ("x1",), ("x4",), ("x5",)))
    speakers = schemes["leave-one-speaker-out"]
    assert (speakers.by, speakers.groups) == (
        "speaker",
        (("s1",), ("s2",), ("s3",), ("s9",), ("s10",)),
    )
    assert [scheme.name for scheme in schemes.values()] == list(schemes)
    assert all(scheme.folds == len(scheme.groups) for scheme in schemes.values())


def test_sessions_are_the_default_without_a_fold_column():
    rows = [utterance(f"s{n}", session=str(n % 2)) for n in range(4)]
    assert list(fold_schemes(rows)) == ["leave-one-session-out", "leave-one-speaker-out"]


def test_groups_of_speakers_are_made_on_request_and_split_by_them():
    rows = people(**{f"s{n}": {"sad": 2} for n in range(5)})
    schemes = fold_schemes(rows, "2-groups")
    assert list(schemes) == ["leave-one-speaker-out", "2-groups"]
    scheme = schemes["2-groups"]
    assert (scheme.by, scheme.groups) == ("speaker", (("s0", "s2", "s4"), ("s1", "s3")))
    made = split(rows, scheme, 2, hold_out_validation=False)
    assert {u.speaker for u in made.test} == {"s1", "s3"}
    assert "5-groups" in fold_schemes(rows, "5-groups")


TWO = [utterance("s1"), utterance("s2")]
CHOICES = "folds must be one of leave-one-speaker-out, K-groups with K in 2..2, got "
NO_COLUMN = "; column is not offered: no fold column is filled"
NO_SESSION = (
    "; leave-one-session-out is not offered: no session is given that is more than the speaker"
)


@pytest.mark.parametrize(
    ("folds", "expected"),
    [
        ("column", f"'column'{NO_COLUMN}{NO_SESSION}"),
        ("leave-one-session-out", f"'leave-one-session-out'{NO_COLUMN}{NO_SESSION}"),
        (
            "leave-one-speakr-out",
            f"'leave-one-speakr-out'; did you mean 'leave-one-speaker-out'?{NO_COLUMN}{NO_SESSION}",
        ),
        ("2-group", f"'2-group'; did you mean '2-groups'?{NO_COLUMN}{NO_SESSION}"),
        ("3-groups", f"'3-groups'{NO_COLUMN}{NO_SESSION}"),
        ("1-groups", f"'1-groups'{NO_COLUMN}{NO_SESSION}"),
        ("999999999-groups", f"'999999999-groups'{NO_COLUMN}{NO_SESSION}"),
        ("\x1b[2J", rf"'\x1b[2J'{NO_COLUMN}{NO_SESSION}"),
    ],
)
def test_folds_that_can_t_be_made_are_refused_with_the_choices_and_reasons(folds, expected):
    with pytest.raises(ValueError, match=f"^{re.escape(CHOICES + expected)}$"):
        fold_schemes(TWO, folds)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (
            [utterance("s1", fold="1"), utterance("s2")],
            "column is not offered: the fold column is filled in part only",
        ),
        (
            [utterance("s1", fold="1"), utterance("s2", fold="1")],
            "column is not offered: 1 fold only, two are needed",
        ),
        (
            [utterance("s1", session="a"), utterance("s2", session="a")],
            "leave-one-session-out is not offered: 1 session only, two are needed",
        ),
        (
            [
                *(utterance("s2", session=session) for session in "ba"),
                *(utterance("s1", session=session) for session in "cd"),
            ],
            "leave-one-session-out is not offered: speaker 's1' is in sessions 'c' and 'd'",
        ),
        (
            [utterance("s1"), utterance("s1", "angry")],
            "leave-one-speaker-out is not offered: 1 speaker only, two are needed",
        ),
    ],
)
def test_a_scheme_is_not_offered_for_a_reason(rows, reason):
    name = reason.partition(" ")[0]
    assert name not in fold_schemes(rows)
    with pytest.raises(ValueError, match=re.escape(f"; {reason}")):
        fold_schemes(rows, name)
