"""From conditions to the panels of a picture: one a kind, the clean one among its levels."""

from collections.abc import Sequence

from ablation.figures.robustness import Panel
from ablation.stress.robustness import Robustness
from core.conditions import CLEAN, KINDS, Condition


def panels(found: Sequence[Robustness], corpus: str, rate: str) -> list[Panel]:
    """One for each kind that was heard, rows in the table's order.

    Args:
        rate: wa or ua.
    """
    drawn = [one for one in found if one.summary.corpus == corpus and one.summary.folds]
    rows = list(dict.fromkeys(one.summary.cell.row for one in drawn))
    means = {
        (one.condition, one.summary.cell.row): getattr(one.summary, rate).mean for one in drawn
    }
    heard = {one.condition.kind for one in drawn}
    made = []
    for kind, (levels, axis, unit) in KINDS.items():
        if kind not in heard:
            continue
        steps = _on_axis(kind, levels)
        made.append(
            Panel(
                title=f"{axis} in {unit}" if unit else axis,
                levels=[_label(one) for one in steps],
                rates={row: [means[one, row] for one in steps] for row in rows},
                are_steps=bool(unit),
            )
        )
    return made


def _on_axis(kind: str, levels: Sequence[float | str]) -> list[Condition]:
    """Clean first, from where things get worse; of gains at 0 dB, where it is."""
    clean, others = Condition(CLEAN), [Condition(kind, level) for level in levels]
    if kind != "gain":
        return [clean, *others]
    below = [one for one in others if isinstance(one.level, float) and one.level < 0]
    return [*below, clean, *others[len(below) :]]


def _label(condition: Condition) -> str:
    if condition.kind == CLEAN:
        return "clean"
    level = condition.level
    return level if isinstance(level, str) else f"{level:g}".replace("-", "−")
