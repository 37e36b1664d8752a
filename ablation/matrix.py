"""Rows that a grid generates: the product of `matrix:`, and components one by one.

components:                              # each off unless a row turns it on
  EAM: {mixup.method: eam}
  focal: {losses.terms+: focal}          # joins the list that the base has; -: leaves it
add_one: true                            # bare, bare+EAM, bare+focal; or a list of names
leave_one_out: true                      # full, full-EAM, full-focal; or a list of names

matrix:                                  # or every combination
  EAM: [off, on]                         # a component
  training.epochs: [5, 10]               # a setting
  pooling:                               # named bundles of settings
    mean: {pooling.method: mean}
    FLAM: {pooling.method: flam, pooling.heads: 8}
  exclude:
    - {EAM: on, pooling: mean}           # drops these, whatever the epochs
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Any

from ablation.axes import (
    COMPONENTS,
    EXCLUDE,
    MATRIX,
    Axis,
    Level,
    Source,
    lists,
    read_axes,
    read_components,
)
from ablation.combining import refuse_equal, row_of
from ablation.design import BARE, FULL, OFF, ON, Design, Factor
from ablation.exclude import Places, kept_of
from ablation.grid import ENOUGH_PROBLEMS, GridProblem, Row, Setting
from core.schema import show, suggest

ADD_ONE, LEAVE_ONE_OUT = "add_one", "leave_one_out"
BLOCKS = (MATRIX, COMPONENTS, ADD_ONE, LEAVE_ONE_OUT)
ROW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,79}")
GENERATED = re.compile(rf"({'|'.join((MATRIX, ADD_ONE, LEAVE_ONE_OUT))})\[(.*)\]\.([^\]]*)")


@dataclass(frozen=True, slots=True)
class Generated:
    """The rows that a file's blocks make, and which combinations they are."""

    rows: tuple[Row, ...] = ()
    design: Design | None = None


def read_matrix(source: Source, base: Mapping[str, Setting], rows: Sequence[Row]) -> Generated:
    """What `matrix:`, `components:`, `add_one:` and `leave_one_out:` make beside `rows`.

    Problems go to the source; there are no rows where there is any.
    """
    before = len(source.problems)
    if not any(key in source.top for key in BLOCKS):
        return Generated()
    components = read_components(source) if COMPONENTS in source.top else []
    _refuse_lonely(source)
    axes = read_axes(source, components) if MATRIX in source.top else components
    if MATRIX in source.top:
        _refuse_shared(source, axes)
    elif COMPONENTS in source.top:
        _refuse_shared(source, components)
    if len(source.problems) > before:
        return Generated()
    named = _product(source, axes) if MATRIX in source.top else _one_by_one(source, components)
    if len(source.problems) > before:
        return Generated()
    made = [
        row_of(name, _levels(axes, places), base, block, source.line((block,)))
        for name, places, block in named
    ]
    refuse_equal(source, base, rows, made)
    if len(source.problems) > before:
        return Generated()
    whole = prod(len(axis.levels) for axis in axes)
    design = Design(
        factors=tuple(Factor(a.name, tuple(level.name for level in a.levels)) for a in axes),
        rows={name: places for name, places, _ in named},
        add_one=bool(source.top.get(ADD_ONE)),
        leave_one_out=bool(source.top.get(LEAVE_ONE_OUT)),
        excluded=whole - len(named) if MATRIX in source.top else 0,
    )
    return Generated(tuple(made), design)


def gathered(problems: Iterable[GridProblem]) -> list[GridProblem]:
    """One problem of many generated rows as one, which names the first and counts the others."""
    found: dict[GridProblem, list[str]] = {}
    for problem in problems:
        row = GENERATED.fullmatch(problem.key)
        same = replace(problem, key=f"{row[1]}.{row[3]}") if row else problem
        found.setdefault(same, []).extend([row[2]] if row else [])
    return [replace(one, text=one.text + _named(rows)) for one, rows in found.items()]


def _named(rows: Sequence[str]) -> str:
    if not rows:
        return ""
    others = len(rows) - 1
    more = f", and in {others} other{'s' * (others > 1)}" if others else ""
    return f"; so in the combination {rows[0]!r}{more}"


def _levels(axes: Sequence[Axis], places: Places) -> list[Level]:
    return [axis.levels[place] for axis, place in zip(axes, places, strict=True)]


