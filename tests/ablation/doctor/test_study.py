"""Encoders and corpora that a grid needs, and what its trials take."""

import pytest

from ablation.doctor.findings import ok, problem, warning
from ablation.doctor.load import load_of, parameters
from ablation.doctor.study import corpus_findings, data_finding, encoder_findings, trials_finding
from ablation.options import Options
from ablation.plan import Wanted
from core.corpora.synthetic import write_corpus
from core.encoder_catalog import ENCODERS

GRID = """
name: study
title: A study
corpora: [savee, ravdess]
rows:
  - {name: a, encoder.name: logmel-small}
  - {name: b, encoder.name: wavlm-large}
"""


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    """A hub's cache that holds nothing."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a SAVEE of two clips a class and speaker, and nothing else."""
    folder = tmp_path_factory.mktemp("data")
    write_corpus("savee", folder, 1, 14).rename(folder / "savee")
    return folder


@pytest.fixture
def options(tmp_path):
    def of(**changes: object) -> Options:
        return Options(runs=tmp_path, reports=tmp_path, **changes)  # type: ignore[arg-type]

    return of


@pytest.mark.parametrize(
    ("name", "published"),
    [("wavlm-large", 316.6e6), ("wavlm-base", 94.7e6), ("hubert-large", 315.4e6)],
)
def test_the_size_of_an_encoder_is_known_to_a_tenth(name, published):
    assert parameters(ENCODERS[name]) == pytest.approx(published, rel=0.1)


def test_a_checkpoint_of_whisper_tiny_is_estimated_no_smaller_than_it_is(grid_of, options):
    """Measured: 89 MB a file. Three files a trial, two trials, whatever the audio."""
    text = GRID.replace("wavlm-large", "whisper-tiny")
    load = load_of(grid_of(text), options(), Wanted(cpus=0.001, at_once=2), 1)
    assert load.at_once == 2
    assert 6 * 89e6 <= load.checkpoint_bytes <= 6 * 1.25 * 89e6


def test_checkpoints_grow_with_the_trials_at_once_and_none_take_nothing(grid_of, options):
    grid = grid_of(GRID)
    one, four = (load_of(grid, options(), Wanted(cpus=0.001, at_once=count), 1) for count in (1, 4))
    assert four.checkpoint_bytes == 4 * one.checkpoint_bytes > 0
    assert load_of(grid, options(), Wanted(), 0).checkpoint_bytes == 0


def test_what_is_left_for_later_takes_nothing(grid_of, options):
    """Rows on 4 folds of SAVEE and 6 of RAVDESS, half a megabyte each."""
    grid = grid_of(GRID)
    assert load_of(grid, options(), Wanted(), 1).result_bytes == 20 * 0.5e6
    only = load_of(grid, options(only=("a",), folds=(1, 2)), Wanted(), 1)
    assert only.result_bytes == 4 * 0.5e6
    assert only.large == ()
    assert only.checkpoint_bytes < 1e8


def test_audio_is_estimated_from_the_published_counts(grid_of, options):
    """480 and 1440 clips of 4.5 s, at 16 000 samples a second of four bytes."""
    load = load_of(grid_of(GRID), options(), Wanted(), 1)
    assert load.audio_bytes == (480 + 1440) * 4.5 * 16_000 * 4


def test_the_frames_of_frozen_encoders_count_once_a_layer(grid_of, options):
    """480 and 1440 clips of 4.5 s at 50 frames a second of 768 features of two bytes."""
    frozen = "encoder.name: wavlm-base, encoder.train: frozen"
    text = f"""
name: study
title: A study
corpora: [savee, ravdess]
base: {{mixup.method: none}}
rows:
  - {{name: a, {frozen}, encoder.layer: 2}}
  - {{name: b, {frozen}, encoder.layer: 2, pooling.method: mean}}
  - {{name: c, {frozen}, encoder.layer: 3, encoder.weigh_layers: true}}
  - {{name: mixes, {frozen}, encoder.layer: 9, mixup.method: eam}}
"""
    audio = (480 + 1440) * 4.5 * 16_000 * 4
    layers = 4 * (480 + 1440) * 4.5 * 50 * 768 * 2  # 0 to 3
    assert load_of(grid_of(text), options(), Wanted(), 1).audio_bytes == audio + layers


def test_log_mel_bands_take_a_hundred_frames_a_second_and_no_weights(grid_of, options):
    """480 and 1440 clips of 4.5 s at 100 frames a second of 64 features of two bytes."""
    text = """
name: study
title: A study
corpora: [savee, ravdess]
base: {mixup.method: none, encoder.name: logmel, encoder.train: frozen}
rows: [{name: a, pooling.method: mean}]
"""
    load = load_of(grid_of(text), options(), Wanted(), 1)
    audio = (480 + 1440) * 4.5 * 16_000 * 4
    assert load.audio_bytes == audio + (480 + 1440) * 4.5 * 100 * 64 * 2
    assert load.large == load.unknown == ()


def test_a_manifest_s_parts_count_as_long_as_they_are(grid_of, options, tmp_path):
    rows = [f"{clip}.wav,{label},{who},10,70" for clip, label, who in ("axp", "byq", "cxq", "dyp")]
    for clip in "abcd":
        (tmp_path / f"{clip}.wav").touch()
    (tmp_path / "m.csv").write_text("\n".join(["path,label,speaker,start_s,end_s", *rows]))
    grid = grid_of(GRID.replace("savee, ravdess", f"{{manifest: {tmp_path / 'm.csv'}}}"))
    assert load_of(grid, options(), Wanted(), 1).audio_bytes == 4 * 60 * 16_000 * 4


