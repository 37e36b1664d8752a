"""What the tests of grids and plans start from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ablation.grid import Grid, Overrides
from ablation.grid_file import load_grid
from ablation.published import Published, load
from tests.ablation import stand_ins

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


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def study(uri, request):
    """A study of its own for each test, in one database: creating one takes seconds."""
    grid = stand_ins.grid_of()
    object.__setattr__(grid, "name", request.node.name[:60])
    return grid
