"""What answers at once imports nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE_3 = str(ROOT / "grids" / "table3.yaml")
HEAVY = ("torch", "ray", "mlflow", "transformers", "sklearn", "numpy", "rich.console")


def run_python(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"RUNS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_plan_imports_neither_torch_nor_ray_nor_mlflow(tmp_path, form):
    code = (
        "import os, sys, runner\n"
        f"status = runner.main([{TABLE_3!r}, '--plan', *{form}, '--runs', os.environ['RUNS']])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], status)"
    )
    ended = run_python(code, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[] 0"


def test_help_imports_no_yaml_either(tmp_path):
    code = (
        "import sys, runner\n"
        "try:\n    runner.main(['--help'])\nexcept SystemExit:\n"
        f"    print([name for name in {(*HEAVY, 'yaml', 'rich')} if name in sys.modules])"
    )
    ended = run_python(code, tmp_path)
    assert ended.stdout.splitlines()[-1] == "[]", ended.stderr
