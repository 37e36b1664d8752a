"""The axes of a grid's `matrix:`, and its `components:`, read and checked level by level.

A level is a value of one setting, or a named bundle of settings. In a bundle `losses.terms+: focal`
adds to a list and `losses.terms-: focal` takes away from it: so two axes can change one list.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any, get_origin

from ablation.grid import ENOUGH_PROBLEMS, GridProblem, Setting
from ablation.yaml_lines import Where
from core.config import RunConfig
from core.schema import ConfigError, build, cut, flatten, leaves, nested, show, suggest

MATRIX, COMPONENTS, EXCLUDE = "matrix", "components", "exclude"
STATES = ("off", "on")
SIGNS = ("+", "-")
LEVEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
MAX_AXES = 50  # O: of components too; more is a slip
MAX_LEVELS = 200  # O: of one axis
MAX_ROWS = 10_000  # O: that one file generates
NAME_RULE = "must be a name of up to 40 letters, digits, spaces and . _ -"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting of a level: put in its place, or added to ("+") or taken from ("-") a list."""

    key: str
    sign: str
    value: Any  # as the config has it
    line: int


@dataclass(frozen=True, slots=True)
class Level:
    """One level of an axis, as `exclude` and the summary name it."""

    name: str
    value: Any  # as the file has it
    changes: tuple[Change, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Axis:
    """Levels that exclude one another; those of a component are off and on, in this order."""

    name: str
    levels: tuple[Level, ...]
    line: int
    is_named: bool  # its levels have names of their own
    is_component: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """What these blocks need of the file around them.

    Attributes:
        top: The file's keys.
        line: Of a place in it.
        settings: Flattens a bundle of settings and reports what is wrong with its shape.
        keys: Every setting that a row may change.
        problems: What was found wrong so far.
    """

    top: Mapping[str, Any]
    line: Callable[[Where], int]
    settings: Callable[[Where, Any, str], dict[str, Setting]]
    keys: Sequence[str]
    problems: list[GridProblem]

    def report(self, where: Where, text: str) -> None:
        """Note a problem at a place of the file."""
        self.problems.append(GridProblem(self.line(where), label(where), text))

    @property
    def has_enough(self) -> bool:
        """Whether reading on would tell nobody more."""
        return len(self.problems) >= ENOUGH_PROBLEMS


def label(where: Where) -> str:
    """A place as a message names it: matrix.exclude[2].mixup."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in where]
    return "".join(parts).removeprefix(".")


def read_components(source: Source) -> list[Axis]:
    """`components: {NAME: settings that turn it on}`, or {NAME: {on: ..., off: ...}}."""
    value = source.top[COMPONENTS]
    if not isinstance(value, dict) or not value:
        text = f"must map names to settings, as in {{EAM: {{mixup.method: eam}}}}; {_found(value)}"
        source.report((COMPONENTS,), text)
        return []
    if _are_few(source, (COMPONENTS,), list(value)):
        read = [_component(source, name, value[name]) for name in value]
        return [axis for axis in read if axis]
    return []


def read_axes(source: Source, components: Sequence[Axis]) -> list[Axis]:
    """The axes of `matrix:`."""
    value = source.top[MATRIX]
    named = value if isinstance(value, dict) else {}
    names = [name for name in named if name != EXCLUDE]
    if not names:
        rule = "must map axes to lists of levels, as in {mixup.method: [none, eam]}"
        source.report((MATRIX,), f"{rule}; {_found(value)}")
    sizes = [len(named[name]) for name in names if isinstance(named[name], dict | list)]
    if not _are_few(source, (MATRIX,), names) or not _is_small(source, sizes):
        return []
    known = {axis.name: axis for axis in components}
    read = [_axis(source, name, named[name], known) for name in names]
    return [axis for axis in read if axis]


def _are_few(source: Source, where: Where, names: Sequence[str]) -> bool:
    if len(names) > MAX_AXES:
        source.report(where, f"must hold at most {MAX_AXES} names, found {len(names)}")
    return len(names) <= MAX_AXES


def _is_small(source: Source, sizes: Sequence[int]) -> bool:
    if prod(sizes) > MAX_ROWS:
        factors = " x ".join(map(str, sizes))
        text = f"must make at most {MAX_ROWS} rows, found {show(prod(sizes))} ({cut(factors)})"
        source.report((MATRIX,), text)
    return prod(sizes) <= MAX_ROWS


def _found(value: Any) -> str:
    return f"found {show(value)}"


def _component(source: Source, name: str, value: Any) -> Axis | None:
    where: Where = (COMPONENTS, name)
    if source.has_enough:
        return None
    if not LEVEL_NAME.fullmatch(name):
        source.report(where, NAME_RULE)
    elif name in source.keys:
        source.report(where, "must not be called as a setting is")
    bundles: list[tuple[Where, Any]] = [(where, {}), (where, value)]
    if isinstance(value, dict) and value and set(value) <= set(STATES):
        bundles = [((*where, state), value.get(state)) for state in STATES]
    levels = [
        Level(state, state, _changes(source, at, bundle), source.line(at))
        for state, (at, bundle) in zip(STATES, bundles, strict=True)
    ]
    if not any(bundle for _, bundle in bundles):
        source.report(
            where, f"must say what turns it on, as in {{mixup.method: eam}}; {_found(value)}"
        )
    return Axis(name, tuple(levels), source.line(where), is_named=True, is_component=True)


def _axis(source: Source, name: str, value: Any, components: Mapping[str, Axis]) -> Axis | None:
    where: Where = (MATRIX, name)
    if source.has_enough:
        return None
    if not isinstance(value, dict | list) or not value:
        rule = "must be a list of levels, or a mapping of named ones"
        source.report(where, f"{rule}; {_found(value)}")
        return None
    if len(value) > MAX_LEVELS:
        source.report(where, f"must hold at most {MAX_LEVELS} levels, found {len(value)}")
        return None
    if name in components:
        return _states(source, where, value, components[name])
    if isinstance(value, dict):
        return _bundles(source, where, value)
    if name not in source.keys:
        before = len(source.problems)
        source.settings((MATRIX,), {name: None}, MATRIX)  # refuses what the file has keys for
        if len(source.problems) == before:
            rule = (
                "must be a setting or a component, or have named levels, {NAME: {SETTING: VALUE}}"
            )
            source.report(where, f"{rule}{suggest(name, [*source.keys, *components])}")
        return None
    levels = []
    for index, member in enumerate(value):
        at = (*where, index)
        if isinstance(member, dict):
            rule = "must be a value; a level of several settings needs a name, {NAME: {...}}"
            source.report(at, f"{rule}; {_found(member)}")
            continue
        changes = _changes(source, where, {name: member}, at)
        levels.append(Level(_worded(member), member, changes, source.line(at)))
    _refuse_twice(source, where, levels)
    return Axis(name, tuple(levels), source.line(where), is_named=False)


def _bundles(source: Source, where: Where, value: Mapping[str, Any]) -> Axis:
    levels = []
    for name, bundle in value.items():
        at = (*where, name)
        if source.has_enough:
            break
        if not LEVEL_NAME.fullmatch(name):
            source.report(at, NAME_RULE)
        if isinstance(bundle, list) and (dotted := f"{where[-1]}.{name}") in source.keys:
            rule = f"must be a bundle of settings; an axis over one is `{dotted}: [...]`"
            source.report(at, rule)
            continue
        levels.append(Level(name, name, _changes(source, at, bundle), source.line(at)))
    return Axis(str(where[-1]), tuple(levels), source.line(where), is_named=True)


def _states(source: Source, where: Where, value: Any, component: Axis) -> Axis:
    """A component as an axis: `[off, on]`, which YAML reads as false and true."""
    asked = [{False: "off", True: "on"}.get(item, item) for item in _hashable(value)]
    if len(asked) != len(set(asked)) or not set(asked) <= set(STATES):
        source.report(where, f"must be [off, on] or one of them, for a component; {_found(value)}")
    levels = tuple(level for level in component.levels if level.name in asked)
    return replace(component, levels=levels, line=source.line(where))


def _hashable(value: Any) -> Iterator[Any]:
    for member in value:
        yield member if isinstance(member, bool | str) else show(member)


def _changes(
    source: Source, where: Where, bundle: Any, at: Where | None = None
) -> tuple[Change, ...]:
    """The settings of a bundle, each brought to its type; `at` is where a lone value stands."""
    found: list[Change] = []
    signed: dict[str, dict[str, Setting]] = {"": {}, **{sign: {} for sign in SIGNS}}
    for dotted, setting in source.settings(where, bundle, label(where)).items():
        sign = dotted[-1:] if dotted.endswith(SIGNS) else ""
        if at:
            setting = replace(setting, line=source.line(at), key=label(at))
        signed[sign][dotted.removesuffix(sign)] = setting
    for sign, settings in signed.items():
        values = {}
        for key, setting in settings.items():
            if sign and key not in lists():
                text = f"'{sign}' changes a list: {', '.join(lists())}{suggest(key, lists())}"
                source.problems.append(GridProblem(setting.line, setting.key, text))
            elif sign and not isinstance(setting.value, list):
                values[key] = [setting.value]
            else:
                values[key] = setting.value
        found += _typed(source, sign, settings, values)
    return tuple(found)


def _typed(
    source: Source, sign: str, settings: Mapping[str, Setting], values: Mapping[str, Any]
) -> list[Change]:
    try:
        built = flatten(nested(build(RunConfig, values)))
    except ConfigError as error:
        for one in error.problems:
            where = settings[one.key]
            source.problems.append(GridProblem(where.line, where.key, one.text))
        return []
    known = (key for key in values if key in built)  # an empty group of settings changes nothing
    return [Change(key, sign, built[key], settings[key].line) for key in known]


def _refuse_twice(source: Source, where: Where, levels: Sequence[Level]) -> None:
    seen: dict[str, Level] = {}
    for index, level in enumerate(levels):
        first = seen.setdefault(level.name, level)
        if first is level:
            continue
        text = "stands twice"
        if first.value != level.value:
            text = f"would be called as {show(first.value)} is; give both names, {{NAME: {{...}}}}"
        source.report((*where, index), f"{show(level.value)} {text}")


def _worded(value: Any) -> str:
    """A value as a row's name says it: of a path or a hub's name its last part."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "-".join(map(_worded, value))
    return str(value).rstrip("/").rpartition("/")[2]


@cache
def lists() -> tuple[str, ...]:
    """The settings that are lists."""
    return tuple(key for key, kind in leaves(RunConfig).items() if get_origin(kind) is tuple)
