"""How settings are worded, and which columns a narrow terminal keeps."""

import pytest

from ablation.columns import Column, clock, encoder_name, fitting, pad, row_room, setting_columns
from core.config import RunConfig


def test_a_row_s_settings_are_worded_as_the_paper_has_them():
    configs = [
        RunConfig.from_dict({}),
        RunConfig.from_dict(
            {
                "encoder.name": "hubert-large",
                "mixup.method": "none",
                "pooling.method": "first",
                "losses.terms": ["kl", "center"],
            }
        ),
    ]
    assert {column.header: column.cells for column in setting_columns(configs)} == {
        "encoder": ("wavlm-large", "hubert-large"),
        "mixup": ("EAM", "–"),
        "aggregation": ("FLAM", "first frame"),
        "KL": ("✓", "✓"),
        "Center": ("✓", "✓"),
        "Focal": ("✓", ""),
        "SupCon": ("✓", ""),
    }


def test_a_baseline_says_what_it_is_and_has_no_losses():
    configs = [
        RunConfig.from_dict({"classifier.method": "egemaps-svm"}),
        RunConfig.from_dict({"classifier.method": "linear-probe", "encoder.name": "wavlm-base"}),
    ]
    found = {column.header: column.cells for column in setting_columns(configs)}
    assert found["encoder"] == ("eGeMAPS", "wavlm-base")
    assert found["mixup"] == ("–", "–")
    assert found["aggregation"] == ("functionals, SVM", "mean, linear probe")
    assert found["KL"] == ("", "")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("wavlm-large", "wavlm-large"),
        ("microsoft/wavlm-large", "microsoft/wavlm-large"),
        ("/models/own", "own"),
        ("../models/own/", "own"),
        ("~/own", "own"),
    ],
)
def test_a_folder_is_named_by_its_last_part(name, shown):
    assert encoder_name(name) == shown


def test_a_column_is_as_wide_as_its_widest_line():
    assert Column("two\nlines", ("1", "22")).width == 5
    assert Column("n", ("日本",)).width == 4  # two cells each on a terminal


def test_a_narrow_terminal_loses_columns_by_rank():
    columns = [
        Column("row", ("r" * 30,), "left"),  # may break to 20
        Column("late", ("xxxx",), rank=2),
        Column("soon", ("xxxx",), rank=1),
        Column("first", ("xxxxx",), rank=-1),
        Column("stays", ("xxxxx",)),
    ]
    headers = {
        width: [column.header for column in fitting(columns, width)]
        for width in (46, 45, 39, 38, 33, 32, 5)
    }
    # 20 + 5 stays + 4 + 4 + 5, and two blanks before each but the first
    assert headers == {
        46: ["row", "late", "soon", "first", "stays"],
        45: ["row", "late", "soon", "stays"],
        39: ["row", "late", "soon", "stays"],
        38: ["row", "late", "stays"],
        33: ["row", "late", "stays"],
        32: ["row", "stays"],
        5: ["row", "stays"],
    }


def test_the_names_of_rows_have_the_room_that_is_left():
    columns = [Column("row", ("x",)), Column("a", ("xxxx",)), Column("b", ("xxx",))]
    assert row_room(columns, 40) == 40 - (4 + 2) - (3 + 2)
    assert row_room(columns, 5) == 1


@pytest.mark.parametrize(
    ("align", "padded"), [("left", "日x   "), ("center", " 日x  "), ("right", "   日x")]
)
def test_padding_counts_cells_of_the_terminal(align, padded):
    assert pad("日x", 6, align) == padded


def test_padding_never_cuts():
    assert pad("long", 2, "right") == "long"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (372, "6m12s"),
        (3599.4, "59m59s"),
        (3599.6, "1h00m"),
        (11_100, "3h05m"),
        (400_000, "111h06m"),
    ],
)
def test_a_time_is_said_briefly(seconds, text):
    assert clock(seconds) == text
