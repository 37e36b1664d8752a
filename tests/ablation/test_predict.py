"""The verbs `predict` and `export` as a user meets them, on a small trained model."""

import csv
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from rich.console import Console

import runner
from ablation.archive import Archive
from ablation.predict import closed_wav
from ablation.prediction_view import Part, prediction_table, shortened
from core.fold import Fold
from core.kept_model import write_model
from tests.core.small_folds import evaluated, of
from tests.core.small_speech import CPU, tones

SECOND = 16_000
EMOTIONS = ("angry", "calm", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """An archive with one kept fold, its test audio as files, and what was archived of them."""
    folder = tmp_path_factory.mktemp("study")
    utterances, store = tones()
    archive = Archive(folder / "runs")
    fold = Fold(
        evaluated("last", audio={"crop_s": 0.1, "trim_db": 30.0}), of(utterances, store), CPU
    )
    while not fold.finished:
        fold.step()
    result = fold.result()
    write_model(archive.model(result.run_id), fold.kept_model("all"))
    archive.save(result)
    (folder / "audio/below").mkdir(parents=True)
    archived = {}
    for place, item in enumerate(result.predictions):
        path = folder / "audio" / ("below" if place % 2 else "") / f"{item.utterance}.wav"
        soundfile.write(path, store.waveform(item.utterance), SECOND, subtype="FLOAT")
        archived[str(path)] = item.probabilities
    return SimpleNamespace(
        runs=folder / "runs", run=result.run_id, audio=folder / "audio", archived=archived
    )


@pytest.fixture
def predict(study, capsys):
    """Run `predict`: its status, stdout and stderr."""

    def run(*words, model=study.run[:6]):
        status = runner.main(["predict", str(model), *map(str, words), "--runs", str(study.runs)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def first_windows(rows):
    return {row["file"]: row for row in reversed(rows)}


def test_a_folder_of_test_files_gets_what_the_fold_archived(study, predict):
    status, out, err = predict(study.audio, "--jsonl")
    rows = first_windows([json.loads(line) for line in out.splitlines()])
    assert (status, err) == (0, "")
    assert rows.keys() == study.archived.keys()
    for name, archived in study.archived.items():
        given = list(rows[name]["probabilities"].values())
        assert np.abs(np.array(given) - archived).max() <= 1e-5
        assert rows[name]["predicted"] == list(rows[name]["probabilities"])[int(np.argmax(given))]


def test_every_form_says_the_same(study, predict):
    lines = [json.loads(line) for line in predict(study.audio, "--jsonl")[1].splitlines()]
    document = json.loads(predict(study.audio, "--json")[1])
    rows = list(csv.DictReader(io.StringIO(predict(study.audio, "--csv")[1])))
    table = predict(study.audio)[1].splitlines()
    assert document["predictions"] == lines
    assert document["problems"] == []
    assert document["model"]["run_id"] == study.run
    assert [row["file"] for row in rows] == [line["file"] for line in lines]
    for row, line in zip(rows, lines, strict=True):
        assert row["predicted"] == line["predicted"]
        assert all(abs(float(row[k]) - v) < 1e-6 for k, v in line["probabilities"].items())
    assert len(table) == 1 + len(lines)
    for shown, line in zip(table[1:], lines, strict=True):
        assert shown.startswith(line["file"])
        assert line["predicted"] in shown


def test_what_can_not_be_read_is_named_and_the_rest_is_heard(study, predict, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.wav").write_text("no audio")
    good = next(iter(study.archived))
    words = (tmp_path / "text.wav", good, tmp_path / "nowhere.wav", tmp_path / "empty", "--json")
    status, out, err = predict(*words)
    assert status == 1
    problems = json.loads(out)["problems"]
    assert {row["file"] for row in json.loads(out)["predictions"]} == {good}
    assert [problem.partition(": ")[0] for problem in problems] == [
        str(tmp_path / name) for name in ("text.wav", "nowhere.wav", "empty")
    ]
    assert err.replace("\n", "") == "".join(problems)
    status, out, err = predict(tmp_path / "nowhere.wav")
    assert (status, out) == (2, "")
    assert err == f"{tmp_path}/nowhere.wav: must exist, found nothing there\n"


def test_a_long_recording_is_heard_by_windows(predict, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((12_000, 2))
    soundfile.write(tmp_path / "long.flac", noise, 48_000)  # 0.25 s
    rows = [json.loads(line) for line in predict(tmp_path, "--jsonl")[1].splitlines()]
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0, 0.1), (0.1, 0.2), (0.15, 0.25)]
    out = predict(tmp_path, "--jsonl", "--window-s", "0.2", "--batch-size", "1")[1]
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["start_s"], row["end_s"]) for row in rows] == [(0, 0.2), (0.05, 0.25)]


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_stdin_is_heard_as_the_file_is(study, predict, monkeypatch, tmp_path, size):
    """A pipe's writer leaves the size open, which a file may not."""
    path = next(iter(study.archived))
    content = bytearray(Path(path).read_bytes())
    if size is not None:
        place = content.index(b"data") + 4
        content[place : place + 4] = size.to_bytes(4, "little")
    stdin = SimpleNamespace(buffer=io.BytesIO(bytes(content)))
    monkeypatch.setattr(sys, "stdin", stdin)
    status, out, _ = predict("-", "--json")
    assert status == 0
    found = json.loads(out)["predictions"]
    expected = json.loads(predict(path, "--json")[1])["predictions"]
    assert [row["probabilities"] for row in found] == [row["probabilities"] for row in expected]
    assert {row["file"] for row in found} == {"-"}


def test_a_pipe_that_broke_off_is_refused(study, predict, monkeypatch):
    content = Path(next(iter(study.archived))).read_bytes()[:-100]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    status, out, err = predict("-")
    assert (status, out) == (2, "")
    assert "bytes of samples that its header promises" in err
    assert closed_wav(content) == content
    assert closed_wav(b"") == b""


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("ffff", "must be an exported folder, or a run in "),
        ("../x", "'../x' must be an exported folder"),
    ],
)
def test_a_model_that_is_not_there_is_said_in_one_line(study, predict, model, fault):
    status, out, err = predict(study.audio, model=model)
    assert (status, out) == (2, "")
    assert fault in err
    assert f"kept are {study.run}" in err.replace("\n", " ")


