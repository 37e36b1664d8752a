"""Write a study's page and its pictures beside its table."""

from collections.abc import Sequence
from dataclasses import replace

from ablation.aggregate import Summary
from ablation.archive import Archive, write_whole
from ablation.courses import read_courses
from ablation.figures.canvas import SUFFIXES, save
from ablation.grid import Grid
from ablation.page.document import page
from ablation.page.drawings import Drawing, Gain, draw_corpus, gains
from ablation.provenance import Provenance
from ablation.report import Report

PAGE, PICTURES = "report.html", "figures"


def add_page(report: Report, grid: Grid, archive: Archive, provenance: Provenance) -> Report:
    """Write `report.html` and `figures/` into the report's folder.

    Curves and differences are of the folds that are archived here; where there are none, the page
    goes without. Equal results give equal files.
    """
    folder = report.files[0].parent
    courses = read_courses(archive, report.summaries)
    drawings: list[Drawing] = []
    won: dict[str, list[Gain]] = {}
    for number, summaries in enumerate(_by_corpus(report.summaries), start=1):
        corpus = summaries[0].corpus
        won[corpus] = gains(summaries, courses)
        drawings += draw_corpus(summaries, courses, won[corpus], number)
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    written = set()
    for drawing in drawings:
        for suffix in SUFFIXES:
            save(drawing.figure, pictures / f"{drawing.name}{suffix}")
            written.add(f"{drawing.name}{suffix}")
    for path in pictures.glob("[0-9]*-*"):  # of rows that the study no longer has
        if path.name not in written and path.suffix in SUFFIXES:
            path.unlink()
    write_whole(folder / PAGE, page(grid, report.summaries, drawings, won, provenance))
    return replace(report, files=(*report.files, folder / PAGE))


def _by_corpus(summaries: Sequence[Summary]) -> list[list[Summary]]:
    found: dict[str, list[Summary]] = {}
    for summary in summaries:
        found.setdefault(summary.corpus, []).append(summary)
    return list(found.values())
