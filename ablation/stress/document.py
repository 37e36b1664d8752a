"""What is written of a robustness evaluation: `stress.md`, `stress.json`, and the terminal's table.

`stress.json`. Rates are fractions in 0..1, a figure that does not exist is null:

    grid, title, demo, git_commit    of the study
    statistics      {baseline, level, interval, mcnemar, corrected_t, tests}, as in `results.json`
    conditions      [{name, kind, level, axis, unit}], the clean one first
    notes           what a reader must know, a sentence or two each
    rows            [{row, corpus, complete, missing, conditions: {NAME: {
                      wa, ua      {mean, std, n} over folds (x seeds)
                      pooled      {wa, ua}
                      change      {wa, ua, interval: {wa: [low, high], ua: [low, high]} | null}: the
                                  pooled figures minus those when clean
                      gain        {wa, ua}: the pooled figures minus the baseline row's, or null
                      tests       as `ablation/row_statistics.py` describes them
                    }}}]
"""

from collections.abc import Sequence
from math import isnan
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ablation.aggregate import Spread, results_text
from ablation.columns import NOTHING, Column
from ablation.footnotes import CORRECTED_T, DIFFERS, INTERVAL, MCNEMAR, methods_document
from ablation.grid import Grid
from ablation.statistics import LEVEL, Interval, Intervals
from ablation.stress.robustness import Robustness
from ablation.tables import DEMO, INCOMPLETE, escape, markdown_table, percent, signed
from core.conditions import CLEAN, KINDS, Condition

PLACES = {"wa": 0, "ua": 1}


def document(
    found: Sequence[Robustness], grid: Grid, commit: str, remarks: Sequence[str]
) -> dict[str, Any]:
    """All of it as plain values; the module's docstring describes the layout."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for one in found:
        summary = one.summary
        row = rows.setdefault(
            (summary.cell.row, summary.corpus),
            {
                "row": summary.cell.row,
                "corpus": summary.corpus,
                "complete": summary.complete,
                "missing": [{"fold": fold, "seed": seed} for fold, seed in summary.missing],
                "conditions": {},
            },
        )
        row["conditions"][one.condition.name] = _values(one)
    return {
        "grid": grid.name,
        "title": grid.title,
        "demo": grid.demo,
        "git_commit": commit,
        "statistics": methods_document([one.summary for one in found], grid.compared_with),
        "conditions": [_condition(one) for one in _conditions(found)],
        "notes": notes(found, grid, remarks),
        "rows": list(rows.values()),
    }


def document_text(values: dict[str, Any]) -> str:
    """As the text of `stress.json`."""
    return results_text(values)


def markdown(found: Sequence[Robustness], grid: Grid, commit: str, remarks: Sequence[str]) -> str:
    """As `stress.md`: a table a corpus, each condition's rows together."""
    blocks = [f"**{escape(DEMO)}**"] if grid.demo else []
    blocks.append(f"# {escape(grid.title)}: robustness")
    corpora = dict.fromkeys(one.summary.corpus for one in found)
    for corpus in corpora:
        if len(corpora) > 1:
            blocks.append(f"## {escape(corpus)}")
        of_corpus = [one for one in found if one.summary.corpus == corpus and one.summary.folds]
        if of_corpus:
            blocks.append(markdown_table(_columns(of_corpus)))
    lines = notes(found, grid, remarks) + ([f"Code: commit {commit}."] if commit else [])
    blocks.append("\n".join(f"- {escape(line)}" for line in lines))
    return "\n\n".join(blocks) + "\n"


