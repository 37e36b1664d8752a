"""What the tests of grids and plans start from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ablation.grid import Grid, Overrides
from ablation.grid_file import load_grid
from ablation.published import Published, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def figures() -> Published:
    """The paper's."""
    return load(ROOT / "reports" / "published.yaml")


@pytest.fixture
def grid_of(tmp_path: Path, figures: Published) -> Callable[..., Grid]:
    """Read a grid file of the given text."""

    def made(text: str, **overrides: object) -> Grid:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        return load_grid(path, Overrides(**overrides), figures)  # type: ignore[arg-type]

    return made
