"""What stands between this machine and a run, as a whole: each look holds, and reads well."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ablation.doctor.findings import Finding, examined, ok, problem, size, warning
from ablation.doctor.view import lines, show, show_json

ROOT = Path(__file__).resolve().parents[3]
LOOKS = [
    ("python", lambda: ok("python", "3.11.7")),
    (
        "torch",
        lambda: problem(
            "torch",
            "torchaudio 2.11.0 does not load beside torch 2.13.0, and 12.3 GB are free",
            "pip install 'torch>=2.11,<2.13' 'torchaudio==2.11.0'",
        ),
    ),
    ("corpus", lambda: [warning("corpus", "savee is absent", "--data DIR")] * 2),
]


def found(look) -> Finding:
    """What one look finds."""
    (finding,) = examined("it", look)
    return finding


def test_a_look_that_breaks_is_a_finding():
    def broken() -> Finding:
        raise RuntimeError("the disk\n  speaks in tongues")

    finding = found(broken)
    assert finding.state == "warning"
    assert finding.text == ("could not be looked at: RuntimeError: the disk speaks in tongues")


def test_a_look_that_lacks_a_package_says_how_to_install_it():
    def lacking() -> Finding:
        raise ModuleNotFoundError("No module named 'yaml'")

    assert found(lacking) == warning(
        "it",
        "could not be looked at: No module named 'yaml'",
        "pip install -e . in the folder of runner.py, then look again",
    )


def test_no_look_prints_the_secrets_of_an_address():
    finding = found(lambda: problem("it", "http://anna:s3cret@host is down", "ssh://b:pw@host"))
    assert finding == problem("it", "http://***@host is down", "ssh://***@host")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 MB"), (64e6, "64 MB"), (14.26e9, "14.3 GB"), (312e9, "312 GB")]
)
def test_sizes_are_decimal(count, text):
    assert size(count) == text


def test_a_report_reads_well_at_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    findings = show(LOOKS, "this machine")
    assert [finding.name for finding in findings] == ["python", "torch", "corpus", "corpus"]
    assert (
        capsys.readouterr().out
        == """\
Looking at this machine

✓ python         3.11.7
✗ torch          torchaudio 2.11.0 does not load beside
                 torch 2.13.0, and 12.3 GB are free
                 → pip install 'torch>=2.11,<2.13'
                   'torchaudio==2.11.0'
! corpus         savee is absent
                 → --data DIR
! corpus         savee is absent
                 → --data DIR

1 problem stands in the way; 2 warnings.
"""
    )


def test_no_line_ends_inside_of_a_size():
    finding = ok("disk", "12345678901234 12.3 GB")
    shown = [text for line in lines(finding, 37) for text, _ in line]
    assert shown[-2:] == ["12345678901234", " " * 17 + "12.3 GB"]


def test_control_characters_steer_no_terminal():
    shown = "".join(text for line in lines(ok("runs", "a\x1b[31mb"), 80) for text, _ in line)
    assert shown.endswith("a\\x1b[31mb")


@pytest.mark.parametrize(
    ("looks", "verdict"),
    [
        (LOOKS[:1], "Nothing stands in the way."),
        (LOOKS[2:], "No problem, 2 warnings."),
        (LOOKS[1:2], "1 problem stands in the way."),
        (LOOKS[1:2] * 2, "2 problems stand in the way."),
    ],
)
def test_the_last_line_is_the_verdict(capsys, looks, verdict):
    show(looks, "this machine")
    assert capsys.readouterr().out.splitlines()[-1] == verdict


def test_programs_read_json(capsys):
    show_json(LOOKS[:1] + LOOKS[2:], "this machine")
    absent = {
        "name": "corpus",
        "state": "warning",
        "text": "savee is absent",
        "remedy": "--data DIR",
    }
    assert json.loads(capsys.readouterr().out) == {
        "of": "this machine",
        "problems": 0,
        "warnings": 2,
        "findings": [
            {"name": "python", "state": "ok", "text": "3.11.7", "remedy": ""},
            absent,
            absent,
        ],
    }


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    kept |= {"COLUMNS": "80", "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


MAIN = "import sys, runner; sys.exit(runner.main({words!r}))"
# A machine on which nothing was installed yet; torch does not load there.
BARE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "packaging", "rich", "torch", "yaml"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
import ablation.doctor.verb
from ablation.doctor.torch_probe import TorchFacts
ablation.doctor.verb.probe_torch = lambda root: TorchFacts(torch_fault="No module named 'torch'")
"""


def test_a_demo_is_looked_at_whole_and_nothing_is_left_behind(tmp_path):
    places = ["--runs", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports")]
    words = ["doctor", "grids/table3.yaml", "--demo", *places]
    ended = run(MAIN.format(words=words))
    assert (ended.returncode, ended.stderr) == (0, "")
    names = [line[2:16].strip() for line in ended.stdout.splitlines() if line[:2] in ("✓ ", "! ")]
    assert names == [
        *("python", "packages", "torch", "gpu", "memory", "shared memory", "scratch", "runs"),
        *("reports", "disk", "tracking", "trials", "encoder", "corpus"),
    ]
    narrow = (line for line in ended.stdout.splitlines() if str(tmp_path) not in line)
    assert max(map(len, narrow)) <= 80
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_packages_is_told_how_to_install_them(tmp_path):
    words = ["doctor", "grids/table3.yaml", "--demo", "--runs", str(tmp_path / "runs")]
    ended = run(BARE + MAIN.format(words=words), PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert (
        "x grid           grids/table3.yaml can't be read: No module named 'yaml'" in ended.stdout
    )
    assert "> pip install -e . in the folder of runner.py, then look again" in ended.stdout
    assert "+ runs           " in ended.stdout
