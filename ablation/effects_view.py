"""What components and axes bring, as tables, notes and as `results.json` holds them.

`effects_document` adds to `results.json` of a grid that generates rows:

    factorial     {rows: {row: {axis: level}}, excluded, interval, effects}: which combination each
                  generated row is, how many of the product the file drops, and a list of
                  {kind, corpus, names, level, against, combinations, runs, wanted, apart,
                  wa: {mean, pooled, interval: [low, high] | null} | null, ua: {...} | null}
                  `kind` is main, interaction, added (to none) or left_out (of all);
                  `runs` of `wanted` have finished, `ablation/effects.py` says what the others are
"""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from ablation.columns import NOTHING, STATISTICS_RANK, Column, fitting, text_lines
from ablation.design import BARE, FULL, Design
from ablation.effects import Effect
from ablation.footnotes import INTERVAL
from ablation.statistics import Interval
from ablation.tables import INCOMPLETE, signed

PLACES = {"wa": 0, "ua": 1}
NOTES_WIDTH = 76
_NAMED = 6  # effects with holes, before "and more"


@dataclass(frozen=True, slots=True)
class EffectsTable:
    """One table of effects: its heading, its columns, and what stands below it."""

    title: str
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def effect_tables(effects: Sequence[Effect], design: Design | None) -> list[EffectsTable]:
    """Main effects and interactions, or what components bring alone and on top of the others."""
    if design is None or not effects:
        return []
    if not design.is_product:
        return [_components(effects)]
    main = [effect for effect in effects if effect.kind == "main"]
    between = [effect for effect in effects if effect.kind == "interaction"]
    tables = [_main(main, design)] if main else []
    return [*tables, _interactions(between)] if between else tables


def effects_text(effects: Sequence[Effect], design: Design | None, width: int) -> str:
    """The same for a terminal; nothing where there are none."""
    parts = []
    for one in effect_tables(effects, design):
        notes = [line for note in one.notes for line in wrap(note, min(width, NOTES_WIDTH))]
        chosen = fitting(one.columns, width)
        if len(chosen) < len(one.columns):
            notes.append("Too narrow for the intervals. The report's table.md has them.")
        parts += ["", one.title, "", *text_lines(chosen, width), "", *notes]
    return "\n".join([*parts, ""]) if parts else ""


def effects_document(effects: Sequence[Effect], design: Design) -> dict[str, Any]:
    """Plain values; the module's docstring describes them."""
    return {
        "rows": {
            row: {
                factor.name: factor.levels[place]
                for factor, place in zip(design.factors, places, strict=True)
            }
            for row, places in design.rows.items()
        },
        "excluded": design.excluded,
        "interval": INTERVAL,
        "effects": [_document(effect) for effect in effects],
    }


def _document(effect: Effect) -> dict[str, Any]:
    return {
        "kind": effect.kind,
        "corpus": effect.corpus,
        "names": list(effect.names),
        "level": effect.level or None,
        "against": effect.against or None,
        "combinations": effect.combinations,
        "runs": effect.runs,
        "wanted": effect.wanted,
        "apart": effect.apart,
        **{rate: _rate_document(effect, rate) for rate in PLACES},
    }


def _rate_document(effect: Effect, rate: str) -> dict[str, Any] | None:
    if effect.mean is None or effect.pooled is None:
        return None
    ends: Interval | None = getattr(effect.intervals, rate, None)
    return {
        "mean": effect.mean[PLACES[rate]],
        "pooled": effect.pooled[PLACES[rate]],
        "interval": [ends.low, ends.high] if ends else None,
    }


def _main(effects: Sequence[Effect], design: Design) -> EffectsTable:
    columns = [
        *_corpora(effects),
        Column("axis", tuple(effect.names[0] for effect in effects), "left"),
        Column("level", tuple(effect.level for effect in effects), "left"),
        Column("against", tuple(effect.against for effect in effects), "left"),
        *_rates(effects),
        _runs(effects),
    ]
    notes = [
        "Main effects: points that a level brings against its axis's first, averaged over folds, "
        f"seeds and the combinations of the other axes that have both. {_interval(effects)}"
    ]
    if design.excluded:
        notes.append(
            f"{design.excluded} combination{'s' * (design.excluded > 1)} of the product "
            "left out by the grid: an effect is over those that are there."
        )
    return EffectsTable("Main effects", tuple(columns), (*notes, *_holes(effects)))


