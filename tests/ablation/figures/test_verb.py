"""The verb `figures`, as a user calls it: one fold of a demo trained here, its pictures written."""

from collections.abc import Callable
from pathlib import Path

import pytest

import runner

GRID = """
name: tiny
title: A tiny study
corpora: [savee]
base: {training.epochs: 1, encoder.name: logmel-small}
rows:
  - {name: plain, mixup.method: none, pooling.method: mean, losses.terms: [kl]}
  - {name: full}
"""
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    (folder / "tiny.yaml").write_text(GRID)
    return folder


@pytest.fixture
def call(folder, capsys) -> Call:
    def called(*options: str) -> tuple[int, str, str]:
        places = ["--runs", str(folder / "runs"), "--reports", str(folder / "reports")]
        words = ["figures", str(folder / "tiny.yaml"), "--demo", *places]
        status = runner.main([*words, "--set", "training.epochs=1", *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return called


@pytest.fixture(autouse=True)
def quick_projection(monkeypatch):
    """t-SNE's own work is tested elsewhere."""
    monkeypatch.setattr("ablation.figures.verb.project", lambda embeddings: embeddings[:, :2])


def pictures(folder: Path) -> set[str]:
    return {path.name for path in (folder / "reports" / "tiny-demo" / "figures").glob("*")}


def test_the_last_row_s_embeddings_attention_and_mixing_are_drawn(call, folder):
    status, out, err = call("--fold", "2")
    assert (status, err) == (0, "")
    assert "full, fold 2: WA 0." in out
    kinds = ("embeddings", "attention", "mixing")
    expected = {f"model-02-fold2-{kind}{suffix}" for kind in kinds for suffix in (".png", ".svg")}
    assert expected <= pictures(folder)
    assert out.count("written: ") == len(expected)


def test_what_a_row_does_not_have_is_said_and_left_out(call, folder):
    status, out, _ = call("--row", "plain")
    assert status == 0
    assert "no attention: 'plain' pools by mean, not flam" in out
    assert "no mixing examples: 'plain' mixes nothing" in out
    mine = {name for name in pictures(folder) if name.startswith("model-01-fold1")}
    assert mine == {"model-01-fold1-embeddings.png", "model-01-fold1-embeddings.svg"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--row", "ful"), "--row: must be a row of the grid, got 'ful'; did you mean 'full'?"),
        (("--fold", "9"), "--fold: must lie in 1..4, got 9"),
        (("--utterance", "DC_x"), "--utterance must be an utterance of the corpus, got 'DC_x'"),
    ],
)
def test_a_choice_that_is_not_there_is_refused(call, options, message):
    status, _, err = call(*options)
    assert status == 2
    assert message in " ".join(err.split())
