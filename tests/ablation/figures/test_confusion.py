"""Confusion pictures: what stands in the cells, and that it can be read."""

import subprocess
import sys

import numpy as np
import pytest

from ablation.figures.canvas import COLUMN_INCHES, SMALL, save
from ablation.figures.confusion import ConfusionPicture, confusion_figure

CLASSES = ("angry", "happy", "sad")
COUNTS = ((9, 1, 0), (30, 60, 30), (0, 0, 0))


def texts_of(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_cells_hold_the_share_of_their_row_and_the_count_or_nothing():
    assert texts_of(confusion_figure(COUNTS, CLASSES, "")) == [
        "90 %\n9",
        "10 %\n1",
        "25 %\n30",
        "50 %\n60",
        "25 %\n30",
        "–\n0",
        "–\n0",
        "–\n0",
    ]


def test_colours_are_shares_of_the_true_class_between_0_and_1():
    cells = confusion_figure(np.array(COUNTS), CLASSES, "").axes[0].collections[0]
    expected = [[0.9, 0.1, 0.0], [0.25, 0.5, 0.25], [0.0, 0.0, 0.0]]
    assert np.asarray(cells.get_array()).reshape(3, 3) == pytest.approx(np.array(expected))
    assert cells.get_clim() == (0.0, 1.0)


def luminance(rgb) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_contrasts_with_its_cell_at_every_share():
    for share in (1, *range(10, 101, 10), 68, 71, 72, 73, 76):
        axes = confusion_figure([[share, 100 - share], [0, 1]], ("a", "b"), "").axes[0]
        cell = luminance(axes.collections[0].cmap(share / 100))
        text = {"white": 1.0, "black": 0.0}[axes.texts[0].get_color()]
        contrast = (max(cell, text) + 0.05) / (min(cell, text) + 0.05)
        assert contrast >= 4.5, share  # WCAG's bound for small text


def test_the_scale_grows_darker_all_the_way_so_hue_is_not_needed():
    colours = (
        confusion_figure(COUNTS, CLASSES, "").axes[0].collections[0].cmap(np.linspace(0, 1, 50))
    )
    assert (np.diff([luminance(colour) for colour in colours]) < 0).all()


def test_axes_name_the_classes_and_which_side_is_true():
    axes = confusion_figure(COUNTS, CLASSES, "savee, $fold_").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(CLASSES)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CLASSES)
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "predicted")
    assert axes.get_title() == "savee, $fold_"


def test_eight_classes_fit_their_cells_at_column_width():
    classes = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    figure = confusion_figure(np.full((8, 8), 1920), classes, "ravdess, fold 3")
    assert figure.get_figwidth() == COLUMN_INCHES
    figure.draw_without_rendering()
    axes = figure.axes[0]
    cell = axes.get_window_extent().width / 8
    for text in axes.texts:
        box = text.get_window_extent()
        assert text.get_fontsize() >= SMALL
        assert box.width < cell
        assert box.height < cell
    boxes = [label.get_tightbbox() for label in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert all(box.x0 >= 0 and box.y0 >= 0 for box in boxes)


def test_a_picture_of_one_matrix_after_another_is_as_each_of_its_own(tmp_path):
    wide = ((0, 5, 0), (1, 0, 0), (0, 0, 0))
    picture = ConfusionPicture(CLASSES, "savee, fold 1")
    for number, counts in enumerate((COUNTS, wide, COUNTS)):
        title = f"savee, fold {number}"
        reused, own = tmp_path / f"{number}.png", tmp_path / f"own-{number}.png"
        save(picture.show(counts, title), reused)
        save(confusion_figure(counts, CLASSES, title), own)
        assert reused.read_bytes() == own.read_bytes()


@pytest.mark.parametrize("counts", [((1, 2), (3, 4)), ((1, 2, 3),), (), (1, 2, 3)])
def test_a_matrix_that_is_not_square_over_the_classes_is_refused(counts):
    with pytest.raises(ValueError, match=r"confusion must be square over 3 classes, got shape"):
        confusion_figure(counts, CLASSES, "")


@pytest.mark.parametrize(("name", "head"), [("c.png", b"\x89PNG"), ("c.svg", b"<?xml")])
def test_equal_figures_give_equal_files(tmp_path, name, head):
    contents = []
    for folder in ("one", "two"):
        path = tmp_path / folder / name
        path.parent.mkdir()
        save(confusion_figure(COUNTS, CLASSES, "t"), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(head)


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png or \.svg, got 'c\.jpg'"):
        save(confusion_figure(COUNTS, CLASSES, ""), tmp_path / "c.jpg")


def test_beyond_four_classes_the_axis_says_what_the_two_figures_are():
    axes = confusion_figure(np.eye(5, dtype=int), "abcde", "").axes[0]
    assert axes.texts[0].get_text() == "100\n1"
    assert axes.get_xlabel() == "predicted (% of the true class, count)"


def test_importing_the_tables_and_pictures_loads_no_heavy_package():
    code = (
        "import sys, ablation.aggregate, ablation.figures.confusion, ablation.page.write; "
        "print({'matplotlib', 'mlflow', 'ray', 'torch'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_drawing_touches_no_global_state_of_pyplot():
    confusion_figure(COUNTS, CLASSES, "")
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
