"""The report of what has finished so far, training nothing; needs neither Ray nor a corpus."""

from pathlib import Path

from ablation.archive import Archive
from ablation.finished import read_scores
from ablation.grid import Grid
from ablation.options import Options
from ablation.page.write import add_page
from ablation.provenance import Provenance
from ablation.published import Published
from ablation.report import Report, summarise_grid, with_answers, write_report

ROOT = Path(__file__).resolve().parent.parent


def rebuild_report(grid: Grid, figures: Published, options: Options) -> Report:
    """Every file of a study's report, from MLflow; what only the archive knows, where it is here.

    Raises:
        ablation.finished.TrackingError: MLflow can't be read, or holds another program's scores.
    """
    archive, provenance = Archive(options.runs), Provenance.here(ROOT)
    scores = with_answers(read_scores(options.uri, grid), archive)
    summaries = summarise_grid(grid, scores, figures)
    report = write_report(grid, summaries, options.reports, provenance.git_commit, figures)
    return add_page(report, grid, archive, provenance)
