"""The statistics of one row of a table, as values and as `results.json` holds them.

`Statistics.to_dict` adds to a row of `results.json`:

    interval      {wa: [low, high], ua: [low, high], speakers}, or null for too few speakers or
                  where what was said of each utterance is not at hand
    seeds_split   {wa: {fold_std, seed_std, mean_std}, ua: {...}}, or null for one seed or an
                  incomplete row
    tests         null for the baseline itself and on a corpus without it, else {baseline, runs,
                  why_not, difference: {wa: [low, high], ua: [low, high]} | null,
                  mcnemar: {better, worse, p, p_holm} | null,
                  corrected_t: {t, df, p, p_holm} | null}
                  `better` counts utterances (x seeds) that this row alone got right, `worse` those
                  that the baseline alone did; `why_not` says why a test is null, else null
"""

from dataclasses import asdict, dataclass
from math import nan
from typing import Any

from ablation.statistics import LEVEL, Intervals, SeedSplit


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """The test on utterances; see `ablation.statistics.paired_utterances`."""

    better: int
    worse: int
    p: float
    p_holm: float = nan


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectedT:
    """The test on folds; see `ablation.statistics.corrected_t`."""

    t: float
    df: int
    p: float
    p_holm: float = nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """A row against the baseline; None for a test that can't be made, `why_not` then says why.

    Attributes:
        runs: How many (fold, seed) both have.
        gain: WA and UA of the pooled answers, minus the baseline's.
        difference: Intervals of `gain`, both rows drawn alike.
    """

    baseline: str
    runs: int
    gain: tuple[float, float] | None
    difference: Intervals | None
    mcnemar: McNemar | None
    corrected_t: CorrectedT | None
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the table adds to a row's means."""

    intervals: Intervals | None
    speakers: int
    wa_split: SeedSplit | None
    ua_split: SeedSplit | None
    tests: Tests | None

    @property
    def marks_wa(self) -> bool:
        """Whether the difference in WA holds over the whole table."""
        test = self.tests and self.tests.mcnemar
        return bool(test and test.p_holm < LEVEL)

    @property
    def marks_ua(self) -> bool:
        """The same of UA."""
        test = self.tests and self.tests.corrected_t
        return bool(test and test.p_holm < LEVEL)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the module's docstring describes them."""
        found, tests = self.intervals, self.tests
        split = {"wa": self.wa_split, "ua": self.ua_split}
        return {
            "interval": found and {**_ends(found), "speakers": self.speakers},
            "seeds_split": {name: _plain(part) for name, part in split.items()}
            if self.ua_split
            else None,
            "tests": tests
            and {
                "baseline": tests.baseline,
                "runs": tests.runs,
                "why_not": tests.why_not or None,
                "difference": tests.difference and _ends(tests.difference),
                "mcnemar": _plain(tests.mcnemar),
                "corrected_t": _plain(tests.corrected_t),
            },
        }


def _ends(found: Intervals) -> dict[str, list[float]]:
    return {"wa": [found.wa.low, found.wa.high], "ua": [found.ua.low, found.ua.high]}


def _plain(part: McNemar | CorrectedT | SeedSplit | None) -> dict[str, Any] | None:
    """Its fields, null for nan."""
    if part is None:
        return None
    return {key: None if value != value else value for key, value in asdict(part).items()}
