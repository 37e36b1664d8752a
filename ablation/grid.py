"""A study as cells (row x corpus), and cells as trials (x fold x seed)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation.demo import demo_settings
from ablation.design import Design
from core.classifiers import is_unused
from core.config import CorpusConfig, RunConfig
from core.corpora.corpus import Corpus
from core.identity import config_key, config_keys
from core.schema import ConfigError, Problem, cut

if TYPE_CHECKING:
    from ablation.search.space import Search

ENOUGH_PROBLEMS = 50  # O: reading stops there, so that a hostile file can't keep us busy
SHOWN_PROBLEMS = 20  # O: a screenful; the rest is counted


@dataclass(frozen=True, slots=True)
class GridProblem:
    """One thing wrong, and where; line 0 is the command line, or the file as a whole."""

    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        # Keys come from the file as they are: nothing in them may steer a terminal.
        key = self.key if self.key.isprintable() else ascii(self.key)[1:-1]
        return f"{where}{cut(key)}{': ' if key else ''}{self.text}"


class GridError(ValueError):
    """A grid that can't be run, with every problem of its file."""

    def __init__(self, path: Path, problems: Iterable[GridProblem]) -> None:
        self.path = path
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.line, p.key, p.text)))
        count = len(self.problems)
        if count == 1 and not self.problems[0].line:
            super().__init__(f"{path}: {self.problems[0]}")
            return
        lines = [f"{path}: {count} problem{'s' if count != 1 else ''}"]
        lines += [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if count > SHOWN_PROBLEMS:
            lines.append(f"  and {count - SHOWN_PROBLEMS} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line changes about a grid: another study, under the same name."""

    demo: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)  # --set
    encoder: str | None = None
    corpora: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def changes(self) -> dict[str, Any]:
        """What they set in every row."""
        encoder = {} if self.encoder is None else {"encoder.name": self.encoder}
        return {**self.settings, **encoder}

    def option(self, key: str) -> str:
        """How a message names one of them."""
        is_encoder = key == "encoder.name" and self.encoder is not None
        return "--encoder" if is_encoder else f"--set {key}"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that a file sets, and where."""

    value: Any
    line: int
    key: str  # as a message names it: rows[2].mixup.method


@dataclass(frozen=True, slots=True)
class Row:
    """A named setting as the file has it, unchecked."""

    name: str
    published: str
    settings: Mapping[str, Setting]  # by dotted key
    label: str  # as a message names it: rows[2]
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row on one corpus: what a line of the table averages over folds and seeds."""

    row: str
    published: str
    config: RunConfig  # of fold 1 and the first seed
    corpus: Corpus
    seeds: tuple[int, ...]
    # Of a searched row alone: its setting on each fold, as far as it has been chosen.
    chosen: Mapping[int, RunConfig] | None = None

    @property
    def folds(self) -> int:
        """How many folds its corpus has under its scheme."""
        return self.corpus.schemes[self.config.corpus.folds].folds

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""
        return self.corpus.classes

    def runs(self) -> list[tuple[int, int]]:
        """Every (fold, seed), in the order of the trials."""
        return [(fold, seed) for seed in self.seeds for fold in range(1, self.folds + 1)]

    def trials(self) -> list["Trial"]:
        """Every fold under every seed; of a searched row, every fold whose setting is chosen."""
        return [
            Trial(row=self.row, config=self.setting(fold).on_fold(fold, seed))
            for fold, seed in self.runs()
            if self.chosen is None or fold in self.chosen
        ]

    def setting(self, fold: int) -> RunConfig:
        """The row's on a fold; of a searched row without a choice there, what is searched."""
        return self.config if self.chosen is None else self.chosen.get(fold, self.config)

    def config_keys(self) -> list[str]:
        """`config_key` of each of `runs`; a text that is none where no setting is chosen yet."""
        if self.chosen is None:
            return config_keys(self.config, self.runs())
        return [
            config_key(self.chosen[fold].on_fold(fold, seed))
            if fold in self.chosen
            else f"fold {fold}, seed {seed} of {self.row}: not chosen yet"
            for fold, seed in self.runs()
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training: a row's config on one fold under one seed."""

    row: str
    config: RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A study as its file and the command line define it."""

    name: str
    title: str
    path: Path
    demo: bool
    selection: str
    cells: tuple[Cell, ...]
    baseline: str = ""  # the row that the others are tested against; "" is the first
    design: Design | None = None  # of the rows that its file generates
    search: "Search | None" = None  # over the settings of its first row, for its second

    @property
    def corpora(self) -> dict[str, Corpus]:
        """Its corpora by name, in order."""
        return {cell.corpus.name: cell.corpus for cell in self.cells}

    @property
    def schemes(self) -> dict[str, str]:
        """The name of each corpus's folds."""
        return {cell.corpus.name: cell.config.corpus.folds for cell in self.cells}

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of its rows, in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def compared_with(self) -> str:
        """The name of the row that the others are tested against."""
        return self.baseline or self.rows[0]

    @property
    def study(self) -> str:
        """The name under which it is tracked and reported; a demo never shares the real one."""
        return f"{self.name}-demo" if self.demo else self.name

    def trials(self) -> list[Trial]:
        """Every training of the study, in the table's order."""
        return [trial for cell in self.cells for trial in cell.trials()]


def expand(
    base: Mapping[str, Setting],
    rows: Sequence[Row],
    corpora: Iterable[tuple[Corpus, str]],
    seeds: tuple[int, ...],
    overrides: Overrides,
) -> tuple[list[Cell], list[GridProblem]]:
    """Make a cell of every row on every corpus and scheme, or say what is wrong with a setting."""
    corpora = tuple(corpora)
    cells: list[Cell] = []
    problems: list[GridProblem] = []
    for row in rows:
        settings = {**base, **row.settings}
        for corpus, scheme in corpora:
            if len(problems) >= ENOUGH_PROBLEMS:
                return cells, problems
            try:
                place = CorpusConfig(name=corpus.name, folds=scheme)
                config = _config(settings, place, seeds[0], overrides)
            except ConfigError as error:
                problems += [_located(found, row, settings, overrides) for found in error.problems]
                continue
            problems += _without_effect(row, config.classifier.method)
            cells.append(
                Cell(
                    row=row.name,
                    published=row.published,
                    config=config,
                    corpus=corpus,
                    seeds=seeds,
                )
            )
    return cells, problems


def _without_effect(row: Row, method: str) -> list[GridProblem]:
    """Settings that a row makes itself and its method has no use for; a base's are passed over."""
    text = f"has no effect under classifier.method {method}, must not stand in its row"
    return [
        GridProblem(setting.line, setting.key, text)
        for key, setting in row.settings.items()
        if is_unused(method, key)
    ]


def _config(
    settings: Mapping[str, Setting], corpus: CorpusConfig, seed: int, overrides: Overrides
) -> RunConfig:
    plain = {key: setting.value for key, setting in settings.items()}
    fixed = {"corpus.name": corpus.name, "corpus.folds": corpus.folds, "seed": seed}
    if overrides.demo:
        if not overrides.changes():  # what the demo replaces must be right all the same
            RunConfig.from_dict(plain | fixed)
        plain |= demo_settings(plain)
    return RunConfig.from_dict({**plain, **overrides.changes(), **fixed})


def _located(
    problem: Problem, row: Row, settings: Mapping[str, Setting], overrides: Overrides
) -> GridProblem:
    """Lay a problem to the command line, else to what the file sets, else to the row."""
    keys = (problem.key, *problem.others)
    texts = {
        key: problem.text if key == problem.key else f"{problem.key} {problem.text}" for key in keys
    }
    for key in keys:
        if key in overrides.changes():
            return GridProblem(0, overrides.option(key), texts[key])
    for key in keys:
        if key in settings:
            return GridProblem(settings[key].line, settings[key].key, texts[key])
    return GridProblem(row.line, f"{row.label}.{problem.key}", problem.text)
