"""The catalog against the paper, and that reading it is cheap."""

import subprocess
import sys
from pathlib import Path

import pytest

from core.corpora.catalog import CORPORA


def test_the_corpora_are_the_papers_and_each_knows_its_name():
    assert list(CORPORA) == ["iemocap", "msp_improv", "ravdess", "savee"]
    assert all(corpus.name == name for name, corpus in CORPORA.items())


@pytest.mark.parametrize(
    ("name", "total", "folds"),
    [("iemocap", 5531, 5), ("msp_improv", 7798, 6), ("ravdess", 1440, 6), ("savee", 480, 4)],
)
def test_totals_and_folds_are_the_papers(name, total, folds):
    corpus = CORPORA[name]
    assert sum(corpus.expected.classes.values()) == total
    assert len(corpus.schemes[corpus.default_scheme].groups) == folds
    assert set(corpus.classes) == set(corpus.expected.classes)
    assert len(corpus.classes) == len(set(corpus.classes))


@pytest.mark.parametrize("name", ["iemocap", "ravdess", "savee"])
def test_speakers_add_up_to_the_classes(name):
    expected = CORPORA[name].expected
    assert sum(n or 0 for n in expected.speakers.values()) == sum(expected.classes.values())


def test_the_order_of_the_classes_is_fixed():
    four = ("angry", "happy", "sad", "neutral")
    assert (CORPORA["iemocap"].classes, CORPORA["msp_improv"].classes) == (four, four)
    assert CORPORA["ravdess"].classes == (
        *("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
    )
    assert CORPORA["savee"].classes == (
        *("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised"),
    )


def test_ravdess_has_its_three_published_assignments():
    schemes = CORPORA["ravdess"].schemes
    assert CORPORA["ravdess"].default_scheme == "consecutive"
    assert {name: scheme.groups[0] for name, scheme in schemes.items()} == {
        "consecutive": ("01", "02", "03", "04"),
        "emobox": ("01", "11", "20", "21"),
        "luna-jimenez": ("02", "05", "14", "15", "16"),
        "halves": tuple(f"{actor:02d}" for actor in range(1, 13)),
    }
    assert [len(scheme.groups) for scheme in schemes.values()] == [6, 6, 5, 2]
    assert schemes["consecutive"].groups[5] == ("21", "22", "23", "24")


def test_reading_the_catalog_loads_no_heavy_library():
    code = (
        "import sys, core.corpora.catalog; "
        "print([m for m in ('torch', 'numpy', 'ray', 'mlflow', 'soundfile') if m in sys.modules])"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