def test_held_out_speakers_keep_a_fourth_copy_of_the_weights(grid_of, options):
    last, held_out = (
        load_of(grid_of(f"selection: {way}\n{GRID}"), options(), Wanted(), 1).checkpoint_bytes
        for way in ("last", "validation")
    )
    assert held_out == pytest.approx(last * 4 / 3)


def test_a_large_encoder_is_named_for_machines_without_a_gpu(grid_of, options):
    assert load_of(grid_of(GRID), options(), Wanted(), 1).large == ("wavlm-large",)


def test_an_encoder_that_is_not_here_is_in_no_figure_and_named(grid_of, options):
    grid = grid_of(GRID.replace("wavlm-large", "someone/wavlm"))
    load = load_of(grid, options(), Wanted(), 1)
    assert load.unknown == ("someone/wavlm",)


def test_a_trial_larger_than_the_machine_is_a_problem(grid_of, options):
    load = load_of(grid_of(GRID), options(), Wanted(cpus=1000), 1)
    finding = trials_finding(load, address=None)
    assert finding.state == "problem"
    assert finding.text.startswith("This machine is too small: a trial would take 1000 of ")


def test_on_a_cluster_only_the_cluster_knows(grid_of, options):
    load = load_of(grid_of(GRID), options(), Wanted(cpus=1000, address="auto"), 1)
    assert trials_finding(load, address="auto").state == "ok"


def test_an_encoder_without_weights_is_at_hand(grid_of, options):
    grid = grid_of(GRID.replace("wavlm-large", "logmel-base"))
    assert list(encoder_findings(grid, options())) == [
        ok("encoder", "logmel-small and logmel-base need no weights")
    ]


def test_weights_that_can_be_downloaded_are_a_warning(grid_of, options):
    asked: list[str] = []

    def hub(source: str) -> str:
        asked.append(source)
        return ""

    drawn, missing = encoder_findings(grid_of(GRID), options(), hub)
    assert drawn.state == "ok"
    text = "'wavlm-large' is not here and will be downloaded at the start"
    assert missing == warning("encoder", text, "hf download microsoft/wavlm-large")
    assert asked == ["microsoft/wavlm-large"]


def test_weights_that_can_t_be_had_are_a_problem(grid_of, options):
    _, missing = encoder_findings(grid_of(GRID), options(), lambda source: "the network is down")
    text = "'wavlm-large' is not here, and can't be downloaded now: the network is down"
    remedy = "hf download microsoft/wavlm-large while online, or its folder: --encoder FOLDER"
    assert missing == problem("encoder", text, remedy)


def test_rows_that_are_not_wanted_need_no_encoder(grid_of, options):
    (finding,) = encoder_findings(grid_of(GRID), options(only=("a",)))
    assert finding == ok("encoder", "logmel-small needs no weights")


@pytest.mark.parametrize(
    ("settings", "weights", "text"),
    [
        ("{}", True, "must be one of hubert, wav2vec2, wavlm, whisper, got nothing"),
        ('{"model_type": "wavlm", "hidden_size": 24, "num_hidden_layers": 2}', False, "must hold"),
        (
            '{"model_type": "wavlm", "hidden_size": 24, "num_hidden_layers": 2}',
            True,
            "pooling.heads must divide the 24 features of ",
        ),
    ],
)
def test_a_folder_that_is_no_fitting_encoder_is_a_problem(
    grid_of, options, tmp_path, settings, weights, text
):
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text(settings)
    if weights:
        (folder / "model.safetensors").touch()
    grid = grid_of(GRID, encoder=str(folder))
    (finding,) = encoder_findings(grid, options())
    assert finding.state == "problem"
    assert text in finding.text
    assert "--encoder NAME or FOLDER" in finding.remedy


def test_a_demo_needs_no_corpus(grid_of, options):
    (finding,) = corpus_findings(grid_of(GRID, demo=True), options())
    assert finding.text == "savee and ravdess: synthetic speech, written at the first start"


def test_no_corpus_at_all_is_a_problem(grid_of, options, tmp_path):
    findings = list(corpus_findings(grid_of(GRID), options(data=tmp_path)))
    assert [finding.state for finding in findings] == ["problem", "problem"]
    assert f"{tmp_path} is not SAVEE" in findings[0].text
    assert findings[1].remedy == (
        "--data DIR (or SER_DATA) with its folder; python runner.py fetch ravdess --data DIR"
    )


def test_without_a_folder_of_corpora_the_option_is_named(grid_of, options):
    (first, _) = corpus_findings(grid_of(GRID), options())
    assert "its folder must be given with --data DIR or SER_DATA, got neither" in first.text


def test_counts_that_differ_are_a_problem_and_one_absent_corpus_a_warning(grid_of, options, data):
    savee, ravdess = corpus_findings(grid_of(GRID), options(data=data))
    assert savee.state == "problem"
    assert savee.text.startswith(f"savee: 56 utterances, from {data / 'savee'}; ")
    assert "--accept-counts" in savee.remedy
    assert ravdess.state == "warning"
    assert ravdess.text.endswith("its rows of the table would stay empty")


def test_counts_that_differ_can_be_accepted(grid_of, options, data):
    savee, _ = corpus_findings(grid_of(GRID), options(data=data, accept_counts=True))
    assert savee.state == "ok"
    assert savee.text.endswith("from the paper's, accepted")


def test_without_a_grid_a_folder_s_corpora_are_named(data, tmp_path):
    finding = data_finding(data)
    assert finding == ok(
        "corpus",
        f"{data} holds savee",
        "for iemocap, msp_improv and ravdess: python runner.py fetch NAME --data DIR",
    )
    assert data_finding(tmp_path).state == "warning"
