"""WA, UA and recalls from labels and predictions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics import (
    confusion_matrix,
    recalls,
    score,
    score_speakers,
    unweighted_accuracy,
    weighted_accuracy,
)
from tests.core import reference

PREDICTED = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


def test_scores_of_hand_worked_predictions():
    # three of class 0, two right; one of class 1, wrong; none of class 2
    scores = score([0, 0, 0, 1], [0, 0, 2, 0], 3)
    assert scores.n == 4
    assert scores.wa == 0.5
    assert scores.ua == pytest.approx((2 / 3 + 0) / 2)
    np.testing.assert_array_equal(scores.recalls, [2 / 3, 0, np.nan])
    assert scores.confusion.tolist() == [[2, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_wa_weighs_utterances_and_ua_weighs_classes():
    labels = [0] * 98 + [1] * 2
    scores = score(labels, [0] * 100, 2)
    assert scores.wa == 0.98
    assert scores.ua == 0.5


@given(PREDICTED, st.integers(4, 6))
def test_scores_equal_plain_counting(pairs, classes):
    labels, predictions = map(list, zip(*pairs, strict=True))
    scores = score(labels, predictions, classes)
    counts = reference.confusion(labels, predictions, classes)
    assert scores.confusion.tolist() == counts
    assert scores.confusion.dtype == np.int64
    assert scores.n == len(labels)
    assert scores.wa == sum(map(int.__eq__, labels, predictions)) / len(labels)
    found = [counts[c][c] / sum(counts[c]) for c in range(classes) if sum(counts[c])]
    assert scores.ua == pytest.approx(sum(found) / len(found))
    assert [c for c in range(classes) if math.isnan(scores.recalls[c])] == sorted(
        set(range(classes)) - set(labels)
    )


@given(PREDICTED, st.randoms(use_true_random=False))
def test_the_order_of_utterances_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    one = score(*zip(*pairs, strict=True), 4)
    other = score(*zip(*shuffled, strict=True), 4)
    assert one.confusion.tolist() == other.confusion.tolist()
    assert (one.wa, one.ua) == (other.wa, other.ua)


@given(PREDICTED, PREDICTED)
def test_confusions_of_folds_add_up_to_the_pooled_one(fold_1, fold_2):
    pooled = confusion_matrix(*zip(*fold_1 + fold_2, strict=True), 4)
    parts = [confusion_matrix(*zip(*fold, strict=True), 4) for fold in (fold_1, fold_2)]
    assert (pooled == parts[0] + parts[1]).all()
    assert weighted_accuracy(pooled) == score(*zip(*fold_1 + fold_2, strict=True), 4).wa


def test_each_speaker_is_scored_alone_over_the_classes_it_shows():
    scores = score_speakers([0, 1, 0, 0], [0, 1, 1, 0], ["KL", "DC", "KL", "DC"], 3)
    assert list(scores) == ["DC", "KL"]
    assert (scores["DC"].n, scores["DC"].wa, scores["DC"].ua) == (2, 1.0, 1.0)
    assert (scores["KL"].n, scores["KL"].wa, scores["KL"].ua) == (2, 0.5, 0.5)
    assert np.isnan(scores["KL"].recalls[1:]).all()


@given(PREDICTED)
def test_the_confusions_of_the_speakers_add_up_to_that_of_all(pairs):
    labels, predictions = zip(*pairs, strict=True)
    speakers = [f"speaker {position % 3}" for position in range(len(pairs))]
    parts = score_speakers(labels, predictions, speakers, 4).values()
    assert (sum(part.confusion for part in parts) == score(labels, predictions, 4).confusion).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_any_integers_are_counted(dtype):
    numbers = np.array([19, 19, 3], dtype=dtype)  # 19 * 20 + 19 is too much for a byte
    assert confusion_matrix(numbers, numbers, 20)[19, 19] == 2


def test_scores_are_plain_floats():
    scores = score([0, 1], [0, 1], 2)
    assert type(scores.wa) is type(scores.ua) is float


@pytest.mark.parametrize(
    ("labels", "predictions", "classes", "message"),
    [
        ([0, 1], [0], 2, r"every label needs its prediction, got .*\(2,\) and \(1,\)"),
        ([[0, 1]], [[0, 1]], 2, r"needs its prediction, got arrays of shapes \(1, 2\)"),
        ([], [], 2, "scoring needs at least one utterance, got none"),
        ([0, 2], [0, 1], 2, r"labels must lie in 0\.\.1, got 2"),
        ([0, 1], [0, -1], 2, r"predictions must lie in 0\.\.1, got -1"),
        ([0.0, 1.0], [0, 1], 2, "labels must be class numbers, got float64"),
        ([0, 1], [True, False], 2, "predictions must be class numbers, got bool"),
        ([0], [0], 0, "scoring needs at least one class, got 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(labels, predictions, classes, message):
    with pytest.raises(ValueError, match=message):
        score(labels, predictions, classes)


def test_an_utterance_without_a_speaker_is_refused():
    with pytest.raises(ValueError, match="needs its speaker, got 2 labels and 1 speakers"):
        score_speakers([0, 1], [0, 1], ["DC"], 2)


@pytest.mark.parametrize("accuracy", [weighted_accuracy, unweighted_accuracy])
def test_an_empty_confusion_matrix_has_no_accuracy(accuracy):
    with pytest.raises(ValueError, match="accuracy needs at least one utterance, got an empty"):
        accuracy(np.zeros((2, 2), dtype=np.int64))


def test_recalls_of_an_empty_confusion_matrix_are_nan():
    assert np.isnan(recalls(np.zeros((2, 2), dtype=np.int64))).all()
