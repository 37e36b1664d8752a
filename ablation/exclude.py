"""`exclude:` of a grid's `matrix:`: combinations that are not to be run."""

from collections.abc import Sequence
from typing import Any

from ablation.axes import EXCLUDE, MATRIX, Axis, Source
from core.schema import cut, show, suggest

MAX_EXCLUDED = 200  # O: combinations to drop; each is held against every row
WORDS = {True: ("on", "yes", "true"), False: ("off", "no", "false")}
Called = tuple[dict[str, int], dict[str, int]]
Places = tuple[int, ...]  # of each axis's level


def kept_of(source: Source, axes: Sequence[Axis], every: list[Places]) -> list[Places]:
    """Every combination that no entry of `exclude` drops."""
    where = (MATRIX, EXCLUDE)
    entries = source.top[MATRIX].get(EXCLUDE, [])
    if not isinstance(entries, list) or len(entries) > MAX_EXCLUDED:
        rule = f"must be a list of at most {MAX_EXCLUDED} combinations, as in [{{AXIS: LEVEL}}]"
        found = f"{len(entries)} of them" if isinstance(entries, list) else show(entries)
        source.report(where, f"{rule}; found {found}")
        return every
    called = [_called(axis) for axis in axes]
    for index, entry in enumerate(entries):
        if source.has_enough:
            break
        wanted = _entry(source, axes, called, entry, index)
        if wanted is None:
            continue
        left = [p for p in every if any(p[at] not in places for at, places in wanted.items())]
        if len(left) == len(every):
            text = "drops nothing: no combination is left that it holds for"
            source.report((*where, index), text)
        every = left
    return every


def _entry(
    source: Source, axes: Sequence[Axis], called: Sequence[Called], entry: Any, index: int
) -> dict[int, set[int]] | None:
    """One combination to drop: the levels meant, by the place of their axis."""
    where = (MATRIX, EXCLUDE, index)
    if not isinstance(entry, dict) or not entry:
        source.report(where, f"must map axes to levels, as in {{AXIS: LEVEL}}; found {show(entry)}")
        return None
    names = [axis.name for axis in axes]
    wanted: dict[int, set[int]] = {}
    for name, value in entry.items():
        if name not in names:
            source.report((*where, name), f"must name an axis{suggest(name, names)}")
            return None
        known, levels = called[names.index(name)], axes[names.index(name)].levels
        found = _meant(known, value)
        places = [found] if not isinstance(value, list) or found is not None else []
        places = places or [_meant(known, one) for one in value]
        if not places or None in places:
            shown = [level.name for level in levels]
            text = f"must name a level, of {cut(', '.join(shown))}; found {show(value)}"
            source.report((*where, name), f"{text}{suggest(str(value), shown)}")
            return None
        wanted[names.index(name)] = {place for place in places if place is not None}
    return wanted


def _called(axis: Axis) -> Called:
    """How each level may be named: as its value stands in the file, or as rows are called by it."""
    names = {level.name.lower(): place for place, level in enumerate(axis.levels)}
    return {_key(level.value): place for place, level in enumerate(axis.levels)}, names


def _meant(called: Called, value: Any) -> int | None:
    """The place of the level that a value names; YAML reads off, no and on, yes as booleans."""
    values, names = called
    if _key(value) in values:
        return values[_key(value)]
    words = WORDS[value] if isinstance(value, bool) else (str(value).lower(),)
    return next((names[word] for word in words if word in names), None)


def _key(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"
