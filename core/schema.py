"""The gate between what people write and the frozen dataclasses the code trusts.

`build` turns a flat mapping of dotted keys into a dataclass, gathering every problem on the way, so
that a user mends a file once and not line by line. Past this gate nobody re-checks a value.
"""

import math
import types
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

MAX_SHOWN = 80  # O: characters of a value or key in a message, about a line
MAX_HUGE = 10**20  # O: a whole number from here on is described and not printed
MAX_UNKNOWN = 50  # O: unknown keys of one mapping to report; each costs a search for what was meant
CLOSE = 0.6  # O: difflib's own measure of a likely misspelling


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one setting: its dotted key, and what must hold and was found.

    `others` are the keys that it contradicts, where it is right alone.
    """

    key: str
    text: str
    others: tuple[str, ...] = ()


class ConfigError(ValueError):
    """Settings that can't be used, with all their problems at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.key}: {p.text}" for p in self.problems))


def number(default: float | int, low: float, high: float, *, above: bool = False) -> Any:
    """Declare a numeric field that must lie in low..high (in (low, high] if `above`)."""
    return field(default=default, metadata={"range": (low, high, above)})


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Bring nested mappings to one level of dotted keys: {"a": {"b": 1}} is {"a.b": 1}.

    An empty mapping stays as it is, so that one in the place of a value is seen and refused.
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat


def nested(settings: Any) -> dict[str, Any]:
    """A (nested) dataclass as nested dicts: `asdict`, but of values that nobody needs copied."""
    found = {}
    for item in fields(settings):
        value = getattr(settings, item.name)
        found[item.name] = nested(value) if is_dataclass(value) else value
    return found


def suggest(word: str, known: Iterable[str]) -> str:
    """ "; did you mean 'x'?" for the closest known word, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=CLOSE)
    return f"; did you mean {close[0]!r}?" if close else ""


def build(cls: type[T], settings: Mapping[str, Any]) -> T:
    """Build a (nested) dataclass from flat dotted settings.

    Raises:
        ConfigError: unknown keys, missing keys, wrong types, values out of range; all of them.
    """
    known = leaves(cast(type, cls))
    unknown = (key for key in settings if key not in known and not _empty(key, settings, known))
    problems = [Problem(key, _unknown(key, known)) for key in islice(unknown, MAX_UNKNOWN)]
    built = _build(cls, settings, "", problems)
    if problems:
        raise ConfigError(problems)
    return cast(T, built)


@cache
def leaves(cls: type) -> dict[str, Any]:
    """Every dotted key that a (nested) dataclass takes, with its type."""
    hints = get_type_hints(cls)
    found: dict[str, Any] = {}
    for item in fields(cls):
        kind = hints[item.name]
        if isinstance(kind, type) and is_dataclass(kind):
            found |= {f"{item.name}.{key}": type_ for key, type_ in leaves(kind).items()}
        else:
            found[item.name] = kind
    return found


def _empty(key: str, settings: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether this is a group of settings that changes none: `mixup: {}`."""
    return settings[key] == {} and any(name.startswith(f"{key}.") for name in known)


def _unknown(key: str, known: Mapping[str, Any]) -> str:
    if any(name.startswith(f"{key}.") for name in known):
        parts = sorted(name.removeprefix(f"{key}.") for name in known if name.startswith(f"{key}."))
        return f"is a group of settings; give one of {', '.join(parts)}"
    group, _, last = key.rpartition(".")
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == group]
    close = get_close_matches(last, siblings, n=1, cutoff=CLOSE)
    if close:
        return f"unknown key; did you mean {close[0]!r}?"
    return f"unknown key{suggest(key, known)}"


def _build(cls: type, settings: Mapping[str, Any], prefix: str, problems: list[Problem]) -> Any:
    values: dict[str, Any] = {}
    for item, kind in _kinds(cls):
        key = f"{prefix}{item.name}"
        if kind.group is not None:
            values[item.name] = _build(kind.group, settings, f"{key}.", problems)
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


