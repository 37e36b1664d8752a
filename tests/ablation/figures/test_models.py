"""Embeddings, attention and mixing: what is drawn where."""

from math import nan

import numpy as np
import pytest

from ablation.figures.attention import Attended, attention_figure
from ablation.figures.canvas import BLUE, VERMILION
from ablation.figures.embeddings import embeddings_figure, project
from ablation.figures.mixing import Mixed, mixing_figure


def test_tsne_repeats_itself_and_keeps_two_far_clouds_apart():
    draws = np.random.default_rng(0).normal(size=(24, 5))
    draws[12:] += 50
    places = project(draws)
    assert np.array_equal(places, project(draws))
    near = np.linalg.norm(places[:12] - places[:12].mean(0), axis=1).max()
    assert np.linalg.norm(places[:12].mean(0) - places[12:].mean(0)) > 2 * near


@pytest.mark.parametrize("embeddings", [np.zeros((3, 2)), np.full((9, 2), nan), np.zeros(9)])
def test_what_tsne_can_t_lay_out_is_refused(embeddings):
    with pytest.raises(ValueError, match=r"t-SNE needs 4 finite embeddings \(n, d\) at least, got"):
        project(embeddings)


def test_each_class_is_drawn_in_its_colour_where_it_lies():
    places = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    figure = embeddings_figure({"(a)": (places, [0, 1, 0])}, ("angry", "neutral"), "t")
    angry, neutral = figure.axes[0].collections[:2]
    assert angry.get_offsets().tolist() == [[0, 1], [4, 5]]
    assert neutral.get_offsets().tolist() == [[2, 3]]
    from matplotlib.colors import to_hex

    colours = [to_hex(drawn.get_facecolor()[0]) for drawn in (angry, neutral)]
    assert colours == [BLUE, VERMILION]


def test_a_class_number_without_a_place_is_refused():
    with pytest.raises(ValueError, match=r"\(a\): every class number needs its place"):
        embeddings_figure({"(a)": (np.zeros((2, 2)), [0])}, ("angry",), "")


def test_even_attention_is_one_all_along_the_waveform():
    wave = np.sin(np.arange(8000, dtype=np.float32))
    figure = attention_figure([Attended("u", wave, np.full(20, 1 / 20))], 16_000, "t")
    below, over = figure.axes
    values, edges, _ = over.patches[0].get_data()
    assert values == pytest.approx(np.ones(20))
    assert (edges[0], edges[-1]) == (0.0, 0.5)
    assert below.get_xlim() == (0.0, 0.5)


def test_attention_over_nothing_is_refused():
    with pytest.raises(ValueError, match="with samples and frames, got none"):
        attention_figure([Attended("u", np.zeros(0, np.float32), np.ones(1))], 16_000, "")


def mixed(**changes) -> Mixed:
    parts = {
        "host": np.ones(1600, np.float32),
        "partner": np.ones(800, np.float32),
        "mixture": np.ones(1600, np.float32),
        "classes": ("angry", "sad"),
        "host_span": (160, 480),
        "partner_span": (0, 320),
        "mix_ratio": 0.25,
        "snr_db": -3.0,
    }
    return Mixed(**{**parts, **changes})


def test_a_mixture_is_titled_by_lambda_snr_and_label_and_its_span_is_marked():
    host, partner, mixture = mixing_figure([mixed()], 16_000, "EAM").axes
    assert host.get_title(loc="left") == "host: angry"
    assert mixture.get_title(loc="left") == (
        "mixture: λ = 0.25, SNR −3.0 dB; label 0.75 angry + 0.25 sad"
    )
    edges = [[line.get_xdata()[0] for line in axes.lines] for axes in (host, partner, mixture)]
    assert edges == [[0.01, 0.03], [0.0, 0.02], [0.01, 0.03]]


def test_length_mixing_has_no_snr_and_equal_classes_keep_their_label():
    axes = mixing_figure([mixed(snr_db=nan, classes=("sad", "sad"))], 16_000, "LAM").axes
    assert axes[2].get_title(loc="left") == "mixture: λ = 0.25; label sad"


def test_a_picture_of_no_mixture_is_refused():
    with pytest.raises(ValueError, match="needs a mixture at least, got none"):
        mixing_figure([], 16_000, "")
