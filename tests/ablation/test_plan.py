"""What --plan prints, byte for byte, and how it counts."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from ablation import plan
from ablation.archive import Archive, write_whole
from ablation.costs import Cost, kind_of
from ablation.grid import Grid, Overrides
from ablation.grid_file import load_grid
from ablation.options import Options
from ablation.plan import Wanted, plan_json, plan_text
from core.identity import config_key

ROOT = Path(__file__).parents[2]

TABLE_3_AT_80 = """\
Table 3: ablation on IEMOCAP

In all rows: corpus iemocap, 5 folds, seed 0, losses KL + Center, 20 epochs,
selection last.

row                      encoder       mixup  aggregation  Focal  SupCon  to run
────────────────────────────────────────────────────────────────────────────────
hubert-lam               hubert-large  LAM    first frame                 5 of 5
hubert-flam              hubert-large  –      FLAM                        5 of 5
hubert-eam               hubert-large  EAM    first frame                 5 of 5
hubert-lam-flam          hubert-large  LAM    FLAM                        5 of 5
hubert-eam-flam          hubert-large  EAM    FLAM                        5 of 5
wavlm-lam                wavlm-large   LAM    first frame                 5 of 5
wavlm-flam               wavlm-large   –      FLAM                        5 of 5
wavlm-eam                wavlm-large   EAM    first frame                 5 of 5
wavlm-eam-max            wavlm-large   EAM    max                         5 of 5
wavlm-eam-mean           wavlm-large   EAM    mean                        5 of 5
wavlm-lam-flam           wavlm-large   LAM    FLAM                        5 of 5
wavlm-eam-flam           wavlm-large   EAM    FLAM                        5 of 5
wavlm-eam-flam-focal     wavlm-large   EAM    FLAM           ✓            5 of 5
wavlm-eam-flam-supcon    wavlm-large   EAM    FLAM                  ✓     5 of 5
wavlm-eam-flam-focal-    wavlm-large   EAM    FLAM           ✓      ✓     5 of 5
supcon

A wider terminal also shows losses.weighting.
75 folds: 0 finished, 75 to run.
4 at once on this machine, each on 1 of 4 CPUs.
Time: unknown until a first fold of hubert-large on iemocap, wavlm-large on
iemocap has finished."""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Four CPUs, no GPU; a test may ask for others."""

    def has(cpus: int, gpus: int) -> None:
        monkeypatch.setattr(plan.os, "cpu_count", lambda: cpus)
        monkeypatch.setattr(plan, "gpu_count", lambda: gpus)

    has(4, 0)
    return has


@pytest.fixture
def lines_of(tmp_path):
    """The plan's lines without the blank ones."""

    def of(grid: Grid, width=200, wanted=None, **options) -> list[str]:
        places = Options(runs=tmp_path / "runs", reports=tmp_path / "reports", **options)
        text = plan_text(grid, places, wanted or Wanted(), width)
        assert all(line == line.rstrip() for line in text.split("\n"))
        return [line for line in text.split("\n") if line]

    return of


@pytest.fixture
def finish(tmp_path):
    """Note folds as finished, each at so many seconds an epoch."""

    def note(grid: Grid, folds: dict[tuple[str, int], float]) -> None:
        archive = Archive(tmp_path / "runs")
        for trial in grid.trials():
            seconds = folds.get((trial.row, trial.config.fold))
            if seconds is None:
                continue
            key = config_key(trial.config)
            cost = {
                "config_key": key,
                "encoder": trial.config.encoder.name,
                "corpus": trial.config.corpus.name,
                "epoch_seconds": seconds,
            }
            write_whole(archive.folder(key) / "cost.json", json.dumps(cost))
            write_whole(archive.folder(key) / "result.json", "{}")

    return note


TWO = """\
name: study
corpora: [savee]
base: {training.epochs: 10}
rows:
  - name: one
  - name: two
    mixup.method: lam
"""


def test_table_3_at_80_columns(tmp_path, figures):
    grid = load_grid(ROOT / "grids" / "table3.yaml", Overrides(), figures)
    places = Options(runs=tmp_path, reports=tmp_path)
    assert plan_text(grid, places, Wanted(), 80) == TABLE_3_AT_80


def test_a_wide_terminal_shows_every_setting_that_differs(figures, lines_of):
    lines = lines_of(load_grid(ROOT / "grids" / "table3.yaml", Overrides(), figures), 160)
    assert lines[2:6] == [
        " " * 78 + "losses.",
        "row                          encoder       mixup  aggregation  Focal  SupCon  weighting"
        "   to run",
        "─" * 96,
        "hubert-lam                   hubert-large  LAM    first frame                 fixed    "
        "   5 of 5",
    ]
    assert not any("wider terminal" in line for line in lines)


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 160])
@pytest.mark.parametrize("name", ["table1", "table2", "table3", "ravdess_whisper"])
def test_no_line_is_wider_than_the_terminal(figures, lines_of, name, width):
    grid = load_grid(ROOT / "grids" / f"{name}.yaml", Overrides(), figures)
    assert max(map(len, lines_of(grid, width))) <= width


