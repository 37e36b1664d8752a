"""Write a study's page and its pictures beside its table."""

import re
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
_OWN = re.compile(r"\d+(-\d+)?-(differences|speakers|confusion|curves)\.(png|svg)")


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
        won[corpus] = gains(summaries)
        drawings += draw_corpus(summaries, courses, won[corpus], number)
    pictures = folder / PICTURES
    pictures.mkdir(exist_ok=True)
    written = set()
    for drawing in drawings:
        for suffix in SUFFIXES:
            save(drawing.figure, pictures / f"{drawing.name}{suffix}")
            written.add(f"{drawing.name}{suffix}")
    for path in pictures.iterdir():
        if path.name not in written and _OWN.fullmatch(path.name):
            path.unlink()  # of a row that the study no longer has
    text = page(grid, report.summaries, drawings, won, provenance, report.effects)
    write_whole(folder / PAGE, text)
    return replace(report, files=(*report.files, folder / PAGE))


def _by_corpus(summaries: Sequence[Summary]) -> list[list[Summary]]:
    found: dict[str, list[Summary]] = {}
    for summary in summaries:
        found.setdefault(summary.corpus, []).append(summary)
    return list(found.values())
