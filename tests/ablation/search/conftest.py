"""Studies with a search."""

import pytest

from tests.ablation.search.studies import Studies


@pytest.fixture
def studies(tmp_path, monkeypatch, grid_of, figures):
    return Studies(tmp_path, monkeypatch, grid_of, figures)


@pytest.fixture
def whole_studies(tmp_path, monkeypatch, grid_of, figures):
    return Studies(tmp_path, monkeypatch, grid_of, figures, whole=True)
