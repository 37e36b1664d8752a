"""Tables as CSV for programs: one line a row and corpus, or an effect; a number a cell.

Rates are in percent with two decimals as in the table, differences in points. An empty cell is a
figure that does not exist. `source` tells the paper's printed methods from this study's rows;
`*_oracle_optimistic` is of the epoch picked on the test fold itself, never the headline, and
`*_optimism` what that picking adds.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from ablation.aggregate import Spread, Summary
from ablation.columns import LOSSES, encoder_name
from ablation.effects import Effect

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of one
_TOLD = 5  # of a printed method's columns, before its figures


def csv_text(summaries: Sequence[Summary], paper: Mapping[str, Any] | None, *, demo: bool) -> str:
    """Every row of the study, after the paper's methods of the same table.

    Args:
        summaries: In the table's order.
        paper: As `results.json` holds it.
        demo: Whether speech and encoders are the demo's; each line says so.
    """
    printed = [_printed(row) for row in (paper or {}).get("rows", ())]
    ours = [_ours(summary) for summary in summaries]
    lines = [{"demo": "yes" if demo else "no", **line} for line in _by_corpus(printed, ours)]
    # What only the printed methods have stands in front, as in the paper.
    first = [*printed[0]][:_TOLD] if printed else []
    names = list(dict.fromkeys([*first, *(name for line in ours + printed for name in line)]))
    return _text(["demo", *names], lines)


def effects_csv(effects: Sequence[Effect], *, demo: bool) -> str:
    """Every effect of components and axes: what it is of, its runs, its points and intervals.

    `*_points` is the table's figure, `*_pooled` that of the pooled answers, which the interval is
    of; `kind` and the runs are as `ablation/effects.py` says.

    Args:
        effects: At least one.
        demo: As in `csv_text`.
    """
    lines = [{"demo": "yes" if demo else "no", **_effect(effect)} for effect in effects]
    return _text([*lines[0]], lines)


def _text(names: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in line.items()} for line in lines)
    return file.getvalue()


def _effect(effect: Effect) -> dict[str, Any]:
    first, *second = effect.names
    line: dict[str, Any] = {
        "kind": effect.kind,
        "corpus": effect.corpus,
        "name": first,
        "with": second[0] if second else None,
        "level": effect.level,
        "against": effect.against,
        "combinations": effect.combinations,
        "runs_finished": effect.runs,
        "runs_wanted": effect.wanted,
        "runs_apart": effect.apart,
        "complete": "yes" if effect.runs == effect.wanted else "no",
    }
    for place, rate in enumerate(("wa", "ua")):
        ends = getattr(effect.intervals, rate) if effect.intervals else None
        line |= {
            f"{rate}_points": effect.mean and _points(effect.mean[place]),
            f"{rate}_pooled": effect.pooled and _points(effect.pooled[place]),
            f"{rate}_low_95": ends and _points(ends.low),
            f"{rate}_high_95": ends and _points(ends.high),
        }
    return line


def _by_corpus(
    printed: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The printed methods of a corpus before our rows on it, where there are any."""
    if not printed:
        return list(ours)
    corpora = dict.fromkeys(line["corpus"] for line in [*printed, *ours])
    return [line for name in corpora for line in (*printed, *ours) if line["corpus"] == name]


def _printed(row: Mapping[str, Any]) -> dict[str, Any]:
    speakers: Mapping[str, Any] = row.get("speakers") or {}
    return {
        "source": "published",
        "corpus": row.get("corpus", "savee"),  # Table 2 is of no other
        "row": row["method"],
        "reference": row["reference"],
        "modality": row.get("modality"),
        "wa_percent": _two(row.get("wa")),
        "ua_percent": _two(row.get("ua", row.get("mean"))),
        **{f"ua_{name}": _two(value) for name, value in speakers.items()},
    }


def _ours(summary: Summary) -> dict[str, Any]:
    config = summary.cell.config
    speakers = summary.speakers if summary.corpus == "savee" else {}
    line: dict[str, Any] = {
        "source": "this study",
        "corpus": summary.corpus,
        "row": summary.cell.row,
        "encoder": encoder_name(config.encoder.name),
        "mixup": config.mixup.method,
        "aggregation": config.pooling.method,
        **{f"loss_{term}": "yes" if term in config.losses.terms else "no" for term in LOSSES},
        "selection": config.evaluation.selection,
        "runs_finished": len(summary.folds),
        "runs_wanted": len(summary.cell.runs()),
        "complete": "yes" if summary.complete else "no",
    }
    for rate in ("wa", "ua"):
        line |= _rate(summary, rate)
    return line | {f"ua_{name}": _points(value) for name, value in speakers.items()}


def _rate(summary: Summary, rate: str) -> dict[str, Any]:
    spread: Spread = getattr(summary, rate)
    oracle: Spread | None = getattr(summary, f"{rate}_oracle")
    published: float | None = getattr(summary.published, rate) if summary.published else None
    optimism = summary.optimism[rate == "ua"] if summary.optimism else None
    statistics = summary.statistics
    drawn = getattr(statistics.intervals, rate) if statistics and statistics.intervals else None
    tests = statistics.tests if statistics else None
    kind = "mcnemar" if rate == "wa" else "corrected_t"
    test = getattr(tests, kind) if tests else None
    apart = None if published is None or not summary.complete else spread.mean - published
    return {
        f"{rate}_percent": _points(spread.mean),
        f"{rate}_sd": _points(spread.std),
        f"{rate}_low_95": drawn and _points(drawn.low),
        f"{rate}_high_95": drawn and _points(drawn.high),
        f"{rate}_oracle_optimistic": oracle and _points(oracle.mean),
        f"{rate}_optimism": _points(optimism),
        f"{rate}_published": _points(published),
        f"{rate}_difference": _points(apart),
        f"{rate}_p_{kind}": test and f"{test.p:.4g}",
        f"{rate}_p_holm": test and f"{test.p_holm:.4g}",
    }


def _two(percent: float | None) -> str | None:
    return None if percent is None else f"{percent:.2f}"


def _points(rate: float | None) -> str | None:
    """As the table prints it, without what marks it there."""
    return None if rate is None or not isfinite(rate) else f"{100 * rate + 0.0:.2f}"


def _cell(value: Any) -> Any:
    """Text that a spreadsheet can't take for a formula; numbers stay numbers."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
