"""A grid file becomes cells (row x corpus), and cells become trials (x fold x seed).

Everything wrong with a file is gathered and reported at once, with file, line and suggestion,
before Ray or torch is imported.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablation import published as paper
from ablation.demo import demo_settings
from ablation.yaml_lines import Document, Where, YamlError, read
from core.config import CorpusConfig, RunConfig
from core.corpora.catalog import CORPORA
from core.schema import ConfigError, Problem, build, leaves, show, suggest

KEYS = ("name", "title", "corpora", "seeds", "selection", "record_oracle", "base", "rows")
ROW_KEYS = ("name", "published")
RESERVED = ("corpus.name", "corpus.folds", "fold", "seed")  # set by `corpora`, folds and `seeds`
MAX_SEEDS = 1000
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # names the report's folder
ROW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,79}")


@dataclass(frozen=True, slots=True)
class GridProblem:
    """One thing wrong, and where; line 0 means the command line."""

    line: int
    key: str
    text: str


class GridError(ValueError):
    """A grid that can't be run, with every problem of its file."""

    def __init__(self, path: Path, problems: Iterable[GridProblem]) -> None:
        self.path = path
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.line, p.key, p.text)))
        count = len(self.problems)
        lines = [f"{path}: {count} problem{'s' if count != 1 else ''}"]
        for problem in self.problems:
            where = f"line {problem.line}" if problem.line else "command line"
            lines.append(f"  {where}: {problem.key + ': ' if problem.key else ''}{problem.text}")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What the command line changes about a grid: another study, under the same name."""

    demo: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)  # --set and --encoder
    corpora: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row on one corpus: what a line of the table averages over folds and seeds."""

    row: str
    published: str
    config: RunConfig  # of fold 1 and the first seed
    folds: int
    seeds: tuple[int, ...]
    classes: tuple[str, ...]

    def trials(self) -> list["Trial"]:
        """Every fold under every seed."""
        return [
            Trial(row=self.row, config=self.config.on_fold(fold, seed))
            for seed in self.seeds
            for fold in range(1, self.folds + 1)
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

    @property
    def corpora(self) -> tuple[str, ...]:
        """The names of its corpora, in order."""
        return tuple(dict.fromkeys(cell.config.corpus.name for cell in self.cells))

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of its rows, in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    @property
    def study(self) -> str:
        """The name under which it is tracked and reported; a demo never shares the real one."""
        return f"{self.name}-demo" if self.demo else self.name

    def trials(self) -> list[Trial]:
        """Every training of the study, in the table's order."""
        return [trial for cell in self.cells for trial in cell.trials()]


@dataclass(frozen=True, slots=True)
class _Setting:
    value: Any
    line: int
    key: str  # as the message names it: rows[2].mixup.method


def load_grid(path: Path, overrides: Overrides, figures: paper.Published) -> Grid:
    """Read, check and expand a grid file.

    Args:
        path: The YAML file.
        overrides: From the command line.
        figures: The paper's figures, which rows may refer to.
    Raises:
        GridError: with every problem found.
    """
    try:
        document = read(path)
    except YamlError as error:
        raise GridError(path, [GridProblem(error.line, "", error.text)]) from error
    if not isinstance(document.value, dict):
        found = "nothing" if document.value is None else show(document.value)
        text = f"a grid must be a mapping with the keys {', '.join(KEYS)}, found {found}"
        raise GridError(path, [GridProblem(1, "", text)])
    reader = _Reader(document, overrides, figures)
    grid = reader.grid(path)
    if reader.problems or grid is None:
        raise GridError(path, reader.problems)
    return grid


class _Reader:
    """One pass over one document; problems gather in `problems`."""

    def __init__(self, document: Document, overrides: Overrides, figures: paper.Published) -> None:
        self.problems: list[GridProblem] = []
        self._document = document
        self._top: dict[str, Any] = document.value
        self._overrides = overrides
        self._figures = figures

    def grid(self, path: Path) -> Grid | None:
        for key in self._top:
            if key not in KEYS:
                self._report((key,), key, f"unknown key{suggest(key, KEYS)}")
        name = self._text("name", NAME, "lower-case letters, digits, '-' and '_'")
        title = self._title(name)
        corpora, seeds = self._corpora(), self._seeds()
        base = self._settings(("base",), self._top.get("base"), "base")
        for key in ("selection", "record_oracle"):
            if key in self._top:
                base[f"evaluation.{key}"] = _Setting(
                    self._top[key], self._document.line((key,)), key
                )
        rows = self._rows()
        cells = []
        for index, (row_name, reference, settings, line) in enumerate(rows):
            for corpus in corpora:
                config = self._config(base | settings, corpus, seeds, index, line)
                if config is not None:
                    cells.append(_cell(row_name, reference, config, seeds))
        if self.problems or not cells:
            return None
        selections = {cell.config.evaluation.selection for cell in cells}
        return Grid(
            name=name,
            title=title,
            path=path,
            demo=self._overrides.demo,
            selection=selections.pop() if len(selections) == 1 else "mixed",
            cells=tuple(cells),
        )

    def _report(self, where: Where, key: str, text: str) -> None:
        self.problems.append(GridProblem(self._document.line(where), key, text))

    def _text(self, key: str, pattern: re.Pattern[str], rule: str) -> str:
        value = self._top.get(key)
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        found = "nothing" if key not in self._top else show(value)
        self._report((key,), key, f"must be made of {rule}, found {found}")
        return ""

    def _title(self, name: str) -> str:
        title = self._top.get("title", name)
        if not isinstance(title, str) or "\n" in title.strip() or not title.strip().isprintable():
            self._report(("title",), "title", f"must be one line of text, found {show(title)}")
            return name
        return title.strip()

    def _corpora(self) -> list[CorpusConfig]:
        if self._overrides.corpora:
            return [CorpusConfig(name=name) for name in self._overrides.corpora]
        entries = self._list("corpora", "a list of corpora")
        found: list[CorpusConfig] = []
        for index, entry in enumerate(entries):
            where: Where = ("corpora", index)
            settings = {"name": entry} if isinstance(entry, str) else entry
            if not isinstance(settings, dict):
                self._report(where, f"corpora[{index}]", f"must be a name, found {show(entry)}")
                continue
            try:
                corpus = build(CorpusConfig, settings)
            except ConfigError as error:
                self._problems(error.problems, where, f"corpora[{index}]")
                continue
            if corpus.name not in CORPORA:
                hint = suggest(corpus.name, CORPORA)
                text = f"must be one of {', '.join(CORPORA)}, got {show(corpus.name)}{hint}"
                self._report(where, f"corpora[{index}]", text)
            elif corpus.name in [other.name for other in found]:
                self._report(where, f"corpora[{index}]", f"{corpus.name!r} stands twice")
            else:
                found.append(corpus)
        return found

    def _list(self, key: str, rule: str) -> list[Any]:
        value = self._top.get(key)
        if isinstance(value, list) and value:
            return value
        found = "nothing" if key not in self._top else show(value)
        self._report((key,), key, f"must be {rule}, found {found}")
        return []

    def _seeds(self) -> tuple[int, ...]:
        if self._overrides.seeds:
            return self._overrides.seeds
        value = self._top.get("seeds", [0])
        try:
            return seeds_of(value)
        except ValueError as error:
            self._report(("seeds",), "seeds", str(error))
            return (0,)

    def _rows(self) -> list[tuple[str, str, dict[str, _Setting], int]]:
        rows = []
        names: set[str] = set()
        for index, entry in enumerate(self._list("rows", "a list of named settings")):
            where: Where = ("rows", index)
            label = f"rows[{index}]"
            if not isinstance(entry, dict):
                self._report(where, label, f"must be a mapping, found {show(entry)}")
                continue
            name, reference = entry.get("name"), entry.get("published", "")
            if not isinstance(name, str) or not ROW_NAME.fullmatch(name):
                rule = "must be a name of letters, digits, spaces and . _ + -"
                self._report((*where, "name"), f"{label}.name", f"{rule}, found {show(name)}")
            elif name in names:
                self._report((*where, "name"), f"{label}.name", f"{name!r} stands twice")
            else:
                names.add(name)
            if reference and not self._published(reference):
                text = f"must name a figure of published.yaml, found {show(reference)}"
                hint = suggest(str(reference), self._figures.references)
                self._report((*where, "published"), f"{label}.published", text + hint)
            changes = {key: value for key, value in entry.items() if key not in ROW_KEYS}
            settings = self._settings(where, changes, label)
            rows.append((str(name), str(reference), settings, self._document.line(where)))
        return rows

    def _published(self, reference: Any) -> bool:
        return isinstance(reference, str) and self._figures.exists(reference)

    def _settings(self, where: Where, value: Any, label: str) -> dict[str, _Setting]:
        """Flatten nested and dotted keys alike, keeping the line of each."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._report(where, label, f"must be a mapping of settings, found {show(value)}")
            return {}
        flat: dict[str, _Setting] = {}
        self._flatten(where, value, "", label, flat)
        return flat

    def _flatten(
        self,
        where: Where,
        value: dict[str, Any],
        prefix: str,
        label: str,
        flat: dict[str, _Setting],
    ) -> None:
        for key, member in value.items():
            dotted, here = f"{prefix}{key}", (*where, key)
            if isinstance(member, dict) and member:
                self._flatten(here, member, f"{dotted}.", label, flat)
            elif dotted in flat:
                self._report(here, f"{label}.{dotted}", "stands twice, dotted and nested")
            elif dotted in RESERVED:
                text = "is set by `corpora`, the folds and `seeds`, not by a row"
                self._report(here, f"{label}.{dotted}", text)
            else:
                line = self._document.line(here)
                flat[dotted] = _Setting(member, line, f"{label}.{dotted}")

    def _config(
        self,
        settings: dict[str, _Setting],
        corpus: CorpusConfig,
        seeds: tuple[int, ...],
        index: int,
        line: int,
    ) -> RunConfig | None:
        plain = {key: setting.value for key, setting in settings.items()}
        if self._overrides.demo:
            plain |= demo_settings(plain)
        plain |= self._overrides.settings
        plain |= {"corpus.name": corpus.name, "corpus.folds": corpus.folds or None}
        if not corpus.folds:
            del plain["corpus.folds"]
        plain["seed"] = seeds[0]
        try:
            return RunConfig.from_dict(plain)
        except ConfigError as error:
            for problem in error.problems:
                if problem.key in self._overrides.settings:
                    self.problems.append(GridProblem(0, problem.key, problem.text))
                elif problem.key in settings:
                    setting = settings[problem.key]
                    self.problems.append(GridProblem(setting.line, setting.key, problem.text))
                elif problem.key.startswith("corpus."):
                    self._report(("corpora",), "corpora", problem.text)
                else:
                    key = f"rows[{index}].{problem.key}"
                    self.problems.append(GridProblem(line, key, problem.text))
            return None

    def _problems(self, problems: Sequence[Problem], where: Where, label: str) -> None:
        for problem in problems:
            self._report((*where, problem.key), f"{label}.{problem.key}", problem.text)


def seeds_of(value: Any) -> tuple[int, ...]:
    """Seeds as a count (3 is 0, 1, 2) or as a list.

    Raises:
        ValueError: the rule and what was found.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SEEDS:
        return tuple(range(value))
    if (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_SEEDS
        and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in value)
        and all(0 <= seed < 2**31 for seed in value)
        and len(set(value)) == len(value)
    ):
        return tuple(value)
    rule = f"must be a count in 1..{MAX_SEEDS} or a list of different whole numbers from 0"
    raise ValueError(f"{rule}, found {show(value)}")


def setting_keys() -> list[str]:
    """Every dotted key that a row, `base` or --set may change."""
    return [key for key in leaves(RunConfig) if key not in RESERVED]


def _cell(row: str, reference: str, config: RunConfig, seeds: tuple[int, ...]) -> Cell:
    corpus = CORPORA[config.corpus.name]
    return Cell(
        row=row,
        published=reference,
        config=config,
        folds=len(corpus.schemes[config.corpus.folds].groups),
        seeds=seeds,
        classes=corpus.classes,
    )
