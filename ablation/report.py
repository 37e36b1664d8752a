"""From scores to the files that people paste: `reports/<study>/`."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ablation.aggregate import Summary, results_document, results_text, summarise
from ablation.archive import Archive, write_whole
from ablation.comparison import with_statistics
from ablation.csv_table import csv_text, effects_csv
from ablation.effects import Effect, effects_of
from ablation.effects_view import EffectsTable, effect_tables, effects_document
from ablation.footnotes import methods_document
from ablation.grid import Grid
from ablation.latex import latex
from ablation.paper_tables import layout_of
from ablation.published import Published
from ablation.scores import FoldScore
from ablation.tables import columns, markdown, notes, with_notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A study's table, and the files that hold it."""

    summaries: tuple[Summary, ...]
    files: tuple[Path, ...]
    effects: tuple[Effect, ...] = ()  # of a grid that generates rows

    @property
    def results(self) -> Path:
        """The file for programs: `results.json`."""
        return next(path for path in self.files if path.name == "results.json")

    @property
    def complete(self) -> bool:
        """Whether every fold of every row has finished."""
        return all(summary.complete for summary in self.summaries)


def summarise_grid(
    grid: Grid, scores: Iterable[FoldScore], figures: Published
) -> tuple[Summary, ...]:
    """One summary per row and corpus, in the grid's order, the paper's figure beside it.

    Raises:
        ValueError: scores that do not belong together, or hold what this program does not write.
    """
    by_cell: dict[tuple[str, str], list[FoldScore]] = {}
    for score in scores:
        by_cell.setdefault((score.row, score.corpus), []).append(score)
    summaries = tuple(
        summarise(
            cell,
            by_cell.get((cell.row, cell.config.corpus.name), []),
            None
            if grid.demo
            else figures.lookup(cell.published, cell.config.corpus.name, cell.config.encoder.name),
        )
        for cell in grid.cells
    )
    return with_statistics(summaries, grid.compared_with)


def with_answers(scores: Iterable[FoldScore], archive: Archive) -> list[FoldScore]:
    """Scores that MLflow got before it was told each answer, with what the archive knows."""
    return [_with_answers(score, archive) if score.answers is None else score for score in scores]


def _with_answers(score: FoldScore, archive: Archive) -> FoldScore:
    if archive.holds(score.run_id):
        with suppress(ValueError):  # a damaged fold: the table then says what it lacks
            archived = FoldScore.from_result(score.row, archive.load(score.run_id))
            if archived.confusion == score.confusion:
                return replace(score, answers=archived.answers)
    return score


def write_report(
    grid: Grid,
    summaries: Sequence[Summary],
    reports: Path,
    git_commit: str,
    figures: Published | None = None,
) -> Report:
    """Write the table as markdown, LaTeX, CSV and JSON; each file is replaced whole.

    Args:
        grid: The study.
        summaries: Of `summarise_grid`.
        reports: The folder that holds one for each study.
        git_commit: The code's, "" where unknown.
        figures: The paper's; a grid that is one of its tables then has that table's layout.
    """
    folder = reports / grid.study
    layout = layout_of(summaries, figures, grid.demo) if figures else None
    chosen = layout.columns if layout else tuple(columns(summaries))
    paper = layout.paper if layout else None
    effects = effects_of(summaries, grid.design)
    factorial = {"factorial": effects_document(effects, grid.design)} if grid.design else {}
    further = effect_tables(effects, grid.design)
    files = {
        "table.md": markdown(
            summaries,
            title=grid.title,
            demo=grid.demo,
            selection=grid.selection,
            commit=git_commit,
            chosen=chosen,
        )
        + "".join(map(_section, further)),
        "table.tex": latex(
            chosen,
            title=grid.title,
            notes=notes(summaries, grid.selection, git_commit),
            demo=grid.demo,
            label=grid.study,
        )
        + "".join(_float(one, grid) for one in further),
        "table.csv": csv_text(summaries, paper, demo=grid.demo),
        "results.json": results_text(
            results_document(
                summaries,
                grid=grid.name,
                title=grid.title,
                demo=grid.demo,
                selection=grid.selection,
                git_commit=git_commit,
                statistics=methods_document(summaries, grid.compared_with),
                paper=paper,
            )
            | factorial
        ),
    }
    if effects:
        files["effects.csv"] = effects_csv(effects, demo=grid.demo)
    for name, text in files.items():
        write_whole(folder / name, text)
    written = tuple(folder / name for name in files)
    return Report(summaries=tuple(summaries), files=written, effects=effects)


def _section(one: EffectsTable) -> str:
    return f"\n## {one.title}\n\n{with_notes(one.columns, one.notes)}\n"


def _float(one: EffectsTable, grid: Grid) -> str:
    said = {"title": grid.title, "label": grid.study, "heading": one.title}
    return "\n" + latex(one.columns, notes=one.notes, demo=grid.demo, **said)
