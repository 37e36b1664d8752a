"""The paper's figures, typed here a second time, and how malformed files are refused."""

from pathlib import Path

import pytest
import yaml

from ablation.grid import Overrides
from ablation.grid_file import load_grid
from ablation.published import Published, load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "reports" / "published.yaml"


@pytest.fixture(scope="module")
def paper() -> Published:
    return load(FILE)


@pytest.fixture
def content():
    return yaml.load(
        FILE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )


def refusal(tmp_path, content) -> str:
    path = tmp_path / "published.yaml"
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"published\.yaml: ") as caught:
        load(path)
    return str(caught.value).removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("number", "encoder", "wa", "ua"),
    [
        (1, "hubert-large", 75.37, 76.04),
        (2, "hubert-large", 75.83, 76.45),
        (3, "hubert-large", 76.18, 76.69),
        (4, "hubert-large", 76.22, 76.84),
        (5, "hubert-large", 76.31, 76.90),
        (6, "wavlm-large", 76.98, 77.14),
        (7, "wavlm-large", 77.12, 77.58),
        (8, "wavlm-large", 77.26, 77.71),
        (9, "wavlm-large", 77.32, 77.74),
        (10, "wavlm-large", 77.47, 77.95),
        (11, "wavlm-large", 77.58, 78.02),
        (12, "wavlm-large", 77.63, 78.10),
        (13, "wavlm-large", 77.96, 78.56),
        (14, "wavlm-large", 78.23, 78.83),
        (15, "wavlm-large", 78.47, 79.14),
    ],
)
def test_table_3_gives_the_paper_s_figures_as_fractions(paper, number, encoder, wa, ua):
    figure = paper.lookup(f"table3.{number}", "iemocap", encoder)
    assert (figure.wa, figure.ua) == pytest.approx((wa / 100, ua / 100))
    assert figure.speakers == {}


@pytest.mark.parametrize(
    ("number", "mixup", "aggregation"),
    [(9, "eam", "max"), (10, "eam", "mean"), (11, "lam", "flam"), (12, "eam", "flam")],
)
def test_the_damaged_rows_of_table_3_are_resolved_by_the_prose(paper, number, mixup, aggregation):
    row = paper.table3[number - 1]
    assert (row.encoder, row.mixup, row.aggregation) == ("wavlm-large", mixup, aggregation)
    assert row.losses == ("kl", "center")


@pytest.mark.parametrize(
    ("corpus", "wa", "ua"),
    [("iemocap", 78.47, 79.14), ("msp_improv", 58.55, 58.34), ("ravdess", 93.40, 92.28)],
)
def test_table_1_gives_the_full_method_on_each_corpus(paper, corpus, wa, ua):
    figure = paper.lookup("table1.ours", corpus, "wavlm-large")
    assert (figure.wa, figure.ua) == pytest.approx((wa / 100, ua / 100))


def test_table_1_keeps_every_method_in_the_paper_s_order(paper):
    assert {corpus: len(rows) for corpus, rows in paper.table1.items()} == {
        "iemocap": 9,
        "msp_improv": 7,
        "ravdess": 8,
    }
    cells = [(r.reference, r.modality, r.wa, r.ua) for r in paper.table1["iemocap"]]
    assert cells[5] == (8, "A", 75.37, 76.04)
    assert cells[7] == (25, "M", 75.20, 76.40)
    assert [r.reference for r in paper.table1["ravdess"]] == [32, 33, 13, 34, 35, 36, 33, None]
    assert [r.modality for r in paper.table1["ravdess"]] == list("AAAAMMMA")


def test_a_figure_that_is_not_printed_or_legible_is_none(paper):
    missing = [
        (corpus, row.method)
        for corpus, rows in paper.table1.items()
        for row in rows
        if row.ua is None or row.wa is None
    ]
    assert missing == [
        ("msp_improv", "Guo et al."),
        ("ravdess", "Chumachenko et al."),
        ("ravdess", "Sadok et al."),
    ]


def test_table_2_gives_ua_per_speaker_and_no_wa(paper):
    figure = paper.lookup("table2.ours", "savee", "wavlm-large")
    assert figure.wa is None
    assert figure.ua == pytest.approx(0.723)
    assert figure.speakers == pytest.approx({"DC": 0.823, "JE": 0.87, "JK": 0.669, "KL": 0.53})
    assert [(row.method, row.mean) for row in paper.table2] == [
        ("Chen et al.", 71.1),
        ("Ours", 72.3),
        ("Human", 66.5),
    ]


@pytest.mark.parametrize("row", range(3))
def test_the_means_of_table_2_are_those_of_its_speakers(paper, row):
    speakers = paper.table2[row].speakers
    mean = (speakers.DC + speakers.JE + speakers.JK + speakers.KL) / 4
    # 71.125, 72.3 and 66.45: printed rounded up
    assert mean == pytest.approx(paper.table2[row].mean, abs=0.0501)


@pytest.mark.parametrize(
    ("reference", "corpus", "encoder"),
    [
        ("table3.12", "ravdess", "wavlm-large"),
        ("table3.12", "iemocap", "hubert-large"),
        ("table3.1", "iemocap", "wavlm-large"),
        ("table1.ours", "iemocap", "logmel-base"),
        ("table1.ours", "savee", "wavlm-large"),
        ("table2.ours", "savee", "wavlm-base"),
        ("", "iemocap", "wavlm-large"),
    ],
)
def test_another_corpus_or_encoder_has_no_published_figure(paper, reference, corpus, encoder):
    assert paper.lookup(reference, corpus, encoder) is None


