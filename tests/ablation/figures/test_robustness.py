"""The curves over perturbations: a line a row, refused where a level has no rate."""

import pytest

from ablation.figures.robustness import Panel, robustness_figure

NOISE = Panel("SNR", ("clean", "20", "0"), {"plain": [0.8, 0.7, 0.3], "full": [0.7, 0.7, 0.6]})
CODEC = Panel("codec", ("clean", "mp3"), {"plain": [0.8, 0.7], "full": [0.7, 0.6]}, are_steps=False)


def test_each_row_is_a_line_through_its_percentages():
    figure = robustness_figure([NOISE, CODEC], "UA", "")
    noise, codec = figure.axes
    assert [list(line.get_ydata()) for line in noise.lines] == [
        pytest.approx([80, 70, 30]),
        pytest.approx([70, 70, 60]),
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "full"]
    assert {line.get_linestyle() for line in codec.lines} == {"None"}  # a codec is no step
    looks = {(line.get_color(), line.get_marker()) for line in noise.lines}
    assert len(looks) == 2


def test_a_level_without_a_rate_is_refused():
    short = Panel("SNR", ("clean", "20"), {"plain": [0.8]})
    with pytest.raises(ValueError, match="over panels with a rate for each level, got others"):
        robustness_figure([short], "UA", "")
