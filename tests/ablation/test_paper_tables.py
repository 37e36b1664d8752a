"""The paper's tables in all their formats: order, columns, and what stands beside the published."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from ablation.columns import Column
from ablation.grid import Grid, Overrides
from ablation.grid_file import load_grid
from ablation.latex import escape, latex
from ablation.paper_tables import layout_of
from ablation.published import Published
from ablation.report import summarise_grid, write_report
from tests.ablation.told import drawn_scores
from tests.ablation.typeset import needs_latex, typeset

ROOT = Path(__file__).resolve().parents[2]


def grid(name: str, figures: Published, **overrides) -> Grid:
    return load_grid(ROOT / "grids" / f"{name}.yaml", Overrides(**overrides), figures)


def layout(study: Grid, figures: Published, oracle: float | None = None, missing: int = 0):
    scores = drawn_scores(study, lambda cell: 0.7, oracle=oracle)[missing:]
    found = layout_of(summarise_grid(study, scores, figures), figures, study.demo)
    return found, {column.header.replace("\n", " "): column.cells for column in found.columns}


def test_table_3_has_the_paper_s_ticks_in_its_order(figures):
    found, cells = layout(grid("table3", figures), figures)
    assert found.table == "table3"
    assert list(cells)[:12] == [
        "row",
        *("HuBERT Large", "WavLM Large", "LAM", "EAM", "MaxPool", "MeanPool", "FLAM"),
        *("KL-div", "Center", "Focal", "SupCon"),
    ]
    ticks = {"HuBERT Large": range(1, 6), "WavLM Large": range(6, 16), "LAM": (1, 4, 6, 11)}
    ticks |= {"MaxPool": (9,), "MeanPool": (10,), "KL-div": range(1, 16), "Focal": (13, 15)}
    ticks |= {"SupCon": (14, 15), "EAM": (3, 5, 8, 9, 10, 12, 13, 14, 15)}
    for header, rows in ticks.items():
        assert [i for i, cell in enumerate(cells[header], 1) if cell] == list(rows), header
    assert cells["published WA %"][0] == "75.37"
    assert cells["published UA %"][14] == "79.14"
    assert set(cells["folds"]) == {"5/5"}


def test_table_3_ticks_what_the_paper_has_not_where_a_row_uses_it(figures):
    set_all = {"mixup.method": "mixup", "pooling.method": "statistics"}
    _, cells = layout(grid("table3", figures, settings=set_all), figures)
    assert list(cells)[3:13] == [
        *("LAM", "EAM", "plain", "MaxPool", "MeanPool", "FLAM", "mean and deviation"),
        *("KL-div", "Center", "Focal"),
    ]
    assert set(cells["plain"]) == set(cells["mean and deviation"]) == {"✓"}
    assert not any(cells["LAM"] + cells["EAM"] + cells["FLAM"])


def test_table_1_has_each_corpus_s_methods_and_our_row_last(figures):
    found, cells = layout(grid("table1", figures), figures)
    assert list(cells)[:4] == ["corpus", "method", "modality", "WA %"]
    assert [cells["corpus"].count(name) for name in ("iemocap", "msp_improv", "ravdess")] == [
        10,
        8,
        9,
    ]
    assert cells["method"][:2] == ("Tang et al. [19]", "Sun et al. [20]")
    assert cells["method"][8:10] == ("Wang et al., the paper", "ours: full-method")
    assert cells["WA %"][8] == "78.47"
    assert cells["modality"][6] == "M"
    assert cells["UA %"][10] == "–"  # not legible in the paper
    ours = float(cells["UA %"][9].split()[0])
    assert float(cells["diff. UA"][9].replace("−", "-")) == pytest.approx(ours - 79.14, abs=0.011)
    assert not any(cells["diff. UA"][:9])
    assert found.paper["table"] == "table1"
    assert found.paper["rows"][0] == {
        "corpus": "iemocap",
        "method": "Tang et al.",
        "reference": 19,
        "modality": "A",
        "wa": 71.64,
        "ua": 72.72,
    }


def test_table_2_has_the_speakers_and_the_differences_below(figures):
    _, cells = layout(grid("table2", figures), figures)
    assert list(cells)[:6] == ["method", "DC", "JE", "JK", "KL", "Mean"]
    assert cells["DC"][:3] == ("81.60", "82.30", "73.70")
    assert cells["Mean"][1] == "72.30"
    assert cells["method"][3:] == ("ours: full-method", "difference, full-method − the paper")
    difference = float(cells["KL"][4].replace("−", "-"))
    assert difference == pytest.approx(float(cells["KL"][3]) - 53.0, abs=0.011)


def test_an_incomplete_table_marks_and_counts_its_holes(figures):
    _, cells = layout(grid("table2", figures), figures, missing=1)
    assert cells["DC"][3] == "–"
    assert cells["folds"][3] == "‡ 3/4"
    assert cells["Mean"][3].startswith("‡ ")
    assert len(cells["method"]) == 4  # no difference of an incomplete row


def test_a_demo_has_the_paper_s_columns_and_none_of_its_figures(figures):
    for name in ("table1", "table2", "table3"):
        found, cells = layout(grid(name, figures, demo=True), figures)
        assert found.paper is None
        assert not [header for header in cells if "published" in header or "diff" in header]
        assert "Wang et al., the paper" not in cells.get("method", ())


def test_other_grids_keep_the_general_table(figures):
    study = grid("table3", figures)
    summaries = summarise_grid(study, [], figures)
    other = replace(summaries[0], cell=replace(summaries[0].cell, published=""))
    assert layout_of([other, *summaries[1:]], figures, False) is None
    savee = grid("table2", figures, corpora=("ravdess",))
    assert layout_of(summarise_grid(savee, [], figures), figures, False) is None


def written(study: Grid, figures: Published, folder: Path) -> dict[str, str]:
    summaries = summarise_grid(study, drawn_scores(study, lambda c: 0.7, oracle=0.02), figures)
    report = write_report(study, summaries, folder, "abc", figures)
    return {path.name: path.read_text(encoding="utf-8") for path in report.files}


@pytest.mark.parametrize("name", ["table1", "table2", "table3"])
def test_the_optimism_stands_in_every_format_and_is_named_there(name, figures, tmp_path):
    files = written(grid(name, figures), figures, tmp_path)
    assert "optimism† UA" in files["table.md"]
    assert "- optimism†: how much higher" in files["table.md"]
    assert r"optimism$^{\dagger}$" in files["table.tex"]
    rows = [row for row in csv.DictReader(io.StringIO(files["table.csv"])) if row["encoder"]]
    assert {row["ua_optimism"] for row in rows} == {"2.00"}
    for row in rows:
        honest, picked = float(row["ua_percent"]), float(row["ua_oracle_optimistic"])
        assert picked - honest == pytest.approx(2.0, abs=0.011)
    for row in json.loads(files["results.json"])["rows"]:
        assert row["optimism"] == pytest.approx({"wa": 0.02, "ua": 0.02})


def test_csv_has_the_paper_s_methods_before_our_row_and_numbers_alone(figures, tmp_path):
    text = written(grid("table1", figures), figures, tmp_path)["table.csv"]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["source"] for row in rows[:10]] == ["published"] * 9 + ["this study"]
    assert (rows[0]["row"], rows[0]["reference"], rows[0]["modality"]) == ("Tang et al.", "19", "A")
    for row in rows:
        for name, value in row.items():
            if name.startswith(("wa_", "ua_")) and value:
                float(value)
    assert rows[9]["wa_difference"] == f"{float(rows[9]['wa_percent']) - 78.47:.2f}"


def test_csv_starts_no_formula_in_a_spreadsheet(figures, tmp_path):
    study = grid("table3", figures)
    summaries = summarise_grid(study, drawn_scores(study, lambda c: 0.7), figures)
    hostile = replace(summaries[0], cell=replace(summaries[0].cell, row="=cmd|' /C calc'!A0"))
    report = write_report(study, [hostile, *summaries[1:]], tmp_path, "", figures)
    text = report.files[2].read_text()
    assert "'=cmd|' /C calc'!A0" in text
    assert ",=cmd" not in text


def test_the_results_say_how_rows_were_compared(figures, tmp_path):
    document = json.loads(written(grid("table3", figures), figures, tmp_path)["results.json"])
    head = document["statistics"]
    assert (head["baseline"], head["level"], head["tests"]) == ("hubert-lam", 0.05, 28)
    assert head["mcnemar"].startswith("McNemar's exact test")
    assert document["rows"][0]["tests"] is None
    assert document["rows"][1]["tests"]["runs"] == 5
    low, high = document["rows"][1]["interval"]["ua"]
    assert low < document["rows"][1]["pooled"]["ua"] < high


HOSTILE = "50 % of $x_1$ & \\input{/etc/passwd} #~^{}<>|\"`' -- [0] é ß ø 漢 😀 †‡±−✓* Ż"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("\\input{x}", r"\textbackslash{}input\{x\}"),
        ("--- [x]", r"-{}-{}- {[}x{]}"),
        ("é ñ Ż", r"\'{e} \~{n} \.{Z}"),
        ("漢", r"\texttt{U+6F22}"),
        ("‡ 1 ± 2 −", r"$^{\ddagger}$ 1 $\pm$ 2 $-$"),
        ("two\nlines\x07", "two lines"),
    ],
)
def test_latex_prints_text_literally(text, expected):
    assert escape(text) == expected


@needs_latex
def test_every_table_compiles_whatever_a_user_s_file_says(figures, tmp_path):
    for name in ("table1", "table2", "table3"):
        written(grid(name, figures), figures, tmp_path)
    columns = [Column(HOSTILE, (HOSTILE, "[x]"), "left"), Column("a\nb", ("*", "1"), group=HOSTILE)]
    text = latex(columns, title=HOSTILE, notes=[HOSTILE], demo=True, label="a_b")
    (tmp_path / "hostile.tex").write_text(text, encoding="utf-8")
    tables = ("table1/table", "table2/table", "table3/table", "hostile")
    assert typeset(tables, tmp_path).stat().st_size > 10_000
