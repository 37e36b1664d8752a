"""The command line: exit status, what stands on stdout, and one clear message on stderr."""

import io
import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import runner
from ablation.cluster import Resources
from ablation.doctor.torch_probe import TorchFacts

ROOT = Path(__file__).parents[1]
TABLE_3 = str(ROOT / "grids" / "table3.yaml")
SEE_HELP = "\nSee: python runner.py --help"


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """The project's own folder, with neither data nor servers named from outside."""
    monkeypatch.chdir(ROOT)
    for name in ("SER_DATA", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def said(capsys, tmp_path):
    """Run a command line: its status, stdout and stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = runner.main(list(words))
        captured = capsys.readouterr()
        return status, captured.out, captured.err.rstrip("\n")

    return run


@pytest.fixture
def refusal(said):
    """The message of a command line that is refused: status 2, nothing on stdout."""

    def of(*words: str) -> str:
        status, out, err = said(*words)
        assert status == 2
        assert out == ""
        assert "Traceback" not in err
        return err

    return of


@pytest.fixture
def plan(said, tmp_path):
    """A plan where nothing has run yet."""

    def of(*words: str) -> str:
        status, out, err = said(*words, "--plan", "--runs", str(tmp_path))
        assert status == 0
        assert err == ""
        return out

    return of


def test_a_plan_of_table_3_lists_15_rows_and_75_folds(plan):
    out = plan(TABLE_3)
    assert out.count("5 of 5") == 15
    assert "75 folds: 0 finished, 75 to run." in out


def test_a_plan_writes_nothing(plan, tmp_path):
    plan(TABLE_3, "--demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--seeds", "5"], "seeds 0, 1, 2, 3, 4,"),
        (["--seeds", "0,1,2"], "seeds 0, 1, 2,"),
        (["--seeds", "7,"], "seed 7,"),
        (["--seeds", "4, 8"], "seeds 4, 8,"),
        (["--corpus", "savee"], "corpus savee, 4 folds,"),
        (["--encoder", "wavlm-base"], "encoder wavlm-base,"),
        (["--set", "training.epochs=3", "losses.terms=[kl]"], "losses KL, 3 epochs,"),
        (["--set", "training.epochs=3", "--set", "mixup.method=none"], "no mixup,"),
        (["--only", "wavlm-eam", "hubert-lam"], "10 to run, 65 left for later"),
        (["--fold", "1", "5"], "30 to run, 45 left for later"),
        (["--demo"], "Demo: synthetic speech"),
        (["--cpus-per-trial", "0.25", "--max-concurrent", "3"], "3 at once on this machine"),
        (["--address", "auto"], "On the Ray cluster at auto"),
    ],
)
def test_options_change_the_plan(plan, words, text):
    assert text in plan(TABLE_3, *words)


def test_a_plan_as_json_is_one_document_and_nothing_else(plan):
    document = json.loads(plan(TABLE_3, "--json", "--only", "wavlm-eam", "--fold", "2"))
    assert (document["to_run"], document["later"]) == (1, 74)
    trials = {row["row"]: row["trials"] for row in document["rows"] if row["trials"]}
    assert trials == {"wavlm-eam": [{"fold": 2, "seed": 0}]}


def test_help_goes_to_stdout(capsys):
    with pytest.raises(SystemExit) as ended:
        runner.main(["--help"])
    captured = capsys.readouterr()
    assert ended.value.code == 0
    assert captured.out.startswith("usage: runner.py GRID [options]")
    assert captured.err == ""
    assert max(map(len, captured.out.splitlines())) <= 100


@pytest.mark.parametrize("verb", ["report", "figures", "ui", "doctor"])
def test_every_verb_has_help(capsys, verb):
    with pytest.raises(SystemExit) as ended:
        runner.main([verb, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: runner.py {verb}")


def test_no_arguments_are_answered_with_help_on_stderr(refusal):
    assert refusal().startswith("usage: runner.py GRID [options]")


A_GRID = (
    "must be a grid file, or one of report, figures, ui, doctor, check, fetch, predict, export, "
    "power, stress, completion"
)
SEEDS = "must be a count in 1..1000 or a list such as 0,1,2 of different whole numbers from 0"
SEED_WORDS = [
    "0",
    "-1",
    "1001",
    "1.5",
    "abc",
    "",
    ",",
    "1,1",
    "1,,2",
    "1,x",
    "9" * 5000,
    "2147483648,",
]


@pytest.mark.parametrize("text", SEED_WORDS, ids=lambda text: text[:12] or "empty")
def test_other_seeds_are_refused(refusal, text):
    assert refusal(TABLE_3, "--seeds", text) == (
        f"runner.py: --seeds: {SEEDS}, got {text!r}{SEE_HELP}"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reprot", "grids/x.yaml"], f"'reprot' {A_GRID}; did you mean 'report'?"),
        (["table3"], f"'table3' {A_GRID}; did you mean 'grids/table3.yaml'?"),
        (["zzz"], f"'zzz' {A_GRID}"),
        (["docter"], f"'docter' {A_GRID}; did you mean 'doctor'?"),
        (["fetsch", "ravdess"], f"'fetsch' {A_GRID}; did you mean 'fetch'?"),
        (["--plan"], "a grid file must stand first, as in: runner.py grids/table3.yaml"),
        (
            ["--only", "a", "grids/table3.yaml"],
            "a grid file must stand first, as in: runner.py grids/table3.yaml",
        ),
        (["--runs", "x", "ui"], "'ui' must stand first, as in: runner.py ui"),
        (
            ["grids/table3.yaml", "grids/table1.yaml"],
            "one grid file and options may stand here, found also 'grids/table1.yaml'",
        ),
        (
            ["grids/table3.yaml", "--sedes", "3"],
            "--sedes must be an option of --help; did you mean --seeds?",
        ),
        (["grids/table3.yaml", "--zzz=3"], "--zzz must be an option of --help"),
        (["grids/table3.yaml", "--pla"], "--pla must be an option of --help; did you mean --plan?"),
        (["grids/table3.yaml", "--only"], "--only: expected at least one argument"),
        ([TABLE_3, "--fold", "0"], "--fold: must be a whole number in 1..1000, got '0'"),
        ([TABLE_3, "--fold", "x"], "--fold: must be a whole number in 1..1000, got 'x'"),
        (
            ["grids/table3.yaml", "--gpus-per-trial", "nan"],
            "--gpus-per-trial: must be 'auto' or a number in 0..1024, got 'nan'",
        ),
        (
            ["grids/table3.yaml", "--cpus-per-trial", "0"],
            "--cpus-per-trial: must be above 0, got '0'",
        ),
        (
            ["grids/table3.yaml", "--max-concurrent", "-2"],
            "--max-concurrent: must be a whole number in 1..100000, got '-2'",
        ),
        (
            [TABLE_3, "--checkpoint-epochs", "often"],
            "--checkpoint-epochs: must be a whole number in 0..100000, got 'often'",
        ),
        ([TABLE_3, "--retries", "-1"], "--retries: must be a whole number in 0..100, got '-1'"),
        ([TABLE_3, "--retries", "101"], "--retries: must be a whole number in 0..100, got '101'"),
        ([TABLE_3, "--retries", "1.5"], "--retries: must be a whole number in 0..100, got '1.5'"),
        (
            [TABLE_3, "--micro-batch", "0"],
            "--micro-batch: must be a whole number in 1..100000, got '0'",
        ),
        (
            [TABLE_3, "--micro-batch", "all"],
            "--micro-batch: must be a whole number in 1..100000, got 'all'",
        ),
        (
            [TABLE_3, "--gpus-per-trial", "all"],
            "--gpus-per-trial: must be 'auto' or a number in 0..1024, got 'all'",
        ),
        (
            [TABLE_3, "--calibrate"],
            "--calibrate needs --plan, as in: runner.py GRID --plan --calibrate",
        ),
        ([TABLE_3, "--json"], "--json needs --plan, as in: runner.py GRID --plan --json"),
        ([TABLE_3, "--deterministic=yes"], "--deterministic: ignored explicit argument 'yes'"),
        (
            [TABLE_3, "--runs", "s3://me:word@bucket/runs"],
            "--runs: must be a folder, on a cluster one that every node has mounted there, "
            "got the address 's3://***@bucket/runs'",
        ),
    ],
)
def test_wrong_usage_is_refused_with_one_message(refusal, words, message):
    assert refusal(*words) == f"runner.py: {message}{SEE_HELP}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["report"],
            "runner.py report: a grid file must stand first, as in: "
            "runner.py report grids/table3.yaml",
        ),
        (["ui", "x"], "runner.py ui: options alone may stand here, found also 'x'"),
        (
            ["ui", "--port", "0"],
            "runner.py ui: --port: must be a whole number in 1..65535, got '0'",
        ),
        (
            ["report", "grids/table3.yaml", "--plan"],
            "runner.py report: --plan must be an option of --help",
        ),
        (
            ["report", "ui"],
            "runner.py report: 'ui' must stand first, as in: runner.py ui",
        ),
        (
            ["doctor", "--corpus", "savee"],
            "runner.py doctor: --corpus needs a grid file, as in: "
            "runner.py doctor grids/table3.yaml",
        ),
        (
            ["doctor", "table3"],
            f"runner.py doctor: 'table3' {A_GRID}; did you mean 'grids/table3.yaml'?",
        ),
        (
            ["doctor", "grids/table3.yaml", "--plan"],
            "runner.py doctor: --plan must be an option of --help",
        ),
    ],
)
def test_a_verb_names_itself_when_it_refuses(refusal, words, message):
    assert refusal(*words) == f"{message}{SEE_HELP}"


@pytest.fixture
def resources_of(monkeypatch, tmp_path):
    """What a run would hand to Ray; it ends there."""
    handed: list[Resources] = []

    def run_study(grid, figures, options, resources, console):
        handed.append(resources)
        raise ValueError("enough")

    monkeypatch.setattr("ablation.study.run_study", run_study)

    def of(*words: str) -> Resources:
        assert runner.main([TABLE_3, "--demo", "--runs", str(tmp_path), *words]) == 2
        return handed.pop()

    return of


def test_what_is_not_said_of_resources_is_their_default(resources_of):
    assert resources_of() == Resources(cpus=1)


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--retries", "0"], "retries", 0),
        (["--retries", "100"], "retries", 100),
        (["--micro-batch", "4"], "micro_batch", 4),
        (["--recompute"], "recompute", True),
        (["--deterministic"], "deterministic", True),
        (["--checkpoint-epochs", "0"], "checkpoint_epochs", 0),
        (["--checkpoint-epochs", "5"], "checkpoint_epochs", 5),
        (["--max-concurrent", "3"], "at_once", 3),
        (["--gpus-per-trial", "0.5"], "gpus", 0.5),
        (["--gpus-per-trial", "0.5"], "packed", False),
        (["--gpus-per-trial", "auto"], "gpus", None),
        (["--gpus-per-trial", "auto"], "packed", True),
        (["--cpus-per-trial", "2"], "cpus", 2.0),
    ],
)
def test_an_option_reaches_the_trials_resources(resources_of, words, field, value):
    assert getattr(resources_of(*words), field) == value


@pytest.fixture
def doctor(monkeypatch, said, tmp_path):
    """The doctor where torch is as it should be; a real look at it costs half a minute."""
    facts = TorchFacts(torch="2.12.1", torchaudio="2.11.0")
    monkeypatch.setattr("ablation.doctor.verb.probe_torch", lambda root: facts)
    monkeypatch.setattr("ablation.doctor.verb.nvidia_driver", lambda: None)
    places = ("--runs", str(tmp_path / "runs"), "--reports", str(tmp_path / "reports"))

    def of(*words: str) -> tuple[int, str, str]:
        return said("doctor", *words[:1], *places, *words[1:])

    return of


def test_the_doctor_ends_with_0_where_nothing_stands_in_the_way(doctor, tmp_path):
    status, out, err = doctor(TABLE_3, "--demo")
    assert (status, err) == (0, "")
    assert out.startswith(f"Looking at this machine for {TABLE_3} --demo\n\n✓ python ")
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_ends_with_1_where_something_does(doctor):
    status, out, err = doctor(TABLE_3, "--demo", "--runs", "/dev/null/runs")
    assert (status, err) == (1, "")
    assert "✗ runs           /dev/null can't be written: Not a directory\n" in out


def test_the_doctor_refuses_a_grid_that_runs_nowhere(doctor):
    assert doctor(TABLE_3, "--only", "hubert") == (
        2,
        "",
        f"{TABLE_3}: --only: must be a row of the grid, got 'hubert'; did you mean 'hubert-lam'?",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch.yaml"], "nosuch.yaml: must be a readable file, found: no such file or directory"),
        (
            ["grids/tabel3.yaml"],
            "grids/tabel3.yaml: must be a readable file, found: no such file or directory; "
            "did you mean 'table3.yaml'?",
        ),
        (["grids"], "grids: must be a readable file, found: is a directory"),
        (
            ["report", "nosuch.yaml"],
            "nosuch.yaml: must be a readable file, found: no such file or directory",
        ),
        (["/dev/zero"], "/dev/zero: must be at most 1000000 bytes, found more"),
        (
            ["/dev/null"],
            "/dev/null: must be a mapping with the keys name, title, corpora, train_on, "
            "test_on, class_map, seeds, selection, record_oracle, baseline, base, rows, "
            "matrix, components, add_one, leave_one_out, search, found nothing",
        ),
        (
            ["grids/table3.yaml", "--set", "foo"],
            "grids/table3.yaml: --set foo: must be KEY=VALUE, found no '='",
        ),
        (
            ["grids/table3.yaml", "--set", "trainig.epochs=3"],
            "grids/table3.yaml: --set trainig.epochs=3: must begin with a setting of "
            "core/config.py, got 'trainig.epochs'; did you mean 'training.epochs'?",
        ),
        (
            ["grids/table3.yaml", "--set", "seed=3"],
            "grids/table3.yaml: --set seed=3: must begin with a setting of core/config.py, "
            "got 'seed'",
        ),
        (
            ["grids/table3.yaml", "--set", "training.epochs=many"],
            "grids/table3.yaml: --set training.epochs: must be a whole number, got 'many'",
        ),
        (
            ["grids/table3.yaml", "--set", "training.epochs="],
            "grids/table3.yaml: --set training.epochs: must be a whole number, got nothing",
        ),
        (
            ["grids/table3.yaml", "--set", "training.epochs={a: 1}"],
            "grids/table3.yaml: --set training.epochs={a: 1}: must be one value or a list of them, "
            "found a mapping",
        ),
        (
            ["grids/table3.yaml", "--set", "losses.terms=!!python/none x"],
            "grids/table3.yaml: --set losses.terms=!!python/none x: must be plain values without "
            "tags, found '!!python/none'",
        ),
        (
            ["grids/table3.yaml", "--set", "training.epochs=\udcff"],
            r"grids/table3.yaml: --set training.epochs=\udcff: must be UTF-8, found byte 0xff",
        ),
        (
            ["grids/table3.yaml", "--encoder", ""],
            "grids/table3.yaml: --encoder: must be a text, got ''",
        ),
        (
            ["grids/table3.yaml", "--only", "hubert"],
            "grids/table3.yaml: --only: must be a row of the grid, got 'hubert'; "
            "did you mean 'hubert-lam'?",
        ),
        (
            ["grids/table3.yaml", "--corpus", "ravdes"],
            "grids/table3.yaml: --corpus: must be one of iemocap, msp_improv, ravdess, savee, a "
            "corpus of the grid or a manifest, got 'ravdes'; did you mean 'ravdess'?",
        ),
        (
            ["grids/table3.yaml", "--fold", "9"],
            "grids/table3.yaml: --fold: must lie in 1..5, got 9",
        ),
        (
            ["grids/table3.yaml", "--only", "x", "--fold", "6"],
            "grids/table3.yaml: 2 problems\n  --fold: must lie in 1..5, got 6\n"
            "  --only: must be a row of the grid, got 'x'",
        ),
    ],
)
def test_a_wrong_grid_or_setting_is_refused_with_one_message(refusal, words, message):
    assert refusal(*words) == message


def test_an_empty_file_is_refused(refusal, tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_bytes(b"")
    assert refusal(str(path), "--plan").startswith(f"{path}: must be a mapping with the keys ")


def test_a_grid_s_text_is_printed_as_it_is(plan, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("name: study\ntitle: '[red]loud[/red]'\ncorpora: [savee]\nrows: [{name: a}]\n")
    assert plan(str(path)).startswith("[red]loud[/red]\n")


def test_a_missing_file_of_figures_is_an_error_and_no_traceback(refusal, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    path = tmp_path / "reports" / "published.yaml"
    assert refusal(TABLE_3, "--plan") == (
        f"{path}: must be a readable file, found: no such file or directory"
    )


def test_the_ui_needs_a_database(refusal, tmp_path):
    assert refusal("ui", "--runs", str(tmp_path)) == (
        f"{tmp_path / 'mlflow.db'} must be the database of earlier runs, found none; "
        "run a grid first"
    )


def test_an_interrupt_is_no_traceback(said, monkeypatch):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_plan_or_run", interrupted)
    assert said(TABLE_3) == (130, "", "interrupted")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_audio_is_decoded_tells_how_far_it_is_and_how_it_continues(
    said, monkeypatch, tmp_path, number
):
    import ablation.study

    def decoding(*asked):
        signal.raise_signal(number)

    monkeypatch.setattr(ablation.study, "open_corpora", decoding)
    monkeypatch.setattr(sys, "argv", ["runner.py"])
    words = [TABLE_3, "--demo", "--fold", "1", "2", "--runs", str(tmp_path)]
    assert said(*words) == (
        130,
        "",
        "interrupted: 0 of 30 folds are finished\n"
        f"to continue: python runner.py {shlex.join(words)}",
    )


def test_a_terminal_without_ticks_gets_a_plan_all_the_same(monkeypatch, tmp_path):
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    assert runner.main([TABLE_3, "--plan", "--runs", str(tmp_path)]) == 0
    ascii_only.seek(0)
    assert "75 folds" in ascii_only.read()


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    words = [sys.executable, "runner.py", TABLE_3, "--plan", "--runs", str(tmp_path)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), errors) == (0, b"")
