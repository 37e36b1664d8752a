"""The arrow runner -> ablation -> core, and where Ray, MLflow and torch may live."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "core").rglob("*.py"))
ABLATION = sorted((ROOT / "ablation").rglob("*.py"))
MAX_LINES = 300


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} line {node.lineno}: a relative import"
            yield node.module or ""


def imported_roots(path: Path) -> set[str]:
    return {module.partition(".")[0] for module in imported(path)}


def test_there_are_files_to_look_at():
    assert len(CORE) > 20
    assert len(ABLATION) > 15


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_core_knows_nothing_of_orchestration(path):
    assert not {"ablation", "runner", "ray", "mlflow"} & imported_roots(path)


@pytest.mark.parametrize("path", ABLATION, ids=name_of)
def test_ablation_knows_nothing_of_the_command_line_s_file(path):
    assert "runner" not in imported_roots(path)


@pytest.mark.parametrize("path", ABLATION, ids=name_of)
@pytest.mark.parametrize(
    ("module", "homes"),
    [
        (
            "ray",
            [
                "ablation/cluster.py",
                "ablation/search/tuning.py",
                "ablation/trainable.py",
                "ablation/trials.py",
                "ablation/turns.py",
            ],
        ),
        (
            "mlflow",
            [
                "ablation/tracking.py",
                "ablation/experiments.py",
                "ablation/lineage.py",
                "ablation/audio_model.py",
            ],
        ),
    ],
)
def test_ray_and_mlflow_live_where_they_are_looked_for(path, module, homes):
    assert (module in imported_roots(path)) == (name_of(path) in homes)


def test_the_runner_leaves_torch_ray_and_mlflow_to_others():
    assert not {"torch", "ray", "mlflow"} & imported_roots(ROOT / "runner.py")


@pytest.mark.parametrize(
    "module",
    [
        "core.config",
        "core.corpora.catalog",
        "ablation.arguments",
        "ablation.grid",
        "ablation.grid_file",
        "ablation.published",
        "ablation.plan",
        "ablation.planned",
        "runner",
    ],
)
def test_a_plan_s_modules_need_nothing_heavy(module):
    heavy = [
        "torch",
        "ray",
        "mlflow",
        "transformers",
        "sklearn",
        "soundfile",
        "numpy",
        "matplotlib",
    ]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [ROOT / "runner.py", *ABLATION, *CORE], ids=name_of)
def test_a_module_is_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize(
    "path", [path for path in (*ABLATION, *CORE) if path.name == "__init__.py"], ids=name_of
)
def test_a_package_s_init_defines_nothing(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
