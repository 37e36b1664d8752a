"""Colours and sizes that all pictures share."""

import pytest

from ablation.figures import canvas
from ablation.figures.canvas import BLUE, GREEN, ORANGE, VERMILION, class_looks, drawing, shortened
from core.corpora.catalog import CORPORA


def test_iemocap_s_classes_have_the_colours_of_the_paper_s_figure():
    looks = dict(
        zip(("angry", "happy", "sad", "neutral"), canvas.CLASS_COLOURS.values(), strict=False)
    )
    assert looks == {"angry": BLUE, "happy": ORANGE, "sad": GREEN, "neutral": VERMILION}


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=list(CORPORA))
def test_no_two_classes_look_alike_in_colour_or_in_marker(corpus):
    colours, markers = zip(*class_looks(corpus.classes), strict=True)
    assert len(set(colours)) == len(set(markers)) == len(corpus.classes)


def test_classes_of_a_manifest_get_the_colours_that_are_free():
    colours = [colour for colour, _ in class_looks(("bored", "angry", "tense"))]
    assert colours == [ORANGE, BLUE, GREEN]


def test_a_figure_is_a_column_wide_and_transparent_letters_follow_the_style():
    with drawing(1.0) as figure:
        axes = figure.add_subplot()
        axes.set_xlabel("$x_")  # no formula: a row may be called so
    assert figure.get_figwidth() * 25.4 == pytest.approx(85)
    assert axes.xaxis.get_ticklabels()[0].get_color() == canvas.INK
    assert axes.xaxis.get_ticklabels()[0].get_fontsize() == canvas.SMALL >= 7


def test_long_names_are_cut_and_say_so():
    assert shortened("wavlm", 5) == "wavlm"
    assert shortened("wavlm-large", 5) == "wavl…"


def test_a_row_called_in_another_script_is_drawn_without_a_warning(tmp_path):
    with drawing(1.0) as figure:
        figure.add_subplot().set_title("基线 \U0001f600")
    canvas.save(figure, tmp_path / "row.png")
    canvas.save(figure, tmp_path / "row.svg")
    assert len(list(tmp_path.iterdir())) == 2
