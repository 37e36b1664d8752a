"""Folds in, one summary per row and corpus out. Pure: no files, no MLflow, no clock.

WA and UA of a row are means over its folds (x seeds), each fold weighing the same; `std` is the
sample standard deviation over the same runs, nan for one run alone. The pooled figures come from
the confusion matrix summed over all of them, each utterance weighing the same.

`results.json`, as `results_document` lays it out. Rates are fractions in 0..1, a figure that does
not exist is null, and equal runs give equal files byte for byte:

    grid, title, demo, selection, git_commit    of the study
    statistics                  {baseline, level, interval, mcnemar, corrected_t, tests}: the row
                                that the others are compared with, how, and how many tests there are
    paper                       {table, rows} the methods of the paper's Table 1 or 2, in percent as
                                printed, beside a grid of that table; null for others and demos
    rows                        in the grid's order, each:
      row, corpus, encoder      the row's name, the corpus, the encoder's alias or path
      settings                  dotted keys that differ from the defaults in `core/config.py`,
                                fold and seed apart
      seeds, classes            lists; classes in the order of the confusion matrix
      complete                  true when every fold under every seed has finished
      missing                   [{fold, seed}] that have not
      folds                     [{fold, seed, run_id, n, wa, ua, wa_oracle, ua_oracle, best_epoch,
                                speakers: {id: {n, wa, ua}}}], n counting utterances
      wa, ua                    {mean, std, n}, n counting runs
      wa_oracle, ua_oracle      the same with the epoch picked on the test fold, or null
      optimism                  {wa, ua} what that picking adds to the mean, or null
      interval, seeds_split, tests    as `ablation/row_statistics.py` describes them
      pooled                    {wa, ua}
      speakers                  {id: mean UA over seeds}
      confusion                 (C, C) counts, true classes in rows, over all finished folds
      left_out                  utterances of the corpus whose audio could not be read
      counts_differ             true when the corpus had other counts than the paper's
      published                 {wa, ua} of the paper's row, {wa, ua, speakers} for its Table 2,
                                null for another corpus or encoder than the paper's
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np

from ablation.scores import FoldScore
from core.config import RunConfig
from core.corpora.catalog import CORPORA
from core.metrics import unweighted_accuracy, weighted_accuracy
from core.schema import flatten

if TYPE_CHECKING:
    from ablation.grid import Cell
    from ablation.published import PublishedFigure
    from ablation.row_statistics import Statistics

_NO_STATISTICS = {"interval": None, "seeds_split": None, "tests": None}


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation of n runs; nan where n allows none."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A row of the table on one corpus.

    Attributes:
        folds: The finished ones, by fold and seed.
        missing: (fold, seed) of the others; a mean beside any of them is of an incomplete row.
        wa_oracle: None unless every finished fold recorded it; optimistic.
        confusion: (C, C) counts over the finished runs, true classes in rows.
        pooled_wa: From that confusion matrix.
        speakers: Mean UA over seeds of each test speaker, by name.
        published: The paper's figure for this very corpus and encoder.
        statistics: None until `ablation.comparison` adds them.
    """

    cell: "Cell"
    folds: tuple[FoldScore, ...]
    missing: tuple[tuple[int, int], ...]
    wa: Spread
    ua: Spread
    wa_oracle: Spread | None
    ua_oracle: Spread | None
    confusion: tuple[tuple[int, ...], ...]
    pooled_wa: float
    pooled_ua: float
    speakers: dict[str, float]
    published: "PublishedFigure | None"
    statistics: "Statistics | None" = None

    @property
    def optimism(self) -> tuple[float, float] | None:
        """What picking the epoch on the test fold adds to WA and UA; None where not recorded.

        Nor where the headline is that figure itself.
        """
        picked = self.cell.config.evaluation.selection == "oracle"
        if picked or self.wa_oracle is None or self.ua_oracle is None:
            return None
        return self.wa_oracle.mean - self.wa.mean, self.ua_oracle.mean - self.ua.mean

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return self.cell.config.corpus.name

    @property
    def complete(self) -> bool:
        """Whether every fold under every seed has finished."""
        return not self.missing

    @property
    def counts_differ(self) -> bool:
        """Whether some fold was trained on a corpus of other counts than the paper's."""
        return any(score.counts_differ for score in self.folds)

    @property
    def left_out(self) -> int:
        """Utterances of the corpus whose audio could not be read."""
        return max((score.left_out for score in self.folds), default=0)


def summarise(
    cell: "Cell", scores: Sequence[FoldScore], published: "PublishedFigure | None"
) -> Summary:
    """Average the folds of one row on one corpus.

    Args:
        cell: What should have run.
        scores: What has finished, in any order.
        published: The paper's figure for it, if there is one.
    Raises:
        ValueError: a fold came twice or does not belong here; says which.
    """
    expected = [(fold, seed) for fold in range(1, cell.folds + 1) for seed in cell.seeds]
    _refuse_strangers(cell, scores, set(expected))
    folds = tuple(sorted(scores, key=lambda score: (score.fold, score.seed)))
    done = {(score.fold, score.seed) for score in folds}
    confusion = np.zeros((len(cell.classes), len(cell.classes)), dtype=np.int64)
    for score in folds:
        confusion += np.array(score.confusion, dtype=np.int64)
    return Summary(
        cell=cell,
        folds=folds,
        missing=tuple(run for run in expected if run not in done),
        wa=_spread([score.wa for score in folds]),
        ua=_spread([score.ua for score in folds]),
        wa_oracle=_recorded([score.wa_oracle for score in folds]),
        ua_oracle=_recorded([score.ua_oracle for score in folds]),
        confusion=tuple(tuple(counts) for counts in confusion.tolist()),
        pooled_wa=weighted_accuracy(confusion) if folds else nan,
        pooled_ua=unweighted_accuracy(confusion) if folds else nan,
        speakers=_speaker_means(folds),
        published=published,
    )


