"""A grid file, read and checked: what `ablation/grid.py` holds comes from here.

Everything wrong with a file is gathered and reported at once, with file, line and suggestion,
before Ray or torch is imported.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablation import published as paper
from ablation.axes import Source
from ablation.grid import (
    ENOUGH_PROBLEMS,
    Grid,
    GridError,
    GridProblem,
    Overrides,
    Row,
    Setting,
    expand,
)
from ablation.grid_corpora import KEYS as CORPORA_KEYS
from ablation.grid_corpora import Chosen, read_corpora
from ablation.matrix import BLOCKS as MATRIX_KEYS
from ablation.matrix import ROW_NAME, Generated, gathered, read_matrix
from ablation.search.block import UNNAMED, read_search
from ablation.yaml_lines import Document, Where, YamlError, read
from core.config import RunConfig
from core.schema import leaves, show, suggest

KEYS = (
    "name",
    "title",
    *CORPORA_KEYS,
    "seeds",
    "selection",
    "record_oracle",
    "baseline",
    "base",
    "rows",
    *MATRIX_KEYS,
    "search",
)
ROW_KEYS = ("name", "published")
# Not for rows to set.
RESERVED = ("corpus", "corpus.name", "corpus.folds", "fold", "seed", "evaluation.inner_fold")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # names the report's folder
MAX_SEEDS = 1000
MAX_SEED = 2**31 - 1
MAX_TRIALS = 100_000  # O: more is a slip, and would fill the memory


def load_grid(path: Path, overrides: Overrides, figures: paper.Published) -> Grid:
    """Read, check and expand a grid file.

    Args:
        path: The YAML file.
        overrides: From the command line.
        figures: The paper's figures, which rows may refer to.
    Raises:
        GridError: with every problem found.
        core.corpora.utterance.CorpusError: a manifest, with all its defects.
    """
    try:
        document = read(path)
    except YamlError as error:
        hint = "" if path.exists() else suggest(path.name, _neighbours(path))
        raise GridError(path, [GridProblem(error.line, "", error.text + hint)]) from error
    if not isinstance(document.value, dict):
        text = f"must be a mapping with the keys {', '.join(KEYS)}, found {show(document.value)}"
        raise GridError(path, [GridProblem(0, "", text)])
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
        for key in [key for key in self._top if key not in KEYS][:ENOUGH_PROBLEMS]:
            self._report((key,), key, f"unknown key{suggest(key, KEYS)}")
        name = self._name()
        title = self._title(name)
        corpora, seeds = self._corpora(), self._seeds()
        base, rows = self._base(), self._rows()
        generated = self._generated(base, rows)
        rows += generated.rows
        names_known = generated.design or not any(key in self._top for key in MATRIX_KEYS)
        baseline = self._baseline(rows) if names_known else ""
        if len(self.problems) >= ENOUGH_PROBLEMS or not self._is_small(rows, corpora, seeds):
            return None
        cells, problems = expand(base, rows, corpora.values(), seeds, self._overrides)
        self.problems += gathered(problems)
        search, cells = read_search(self._top, self._report, cells, self._overrides)
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
            baseline=baseline,
            design=generated.design,
            search=search,
        )

    def _report(self, where: Where, key: str, text: str) -> None:
        line = self._document.line(where) if where else 0  # nowhere: the command line
        self.problems.append(GridProblem(line, key, text))

    def _name(self) -> str:
        name = self._top.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            rule = "must be 1 to 64 lower-case letters, digits, '-' and '_'"
            self._report(("name",), "name", f"{rule}, found {show(name)}")
        elif name.endswith("-demo"):
            rule = "must not end in '-demo': so the demo of another grid is named"
            self._report(("name",), "name", f"{rule}, found {show(name)}")
        else:
            return name
        return ""

    def _title(self, name: str) -> str:
        if "title" not in self._top:
            return name
        title = self._top["title"]
        if not isinstance(title, str) or not title.strip() or not title.strip().isprintable():
            self._report(("title",), "title", f"must be one line of text, found {show(title)}")
            return name
        return title.strip()

    def _corpora(self) -> Chosen:
        overrides = self._overrides
        return read_corpora(self._top, overrides.corpora, overrides.demo, self._report)

    def _list(self, key: str, rule: str) -> list[Any]:
        value = self._top.get(key)
        if isinstance(value, list) and value:
            return value
        self._report((key,), key, f"must be {rule}, found {show(value)}")
        return []

    def _seeds(self) -> tuple[int, ...]:
        try:
            seeds = seeds_of(self._top.get("seeds", [0]))
        except ValueError as error:
            self._report(("seeds",), "seeds", str(error))
            seeds = (0,)
        return self._overrides.seeds or seeds

    def _base(self) -> dict[str, Setting]:
        base = self._settings(("base",), self._top.get("base"), "base")
        for key in ("selection", "record_oracle"):
            if key not in self._top:
                continue
            if f"evaluation.{key}" in base:
                text = f"stands twice, here and as evaluation.{key} in `base`"
                self._report((key,), key, text)
            line = self._document.line((key,))
            base[f"evaluation.{key}"] = Setting(self._top[key], line, key)
        return base

    def _generated(self, base: dict[str, Setting], rows: Sequence[Row]) -> Generated:
        line, keys = self._document.line, setting_keys()
        source = Source(self._top, line, self._settings, keys, self.problems)
        return read_matrix(source, base, rows)

    def _rows(self) -> list[Row]:
        if "search" in self._top and "rows" not in self._top:  # `base` alone is searched
            return [Row(UNNAMED, "", {}, "base", self._document.line(("base",)))]
        rows: list[Row] = []
        names: set[str] = set()
        if "rows" not in self._top and any(key in self._top for key in MATRIX_KEYS):
            return rows
        for index, entry in enumerate(self._list("rows", "a list of named settings")):
            where: Where = ("rows", index)
            label = f"rows[{index}]"
            if len(self.problems) >= ENOUGH_PROBLEMS:
                break
            if not isinstance(entry, dict):
                self._report(where, label, f"must be a mapping, found {show(entry)}")
                continue
            name = entry.get("name")
            if not isinstance(name, str) or not ROW_NAME.fullmatch(name):
                rule = "must be a name of up to 80 letters, digits, spaces and . _ + -"
                self._report((*where, "name"), f"{label}.name", f"{rule}, found {show(name)}")
            elif name in names:
                self._report((*where, "name"), f"{label}.name", f"{name!r} stands twice")
            else:
                names.add(name)
            reference = entry.get("published")
            if reference not in (None, "") and not self._published(reference):
                text = f"must name a figure of published.yaml, found {show(reference)}"
                hint = suggest(str(reference), self._figures.references)
                self._report((*where, "published"), f"{label}.published", text + hint)
            changes = {key: value for key, value in entry.items() if key not in ROW_KEYS}
            settings = self._settings(where, changes, label)
            line = self._document.line(where)
            rows.append(Row(str(name), str(reference or ""), settings, label, line))
        return rows

    def _baseline(self, rows: Sequence[Row]) -> str:
        baseline = self._top.get("baseline")
        names = [row.name for row in rows]
        if baseline is None or (isinstance(baseline, str) and baseline in names):
            return baseline or ""
        text = f"must name a row of this grid, found {show(baseline)}"
        self._report(("baseline",), "baseline", text + suggest(str(baseline), names))
        return ""

    def _published(self, reference: Any) -> bool:
        return isinstance(reference, str) and self._figures.exists(reference)

    def _settings(self, where: Where, value: Any, label: str) -> dict[str, Setting]:
        """Flatten nested and dotted keys alike, keeping the line of each."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._report(where, label, f"must be a mapping of settings, found {show(value)}")
            return {}
        flat: dict[str, Setting] = {}
        self._flatten(where, value, "", label, flat)
        return flat

    def _flatten(
        self,
        where: Where,
        value: dict[str, Any],
        prefix: str,
        label: str,
        flat: dict[str, Setting],
    ) -> None:
        for key, member in value.items():
            dotted, here = f"{prefix}{key}", (*where, key)
            if isinstance(member, dict) and member:
                self._flatten(here, member, f"{dotted}.", label, flat)
            elif dotted in flat:
                self._report(here, f"{label}.{dotted}", "stands twice, dotted and nested")
            elif dotted in RESERVED:
                text = "is set by `corpora`, the folds and `seeds`, not here"
                self._report(here, f"{label}.{dotted}", text)
            else:
                line = self._document.line(here)
                flat[dotted] = Setting(member, line, f"{label}.{dotted}")

    def _is_small(self, rows: Sequence[Row], corpora: Chosen, seeds: Sequence[int]) -> bool:
        folds = sum(corpus.schemes[scheme].folds for corpus, scheme in corpora.values())
        trials = len(rows) * len(seeds) * folds
        if trials > MAX_TRIALS:
            text = f"must make at most {MAX_TRIALS} trials (rows x folds x seeds), found {trials}"
            self._report(("rows",), "rows", text)
        return trials <= MAX_TRIALS


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
        and all(0 <= seed <= MAX_SEED for seed in value)
        and len(set(value)) == len(value)
    ):
        return tuple(value)
    rule = f"must be a count in 1..{MAX_SEEDS} or a list of different whole numbers from 0"
    raise ValueError(f"{rule}, found {show(value)}")


def setting_keys() -> list[str]:
    """Every dotted key that a row, `base` or --set may change."""
    return [key for key in leaves(RunConfig) if key not in RESERVED]


def _neighbours(path: Path) -> list[str]:
    return sorted(other.name for other in path.parent.glob("*.yaml"))
