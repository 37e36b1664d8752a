"""The gate between what people write and the frozen dataclasses the code trusts.

`build` turns a flat mapping of dotted keys into a dataclass, gathering every problem on the way, so
that a user mends a file once and not line by line. Past this gate nobody re-checks a value.
"""

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one setting: its dotted key, and what must hold and was found."""

    key: str
    text: str


class ConfigError(ValueError):
    """Settings that can't be used, with all their problems at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.key}: {p.text}" for p in self.problems))


def number(default: float | int, low: float, high: float, *, above: bool = False) -> Any:
    """Declare a numeric field that must lie in low..high (in (low, high] if `above`)."""
    return field(default=default, metadata={"range": (low, high, above)})


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Bring nested mappings to one level of dotted keys: {"a": {"b": 1}} is {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


def suggest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the closest known word, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def build(cls: type[T], settings: Mapping[str, Any]) -> T:
    """Build a (nested) dataclass from flat dotted settings.

    Raises:
        ConfigError: unknown keys, missing keys, wrong types, values out of range; all of them.
    """
    problems: list[Problem] = []
    known = leaves(cast(type, cls))
    for key in settings:
        if key not in known:
            problems.append(Problem(key, _unknown(key, known)))
    built = _build(cls, settings, "", problems)
    if problems:
        raise ConfigError(problems)
    return cast(T, built)


@cache
def leaves(cls: type) -> dict[str, Any]:
    """Every dotted key that a (nested) dataclass takes, with its type."""
    hints = get_type_hints(cls)
    found: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]  # callers pass dataclasses only
        kind = hints[item.name]
        if is_dataclass(kind):
            found |= {f"{item.name}.{key}": type_ for key, type_ in leaves(kind).items()}
        else:
            found[item.name] = kind
    return found


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    if any(name.startswith(f"{key}.") for name in known):
        parts = sorted(name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}."))
        return f"is a group of settings; give one of {', '.join(parts)}"
    group, _, last = key.rpartition(".")
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == group]
    close = get_close_matches(last, siblings, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    return f"unknown key{suggest(key, known)}"


def _build(cls: type, settings: Mapping[str, Any], prefix: str, problems: list[Problem]) -> Any:
    hints = _hints(cls)
    values: dict[str, Any] = {}
    for item in fields(cls):
        kind, key = hints[item.name], f"{prefix}{item.name}"
        if is_dataclass(kind):
            values[item.name] = _build(kind, settings, f"{key}.", problems)  # type: ignore[arg-type]
        elif key in settings:
            try:
                values[item.name] = _coerce(settings[key], kind, item)
            except ValueError as error:
                problems.append(Problem(key, str(error)))
                values[item.name] = None if item.default is MISSING else item.default
        elif item.default is MISSING and item.default_factory is MISSING:
            problems.append(Problem(key, "must be given"))
            values[item.name] = None
    return cls(**values)


_hints = cache(get_type_hints)


def _coerce(value: Any, kind: Any, item: Field[Any]) -> Any:
    """Bring a value to its declared type, or say what must hold and what was found."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        kind = next(member for member in get_args(kind) if member is not types.NoneType)
        origin = get_origin(kind)
    if origin is Literal:
        choices = get_args(kind)
        # YAML reads the words no/none/null its own way; a choice named so is meant here.
        word = "none" if value is None and "none" in choices else value
        if word not in choices or isinstance(word, bool):
            hint = suggest(word, choices) if isinstance(word, str) else ""
            raise ValueError(f"must be one of {', '.join(choices)}, got {show(value)}{hint}")
        return word
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, got {show(value)}")
        return tuple(_coerce(member, get_args(kind)[0], item) for member in value)
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, got {show(value)}")
        return value
    if kind is int:
        return _in_range(_integer(value), item)
    if kind is float:
        return _in_range(_real(value), item)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a text, got {show(value)}")
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise ValueError(f"must be a whole number, got {show(value)}")
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"must be a whole number, got {show(value)}")
    return int(value)


def _real(value: Any) -> float:
    # PyYAML follows YAML 1.1, where 1e-4 without a point is a string.
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"must be a number, got {show(value)}") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"must be a number, got {show(value)}")
    try:
        real = float(value)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        raise ValueError(f"must be a finite number, got {show(value)}")
    return real


def _in_range(value: Any, item: Field[Any]) -> Any:
    if "range" not in item.metadata:
        return value
    low, high, above = item.metadata["range"]
    if value > high or value < low or (above and value == low):
        opening = f"above {low:g} and at most {high:g}" if above else f"in {low:g}..{high:g}"
        raise ValueError(f"must lie {opening}, got {show(value)}")
    return value


def show(value: Any) -> str:
    """A value as it goes into a message: its repr, cut where it would flood the terminal."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return "a whole number of over 20 digits"  # repr of a huge int is itself an error
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
