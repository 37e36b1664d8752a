"""Learning curves, differences and speakers: what is drawn where."""

from math import nan

import numpy as np
import pytest

from ablation.figures.curves import curves_figure
from ablation.figures.forest import Estimate, forest_figure
from ablation.figures.speakers import MOST_SPEAKERS, speakers_figure

LOSSES = {"total": [[4.0, 2.0], [2.0, 1.0]], "kl": [[1.0, 0.5], [1.0, 0.25]]}
NOTHING = Estimate(nan, nan, nan)


def test_a_curve_is_the_mean_over_runs_and_its_band_their_extremes():
    above, below = curves_figure(LOSSES, {"oracle": [[0.2, 0.6], [0.4, 0.8]]}, "t").axes
    total, kl = above.lines
    assert total.get_ydata().tolist() == [3.0, 1.5]
    assert kl.get_ydata().tolist() == [1.0, 0.375]
    assert total.get_xdata().tolist() == [1, 2]
    band = above.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1.0, 4.0)
    assert below.lines[0].get_ydata() == pytest.approx([30.0, 70.0])
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["total", "kl"]
    assert above.get_yscale() == "log"


def test_one_run_has_no_band_and_what_was_not_noted_no_panel():
    (above,) = curves_figure({"total": [[2.0, 1.0]]}, {}, "").axes
    assert len(above.collections) == 0


def test_curves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"runs by epochs, got shapes \[\(1, 1\), \(1, 2\)\]"):
        curves_figure({"total": [[1.0, 2.0]], "kl": [[1.0]]}, {}, "")


def test_a_difference_stands_in_points_on_its_row_s_line_with_its_interval():
    ua = [Estimate(0.02, -0.01, 0.05), NOTHING]
    wa = [Estimate(-0.01, nan, nan), Estimate(0.03, 0.02, 0.04)]
    axes = forest_figure(["a", "b"], ua, wa, "savee").axes[0]
    zero, ua_discs, wa_squares = axes.lines
    assert list(zero.get_xdata()) == [0, 0]
    assert ua_discs.get_xdata().tolist() == [2.0]
    assert wa_squares.get_xdata().tolist() == [-1.0, 3.0]
    assert np.round(wa_squares.get_ydata()).tolist() == [0, 1]
    spans = [
        path.vertices[:, 0].tolist() for lines in axes.collections for path in lines.get_paths()
    ]
    assert spans == [[-1.0, 5.0], [-1.0, -1.0], [2.0, 4.0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_ylim() == (1.5, -0.5)  # the first uppermost


def test_a_row_without_its_difference_is_refused():
    with pytest.raises(ValueError, match="got 2 rows, 1 of UA and 2 of WA"):
        forest_figure(["a", "b"], [NOTHING], [NOTHING] * 2, "")


def test_speakers_are_ranked_by_their_mean_and_span_all_rows():
    rows = {"first": {"s1": 0.5, "s2": 0.9}, "mid": {"s1": 0.9}, "last": {"s1": 0.4, "s2": 0.7}}
    axes = speakers_figure(rows, "t").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["s2", "s1"]
    spans = [lines.get_paths()[0].vertices[:, 0].tolist() for lines in axes.collections]
    assert spans == [pytest.approx([70, 90]), pytest.approx([40, 90])]
    ring, disc = axes.lines[-2:]
    assert ring.get_xdata() == pytest.approx([90, 50])
    assert disc.get_xdata() == pytest.approx([70, 40])


def test_of_very_many_speakers_the_worst_are_shown_and_the_title_says_so():
    rows = {"only": {f"s{number:03d}": number / 1000 for number in range(MOST_SPEAKERS + 5)}}
    axes = speakers_figure(rows, "t").axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert (labels[-1], len(labels)) == ("s000", MOST_SPEAKERS)
    assert axes.get_title() == "t: the 40 lowest of 45 speakers"


def test_a_picture_of_no_speaker_is_refused():
    with pytest.raises(ValueError, match="must have one at least, got none"):
        speakers_figure({"row": {}}, "")
