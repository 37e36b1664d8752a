"""The page: title, table, notes, pictures, rows, provenance, in one file of plain HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ablation.aggregate import Summary, changed_settings
from ablation.effects import Effect
from ablation.effects_view import effect_tables
from ablation.grid import Grid
from ablation.page.drawings import MOST_DRAWN, Drawing, Gain
from ablation.page.inline import figure_html, inline_svg
from ablation.page.style import STYLE
from ablation.page.tables import column_table, confusion_table, plain_table, stacked
from ablation.provenance import Provenance
from ablation.tables import DEMO, SELECTION, columns, notes


def page(
    grid: Grid,
    summaries: Sequence[Summary],
    drawings: Sequence[Drawing],
    won: Mapping[str, Sequence[Gain]],
    provenance: Provenance,
    effects: Sequence[Effect] = (),
) -> str:
    """The whole document.

    Args:
        grid: The study.
        summaries: Its rows.
        drawings: Its pictures, in order.
        won: By corpus, what its rows gain over its first.
        provenance: Of the code that makes the page.
        effects: What its components or axes bring, if it generates rows.
    """
    warning = f'<p class="warning">{escape(DEMO)}</p>' if grid.demo else ""
    listed = "".join(
        f"<li>{escape(note)}</li>"
        for note in notes(summaries, grid.selection, provenance.git_commit)
    )
    table = column_table(
        stacked(columns(summaries)), "Rates in percent, one line a row of the grid"
    )
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # Whatever a row is called, nothing is fetched and no script runs.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(grid.title)}</title><style>{STYLE}</style></head><body>",
            f"<header><h1>{escape(grid.title)}</h1>{warning}",
            f'<p class="quiet">{escape(_progress(summaries))}</p></header><main>',
            f'<h2>Results</h2>{table}<ul class="notes">{listed}</ul>',
            _effects(grid, effects),
            _pictures(summaries, drawings, won),
            _rows(summaries, drawings),
            _provenance(grid, provenance),
            "</main></body></html>\n",
        )
    )


def _progress(summaries: Sequence[Summary]) -> str:
    done = sum(len(summary.folds) for summary in summaries)
    wanted = done + sum(len(summary.missing) for summary in summaries)
    corpora = ", ".join(dict.fromkeys(summary.corpus for summary in summaries))
    return f"{len(summaries)} rows on {corpora}; {done} of {wanted} folds finished"


def _effects(grid: Grid, effects: Sequence[Effect]) -> str:
    parts = []
    for one in effect_tables(effects, grid.design):
        listed = "".join(f"<li>{escape(note)}</li>" for note in one.notes)
        table = column_table(one.columns, f"{one.title}, in percentage points")
        parts.append(f'<h2>{escape(one.title)}</h2>{table}<ul class="notes">{listed}</ul>')
    return "".join(parts)


def _pictures(
    summaries: Sequence[Summary], drawings: Sequence[Drawing], won: Mapping[str, Sequence[Gain]]
) -> str:
    """Of each corpus: differences, speakers, and the pictures of its last row that has any."""
    parts = []
    for corpus in dict.fromkeys(summary.corpus for summary in summaries):
        mine = [drawing for drawing in drawings if drawing.corpus == corpus]
        if not mine:
            continue
        last = mine[-1].row
        shown = [_shown(drawing) for drawing in mine if drawing.row in ("", last)]
        table = ""
        if won.get(corpus):
            table = "<details><summary>The differences as a table</summary>"
            table += f"{_gain_table(won[corpus], corpus)}</details>"
        parts.append(f'<h3>{escape(corpus)}</h3><div class="pictures">{"".join(shown)}</div>')
        parts.append(table)
    if not parts:
        return ""
    return f"<h2>Pictures</h2>{''.join(parts)}"


def _gain_table(won: Sequence[Gain], corpus: str) -> str:
    lines = [
        (gain.row, *(_points(part) for rate in (gain.ua, gain.wa) for part in _ends(rate)))
        for gain in won
    ]
    heads = ("row", "UA", "from", "to", "WA", "from", "to")
    return plain_table(f"{corpus}: differences in percentage points", heads, lines)


def _ends(rate: Any) -> tuple[float, float, float]:
    return rate.value, rate.low, rate.high


def _points(value: float) -> str:
    text = f"{100 * value:+.2f}"
    return "–" if text == "+nan" else text.replace("-", "−")  # a minus sign


def _shown(drawing: Drawing) -> str:
    svg = inline_svg(drawing.figure, f"p{drawing.name}", drawing.text)
    return figure_html(svg, drawing.caption)


def _rows(summaries: Sequence[Summary], drawings: Sequence[Drawing]) -> str:
    above = {
        corpus: [d.row for d in drawings if d.corpus == corpus][-1]
        for corpus in {drawing.corpus for drawing in drawings}
    }
    parts = []
    for summary in summaries:
        row, corpus = summary.cell.row, summary.corpus
        mine = [
            drawing
            for drawing in drawings
            if (drawing.row, drawing.corpus) == (row, corpus) and drawing.name.endswith("curves")
        ]
        pictures = "" if above.get(corpus) == row else "".join(map(_shown, mine))
        parts.append(_row(summary, pictures))
    cut = len(summaries) > MOST_DRAWN
    said = f" Of more than {MOST_DRAWN} rows, the first and the last have curves." if cut else ""
    intro = f'<p class="quiet">Settings, folds and confusions of each row.{said}</p>'
    return f"<h2>Rows</h2>{intro}{''.join(parts)}"


def _row(summary: Summary, pictures: str) -> str:
    row, corpus, classes = summary.cell.row, summary.corpus, summary.cell.classes
    name = f"{row} on {corpus}"
    settings = "".join(
        f"<dt><code>{escape(key)}</code></dt><dd><code>{escape(_value(value))}</code></dd>"
        for key, value in changed_settings(summary.cell.config).items()
    )
    seeds = ", ".join(map(str, summary.cell.seeds))
    body = [f"<p>Seeds: {escape(seeds)}. Settings that differ from the defaults:</p>"]
    body.append(f"<dl>{settings}</dl>" if settings else "<p>none</p>")
    if summary.folds:
        body.append(_fold_table(summary, name))
        body.append(
            confusion_table(summary.confusion, classes, f"{name}: confusion, counts of utterances")
        )
    body.append(pictures)
    done = len(summary.folds)
    count = f"{done} of {done + len(summary.missing)} folds"
    return (
        f'<details><summary><h3>{escape(name)}</h3> <span class="quiet">{count}</span></summary>'
        f"{''.join(body)}</details>"
    )


def _fold_table(summary: Summary, name: str) -> str:
    """One line a fold: under one seed all of it, under several the UA of each."""
    seeds = summary.cell.seeds
    heads: tuple[str, ...]
    lines: list[tuple[str, ...]]
    if len(seeds) == 1:
        heads = ("fold", "n", "WA %", "UA %", "epoch scored", "run")
        lines = [
            (str(f.fold), str(f.n), _percent(f.wa), _percent(f.ua), str(f.best_epoch), f.run_id)
            for f in summary.folds
        ]
        return plain_table(f"{name}: folds", heads, lines)
    ua = {(score.fold, score.seed): _percent(score.ua) for score in summary.folds}
    folds = sorted({score.fold for score in summary.folds})
    heads = ("fold", *(f"seed {seed}" for seed in seeds))
    lines = [(str(fold), *(ua.get((fold, seed), "–") for seed in seeds)) for fold in folds]
    return plain_table(f"{name}: UA % by fold and seed", heads, lines)


def _provenance(grid: Grid, provenance: Provenance) -> str:
    lines = {
        "grid": grid.name,
        "selection": SELECTION.get(grid.selection, grid.selection),
        "commit": provenance.git_commit or "unknown",
        **provenance.versions,
    }
    listed = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in lines.items()
    )
    return (
        '<h2>Provenance</h2><p class="quiet">Of the program that wrote this page; each fold\'s own '
        "stands with its run in MLflow. All figures of this page are in results.json.</p>"
        f"<dl>{listed}</dl>"
    )


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f}"