@dataclass(frozen=True, slots=True)
class _Kind:
    """A declared type taken apart, once: a report brings thousands of folds through this gate.

    Attributes:
        plain: What it is where no other part says more.
        optional: Whether None will do.
        choices: Of a Literal.
        member: Of a tuple, what each of its members is.
        group: The dataclass, if it is one.
    """

    plain: Any
    optional: bool
    choices: tuple[Any, ...]
    member: "_Kind | None"
    group: type | None


@cache
def _kinds(cls: type) -> tuple[tuple[Field[Any], _Kind], ...]:
    """The fields of a dataclass with their types."""
    hints = get_type_hints(cls)
    return tuple((item, _kind(hints[item.name])) for item in fields(cls))


def _kind(hint: Any) -> _Kind:
    optional = get_origin(hint) in (Union, types.UnionType)
    if optional:
        hint = next(member for member in get_args(hint) if member is not types.NoneType)
    origin, parts = get_origin(hint), get_args(hint)
    return _Kind(
        plain=hint,
        optional=optional,
        choices=parts if origin is Literal else (),
        member=_kind(parts[0]) if origin is tuple else None,
        group=hint if isinstance(hint, type) and is_dataclass(hint) else None,
    )


def _coerce(value: Any, kind: _Kind, item: Field[Any]) -> Any:
    """Bring a value to its declared type, or say what must hold and what was found."""
    if value is None and kind.optional:
        return None
    if kind.plain is int:
        return _in_range(value if type(value) is int else _integer(value), item)
    if kind.plain is float:
        return _in_range(_real(value), item)
    if kind.choices:
        if value not in kind.choices:
            hint = suggest(value, kind.choices) if isinstance(value, str) else ""
            raise ValueError(f"must be one of {', '.join(kind.choices)}, got {show(value)}{hint}")
        return value
    if kind.member is not None:
        if isinstance(value, str) or not isinstance(value, list | tuple):
            raise ValueError(f"must be a list, got {show(value)}")
        return tuple([_coerce(member, kind.member, item) for member in value])
    if kind.plain is bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, got {show(value)}")
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"must be a text, got {show(value)}")
    if not value.isprintable():  # escape sequences would reach people's terminals
        raise ValueError(f"must be one line of printable text, got {show(value)}")
    return value


def _integer(value: Any) -> int:
    is_whole = value.is_integer() if isinstance(value, float) else isinstance(value, int)
    if isinstance(value, bool) or not is_whole:
        raise ValueError(f"must be a whole number, got {show(value)}")
    return int(value)


def _real(value: Any) -> float:
    real = value
    if isinstance(value, str):  # PyYAML follows YAML 1.1, where 1e-4 without a point is a string
        with suppress(ValueError):
            real = float(value)
    if isinstance(real, bool) or not isinstance(real, int | float):
        raise ValueError(f"must be a number, got {show(value)}")
    try:
        real = float(real)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        raise ValueError(f"must be a finite number, got {show(value)}")
    return real + 0.0  # -0.0 and 0.0 are one setting, and must be one text in a run's identity


def _in_range(value: Any, item: Field[Any]) -> Any:
    if "range" not in item.metadata:
        return value
    low, high, above = item.metadata["range"]
    if value > high or value < low or (above and value == low):
        opening = f"above {low:g} and at most {high:g}" if above else f"in {low:g}..{high:g}"
        raise ValueError(f"must lie {opening}, got {show(value)}")
    return value


def show(value: Any) -> str:
    """A value as it goes into a message: in YAML's words, cut where it would flood the terminal."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= MAX_HUGE:
        return "a whole number of over 20 digits"
    try:
        return cut(repr(value))
    except ValueError:  # Python refuses to print an int of over 4 300 digits, in a list too
        return f"a {type(value).__name__} with a whole number of over 20 digits"


def cut(text: str) -> str:
    """The text, or its beginning where it is too long for a message."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
