"""From scores to the files that people paste: `reports/<study>/`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablation.aggregate import Summary, results_document, results_text, summarise
from ablation.archive import write_whole
from ablation.grid import Grid
from ablation.published import Published
from ablation.scores import FoldScore
from ablation.tables import markdown


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A study's table, and the files that hold it."""

    summaries: tuple[Summary, ...]
    files: tuple[Path, ...]

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
    """One summary per row and corpus, in the grid's order, the paper's figure beside it."""
    by_cell: dict[tuple[str, str], list[FoldScore]] = {}
    for score in scores:
        by_cell.setdefault((score.row, score.corpus), []).append(score)
    return tuple(
        summarise(
            cell,
            by_cell.get((cell.row, cell.config.corpus.name), []),
            None
            if grid.demo
            else figures.lookup(cell.published, cell.config.corpus.name, cell.config.encoder.name),
        )
        for cell in grid.cells
    )


def write_report(
    grid: Grid, summaries: Sequence[Summary], reports: Path, git_commit: str
) -> Report:
    """Write `table.md` and `results.json`; each is replaced whole."""
    folder = reports / grid.study
    table = markdown(
        summaries,
        title=grid.title,
        demo=grid.demo,
        selection=grid.selection,
        commit=git_commit,
    )
    document = results_document(
        summaries,
        grid=grid.name,
        title=grid.title,
        demo=grid.demo,
        selection=grid.selection,
        git_commit=git_commit,
    )
    files = {"table.md": table, "results.json": results_text(document)}
    for name, text in files.items():
        write_whole(folder / name, text)
    return Report(summaries=tuple(summaries), files=tuple(folder / name for name in files))
