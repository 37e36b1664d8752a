"""What the tables need of one finished fold, small enough to travel in MLflow's tags."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ablation.answers import pack
from core.schema import ConfigError, Problem, build, show

if TYPE_CHECKING:
    from core.result import FoldResult

_RATE = {"range": (0.0, 1.0, False)}
_COUNT = {"range": (0, 10**9, False)}
_ORDINAL = {"range": (1, 10**9, False)}
_SEED = {"range": (0, 2**31 - 1, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerScore:
    """The test utterances of one speaker; UA over the classes that this speaker shows."""

    n: int = field(metadata=_ORDINAL)
    wa: float = field(metadata=_RATE)
    ua: float = field(metadata=_RATE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldScore:
    """What the tables need of one finished fold.

    Attributes:
        n: Test utterances.
        wa_oracle: WA of the epoch with the best UA on the test fold, or None; optimistic.
        confusion: Counts, true classes in rows.
        left_out: Utterances of the corpus whose audio could not be read.
        counts_differ: Whether the corpus had other counts than the paper's, by the user's leave.
        answers: What was said of each utterance, as `ablation.answers` packs it; None of a fold
            that was told to MLflow before it was.
    """

    row: str
    corpus: str
    fold: int = field(metadata=_ORDINAL)
    seed: int = field(metadata=_SEED)
    run_id: str
    n: int = field(metadata=_ORDINAL)
    wa: float = field(metadata=_RATE)
    ua: float = field(metadata=_RATE)
    wa_oracle: float | None = field(metadata=_RATE)
    ua_oracle: float | None = field(metadata=_RATE)
    best_epoch: int = field(metadata=_ORDINAL)
    speakers: dict[str, SpeakerScore] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = field(metadata=_COUNT)
    left_out: int = field(default=0, metadata=_COUNT)
    counts_differ: bool = False
    answers: str | None = None

    @classmethod
    def from_result(cls, row: str, result: "FoldResult") -> "FoldScore":
        """The scores of a finished fold under the name of its row."""
        scores, oracle = result.scores(), result.oracle()
        return cls(
            row=row,
            corpus=result.config.corpus.name,
            fold=result.config.fold,
            seed=result.config.seed,
            run_id=result.run_id,
            n=scores.n,
            wa=scores.wa,
            ua=scores.ua,
            wa_oracle=oracle["wa"] if oracle else None,
            ua_oracle=oracle["ua"] if oracle else None,
            best_epoch=result.best_epoch,
            speakers={
                name: SpeakerScore(n=one.n, wa=one.wa, ua=one.ua)
                for name, one in result.speakers().items()
            },
            confusion=tuple(tuple(counts) for counts in scores.confusion.tolist()),
            left_out=result.left_out,
            counts_differ=result.counts_differ,
            answers=pack(result.predictions),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` of them is this score again."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        speakers = {
            name: {"n": one.n, "wa": one.wa, "ua": one.ua}
            for name, one in sorted(self.speakers.items())
        }
        return plain | {"speakers": speakers, "confusion": list(map(list, self.confusion))}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FoldScore":
        """The inverse of `to_dict`.

        Raises:
            ValueError: every value that is missing, unknown, of the wrong kind or out of range.
        """
        if not isinstance(values, Mapping):
            raise _refusal("score", f"must be a mapping, got {show(values)}")
        plain = dict(values)
        speakers = plain.pop("speakers", None)
        score = build(cls, plain)
        counts = score.confusion
        if not counts or any(len(row) != len(counts) for row in counts):
            raise _refusal("confusion", f"must be square, got {show(counts)}")
        if (total := sum(map(sum, counts))) != score.n:
            raise _refusal("confusion", f"must count n = {score.n} utterances, got {total}")
        if not isinstance(speakers, Mapping):
            raise _refusal("speakers", f"must be a mapping, got {show(speakers)}")
        scores = {str(name): _speaker(name, speakers[name]) for name in speakers}
        return replace(score, speakers=scores)


def _speaker(name: Any, values: Any) -> SpeakerScore:
    if not isinstance(values, Mapping):
        raise _refusal(f"speakers.{name}", f"must be a mapping, got {show(values)}")
    try:
        return build(SpeakerScore, values)
    except ConfigError as error:
        problems = [Problem(f"speakers.{name}.{item.key}", item.text) for item in error.problems]
        raise ConfigError(problems) from error


def _refusal(key: str, text: str) -> ConfigError:
    return ConfigError([Problem(key, text)])
