"""What no module may do, whatever comes in: run code out of data, or hand text to a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "runner.py", *sorted((ROOT / "core").rglob("*.py"))]
FILES += sorted((ROOT / "ablation").rglob("*.py"))
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
READS_CODE = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
TO_A_SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
READ_WITH_CARE = {"torch.load": "weights_only"}
UNSAFE_YAML = {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    """`a.b.c` of such an expression, "" of another."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := dotted(node.value)):
        return f"{owner}.{node.attr}"
    return ""


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def faults(text: str) -> Iterator[str]:
    """What a module does that it may not."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            roots = {name.partition(".")[0] for name in [*names, getattr(node, "module", "") or ""]}
            yield from (f"imports {name}" for name in roots & READS_CODE)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        if called in RUNS_CODE | TO_A_SHELL | UNSAFE_YAML:
            yield f"calls {called}"
        if "shell" in given or "trust_remote_code" in given:
            wanted = [name for name in ("shell", "trust_remote_code") if name in given]
            yield from (f"gives {name}" for name in wanted if is_true(given[name]))
        needed = READ_WITH_CARE.get(called)
        if needed and not (needed in given and is_true(given[needed])):
            yield f"calls {called} without {needed}=True"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_module_runs_what_it_reads(path):
    assert list(faults(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("import pickle", "imports pickle"),
        ("from pickle import loads", "imports pickle"),
        ("import torch\ntorch.load(path)", "calls torch.load without weights_only=True"),
        ("torch.load(path, weights_only=False)", "calls torch.load without weights_only=True"),
        ("yaml.load(text, Loader=x)", "calls yaml.load"),
        ("subprocess.run(words, shell=True)", "gives shell"),
        ("AutoModel.from_pretrained(name, trust_remote_code=True)", "gives trust_remote_code"),
        ("eval(text)", "calls eval"),
        ("os.system('ls')", "calls os.system"),
    ],
)
def test_the_scan_sees_what_it_looks_for(text, fault):
    assert list(faults(text)) == [fault]


@pytest.mark.parametrize(
    "text", ["torch.load(path, weights_only=True)", "model.eval()", "re.compile('x')"]
)
def test_the_scan_lets_the_harmless_pass(text):
    assert list(faults(text)) == []