def test_trials_that_may_stop_early_have_at_most_their_epochs(grid_of, lines_of):
    waiting = TWO.replace("10}", "10, evaluation.patience: 3}\nselection: validation")
    assert ", at most 10 epochs, selection validation." in lines_of(grid_of(waiting))[1]


def test_a_list_of_values_is_told_without_brackets(grid_of, lines_of):
    lines = lines_of(grid_of(TWO.replace("mixup.method: lam", "augment.speeds: [0.9, 1]")))
    assert lines[3] == "row  speeds    to run"
    assert lines[5:7] == ["one  1.0       4 of 4", "two  0.9, 1.0  4 of 4"]


def test_what_all_rows_share_is_said_once(grid_of, lines_of):
    lines = lines_of(grid_of(TWO.replace("savee", "{name: ravdess, folds: emobox}")))
    assert lines == [
        "study",
        "In all rows: corpus ravdess, 6 folds, seed 0, encoder wavlm-large, aggregation FLAM, "
        "losses KL + Center + Focal + SupCon, 10 epochs, selection last.",
        "row  mixup  to run",
        "──────────────────",
        "one  EAM    6 of 6",
        "two  LAM    6 of 6",
        "12 folds: 0 finished, 12 to run.",
        "4 at once on this machine, each on 1 of 4 CPUs.",
        "Time: unknown until a first fold of wavlm-large on ravdess has finished.",
    ]


def test_corpora_and_their_folds_have_columns_where_they_differ(grid_of, lines_of):
    lines = lines_of(grid_of(TWO.replace("savee", "savee, iemocap"), seeds=(0, 1)))
    assert lines[2:8] == [
        "row  corpus   folds  mixup    to run",
        "────────────────────────────────────",
        "one  savee        4  EAM      8 of 8",
        "one  iemocap      5  EAM    10 of 10",
        "two  savee        4  LAM      8 of 8",
        "two  iemocap      5  LAM    10 of 10",
    ]
    assert "seeds 0, 1," in lines[1]


def test_many_seeds_are_counted(grid_of, lines_of):
    assert ", 13 seeds," in lines_of(grid_of(TWO, seeds=tuple(range(13))))[1]


def test_no_mixup_is_said_in_words(grid_of, lines_of):
    grid = grid_of("name: s\ncorpora: [savee]\nbase: {mixup.method: none}\nrows: [{name: a}]\n")
    assert ", no mixup," in lines_of(grid)[1]


def test_a_demo_says_so(grid_of, lines_of):
    assert lines_of(grid_of(TWO, demo=True))[1] == (
        "Demo: synthetic speech and small encoders in the place of corpora and weights."
    )


def test_finished_folds_are_not_to_run(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {("one", 1): 2.0, ("one", 3): 2.0} | {("two", fold): 2.0 for fold in range(1, 5)})
    lines = lines_of(grid)
    assert lines[4:7] == [
        "one  EAM    2 of 4",
        "two  LAM      done",
        "8 folds: 6 finished, 2 to run.",
    ]


def test_only_and_fold_choose_what_to_run(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {("two", 1): 2.0})
    lines = lines_of(grid, only=("two",), folds=(1, 2))
    assert lines[4:7] == [
        "one  EAM    0 of 4",
        "two  LAM    1 of 4",
        "8 folds: 1 finished, 1 to run, 6 left for later by --only and --fold.",
    ]


def test_fresh_trains_what_has_finished_too_of_what_is_wanted(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {(row, fold): 2.0 for row in ("one", "two") for fold in (1, 2, 3)})
    lines = lines_of(grid, only=("two",), folds=(1, 2, 4), fresh=True)
    assert lines[4:7] == [
        "one  EAM    0 of 4",
        "two  LAM    3 of 4",
        "8 folds: 4 finished, 3 to run, 1 left for later by --only and --fold.",
    ]
    assert lines_of(grid, fresh=True)[6] == "8 folds: 0 finished, 8 to run."


def test_rows_that_are_the_same_experiment_are_trained_once(grid_of, lines_of):
    lines = lines_of(grid_of(TWO + "  - name: three\n    mixup: {method: eam}\n"))
    assert lines[4:8] == [
        "one    EAM    4 of 4",
        "two    LAM    4 of 4",
        "three  EAM    4 of 4",
        "12 folds: 0 finished, 8 to run, 4 shared with a row that is the same experiment.",
    ]


