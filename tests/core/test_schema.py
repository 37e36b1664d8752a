"""The gate: what passes, what it is brought to, and what is said of everything else."""

from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest

from core.config import RunConfig
from core.schema import (
    MAX_UNKNOWN,
    ConfigError,
    Problem,
    build,
    cut,
    flatten,
    leaves,
    nested,
    number,
    show,
    suggest,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    depth: int = number(3, 1, 10)
    rate: float = number(0.5, 0.0, 1.0, above=True)
    method: Literal["none", "lam", "eam"] = "eam"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    is_new: bool = False
    limit: int | None = number(None, 0, 5)
    terms: tuple[Literal["kl", "focal"], ...] = ("kl",)
    inner: Inner = field(default_factory=Inner)


def refusal(**settings) -> str:
    with pytest.raises(ConfigError) as caught:
        build(Outer, {"name": "a"} | {key.replace("__", "."): v for key, v in settings.items()})
    return str(caught.value)


def test_nested_mappings_become_dotted_keys():
    nested = {"a": {"b": {"c": 1}, "d": None}, "e": [1]}
    assert flatten(nested) == {"a.b.c": 1, "a.d": None, "e": [1]}


def test_an_empty_mapping_stays_and_is_seen():
    assert flatten({"a": {}, "b": {"c": {}}}) == {"a": {}, "b.c": {}}


def test_leaves_are_every_dotted_key():
    assert list(leaves(Outer)) == [
        *("name", "is_new", "limit", "terms"),
        *("inner.depth", "inner.rate", "inner.method"),
    ]


def test_what_is_not_given_has_its_default():
    assert build(Outer, {"name": "a"}) == Outer(name="a")


def test_values_are_brought_to_their_declared_type():
    settings = {"name": "a", "inner.depth": 4.0, "inner.rate": 1, "terms": ["focal", "kl"]}
    built = build(Outer, settings)
    assert built == Outer(name="a", terms=("focal", "kl"), inner=Inner(depth=4, rate=1.0))
    assert type(built.inner.depth) is int
    assert type(built.inner.rate) is float


def test_yaml_numbers_without_a_point_are_numbers():
    assert build(Inner, {"rate": "1e-4"}).rate == 1e-4  # PyYAML reads it as a string


def test_minus_zero_is_zero():
    @dataclass(frozen=True)
    class Shift:
        by: float = number(1.0, -1.0, 1.0)

    assert str(build(Shift, {"by": -0.0}).by) == "0.0"


def test_an_optional_value_may_be_nothing():
    assert build(Outer, {"name": "a", "limit": None}).limit is None
    assert build(Outer, {"name": "a", "limit": 5}).limit == 5


def test_an_empty_group_changes_nothing():
    assert build(Outer, {"name": "a", "inner": {}}) == Outer(name="a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner__depth": "4"}, "inner.depth: must be a whole number, got '4'"),
        ({"inner__depth": 4.5}, "inner.depth: must be a whole number, got 4.5"),
        ({"inner__depth": True}, "inner.depth: must be a whole number, got true"),
        ({"inner__depth": None}, "inner.depth: must be a whole number, got nothing"),
        ({"inner__depth": float("nan")}, "inner.depth: must be a whole number, got nan"),
        ({"inner__depth": float("inf")}, "inner.depth: must be a whole number, got inf"),
        ({"inner__depth": {}}, "inner.depth: must be a whole number, got {}"),
        ({"inner__depth": 0}, "inner.depth: must lie in 1..10, got 0"),
        ({"inner__depth": 11}, "inner.depth: must lie in 1..10, got 11"),
        (
            {"inner__depth": 10**5000},
            "inner.depth: must lie in 1..10, got a whole number of over 20 digits",
        ),
        ({"limit": 6}, "limit: must lie in 0..5, got 6"),
        ({"limit": "none"}, "limit: must be a whole number, got 'none'"),
        ({"inner__rate": 0}, "inner.rate: must lie above 0 and at most 1, got 0.0"),
        ({"inner__rate": 1.5}, "inner.rate: must lie above 0 and at most 1, got 1.5"),
        ({"inner__rate": False}, "inner.rate: must be a number, got false"),
        ({"inner__rate": "fast"}, "inner.rate: must be a number, got 'fast'"),
        ({"inner__rate": [1]}, "inner.rate: must be a number, got [1]"),
        ({"inner__rate": "1e400"}, "inner.rate: must be a finite number, got '1e400'"),
        ({"inner__rate": float("nan")}, "inner.rate: must be a finite number, got nan"),
        (
            {"inner__rate": 10**400},
            "inner.rate: must be a finite number, got a whole number of over 20 digits",
        ),
        ({"is_new": "yes"}, "is_new: must be true or false, got 'yes'"),
        ({"is_new": 1}, "is_new: must be true or false, got 1"),
        (
            {"inner__method": "eem"},
            "inner.method: must be one of none, lam, eam, got 'eem'; did you mean 'eam'?",
        ),
        ({"inner__method": None}, "inner.method: must be one of none, lam, eam, got nothing"),
        ({"inner__method": ["eam"]}, "inner.method: must be one of none, lam, eam, got ['eam']"),
        ({"terms": "kl"}, "terms: must be a list, got 'kl'"),
        ({"terms": None}, "terms: must be a list, got nothing"),
        ({"terms": ["kl", 3]}, "terms: must be one of kl, focal, got 3"),
        ({"name": ""}, "name: must be a text, got ''"),
        ({"name": 3}, "name: must be a text, got 3"),
        (
            {"name": "a\x1b[31m"},
            r"name: must be one line of printable text, got 'a\x1b[31m'",
        ),
        ({"name": "a\nb"}, r"name: must be one line of printable text, got 'a\nb'"),
        ({"nmae": 1}, "nmae: unknown key; did you mean 'name'?"),
        ({"inner__dept": 1}, "inner.dept: unknown key; did you mean 'depth'?"),
        ({"iner__depth": 1}, "iner.depth: unknown key; did you mean 'inner.depth'?"),
        ({"qqq": 1}, "qqq: unknown key"),
        ({"inner": 3}, "inner: is a group of settings; give one of depth, method, rate"),
    ],
)
def test_a_wrong_value_is_refused_with_the_rule_and_what_was_found(settings, message):
    assert refusal(**settings) == message