def results_document(
    summaries: Iterable[Summary],
    *,
    grid: str,
    title: str,
    demo: bool,
    selection: str,
    git_commit: str,
    statistics: Mapping[str, Any] | None = None,
    paper: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """All figures of a study as plain values; the module's docstring describes the layout."""
    return {
        "grid": grid,
        "title": title,
        "demo": demo,
        "selection": selection,
        "git_commit": git_commit,
        "statistics": statistics,
        "paper": paper,
        "rows": [_row_document(summary) for summary in summaries],
    }


def results_text(document: Mapping[str, Any]) -> str:
    """The document as the text of `results.json`."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def changed_settings(config: RunConfig) -> dict[str, Any]:
    """The dotted settings of a row that differ from its corpus's defaults, by name."""
    own = {"fold", "seed"}  # vary within the row
    place = {"corpus.name": config.corpus.name}
    if config.corpus.name not in CORPORA:  # it has no folds by default
        place["corpus.folds"] = config.corpus.folds
    defaults = flatten(RunConfig.from_dict(place).to_dict())
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in sorted(flatten(config.to_dict()).items())
        if value != defaults[key] and key not in own
    }


def _row_document(summary: Summary) -> dict[str, Any]:
    cell = summary.cell
    return {
        "row": cell.row,
        "corpus": summary.corpus,
        "encoder": cell.config.encoder.name,
        "settings": changed_settings(cell.config),
        "seeds": list(cell.seeds),
        "classes": list(cell.classes),
        "complete": summary.complete,
        "missing": [{"fold": fold, "seed": seed} for fold, seed in summary.missing],
        "folds": [_fold_document(score) for score in summary.folds],
        "wa": _spread_document(summary.wa),
        "ua": _spread_document(summary.ua),
        "wa_oracle": _spread_document(summary.wa_oracle),
        "ua_oracle": _spread_document(summary.ua_oracle),
        "optimism": summary.optimism and dict(zip(("wa", "ua"), summary.optimism, strict=True)),
        **(summary.statistics.to_dict() if summary.statistics else _NO_STATISTICS),
        "pooled": {"wa": _plain(summary.pooled_wa), "ua": _plain(summary.pooled_ua)},
        "speakers": dict(summary.speakers),
        "confusion": [list(counts) for counts in summary.confusion],
        "left_out": summary.left_out,
        "counts_differ": summary.counts_differ,
        "published": summary.published and summary.published.to_dict(),
    }


def _fold_document(score: FoldScore) -> dict[str, Any]:
    document = score.to_dict()
    for key in (
        "row",
        "corpus",
        "confusion",
        "left_out",
        "counts_differ",
        "answers",
    ):  # told once, of the whole row
        del document[key]
    return document


def _spread_document(spread: Spread | None) -> dict[str, Any] | None:
    if spread is None:
        return None
    return {"mean": _plain(spread.mean), "std": _plain(spread.std), "n": spread.n}


def _plain(value: float) -> float | None:
    return None if isnan(value) else value


def _refuse_strangers(
    cell: "Cell", scores: Sequence[FoldScore], expected: set[tuple[int, int]]
) -> None:
    row, corpus, seeds = cell.row, cell.config.corpus.name, ", ".join(map(str, cell.seeds))
    rule = f"row {row!r} on {corpus!r} needs folds 1..{cell.folds} once for each of seeds {seeds}"
    for score in scores:
        run = f"fold {score.fold} seed {score.seed}"
        if (score.row, score.corpus) != (row, corpus):
            raise ValueError(f"{rule}, got {run} of row {score.row!r} on {score.corpus!r}")
        if (score.fold, score.seed) not in expected:
            raise ValueError(f"{rule}, got {run}")
        if (classes := len(score.confusion)) != len(cell.classes):
            raise ValueError(f"{rule} over {len(cell.classes)} classes, got {run} over {classes}")
    counts = Counter((score.fold, score.seed) for score in scores)
    if doubled := [f"fold {fold} seed {seed}" for (fold, seed), n in counts.items() if n > 1]:
        raise ValueError(f"{rule}, got more than one of {', '.join(sorted(doubled))}")


def _spread(values: Sequence[float]) -> Spread:
    return Spread(
        mean=fmean(values) if values else nan,
        std=stdev(values) if len(values) > 1 else nan,
        n=len(values),
    )


def _recorded(values: Sequence[float | None]) -> Spread | None:
    seen = [value for value in values if value is not None]
    return _spread(seen) if seen and len(seen) == len(values) else None


def _speaker_means(scores: Iterable[FoldScore]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for score in scores:
        for name, speaker in score.speakers.items():
            found.setdefault(name, []).append(speaker.ua)
    return {name: fmean(found[name]) for name in sorted(found)}