def test_the_time_comes_from_the_median_epoch_of_finished_folds(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {("one", 1): 2.0, ("one", 2): 3.0, ("one", 3): 100.0})
    # Five folds of ten epochs at 3 s, four beside one another: the fifth waits for one of them.
    assert lines_of(grid)[-1] == "Time: about 1m00s, by the epochs of finished folds."


def test_no_number_of_slots_makes_one_fold_faster(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {("one", 1): 3.0})
    assert lines_of(grid, only=("one",), folds=(2,))[-1].startswith("Time: about 30s,")


def test_an_encoder_that_was_never_run_has_no_known_time(grid_of, lines_of, finish):
    grid = grid_of(TWO + "    encoder.name: /models/own\n")
    finish(grid, {("one", 1): 4.0})
    # Three folds of ten epochs at 4 s, on four slots: as long as one of them.
    assert lines_of(grid)[-1] == (
        "Time: about 40s, by the epochs of finished folds, "
        "and unknown for own on savee until a first fold has finished."
    )


def test_nothing_to_run_takes_no_time(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {(row, fold): 1.0 for row in ("one", "two") for fold in range(1, 5)})
    assert lines_of(grid)[-3:] == [
        "8 folds: 8 finished, 0 to run.",
        "4 at once on this machine, each on 1 of 4 CPUs.",
        "Time: none, nothing is to run.",
    ]


@pytest.mark.parametrize(
    ("cpus", "gpus", "wanted", "text"),
    [
        (1, 0, {}, "1 at once on this machine, each on 1 of 1 CPU."),
        (16, 0, {"cpus": 2.0}, "8 at once on this machine, each on 2 of 16 CPUs."),
        (16, 0, {"at_once": 3}, "3 at once on this machine, each on 1 of 16 CPUs."),
        (16, 1, {}, "1 at once on this machine, each on 1 of 16 CPUs and 1 of 1 GPU."),
        (
            16,
            2,
            {"gpus": 0.4},
            "4 at once on this machine, each on 1 of 16 CPUs and 0.4 of 2 GPUs.",
        ),
        (16, 4, {"gpus": 2.0}, "2 at once on this machine, each on 1 of 16 CPUs and 2 of 4 GPUs."),
        (
            16,
            1,
            {"packed": True},
            "1 at once on this machine, each on 1 of 16 CPUs and 1 of 1 GPU; more to a GPU where "
            "their measured memory allows.",
        ),
        (
            2,
            0,
            {"packed": True},
            "2 at once on this machine, each on 1 of 2 CPUs; --gpus-per-trial auto has no effect "
            "without a GPU.",
        ),
        (16, 4, {"gpus": 0.0}, "16 at once on this machine, each on 1 of 16 CPUs."),
        (2, 0, {"cpus": 4.0}, "This machine is too small: a trial would take 4 of 2 CPUs."),
        (
            2,
            1,
            {"gpus": 2.0},
            "This machine is too small: a trial would take 1 of 2 CPUs and 2 of 1 GPU.",
        ),
        (
            2,
            0,
            {"address": "auto"},
            "On the Ray cluster at auto: 1 CPU and a GPU where there are any for each trial.",
        ),
        (
            2,
            0,
            {"address": "ray://h:10001", "gpus": 0.5, "cpus": 2.0, "at_once": 9},
            "On the Ray cluster at ray://h:10001: 2 CPUs and 0.5 GPUs for each trial, "
            "at most 9 at once.",
        ),
    ],
)
def test_resources_are_said_in_words(grid_of, lines_of, machine, cpus, gpus, wanted, text):
    machine(cpus, gpus)
    assert lines_of(grid_of(TWO), wanted=Wanted(**wanted))[-2] == text


def test_a_trial_takes_the_cpus_of_its_threads(grid_of, lines_of):
    lines = lines_of(grid_of(TWO + "    training.threads: 3\n"))
    assert "1 at once on this machine, each on 3 of 4 CPUs." in lines


def test_on_a_cluster_of_unknown_size_the_time_is_one_after_another(grid_of, lines_of, finish):
    grid = grid_of(TWO)
    finish(grid, {("one", 1): 3.0})
    assert lines_of(grid, wanted=Wanted(address="auto"))[-1] == (
        "Time: about 3m32s one after another, by the epochs of finished folds."  # 7 of 30.25 s
    )


def cost_of(trial, epoch_seconds, around_seconds=0.0):
    config = trial.config
    return Cost(
        config_key=config_key(config),
        encoder=config.encoder.name,
        corpus=config.corpus.name,
        epoch_seconds=epoch_seconds,
        fold=config.fold,
        kind=kind_of(config),
        around_seconds=around_seconds,
    )