def test_a_missing_value_is_refused():
    with pytest.raises(ConfigError, match=r"^name: must be given$"):
        build(Outer, {})


def test_every_problem_is_told_at_once():
    assert refusal(name=3, inner__depth=0, old=True).split("; ") == [
        "old: unknown key",
        "name: must be a text, got 3",
        "inner.depth: must lie in 1..10, got 0",
    ]


def test_problems_carry_their_keys():
    with pytest.raises(ConfigError) as caught:
        build(Outer, {"name": "a", "limit": 9})
    assert caught.value.problems == (Problem("limit", "must lie in 0..5, got 9"),)


def test_unknown_keys_are_told_up_to_a_number():
    with pytest.raises(ConfigError) as caught:
        build(Outer, {"name": "a"} | {f"key{i}": i for i in range(10 * MAX_UNKNOWN)})
    assert len(caught.value.problems) == MAX_UNKNOWN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        (1.5, "1.5"),
        ("a", "'a'"),
        ([1, None], "[1, None]"),
        (10**20 - 1, "99999999999999999999"),
        (-(10**20), "a whole number of over 20 digits"),
        ([16**5000], "a list with a whole number of over 20 digits"),
        ("x" * 78, f"'{'x' * 78}'"),
        ("x" * 79, f"'{'x' * 76}..."),
    ],
)
def test_values_are_shown_briefly(value, text):
    assert show(value) == text


def test_a_text_is_cut_only_where_it_is_too_long():
    assert cut("x" * 80) == "x" * 80
    assert cut("x" * 81) == "x" * 77 + "..."


def test_a_suggestion_is_near_or_none():
    assert suggest("ravdes", ["iemocap", "ravdess"]) == "; did you mean 'ravdess'?"
    assert suggest("emodb", ["iemocap", "ravdess"]) == ""


def test_a_config_as_nested_values_is_what_dataclasses_make_of_it():
    config = RunConfig.from_dict({"corpus.name": "savee", "losses.terms": ["kl", "center"]})
    assert nested(config) == asdict(config)
    assert list(nested(config)) == list(asdict(config))
    nested(config)["fold"] = 9  # the config's own values stay as they are
    assert config.fold == 1
