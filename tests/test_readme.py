"""The README: its commands run or are run elsewhere, its map is the tree, its examples work."""

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

import runner
from ablation import check, completion, export, fetch, power, predict
from ablation.arguments import OWN_VERBS, parse
from ablation.stress import verb as stress

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
    "N": "2",
    "NAME": "one",
    "NAME|FILE": "savee",
    "NAME|PATH": "wavlm-base",
    "KEY=VALUE": "training.epochs=3",
}
PARSERS = {
    "check": check.parser,
    "fetch": fetch.parser,
    "predict": predict.parser,
    "export": export.parser,
    "completion": completion.parser,
    "power": power.parser,
    "stress": stress.parser,
}
# Where a command of the README is run, on other data or a smaller grid.
RUN_IN = {
    "check CORPUS --data DIR": (
        "ablation/test_check.py::test_the_command_prints_json_alone_and_tells_by_its_status"
    ),
    "check my.csv": "test_readme.py::test_the_manifest_of_the_readme_checks_clean",
    "doctor GRID": (
        "ablation/doctor/test_verb.py::test_a_demo_is_looked_at_whole_and_nothing_is_left_behind"
    ),
    "doctor grids/table3.yaml": (
        "ablation/doctor/test_verb.py::test_a_demo_is_looked_at_whole_and_nothing_is_left_behind"
    ),
    "doctor grids/table3.yaml --data DIR": (
        "test_runner.py::test_the_doctor_ends_with_0_where_nothing_stands_in_the_way"
    ),
    "export 69645e my_model": (
        "ablation/test_predict.py::test_an_exported_folder_predicts_alike_and_carries_its_card"
    ),
    "fetch ravdess --data DIR": "ablation/test_fetch.py::test_the_command_tells_by_its_status",
    "figures GRID --row ROW --fold K": (
        "ablation/figures/test_verb.py"
        "::test_the_last_row_s_embeddings_attention_and_mixing_are_drawn"
    ),
    "grids/ravdess_frozen.yaml --data DIR --keep-models best": (
        "test_end_to_end.py::test_each_row_s_best_fold_keeps_its_weights"
    ),
    "grids/ravdess_whisper.yaml --data DIR --keep-models all": (
        "test_end_to_end.py::test_each_row_s_best_fold_keeps_its_weights"
    ),
    "grids/table3.yaml --data DIR --runs SHARED --address auto --tracking-uri URI": (
        "test_cluster_end_to_end.py::test_the_trials_of_a_lost_node_move_to_the_other_and_finish"
    ),
    "grids/table3.yaml --demo": (
        "test_end_to_end.py::test_every_fold_of_every_row_is_in_the_results"
    ),
    **dict.fromkeys(
        (
            f"grids/{name}.yaml --data DIR"
            for name in ("ravdess_frozen", "ravdess_whisper", "table1", "table2", "table3")
        ),
        "test_corpora_end_to_end.py::test_a_grid_of_the_paper_runs_on_a_manifest",
    ),
    "power GRID --seeds N": (
        "test_end_to_end.py::test_the_seeds_of_a_study_are_asked_whether_they_are_enough"
    ),
    "predict 69645e clip.wav folder/ long.flac": (
        "ablation/test_predict.py::test_a_folder_of_test_files_gets_what_the_fold_archived"
    ),
    "predict my_model - --jsonl": ("ablation/test_predict.py::test_stdin_is_heard_as_the_file_is"),
    "report GRID": "test_end_to_end.py::test_a_report_needs_mlflow_alone",
    "stress grids/ravdess_whisper.yaml --data DIR": (
        "ablation/stress/test_verb.py::test_clean_figures_are_the_archive_s_and_noise_has_its_own"
    ),
    "ui": (
        "ablation/test_browse.py::test_the_ui_is_served_on_loopback_and_tells_no_process_list_its_database"
    ),
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


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[0] in OWN_VERBS])
def test_what_the_readme_types_after_a_verb_of_its_own_is_understood(command):
    verb, *rest = words_of(command)
    PARSERS[verb]().parse_args(rest)


def options_of_the_table() -> list[str]:
    """What the first column of the README's table of options holds, one use each."""
    cells = re.findall(r"^\| (`--.*?`) \|", README.replace("\\|", "|"), re.MULTILINE)
    uses = [use for cell in cells for use in re.findall(r"`([^`]+)`", cell)]
    return [use if use.startswith("--") else f"{uses[0]} {use}" for use in uses if use[0] == "-"]


@pytest.mark.parametrize("use", options_of_the_table())
def test_every_option_of_the_readme_s_table_is_understood(use):
    words = [STAND_INS.get(word, word) for word in use.replace("…", "").split()]
    verb, _ = parse([STAND_INS["GRID"], *words])
    assert verb == "run"


def test_the_table_of_options_was_read_whole():
    assert len(options_of_the_table()) > 20


def test_every_command_of_the_readme_is_run_by_a_test():
    assert set(commands()) == set(RUN_IN)
    for place in RUN_IN.values():
        file, _, name = place.partition("::")
        text = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert f"\ndef {name}(" in text, place


def test_every_grid_of_the_readme_can_be_planned(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    grids = sorted(set(re.findall(r"grids/\w+\.yaml", README)))
    assert len(grids) == 11
    for grid in grids:
        assert runner.main([grid, "--plan", "--json", "--runs", str(tmp_path / "runs")]) == 0
        assert json.loads(capsys.readouterr().out)["to_run"] > 0


def test_the_grid_of_the_readme_is_what_it_says(capsys, tmp_path):
    grid = tmp_path / "my_study.yaml"
    grid.write_text(re.search(r"## A grid\n\n```yaml\n(.*?)```", README, re.DOTALL)[1])
    assert runner.main([str(grid), "--plan", "--json", "--runs", str(tmp_path / "runs")]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = [(row["row"], row["corpus"], row["seeds"]) for row in document["rows"]]
    assert rows == [("without", "ravdess", [0, 1, 2]), ("with", "ravdess", [0, 1, 2])]
    assert document["total"] == 2 * 6 * 3  # rows, EmoBox's folds of RAVDESS, seeds


def test_the_manifest_of_the_readme_checks_clean(capsys, monkeypatch, tmp_path):
    text = re.search(r"```csv\n(.*?)```", README, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    Path("my.csv").write_text(text)
    for row in csv.DictReader(text.splitlines()):
        path = Path(row["path"])
        path.parent.mkdir(exist_ok=True)
        seconds = float(row["end_s"] or 2) + 1
        noise = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16_000))
        soundfile.write(path, noise, 16_000)
    assert runner.main(["check", "my.csv"]) == 0
    assert "clean: every file can be read" in capsys.readouterr().out


def test_grids_and_links_of_the_readme_are_there():
    named = re.findall(r"\b(?:grids|tests)/[\w/]+\.(?:yaml|py)", README)
    named += re.findall(r"\]\(([^)#:]+)\)", README)
    named += re.findall(r"python ([\w/]+\.py)", README)
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(("room", "most"), [("core", 1_650), ("ablation", 1_350)])
def test_what_a_newcomer_is_told_to_read_stays_an_hours_worth(room, most):
    path = re.search(r"## Where to start reading\n(.*?)\n## ", README, re.DOTALL)[1]
    parts = path.split("in `ablation/`")
    named = re.findall(r"`(\w+\.py)`", parts[0] if room == "core" else parts[1])
    lines = [(ROOT / room / name).read_text(encoding="utf-8").count("\n") for name in named]
    assert len(lines) >= 5
    assert most - 200 < sum(lines) < most


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