def terminal(found: Sequence[Robustness], grid: Grid, corpus: str) -> Table:
    """UA of each row under each condition, and what it loses by it."""
    rows = list(dict.fromkeys(one.summary.cell.row for one in found))
    title = f"{grid.title}: UA % on {corpus}, and its change from clean"
    table = Table(
        title=Text(f"{DEMO}\n{title}" if grid.demo else title, style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("condition", no_wrap=True)
    for row in rows:
        table.add_column(Text(row), justify="right", overflow="fold")
    at = {
        (one.condition, one.summary.cell.row): one for one in found if one.summary.corpus == corpus
    }
    for condition in _conditions(found):
        cells = [_short(at[condition, row], at[_clean(found), row]) for row in rows]
        table.add_row(Text(condition.name), *map(Text, cells))
    return table


def notes(found: Sequence[Robustness], grid: Grid, remarks: Sequence[str]) -> list[str]:
    """What a reader must know of these figures."""
    tests = methods_document([one.summary for one in found], grid.compared_with)["tests"]
    lines = [
        "Models as they were trained, heard on their own test folds. Every row meets the same "
        "perturbed utterances: the draws come from the utterance's name and the kind of "
        "perturbation.",
        "WA %, UA %: means over folds (× seeds). lost: clean minus perturbed, of these means; in "
        f"brackets the {INTERVAL}.",
    ]
    if tests:
        lines.append(
            f"gain: the pooled figure minus that of the baseline row {grid.compared_with!r} under "
            f"the same condition, in brackets its interval; {DIFFERS} p < {LEVEL} after Holm's "
            f"correction over the {tests} tests of all conditions. WA: {MCNEMAR}. UA: "
            f"{CORRECTED_T}."
        )
    lines += [
        "Noise: SNR by the mean powers of the whole utterance, pauses included. gain is clipped at "
        "full scale; peak normalisation undoes what is not clipped. reverb: synthetic rooms, an "
        "exponentially decaying tail as strong as the direct sound. codec: libsndfile's MP3, "
        "Vorbis and Opus at their lowest quality; telephone is 300 to 3400 Hz at 8 kHz in G.711's "
        "mu-law; lowpass leaves what is below 4 kHz.",
        *remarks,
    ]
    if any(not one.summary.complete for one in found):
        lines.append(f"{INCOMPLETE} incomplete, over the folds that were heard alone.")
    return lines


def _columns(found: Sequence[Robustness]) -> list[Column]:
    clean = {one.summary.cell.row: one for one in found if one.condition.kind == CLEAN}
    texts: dict[str, list[str]] = {}
    for one in found:
        row = one.summary.cell.row
        is_first = row == next(iter(clean))
        cells = {
            "condition": one.condition.name if is_first else "",
            "row": f"{row}{'' if one.summary.complete else f' {INCOMPLETE}'}",
        }
        for rate, place in PLACES.items():
            mean, best = (getattr(each.summary, rate).mean for each in (one, clean[row]))
            cells[f"{rate.upper()} %"] = percent(mean)
            cells[f"{rate.upper()} lost"] = _lost(one, best - mean, place)
            cells[f"{rate.upper()} gain"] = _gain(one, rate, place)
        for header, text in cells.items():
            texts.setdefault(header, []).append(text)
    left = ("condition", "row")
    return [
        Column(header, tuple(cells), "left" if header in left else "right")
        for header, cells in texts.items()
    ]


def _lost(one: Robustness, lost: float, place: int) -> str:
    if one.condition.kind == CLEAN or isnan(lost):
        return NOTHING
    ends = _of(one.interval, place)
    return signed(lost) + (f" [{signed(-ends.high)}, {signed(-ends.low)}]" if ends else "")


def _gain(one: Robustness, rate: str, place: int) -> str:
    tests = one.statistics.tests
    if tests is None or tests.gain is None:
        return NOTHING
    mark = f" {DIFFERS}" if getattr(one.statistics, f"marks_{rate}") else ""
    ends = _of(tests.difference, place)
    interval = f" [{signed(ends.low)}, {signed(ends.high)}]" if ends else ""
    return signed(tests.gain[place]) + interval + mark


def _short(one: Robustness, clean: Robustness) -> str:
    """UA, what is lost, and whether it differs from the baseline."""
    mean = one.summary.ua.mean
    if isnan(mean):
        return NOTHING
    mark = DIFFERS if one.statistics.marks_ua else " "
    lost = "" if one is clean else signed(mean - clean.summary.ua.mean)
    return f"{percent(mean)} {lost:>7}{mark}"


def _of(found: Intervals | None, place: int) -> Interval | None:
    return (found.wa, found.ua)[place] if found else None


def _values(one: Robustness) -> dict[str, Any]:
    summary, tests = one.summary, one.statistics.tests
    gain = tests.gain if tests else None
    return {
        "wa": _spread(summary.wa),
        "ua": _spread(summary.ua),
        "pooled": {"wa": _plain(summary.pooled_wa), "ua": _plain(summary.pooled_ua)},
        "change": {
            **{rate: _plain(one.change[place]) for rate, place in PLACES.items()},
            "interval": one.interval
            and {
                "wa": [one.interval.wa.low, one.interval.wa.high],
                "ua": [one.interval.ua.low, one.interval.ua.high],
            },
        },
        "gain": gain and dict(zip(PLACES, gain, strict=True)),
        "tests": one.statistics.to_dict()["tests"],
    }


def _condition(one: Condition) -> dict[str, Any]:
    _, axis, unit = KINDS.get(one.kind, ((), "", ""))
    return {"name": one.name, "kind": one.kind, "level": one.level, "axis": axis, "unit": unit}


def _conditions(found: Sequence[Robustness]) -> list[Condition]:
    return list(dict.fromkeys(one.condition for one in found))


def _clean(found: Sequence[Robustness]) -> Condition:
    return next(one.condition for one in found if one.condition.kind == CLEAN)


def _spread(spread: Spread) -> dict[str, Any]:
    return {"mean": _plain(spread.mean), "std": _plain(spread.std), "n": spread.n}


def _plain(value: float) -> float | None:
    return None if isnan(value) else value