def test_a_calibration_tells_the_time_of_what_never_ran_and_of_the_start(
    tmp_path, grid_of, lines_of
):
    grid = grid_of(TWO)
    trials = [trial for trial in grid.trials() if trial.row == "one"]
    archive = Archive(tmp_path / "runs")
    archive.note_calibration([cost_of(trial, 2.0, 1.0) for trial in trials], start_seconds=9.0)
    # Eight folds of 10 x 2 + 1 + 0.25 s, four at once: two rounds after a start of 9 s.
    assert lines_of(grid)[-1] == "Time: about 52s, by a calibration."
    assert lines_of(grid)[-3] == "8 folds: 0 finished, 8 to run."


def test_a_row_s_own_finished_folds_tell_more_than_a_calibration(
    tmp_path, grid_of, lines_of, machine
):
    machine(1, 0)
    grid = grid_of(TWO)
    archive = Archive(tmp_path / "runs")
    archive.note_calibration([cost_of(trial, 2.0) for trial in grid.trials()], start_seconds=0.0)
    trial = grid.trials()[0]
    folder = archive.folder("0123456789ab")
    write_whole(folder / "cost.json", json.dumps(asdict(cost_of(trial, 4.0))))
    write_whole(folder / "result.json", "{}")
    # Three folds of row one at 40.25 s, four of row two at 20.25 s.
    assert lines_of(grid)[-1] == (
        "Time: about 3m22s, by the epochs of finished folds and a calibration."
    )


def test_gpus_that_the_process_may_not_see_do_not_count(monkeypatch):
    monkeypatch.undo()  # the fixture's machine
    listed = plan.gpu_count()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert plan.gpu_count() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert plan.gpu_count() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15")
    assert plan.gpu_count() == min(listed, 16)


@pytest.fixture
def document_of(tmp_path):
    """The plan as JSON, read back."""

    def of(grid: Grid, wanted=None, **options) -> dict:
        places = Options(runs=tmp_path / "runs", reports=tmp_path / "reports", **options)
        return json.loads(plan_json(grid, places, wanted or Wanted()))

    return of


def test_json_names_every_trial_to_run_and_counts_as_the_text_does(grid_of, document_of, finish):
    grid = grid_of(TWO + "  - name: three\n    mixup: {method: eam}\n")
    finish(grid, {("two", 1): 2.0})
    document = document_of(grid, folds=(1, 2))
    assert [(row["row"], row["trials"], row["shared"]) for row in document["rows"]] == [
        ("one", [{"fold": 1, "seed": 0}, {"fold": 2, "seed": 0}], 0),
        ("two", [{"fold": 2, "seed": 0}], 0),
        ("three", [], 2),
    ]
    counts = ("total", "finished", "to_run", "shared", "later")
    assert [document[name] for name in counts] == [12, 1, 3, 2, 6]
    for name in counts:
        assert document[name] == sum(row[name] for row in document["rows"])


def test_json_tells_the_time_in_seconds_and_by_what(grid_of, document_of, finish):
    grid = grid_of(TWO + "    encoder.name: /models/own\n")
    finish(grid, {("one", 1): 4.0})
    # Three folds of ten epochs at 4 s and 0.25 s between two trials, on four slots: one of them.
    assert document_of(grid)["estimate"] == {
        "seconds": 40.25,
        "one_after_another": False,
        "by": ["the epochs of finished folds"],
        "unknown_for": ["own on savee"],
    }


def test_json_has_null_for_a_time_that_is_unknown_and_0_for_none(grid_of, document_of, finish):
    grid = grid_of(TWO)
    assert document_of(grid)["estimate"]["seconds"] is None
    finish(grid, {(row, fold): 1.0 for row in ("one", "two") for fold in range(1, 5)})
    assert document_of(grid)["estimate"]["seconds"] == 0
    assert document_of(grid)["estimate"]["by"] == []


@pytest.mark.parametrize(
    ("gpus", "wanted", "of_a_trial", "at_once"),
    [
        (0, {}, (1, 0), 4),
        (1, {}, (1, 1), 1),
        (1, {"gpus": 0.5}, (1, 0.5), 2),
        (0, {"cpus": 8.0}, (8, 0), 0),  # too small a machine
        (0, {"address": "auto"}, (1, None), None),  # the nodes decide
        (0, {"address": "auto", "at_once": 3}, (1, None), 3),
    ],
)
def test_json_tells_what_a_trial_takes(
    grid_of, document_of, machine, gpus, wanted, of_a_trial, at_once
):
    machine(4, gpus)
    resources = document_of(grid_of(TWO), Wanted(**wanted))["resources"]
    assert (resources["cpus_per_trial"], resources["gpus_per_trial"]) == of_a_trial
    assert resources["at_once"] == at_once
