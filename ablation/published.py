"""The paper's figures, read from `reports/published.yaml`, and which of our rows they belong to.

A row of a grid names the figure it reproduces: `table3.12`, `table1.ours` or `table2.ours`. The
figure stands beside our number only where corpus and encoder are those of the paper's row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from ablation.yaml_lines import read
from core.config import Term
from core.schema import ConfigError, Problem, build, flatten, show, suggest

T = TypeVar("T")

_PERCENT = {"range": (0.0, 100.0, False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRow:
    """A row of Table 1, percent as printed; None where nothing is printed or legible."""

    method: str
    reference: int | None
    modality: Literal["A", "M"]
    wa: float | None = field(metadata=_PERCENT)
    ua: float | None = field(metadata=_PERCENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveeSpeakers:
    """UA of SAVEE's four speakers, percent as printed."""

    DC: float = field(metadata=_PERCENT)
    JE: float = field(metadata=_PERCENT)
    JK: float = field(metadata=_PERCENT)
    KL: float = field(metadata=_PERCENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerRow:
    """A row of Table 2, percent as printed."""

    method: str
    reference: int | None
    speakers: SaveeSpeakers
    mean: float = field(metadata=_PERCENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """A row of Table 3, percent as printed."""

    number: int
    encoder: str
    mixup: Literal["none", "lam", "eam"]
    aggregation: Literal["first", "max", "mean", "flam"]
    losses: tuple[Term, ...]
    wa: float = field(metadata=_PERCENT)
    ua: float = field(metadata=_PERCENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """What the paper reports for one row on one corpus; rates are fractions in 0..1.

    Attributes:
        reference: As a grid's row names it, e.g. `table3.12`.
        encoder: The alias of the paper's encoder.
        wa: None where the paper gives no WA (Table 2).
        speakers: UA per speaker, of Table 2 only.
    """

    reference: str
    corpus: str
    encoder: str
    wa: float | None
    ua: float | None
    speakers: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Its rates as plain values, `speakers` only where there are any."""
        return {"wa": self.wa, "ua": self.ua} | (
            {"speakers": dict(self.speakers)} if self.speakers else {}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Tables 1 to 3 whole, and the figures of them that a grid's row can name."""

    table1: dict[str, tuple[MethodRow, ...]]
    table2: tuple[SpeakerRow, ...]
    table3: tuple[AblationRow, ...]
    figures: tuple[PublishedFigure, ...]

    @property
    def references(self) -> tuple[str, ...]:
        """Every reference that a grid's row can name, in the paper's order."""
        return tuple(dict.fromkeys(figure.reference for figure in self.figures))

    def exists(self, reference: str) -> bool:
        """Whether the paper has such a row."""
        return reference in self.references

    def lookup(self, reference: str, corpus: str, encoder: str) -> PublishedFigure | None:
        """The paper's figure for a row, if corpus and encoder are the paper's.

        Raises:
            ValueError: the paper has no such row; "" means that none is named.
        """
        if not reference:
            return None
        if not self.exists(reference):
            hint = suggest(reference, self.references)
            raise ValueError(f"published must name a row of the paper, got {reference!r}{hint}")
        wanted = (reference, corpus, encoder)
        return next((f for f in self.figures if (f.reference, f.corpus, f.encoder) == wanted), None)


def load(path: Path) -> Published:
    """Read the paper's figures.

    Raises:
        ValueError: the file is unreadable or malformed; says file and key.
    """
    try:
        return _published(read(path).value)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _published(content: Any) -> Published:
    tables = _mapping(_member(_mapping(content, "the file"), "tables", ""), "tables")
    first, second, third = (
        _mapping(_member(tables, name, "tables."), f"tables.{name}")
        for name in ("table1", "table2", "table3")
    )
    corpora = _mapping(_member(first, "corpora", "tables.table1."), "tables.table1.corpora")
    table1 = {
        corpus: _rows(MethodRow, rows, f"tables.table1.corpora.{corpus}")
        for corpus, rows in corpora.items()
    }
    table2 = _rows(SpeakerRow, _member(second, "rows", "tables.table2."), "tables.table2.rows")
    table3 = _rows(AblationRow, _member(third, "rows", "tables.table3."), "tables.table3.rows")
    numbers = [row.number for row in table3]
    if numbers != list(range(1, len(table3) + 1)):
        _refuse("tables.table3.rows", f"must be numbered 1, 2, 3 and so on, got {show(numbers)}")
    encoder = _text(first, "encoder", "tables.table1.")
    figures = [_method_figure(rows, corpus, encoder) for corpus, rows in table1.items()]
    corpus = _text(second, "corpus", "tables.table2.")
    figures.append(_speaker_figure(table2, corpus, _text(second, "encoder", "tables.table2.")))
    corpus = _text(third, "corpus", "tables.table3.")
    figures += [_ablation_figure(row, corpus) for row in table3]
    return Published(table1=table1, table2=table2, table3=table3, figures=tuple(figures))


def _method_figure(rows: Sequence[MethodRow], corpus: str, encoder: str) -> PublishedFigure:
    ours = _ours(rows, f"tables.table1.corpora.{corpus}")
    return PublishedFigure(
        reference="table1.ours",
        corpus=corpus,
        encoder=encoder,
        wa=_fraction(ours.wa),
        ua=_fraction(ours.ua),
    )


def _speaker_figure(rows: Sequence[SpeakerRow], corpus: str, encoder: str) -> PublishedFigure:
    ours = _ours(rows, "tables.table2.rows")
    return PublishedFigure(
        reference="table2.ours",
        corpus=corpus,
        encoder=encoder,
        wa=None,
        ua=_fraction(ours.mean),
        speakers={name: percent / 100 for name, percent in asdict(ours.speakers).items()},
    )


def _ablation_figure(row: AblationRow, corpus: str) -> PublishedFigure:
    return PublishedFigure(
        reference=f"table3.{row.number}",
        corpus=corpus,
        encoder=row.encoder,
        wa=_fraction(row.wa),
        ua=_fraction(row.ua),
    )


def _ours(rows: Sequence[Any], key: str) -> Any:
    ours = [row for row in rows if row.method == "Ours"]
    if len(ours) != 1:
        _refuse(key, f"must hold one row whose method is 'Ours', got {len(ours)}")
    return ours[0]


def _fraction(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _rows(cls: type[T], rows: Any, key: str) -> tuple[T, ...]:
    if not isinstance(rows, list) or not rows:
        _refuse(key, f"must be a list of rows, got {show(rows)}")
    return tuple(_row(cls, row, f"{key}[{index}]") for index, row in enumerate(rows))


def _row(cls: type[T], row: Any, key: str) -> T:
    settings = flatten(_mapping(row, key))
    try:
        return build(cls, settings)
    except ConfigError as error:
        problems = [Problem(f"{key}.{item.key}", item.text) for item in error.problems]
        raise ConfigError(problems) from error


def _mapping(value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _refuse(key, f"must be a mapping, got {show(value)}")
    return value


def _text(parent: Mapping[str, Any], name: str, prefix: str) -> str:
    value = _member(parent, name, prefix)
    if not isinstance(value, str) or not value.strip():
        _refuse(f"{prefix}{name}", f"must be a text, got {show(value)}")
    return value


def _member(parent: Mapping[str, Any], name: str, prefix: str) -> Any:
    if name not in parent:
        _refuse(f"{prefix}{name}", "must be given")
    return parent[name]


def _refuse(key: str, text: str) -> NoReturn:
    raise ConfigError([Problem(key, text)])