def _refuse_lonely(source: Source) -> None:
    """Blocks that have no meaning together, or alone."""
    top = source.top
    for key in (ADD_ONE, LEAVE_ONE_OUT):
        if key not in top:
            continue
        if COMPONENTS not in top:
            source.report((key,), f"needs `{COMPONENTS}`: what can be added or left out")
        if MATRIX in top:
            source.report((key,), f"can't stand beside `{MATRIX}`, which has every combination")
    if COMPONENTS in top and not {MATRIX, ADD_ONE, LEAVE_ONE_OUT} & set(top):
        uses = f"`{ADD_ONE}: true`, `{LEAVE_ONE_OUT}: true`, or NAME: [off, on] in `{MATRIX}`"
        source.report((COMPONENTS,), f"must be used, by {uses}")


def _refuse_shared(source: Source, axes: Sequence[Axis]) -> None:
    """A setting that two axes put in its place: one of them would have no effect."""
    setters: dict[str, Axis] = {}
    for axis in axes:
        changes = [change for level in axis.levels for change in level.changes if not change.sign]
        for key, change in {change.key: change for change in changes}.items():
            first = setters.setdefault(key, axis)
            if first is not axis:
                hint = f"; add to the list with {key}+" if key in lists() else ""
                text = f"is set by {show(first.name)} and by {show(axis.name)}{hint}"
                source.problems.append(GridProblem(change.line, key, text))


def _product(source: Source, axes: Sequence[Axis]) -> list[tuple[str, Places, str]]:
    every = list(product(*(range(len(axis.levels)) for axis in axes)))
    kept = kept_of(source, axes, every)
    if every and not kept:
        source.report((MATRIX, EXCLUDE), "must leave a combination, drops all of them")
    words = [_words(axis, axes) for axis in axes]
    named = []
    for places in kept:
        parts = [part for at, place in enumerate(places) if (part := words[at][place])]
        named.append(("+".join(parts) or BARE, places, MATRIX))
    _refuse_names(source, [name for name, *_ in named])
    return named


def _refuse_names(source: Source, names: Sequence[str]) -> None:
    for name in names:
        if not ROW_NAME.fullmatch(name):
            rule = "must make row names of up to 80 letters, digits, spaces and . _ + -"
            hint = "give levels short names, {NAME: {SETTING: VALUE}}"
            source.report((MATRIX,), f"{rule}, makes {show(name)}; {hint}")
            return
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        text = f"must call each row differently, makes {show(twice[0])} twice"
        source.report((MATRIX,), text)


def _words(axis: Axis, axes: Sequence[Axis]) -> list[str]:
    """What each level adds to a row's name; a component that is off adds nothing."""
    if axis.is_component:
        return [axis.name if level.name == "on" else "" for level in axis.levels]
    others = [a for a in axes if a is not axis]
    elsewhere = {level.name for a in others for level in a.levels}
    own = axis.name.rpartition(".")[2]
    if own in {a.name.rpartition(".")[2] for a in others}:
        own = axis.name
    return [
        level.name
        if level.name not in elsewhere and (axis.is_named or _is_text(level.value))
        else f"{own}-{level.name}"
        for level in axis.levels
    ]


def _is_text(value: Any) -> bool:
    """Whether a value says by itself what it is of: `eam` does, 5 or true does not."""
    words = value if isinstance(value, list) else [value]
    return all(isinstance(word, str) and not word[:1].isdigit() for word in words)


def _one_by_one(source: Source, components: Sequence[Axis]) -> list[tuple[str, Places, str]]:
    """Bare and full, and each component alone or left out; a combination that comes twice, once."""
    found: dict[Places, tuple[str, Places, str]] = {}
    for block, start, name, sign in (
        (ADD_ONE, OFF, BARE, "+"),
        (LEAVE_ONE_OUT, ON, FULL, "-"),
    ):
        asked = _asked(source, block, components)
        if not asked:
            continue
        places = [start] * len(components)
        found.setdefault(tuple(places), (name, tuple(places), block))
        for at in asked:
            one = tuple(p if i != at else ON + OFF - start for i, p in enumerate(places))
            found.setdefault(one, (f"{name}{sign}{components[at].name}", one, block))
    if not found:
        source.report((COMPONENTS,), "must make a row: `add_one` or `leave_one_out` is true")
    return list(found.values())


def _asked(source: Source, block: str, components: Sequence[Axis]) -> list[int]:
    """Which components a shorthand takes one by one: all for `true`, or those it names."""
    value = source.top.get(block, False)
    names = [component.name for component in components]
    if isinstance(value, bool):
        return list(range(len(names))) if value else []
    if not isinstance(value, list) or not value:
        source.report((block,), f"must be true or a list of components, found {show(value)}")
        return []
    for index, name in enumerate(value[:ENOUGH_PROBLEMS]):
        if name not in names:
            text = f"must name a component, found {show(name)}{suggest(str(name), names)}"
            source.report((block, index), text)
        elif value.index(name) < index:
            source.report((block, index), f"{show(name)} stands twice")
    return [names.index(name) for name in value if name in names]
