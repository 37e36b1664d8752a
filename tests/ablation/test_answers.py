"""What was said of each utterance, packed and unpacked, and what no reader is taken in by."""

import zlib
from base64 import b64encode

import pytest

from ablation.answers import pack, unpack
from core.result import Prediction


def told(*lines: tuple[str, str, int, int]) -> list[Prediction]:
    return [
        Prediction(
            utterance=name,
            speaker=speaker,
            label=label,
            probabilities=tuple(float(c == said) for c in range(3)),
        )
        for name, speaker, label, said in lines
    ]


LINES = (("u2", "b", 2, 2), ("u1", "b", 0, 1), ("u3", "a", 1, 1))


def test_answers_come_back_in_the_order_of_the_names():
    answers = unpack(pack(told(*LINES)), 3)
    assert answers.speakers.tolist() == [1, 1, 0]
    assert answers.labels.tolist() == [0, 2, 1]
    assert answers.predicted.tolist() == [1, 2, 1]
    assert answers.correct.tolist() == [0, 1, 1]


def test_the_order_in_which_they_were_told_is_no_matter():
    assert pack(told(*LINES)) == pack(told(*LINES[::-1]))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (("u3", "a", 1, 0), True),  # another answer
        (("u4", "a", 1, 1), False),
        (("u3", "b", 1, 1), False),
        (("u3", "a", 2, 1), False),
    ],
)
def test_the_digest_is_of_utterances_and_not_of_answers(other, same):
    one, two = (unpack(pack(told(*lines)), 3) for lines in (LINES, (*LINES[:2], other)))
    assert (one.digest == two.digest) == same


def test_a_fold_of_a_thousand_utterances_is_a_few_hundred_bytes():
    lines = [(f"Ses01F_{n:04}", f"s{n // 500}", n % 3, (n // 7) % 3) for n in range(1000)]
    assert len(pack(told(*lines))) < 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0123456789abcdef",
        "0123456789abcdef:%%%",
        "0123456789abcdef:AAAA",
        pack(told(*LINES[:2])),
        pack(told(*LINES, ("u9", "a", 0, 0))),
        f"0123456789abcdef:{b64encode(zlib.compress(bytes(10**8))).decode()}",
    ],
    ids=["empty", "bare", "no base64", "no zlib", "too few", "too many", "a bomb"],
)
def test_what_pack_did_not_write_is_refused(text):
    with pytest.raises(ValueError, match=r"answers must be (as this program|of n = 3 utterances)"):
        unpack(text, 3)