def test_the_known_references_are_those_of_our_rows(paper):
    assert paper.references == (
        "table1.ours",
        "table2.ours",
        *(f"table3.{number}" for number in range(1, 16)),
    )
    assert paper.exists("table3.15")
    assert not paper.exists("table3.16")
    assert not paper.exists("")


def test_an_unknown_reference_is_refused_with_a_suggestion(paper):
    with pytest.raises(ValueError, match=r"got 'tabel3\.12'; did you mean 'table3\.12'\?"):
        paper.lookup("tabel3.12", "iemocap", "wavlm-large")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file: must be a mapping, got nothing"),
        ("[1, 2]", "the file: must be a mapping, got [1, 2]"),
        ("paper: {}", "tables: must be given"),
        ("tables: 3", "tables: must be a mapping, got 3"),
        ("tables: {table1: {}, table2: {}}", "tables.table3: must be given"),
        ("tables: {table1: {}, table2: {}, table3: {}}", "tables.table1.corpora: must be given"),
    ],
)
def test_a_malformed_file_is_refused_by_key(tmp_path, text, message):
    assert refusal(tmp_path, text) == message


@pytest.mark.parametrize(
    "text", ["{", "a: &a [*a]", "a: 2024-99-99", "[" * 5000, "x: !!python/none", "a: 1\na: 2"]
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path, text):
    assert refusal(tmp_path, text)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: must be a readable file"):
        load(tmp_path / "nowhere.yaml")


def test_a_wrong_figure_is_refused_by_row_and_key(tmp_path, content):
    content["tables"]["table3"]["rows"][11] |= {"ua": 781.0, "mixup": "aem", "note": "x"}
    message = refusal(tmp_path, content)
    assert "tables.table3.rows[11].note: unknown key" in message
    assert "tables.table3.rows[11].mixup: must be one of none, lam, eam, got 'aem'" in message
    assert "tables.table3.rows[11].ua: must lie in 0..100, got 781.0" in message


def test_a_missing_figure_is_refused_by_row_and_key(tmp_path, content):
    del content["tables"]["table1"]["corpora"]["ravdess"][2]["wa"]
    assert refusal(tmp_path, content) == "tables.table1.corpora.ravdess[2].wa: must be given"


def test_a_missing_speaker_is_refused_by_name(tmp_path, content):
    del content["tables"]["table2"]["rows"][0]["speakers"]["JK"]
    assert refusal(tmp_path, content) == "tables.table2.rows[0].speakers.JK: must be given"


def test_a_table_without_our_row_is_refused(tmp_path, content):
    content["tables"]["table2"]["rows"].pop(1)
    expected = "tables.table2.rows: must hold one row whose method is 'Ours', got 0"
    assert refusal(tmp_path, content) == expected


def test_rows_out_of_number_are_refused(tmp_path, content):
    content["tables"]["table3"]["rows"] = content["tables"]["table3"]["rows"][1:3]
    expected = "tables.table3.rows: must be numbered 1, 2, 3 and so on, got [2, 3]"
    assert refusal(tmp_path, content) == expected


@pytest.mark.parametrize(("value", "shown"), [(None, "nothing"), ("", "''"), (3, "3")])
def test_a_table_needs_the_encoder_it_speaks_of(tmp_path, content, value, shown):
    content["tables"]["table2"]["encoder"] = value
    assert refusal(tmp_path, content) == f"tables.table2.encoder: must be a text, got {shown}"


@pytest.mark.parametrize("value", [None, [], "rows", [3]])
def test_a_table_without_rows_is_refused(tmp_path, content, value):
    content["tables"]["table3"]["rows"] = value
    assert refusal(tmp_path, content).startswith("tables.table3.rows")


def test_every_row_of_the_grid_of_table_3_is_the_paper_s_row(paper):
    grid = load_grid(ROOT / "grids" / "table3.yaml", Overrides(), paper)
    assert len(grid.cells) == 15
    for cell, row in zip(grid.cells, paper.table3, strict=True):
        config = cell.config
        assert cell.published == f"table3.{row.number}"
        assert config.encoder.name == row.encoder
        assert config.mixup.method == row.mixup
        assert config.pooling.method == row.aggregation
        assert config.losses.terms == row.losses
        # KL and center alone are the baseline's, with the baseline's weights.
        assert config.losses.weighting == ("fixed" if row.number <= 12 else "calibrated")
        assert (config.losses.kl_weight, config.losses.center_weight) == (1.0, 0.002)
        assert config.evaluation.record_oracle
        assert paper.lookup(cell.published, config.corpus.name, config.encoder.name) is not None


@pytest.mark.parametrize(
    ("name", "corpora"),
    [("table1", ("iemocap", "msp_improv", "ravdess")), ("table2", ("savee",))],
)
def test_the_grids_of_tables_1_and_2_run_the_full_method(paper, name, corpora):
    grid = load_grid(ROOT / "grids" / f"{name}.yaml", Overrides(), paper)
    full = load_grid(ROOT / "grids" / "table3.yaml", Overrides(), paper).cells[-1].config
    assert tuple(grid.corpora) == corpora
    assert grid.rows == ("full-method",)
    assert grid.selection == "last"
    for cell in grid.cells:
        for part in ("encoder", "audio", "mixup", "pooling", "losses", "training", "evaluation"):
            assert getattr(cell.config, part) == getattr(full, part)
        assert paper.lookup(cell.published, cell.config.corpus.name, cell.config.encoder.name)
