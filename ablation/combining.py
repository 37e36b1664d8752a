"""Levels put together: the settings of a generated row, and rows that come to the same."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from ablation.axes import Level, Source
from ablation.grid import GridProblem, Row, Setting
from core.config import RunConfig
from core.schema import ConfigError, build, flatten, leaves, nested

MOST_EQUAL = 10  # O: pairs of equal rows to report; one level given twice makes thousands


def row_of(
    name: str, levels: Sequence[Level], base: Mapping[str, Setting], block: str, line: int
) -> Row:
    """A combination as a row of the file would be; problems name it by its block and name."""
    label = f"{block}[{name}]"
    settings = {
        key: Setting(value, line_of, f"{label}.{key}")
        for key, value, line_of in _applied(levels, base)
    }
    return Row(name, "", settings, label, line)


def _applied(
    levels: Sequence[Level], base: Mapping[str, Setting]
) -> Iterator[tuple[str, Any, int]]:
    """What the levels set together: values first, then what they add to lists or take away."""
    changes = [change for level in levels for change in level.changes]
    values = {change.key: (change.value, change.line) for change in changes if not change.sign}
    for sign in ("+", "-"):
        for change in changes:
            if change.sign != sign:
                continue
            before = values.get(change.key, (None,))[0]
            if before is None:
                before = _in_base(change.key, base)
            if before is None:  # the base is wrong there, which is told of it
                continue
            added = [one for one in change.value if one not in before] if sign == "+" else []
            kept = [one for one in before if sign == "+" or one not in change.value]
            values[change.key] = (_ordered(change.key, [*kept, *added]), change.line)
    for key, (value, line) in values.items():
        yield key, value, line


def _in_base(key: str, base: Mapping[str, Setting]) -> tuple[Any, ...] | None:
    try:
        return tuple(_values({key: base[key]} if key in base else {})[key])
    except ConfigError:
        return None


def _ordered(key: str, members: list[Any]) -> tuple[Any, ...]:
    """As the config lists them, so that one set of terms is one experiment; others as they came."""
    choices = get_args(get_args(leaves(RunConfig)[key])[0])
    if set(members) <= set(choices):
        members = sorted(members, key=choices.index)
    return tuple(members)


def refuse_equal(
    source: Source, base: Mapping[str, Setting], rows: Sequence[Row], made: Sequence[Row]
) -> None:
    """Report generated rows whose settings another row has already, or its name."""
    try:
        start = _values(base)
    except ConfigError:  # told of by the rows
        return
    names = {row.name for row in rows}
    seen: dict[tuple[Any, ...], str] = {}
    for row in rows:
        try:
            seen.setdefault(tuple(_values({**base, **row.settings}).values()), row.name)
        except ConfigError:
            continue
    before = len(source.problems)
    for row in made:
        if len(source.problems) - before >= MOST_EQUAL:
            return
        changes = {key: setting.value for key, setting in row.settings.items()}
        first = seen.setdefault(tuple({**start, **changes}.values()), row.name)
        if row.name in names:
            text = f"{row.name!r} is the name of one of `rows` already"
        elif first != row.name:
            text = f"has the same settings as {first!r}"
        else:
            continue
        source.problems.append(GridProblem(row.line, row.label, text))


def _values(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """Every setting of the config that these make, whatever contradicts whatever."""
    return flatten(nested(build(RunConfig, {key: one.value for key, one in settings.items()})))
