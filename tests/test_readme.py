"""The README: its commands parse, its map is the tree, and its worked example works."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ablation.arguments import OWN_VERBS, parse

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STAND_INS = {
    "GRID": "grids/table3.yaml",
    "DIR": "data",
    "SHARED": "shared",
    "URI": "sqlite:///x.db",
    "ROW": "hubert-lam",
    "K": "1",
    "CORPUS": "ravdess",
}
DIFF = re.search(r"```diff\n(.*?)```", README, re.DOTALL)[1]


def commands() -> list[str]:
    """Every use of runner.py, in blocks of code and in sentences."""
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    found = re.findall(r"python runner\.py ([^\n#|&]+)", blocks)
    found += re.findall(r"`python runner\.py ([^`]+)`", README)
    return sorted({" ".join(words.split()) for words in found})


def words_of(command: str) -> list[str]:
    return [STAND_INS.get(word, word) for word in shlex.split(command)]


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[0] not in OWN_VERBS])
def test_what_the_readme_types_is_understood(command):
    parse(words_of(command))


@pytest.mark.parametrize("verb", sorted({c.split()[0] for c in commands()} & set(OWN_VERBS)))
def test_the_readme_s_options_of_a_verb_are_among_its_own(verb):
    asked = [sys.executable, "runner.py", verb, "--help"]
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for command in (c for c in commands() if c.split()[0] == verb):
        for option in re.findall(r"--[a-z-]+", command):
            assert option in told, command


def test_grids_and_links_of_the_readme_are_there():
    named = re.findall(r"\b(?:grids|tests)/[\w/]+\.(?:yaml|py)", README)
    named += re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_tree_of_the_readme_names_every_module_and_no_other():
    tree = re.search(r"## The tree\n\n```\n(.*?)```", README, re.DOTALL)[1]
    for folder in ("core", "ablation"):
        section = re.search(rf"^{folder}/.*?(?=^\S)", tree, re.DOTALL | re.MULTILINE)[0]
        named = set(re.findall(r"[a-z_]+\.py", section)) - {"runner.py"}
        there = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
        assert named == there


def test_the_first_commands_install_what_the_project_offers():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(re.findall(r"'?\.\[(\w+)\]", README)) <= set(extras)
    assert "pip install -e . &&" in README


def test_the_worked_loss_takes_under_25_lines_and_trains(tmp_path):
    changed = [line for line in DIFF.splitlines() if re.match(r"[+-](?![+-])", line)]
    assert 5 < len(changed) < 25
    for name in ("core", "ablation", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    patch = tmp_path / "loss.diff"
    patch.write_text(DIFF, encoding="utf-8")
    subprocess.run(["git", "apply", patch.name], cwd=tmp_path, check=True)
    script = (
        "import torch\n"
        "from tests.core.small_folds import run\n"
        "from tests.core.small_speech import small_config, tones\n"
        "from core.losses import generalised_cross_entropy\n"
        "logits, labels = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])\n"
        "print(float(generalised_cross_entropy(logits, labels, 1.0)))\n"
        "config = small_config(losses={'terms': ['kl', 'gce']}, training={'epochs': 1})\n"
        "print(*run(config, *tones()).history[0].losses)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines() == ["0.5", "total kl gce"]  # (1 - 1/2) / 1
