"""A fold's result: exact through JSON, scored as by hand, and refused when damaged."""

import json
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from core.identity import LATER
from core.result import EpochMetrics, FoldResult, Prediction
from core.schema import ConfigError
from tests.core.small_speech import small_config

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = (0.1 + 0.2, 1 / 3, 5e-324, 1e308, 1.0000000000000002)


def epoch(number: int, oracle_ua: float | None = None) -> EpochMetrics:
    oracle = None if oracle_ua is None else {"wa": oracle_ua / 2, "ua": oracle_ua}
    return EpochMetrics(
        epoch=number,
        losses={"total": AWKWARD[0], "kl": AWKWARD[1]},
        learning_rate=1e-4 * (7 / 8) ** number,
        validation={"wa": AWKWARD[4], "ua": AWKWARD[2]} if number == 2 else None,
        oracle=oracle,
        seconds=AWKWARD[3],
        finished_at_ms=1_700_000_000_123,
    )


def predicted(speaker: str, label: int, chosen: int) -> Prediction:
    probabilities = [0.1, 0.1, 0.1, 0.1]
    probabilities[chosen] = 0.7
    return Prediction(
        utterance=f"{speaker}_{label}{chosen}",
        speaker=speaker,
        label=label,
        probabilities=tuple(probabilities),
    )


def make_result(**changes: Any) -> FoldResult:
    result = FoldResult(
        run_id="0123456789ab",
        config=small_config(losses={"terms": ["kl", "center"]}, encoder={"layer": 1}),
        corpus_fingerprint="f" * 16,
        encoder_fingerprint="0" * 16,
        classes=("angry", "happy", "sad", "neutral"),
        loss_weights={"kl": AWKWARD[1], "center": AWKWARD[2]},
        history=(epoch(1), epoch(2)),
        best_epoch=2,
        # a: angry right, angry as happy, sad right. b: angry right, happy right, happy as sad,
        # happy as neutral.
        predictions=(
            predicted("a", 0, 0),
            predicted("a", 0, 1),
            predicted("a", 2, 2),
            predicted("b", 0, 0),
            predicted("b", 1, 1),
            predicted("b", 1, 2),
            predicted("b", 1, 3),
        ),
        seconds=1.5,
        device="cpu",
        left_out=3,
        counts_differ=True,
    )
    return replace(result, **changes)


def test_a_result_survives_json_exactly():
    result = make_result()
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert FoldResult.from_dict(json.loads(text)) == result
    assert json.dumps(FoldResult.from_dict(json.loads(text)).to_dict()) == text


def test_what_is_read_back_is_of_the_same_kinds():
    result = FoldResult.from_dict(json.loads(json.dumps(make_result().to_dict())))
    assert result.config == make_result().config
    assert type(result.config.losses.terms) is tuple
    assert type(result.history[0]) is EpochMetrics
    assert type(result.predictions[0].probabilities) is tuple
    assert hash(result.predictions) == hash(make_result().predictions)


def test_scores_are_those_by_hand():
    scores = make_result().scores()
    assert scores.n == 7
    assert scores.wa == pytest.approx(4 / 7)
    # angry 2 of 3, happy 1 of 3, sad 1 of 1; neutral does not occur
    assert scores.ua == pytest.approx((2 / 3 + 1 / 3 + 1) / 3)
    assert scores.confusion.tolist() == [[2, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_each_speaker_is_scored_alone():
    speakers = make_result().speakers()
    assert list(speakers) == ["a", "b"]
    assert (speakers["a"].n, speakers["b"].n) == (3, 4)
    assert (speakers["a"].wa, speakers["b"].wa) == pytest.approx((2 / 3, 2 / 4))
    assert (speakers["a"].ua, speakers["b"].ua) == pytest.approx(((1 / 2 + 1) / 2, (1 + 1 / 3) / 2))


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ((0.1, 0.6, 0.3), 1),
        ((0.4, 0.2, 0.4), 0),
        ((0.2, 0.4, 0.4), 1),
        ((0.25, 0.25, 0.25, 0.25), 0),
    ],
)
def test_the_first_of_equally_probable_classes_is_predicted(probabilities, expected):
    prediction = Prediction(utterance="u", speaker="a", label=0, probabilities=probabilities)
    assert prediction.predicted == expected


@pytest.mark.parametrize(
    ("uas", "expected"),
    [
        ((None, None), None),
        ((0.25, 0.5, 0.5), {"epoch": 2, "wa": 0.25, "ua": 0.5}),
        ((0.5, None, 0.25), {"epoch": 1, "wa": 0.25, "ua": 0.5}),
        ((0.0, 0.0), {"epoch": 1, "wa": 0.0, "ua": 0.0}),
        ((0.25, 0.5, 0.75), {"epoch": 3, "wa": 0.375, "ua": 0.75}),
    ],
)
def test_the_oracle_is_the_first_of_the_best_epochs_on_the_test_fold(uas, expected):
    history = tuple(epoch(number, ua) for number, ua in enumerate(uas, 1))
    assert make_result(history=history).oracle() == expected


def damaged(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(make_result().to_dict())) | changes


@pytest.mark.parametrize(
    "name",
    [item.name for item in fields(FoldResult) if item.default is item.default_factory is MISSING],
)
def test_a_missing_field_is_refused_by_name(name):
    values = damaged()
    del values[name]
    with pytest.raises(ValueError, match=f"a fold's result must hold every field, found.*'{name}'"):
        FoldResult.from_dict(values)


def test_a_result_from_before_counts_were_noted_has_the_papers_counts():
    values = damaged()
    del values["counts_differ"]
    assert FoldResult.from_dict(values) == make_result(counts_differ=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"surprise": 1}, "got an unexpected keyword argument 'surprise'"),
        ({"history": None}, "'NoneType' object is not iterable"),
        ({"history": [{"epoch": 1}]}, "missing 6 required .*'losses'.* and 'finished_at_ms'"),
        ({"history": [1]}, "must be a mapping, not int"),
        ({"predictions": [{"label": 0}]}, "no 'probabilities'"),
        (
            {"predictions": [{"utterance": "u", "label": 0, "probabilities": [1.0]}]},
            "missing 1 required keyword-only argument: 'speaker'",
        ),
        ({"predictions": ["u"]}, "'str' object is not a mapping"),
        ({"predictions": [{"probabilities": 0.5}]}, "'float' object is not iterable"),
        ({"classes": None}, "'NoneType' object is not iterable"),
        ({"config": None}, "'NoneType' object has no attribute 'items'"),
        ({"config": ["fold"]}, "'list' object has no attribute 'items'"),
    ],
)
def test_damage_is_refused_with_what_was_found(changes, message):
    with pytest.raises(
        ValueError, match=f"^a fold's result must hold every field, found.*{message}"
    ):
        FoldResult.from_dict(damaged(**changes))


def test_a_list_is_no_result():
    with pytest.raises(ValueError, match="a fold's result must hold every field, found"):
        FoldResult.from_dict([1, 2])


def test_a_config_that_this_code_does_not_know_is_refused_by_key():
    config = make_result().config.to_dict()
    config["mixup"]["probabilty"] = 0.5
    with pytest.raises(ConfigError, match=r"mixup\.probabilty: unknown key; did you mean"):
        FoldResult.from_dict(damaged(config=config))


def test_results_are_read_without_torch():
    code = "import core.result, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_result_of_before_there_were_more_settings_is_read_with_their_defaults():
    values = json.loads(json.dumps(make_result().to_dict()))
    for key in LATER:
        group, _, name = key.partition(".")
        del values["config"][group][name]
    assert FoldResult.from_dict(values) == make_result()