def _interactions(effects: Sequence[Effect]) -> EffectsTable:
    columns = [
        *_corpora(effects),
        Column("axes", tuple(" × ".join(effect.names) for effect in effects), "left"),
        *_rates(effects),
        _runs(effects),
    ]
    note = (
        "Interactions: how many points more the one's second level brings under the other's second "
        "level than under its first (a difference of differences); 0 where each brings what it "
        f"brings alone. {_interval(effects)}"
    )
    return EffectsTable("Interactions", tuple(columns), (note, *_holes(effects)))


def _components(effects: Sequence[Effect]) -> EffectsTable:
    """Each component on one line: what it brings to none, and what to all the others."""
    lines = list(dict.fromkeys((effect.corpus, effect.names[0]) for effect in effects))
    found = {(effect.kind, effect.corpus, effect.names[0]): effect for effect in effects}
    kinds = dict.fromkeys(effect.kind for effect in effects)
    columns = [Column("component", tuple(name for _, name in lines), "left")]
    if len({corpus for corpus, _ in lines}) > 1:
        columns.insert(0, Column("corpus", tuple(corpus for corpus, _ in lines), "left"))
    for kind in kinds:
        told = [found.get((kind, *line)) for line in lines]
        head = "added to\nnone" if kind == "added" else "left out\nof all"
        columns += [*_rates(told, head.split("\n")), _runs(told)]
    said = {
        "added": f"Added to none: the row {BARE}+NAME minus {BARE}",
        "left_out": f"Left out of all: {FULL} minus {FULL}-NAME, so a component that is missed "
        "there stands with a plus",
    }
    note = (
        f"{'. '.join(said[kind] for kind in kinds)}. Points, averaged over folds and seeds. "
        f"{_interval(effects)}"
    )
    notes = [note]
    if len(kinds) > 1:
        notes.append(
            "What a component brings to none and to all the others differs where they "
            "interact, in what they do or by chance."
        )
    return EffectsTable("Components", tuple(columns), (*notes, *_holes(effects)))


def _interval(effects: Sequence[Effect]) -> str:
    if not any(effect.intervals for effect in effects):
        return "No intervals: too few speakers, or what was said of each utterance is not at hand."
    return (
        "95 %: of the pooled difference by bootstrap over speakers, all rows drawn alike; it takes "
        "the trained models as they are, and no correction is made for the number of effects."
    )


def _corpora(effects: Sequence[Effect]) -> list[Column]:
    names = tuple(effect.corpus for effect in effects)
    return [Column("corpus", names, "left")] if len(set(names)) > 1 else []


def _rates(effects: Sequence[Effect | None], heads: Sequence[str] = ()) -> list[Column]:
    columns = []
    for rate, place in PLACES.items():
        means = tuple(signed(e.mean[place]) if e and e.mean else NOTHING for e in effects)
        ends = tuple(_ends(e, rate) if e and e.intervals else NOTHING for e in effects)
        columns.append(Column("\n".join([*heads, rate.upper()]), means))
        if any(effect and effect.intervals for effect in effects):
            columns.append(Column(f"95 %\n{rate.upper()}", ends, rank=STATISTICS_RANK))
    return columns


def _ends(effect: Effect, rate: str) -> str:
    interval: Interval = getattr(effect.intervals, rate)
    return f"{signed(interval.low)} to {signed(interval.high)}"


def _runs(effects: Sequence[Effect | None]) -> Column:
    told = []
    for effect in effects:
        mark = f"{INCOMPLETE} " if effect and effect.runs < effect.wanted else ""
        told.append(f"{mark}{effect.runs}/{effect.wanted}" if effect else NOTHING)
    return Column("runs", tuple(told))


def _holes(effects: Sequence[Effect]) -> list[str]:
    """What the figures are not of."""
    notes = []
    if none := [_named(e) for e in effects if not e.combinations]:
        notes.append(f"No combination has all the rows that it takes: {_listed(none)}.")
    missing = [f"{_named(e)} {e.runs} of {e.wanted}" for e in effects if e.runs < e.wanted]
    if missing:
        notes.append(
            f"{INCOMPLETE} over the runs that have finished in all the rows compared, the others "
            f"left out: {_listed(missing)}."
        )
    if apart := [f"{_named(e)} {e.apart}" for e in effects if e.apart]:
        notes.append(f"Left out, as tested on different utterances: {_listed(apart)}.")
    return notes


def _named(effect: Effect) -> str:
    what = " × ".join(effect.names) + (f" ({effect.level})" if effect.level else "")
    kind = {"added": " added", "left_out": " left out"}.get(effect.kind, "")
    return f"{what}{kind} on {effect.corpus}"


def _listed(parts: Sequence[str]) -> str:
    more = [f"{len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return "; ".join([*parts[:_NAMED], *more])