def test_a_run_without_kept_weights_says_how_to_get_them(study, predict, capsys):
    (study.runs / "folds/abcdefabcdef").mkdir()
    (study.runs / "folds/abcdefabcdef/result.json").write_text("{}")
    status, _, err = predict(study.audio, model="abcdef")
    assert status == 2
    assert "must have kept its weights, found none: train it with --keep-models all --fresh" in err
    (study.runs / "folds/abcdefabcdef/result.json").unlink()


def test_an_exported_folder_predicts_alike_and_carries_its_card(study, predict, tmp_path, capsys):
    words = ["export", study.run[:4], str(tmp_path / "out"), "--runs", str(study.runs)]
    assert runner.main(words) == 0
    card = (tmp_path / "out/README.md").read_text()
    assert f"Run `{study.run}`" in card
    assert "never heard in training: Ses01_F." in card
    assert "release form of the University of Southern California" in card
    capsys.readouterr()
    assert predict(study.audio, "--csv", model=tmp_path / "out") == predict(study.audio, "--csv")
    assert runner.main(words) == 2
    assert "must be a new or an empty folder, found files in it" in capsys.readouterr().err


def test_verbose_shows_where_an_error_came_from(study, predict):
    assert "Traceback" not in predict(study.audio, model="nowhere")[2]
    assert "Traceback" in predict(study.audio, "--verbose", model="nowhere")[2]
    assert "Traceback" not in predict(study.audio, model="nowhere")[2]


@pytest.mark.parametrize("width", [80, 100, 160])
@pytest.mark.parametrize("files", [["a" * 90, "b"], ["a" * 90, "a" * 90], ["a"]])
def test_a_table_fits_the_terminal_and_shows_every_class(width, files):
    parts = [
        Part(name=name, start_s=615.2, end_s=621.45, probabilities=[0.0] * 7 + [1.0])
        for name in files
    ]
    console = Console(width=width, file=io.StringIO())
    console.print(prediction_table(parts, EMOTIONS, width))
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 1 + len(files)
    assert max(map(len, lines)) <= width
    heads = EMOTIONS if "angry" in lines[0].split() else shortened(EMOTIONS)
    assert lines[0].split()[-8:] == list(heads)
    assert all(line.split()[-9:] == ["surprised", *"0000000", "100"] for line in lines[1:])


def test_names_are_cut_to_what_tells_them_apart():
    assert shortened(EMOTIONS) == ["ang", "cal", "dis", "fea", "hap", "neu", "sad", "sur"]
    assert shortened(["happy", "happier"]) == ["happy", "happi"]
    assert shortened(["abc", "abcd"]) == ["abc", "abcd"]
