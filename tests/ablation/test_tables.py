"""What a table prints, byte for byte, and what it says below."""

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from ablation.aggregate import Summary, summarise
from ablation.grid import Cell
from ablation.published import PublishedFigure
from ablation.scores import FoldScore, SpeakerScore
from ablation.tables import columns, markdown, notes, terminal
from core.config import RunConfig
from tests.ablation.stand_ins import corpus_of

KL_CENTER = {"losses.terms": ["kl", "center"], "losses.weighting": "fixed"}


def figure_of(wa, ua, **changes) -> PublishedFigure:
    values = {"reference": "table3.8", "corpus": "iemocap", "encoder": "wavlm-large"}
    return PublishedFigure(**(values | {"wa": wa, "ua": ua} | changes))


def summary_of(row, rates, published=None, *, folds=2, seeds=(0,), **settings) -> Summary:
    """`rates` are (wa, ua) or (wa, ua, wa_oracle, ua_oracle) of folds 1, 2, ... in turn."""
    left_out, speakers = settings.pop("left_out", 0), settings.pop("speakers", "abcdefgh")
    config = RunConfig.from_dict(settings)
    cell = Cell(
        row=row,
        published=published.reference if published else "",
        config=config,
        corpus=corpus_of(config, folds, ("angry", "sad")),
        seeds=seeds,
    )
    runs = [(fold, seed) for seed in seeds for fold in range(1, folds + 1)]
    scores = [
        FoldScore(
            row=row,
            corpus=config.corpus.name,
            fold=fold,
            seed=seed,
            run_id="0" * 12,
            n=2,
            wa=rate[0],
            ua=rate[1],
            wa_oracle=rate[2] if rate[2:] else None,
            ua_oracle=rate[3] if rate[2:] else None,
            best_epoch=1,
            speakers={speakers[fold - 1]: SpeakerScore(n=2, wa=rate[0], ua=rate[1])},
            confusion=((1, 0), (0, 1)),
            left_out=left_out,
        )
        for (fold, seed), rate in zip(runs, rates, strict=False)
    ]
    return summarise(cell, scores, published)


@pytest.fixture
def table_3() -> list[Summary]:
    """Two complete rows and one that misses a fold."""
    return [
        summary_of(
            "wavlm-eam",
            [(0.76, 0.77, 0.78, 0.79), (0.78, 0.79, 0.80, 0.81)],
            figure_of(0.7726, 0.7771),
            **KL_CENTER,
            **{"pooling.method": "first"},
        ),
        summary_of(
            "full",
            [(0.79, 0.80, 0.80, 0.81), (0.79, 0.80, 0.80, 0.81)],
            figure_of(0.7847, 0.7914),
        ),
        summary_of("none", [(0.5, 0.6, 0.7, 0.8)], **{"mixup.method": "none"}),
    ]


def cells_of(summaries, header) -> tuple[str, ...]:
    found = {column.header.replace("\n", " "): column.cells for column in columns(summaries)}
    return found[header]


def headers_of(summaries) -> list[str]:
    return [column.header.replace("\n", " ") for column in columns(summaries)]


def rendered(summaries, width, **changes) -> list[str]:
    settings = {"title": "Table 3", "demo": False, "selection": "last"}
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(terminal(summaries, width=width, **(settings | changes)))
    return console.file.getvalue().splitlines()


GOLDEN = """\
# Table 3: ablation

| row       | encoder     | mixup | aggregation | KL  | Center | Focal | SupCon |         WA % | oracle† WA % | optimism† WA | published WA % | diff. WA |         UA % | oracle† UA % | optimism† UA | published UA % | diff. UA | folds |
| --------- | ----------- | ----- | ----------- | :-: | :----: | :---: | :----: | -----------: | -----------: | -----------: | -------------: | -------: | -----------: | -----------: | -----------: | -------------: | -------: | ----: |
| wavlm-eam | wavlm-large | EAM   | first frame |  ✓  |   ✓    |       |        | 77.00 ± 1.41 |        79.00 |        +2.00 |          77.26 |    −0.26 | 78.00 ± 1.41 |        80.00 |        +2.00 |          77.71 |    +0.29 |   2/2 |
| full      | wavlm-large | EAM   | FLAM        |  ✓  |   ✓    |   ✓   |   ✓    | 79.00 ± 0.00 |        80.00 |        +1.00 |          78.47 |    +0.53 | 80.00 ± 0.00 |        81.00 |        +1.00 |          79.14 |    +0.86 |   2/2 |
| none      | wavlm-large | –     | FLAM        |  ✓  |   ✓    |   ✓   |   ✓    |      ‡ 50.00 |        70.00 |       +20.00 |              – |        – |      ‡ 60.00 |        80.00 |       +20.00 |              – |        – | ‡ 1/2 |

- Mean ± sample standard deviation over folds; no ± for one alone.
- Selection: last (all training folds train, the last epoch is scored).
- † oracle: the epoch with the best UA on the test fold itself. Optimistic, a practice behind many published figures, and never the headline.
- optimism†: how much higher, in points, that picking puts the mean.
- diff.: ours minus published, in points, for complete rows.
- One seed: how far another one would move these figures is not known.
- Published figures are shown only for the paper's corpus and encoder.
- ‡ incomplete, over the finished folds alone. Missing: none on iemocap (fold 2).
- Code: commit abc123.
"""


def test_the_markdown_table_is_this_one(table_3):
    text = markdown(
        table_3, title="Table 3: ablation", demo=False, selection="last", commit="abc123"
    )
    assert text == GOLDEN


def test_a_demo_says_first_that_it_says_nothing_about_the_paper(table_3):
    text = markdown(table_3, title="Table 3", demo=True, selection="last")
    assert "say nothing about the paper" in text.splitlines()[0]
    assert "say nothing about the paper" in rendered(table_3, 80, demo=True)[0]


def test_without_published_figures_there_is_no_such_column_but_a_reason():
    summaries = [summary_of("a", [(0.5, 0.5), (0.5, 0.5)])]
    assert headers_of(summaries)[-3:] == ["WA %", "UA %", "folds"]
    text = markdown(summaries, title="t", demo=False, selection="last")
    assert "| published" not in text
    assert "diff." not in text
    assert "- Published figures are shown only for the paper's corpus and encoder.\n" in text


def test_without_oracle_there_is_no_such_column_and_no_note():
    summaries = [summary_of("a", [(0.5, 0.5), (0.5, 0.5)])]
    assert "†" not in markdown(summaries, title="t", demo=False, selection="last")


def test_rows_chosen_on_the_test_fold_are_marked_wherever_they_stand():
    summaries = [
        summary_of("honest", [(0.5, 0.5), (0.5, 0.5)]),
        summary_of("rosy", [(0.6, 0.6), (0.6, 0.6)], **{"evaluation.selection": "oracle"}),
    ]
    assert cells_of(summaries, "UA %") == ("50.00 ± 0.00", "† 60.00 ± 0.00")
    found = "\n".join(notes(summaries, "mixed"))
    assert "† oracle: the epoch with the best UA on the test fold itself. Optimistic" in found
    assert "Selection: not the same in all rows" in found


@pytest.mark.parametrize(
    ("selection", "words"),
    [("last", "the last epoch"), ("validation", "held-out"), ("oracle", "on the test fold itself")],
)
def test_the_selection_is_named_in_the_notes(selection, words):
    (note,) = [n for n in notes([], selection) if n.startswith(f"Selection: {selection} ")]
    assert words in note


def test_an_incomplete_row_has_no_difference_and_names_what_is_missing():
    summaries = [
        summary_of("a", [(0.5, 0.6)] * 2, figure_of(0.5, 0.5), folds=5),
        summary_of("b", [], figure_of(0.5, 0.5), folds=5),
    ]
    assert cells_of(summaries, "UA %") == ("‡ 60.00 ± 0.00", "‡ –")
    assert cells_of(summaries, "published UA %") == ("50.00", "50.00")
    assert cells_of(summaries, "diff. UA") == ("–", "–")
    assert cells_of(summaries, "folds") == ("‡ 2/5", "‡ 0/5")
    assert notes(summaries, "last")[-1] == (
        "‡ incomplete, over the finished folds alone. "
        "Missing: a on iemocap (fold 3, 4, 5); b on iemocap (every fold)."
    )


def test_many_missing_runs_are_counted_and_not_all_named():
    summaries = [summary_of("a", [(0.5, 0.5)] * 2, folds=5, seeds=(3, 4))]
    assert cells_of(summaries, "folds × seeds") == ("‡ 2/10",)
    assert notes(summaries, "last")[-1].endswith(
        "a on iemocap (fold 1 seed 4, 2 seed 4, 3 seed 3, 3 seed 4, 4 seed 3, 4 seed 4, 2 more)."
    )


def test_the_spread_says_what_it_runs_over():
    one = [summary_of("a", [(0.5, 0.5)] * 2)]
    both = [summary_of("a", [(0.4, 0.4)] * 2 + [(0.6, 0.6)] * 2, seeds=(0, 1))]
    assert notes(one, "last")[0].startswith("Mean ± sample standard deviation over folds;")
    assert notes(both, "last")[0].startswith("Mean ± sample standard deviation over folds × seeds;")
    assert cells_of(both, "UA %") == ("50.00 ± 11.55",)  # sqrt(4 * 0.01 / 3)


def test_a_lone_fold_prints_no_spread():
    assert cells_of([summary_of("a", [(0.5, 0.625)], folds=1)], "UA %") == ("62.50",)


@pytest.mark.parametrize(
    ("ours", "difference"),
    [(0.7914, "0.00"), (0.79138, "0.00"), (0.8, "+0.86"), (0.7, "−9.14"), (0.79146, "+0.01")],
)
def test_differences_carry_a_sign_unless_they_are_none(ours, difference):
    summaries = [summary_of("a", [(ours, ours)] * 2, figure_of(0.7914, 0.7914))]
    assert cells_of(summaries, "diff. UA") == (difference,)


def test_the_corpus_stands_in_its_own_column_when_there_are_several():
    summaries = [
        summary_of("full", [(0.5, 0.5)] * 2, **{"corpus.name": corpus})
        for corpus in ("iemocap", "ravdess")
    ]
    assert headers_of(summaries)[:2] == ["row", "corpus"]
    assert cells_of(summaries, "corpus") == ("iemocap", "ravdess")
    assert "corpus" not in headers_of(summaries[:1])


def test_savee_shows_each_speaker_beside_the_paper():
    paper = figure_of(
        None,
        0.723,
        reference="table2.ours",
        corpus="savee",
        speakers={"DC": 0.823, "JE": 0.87, "JK": 0.669, "KL": 0.53},
    )
    rates = [(0.8, 0.82), (0.8, 0.86), (0.6, 0.66), (0.5, 0.54)]
    savee = summary_of(
        "full", rates, paper, folds=4, speakers=("DC", "JE", "JK", "KL"), **{"corpus.name": "savee"}
    )
    assert headers_of([savee])[-10:-1] == [
        "diff. UA",
        "DC UA %",
        "published DC",
        "JE UA %",
        "published JE",
        "JK UA %",
        "published JK",
        "KL UA %",
        "published KL",
    ]
    assert cells_of([savee], "JK UA %") == ("66.00",)
    assert cells_of([savee], "published JK") == ("66.90",)
    assert cells_of([savee], "UA %")[0].startswith("72.00 ± ")  # the mean of the four
    assert cells_of([savee], "diff. UA") == ("−0.30",)
    assert "published WA %" not in headers_of([savee])
    other = summary_of("full", [(0.5, 0.5)] * 2, speakers=("Ses01_F", "Ses01_M"))
    assert cells_of([other, savee], "KL UA %") == ("–", "54.00")
    assert "Ses01_F UA %" not in headers_of([other, savee])


def test_left_out_utterances_are_told_by_corpus():
    summaries = [
        summary_of("a", [(0.5, 0.5)] * 2, left_out=3),
        summary_of("b", [(0.5, 0.5)] * 2, left_out=3),
        summary_of("a", [(0.5, 0.5)] * 2, left_out=1, **{"corpus.name": "savee"}),
    ]
    expected = "Left out, as their audio could not be read: utterances, 3 of iemocap, 1 of savee."
    assert expected in notes(summaries, "last")
    assert not any("Left out" in note for note in notes([], "last"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("wavlm-large", "wavlm-large"),
        ("openai/whisper-tiny", "openai/whisper-tiny"),
        ("/home/someone/models/whisper-tiny.en-encoder", "whisper-tiny.en-encoder"),
        ("../models/hubert", "hubert"),
    ],
)
def test_an_encoder_in_a_folder_is_shown_without_its_path(name, shown):
    summaries = [summary_of("a", [(0.5, 0.5)] * 2, **{"encoder.name": name})]
    assert cells_of(summaries, "encoder") == (shown,)


def test_markdown_cells_show_their_text_literally():
    row = "a|b\n<img src=x> *c* [d](e) `f` \\ & ~g~"
    summaries = [summary_of(row, [(0.5, 0.5)] * 2, **{"encoder.name": "org/<b>|"})]
    text = markdown(summaries, title="<script>\n# x", demo=False, selection="last")
    lines = text.splitlines()
    assert lines[0] == "# &lt;script&gt; # x"
    shown = r"a\|b &lt;img src=x&gt; \*c\* \[d\](e) \`f\` \\ &amp; \~g\~"
    assert lines[4].startswith(f"| {shown} | org/&lt;b&gt;\\| |")
    assert "<" not in text


def test_markdown_lines_of_the_table_are_equally_wide(table_3):
    text = markdown(table_3, title="t", demo=False, selection="last")
    widths = {cell_len(line) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_a_table_of_no_rows_has_a_head_and_notes():
    text = markdown([], title="t", demo=False, selection="last")
    assert "| row " in text
    assert rendered([], 80)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 160, 240])
def test_no_line_is_wider_than_the_terminal(table_3, width):
    table_3[0] = replace(table_3[0], cell=replace(table_3[0].cell, row="wavlm-eam-" * 6 + "end"))
    assert max(map(cell_len, rendered(table_3, width, demo=True))) <= width


def test_80_columns_keep_every_figure_whole_and_say_what_went(table_3):
    lines = rendered(table_3, 80)
    text = "\n".join(lines)
    assert "…" not in text
    assert "row" in lines[2]
    (full,) = [line for line in lines if line.startswith("full ")]
    assert " ".join(full.split()) == "full 79.00 ± 0.00 80.00 +0.53 80.00 ± 0.00 81.00 +0.86 2/2"
    assert "Too narrow for: encoder, mixup, aggregation, KL, Center, Focal, SupCon," in text
    assert "table.md" in text


def test_a_wide_terminal_has_every_column_of_the_markdown(table_3):
    lines = rendered(table_3, 220)
    assert "Too narrow" not in "\n".join(lines)
    (full,) = [line for line in lines if line.startswith("full ")]
    expected = "full wavlm-large EAM FLAM ✓ ✓ ✓ ✓ 79.00 ± 0.00 80.00 +1.00 78.47 +0.53 80.00 ± 0.00"
    assert full.split()[:18] == expected.split()


def test_a_long_row_name_breaks_at_its_hyphens(table_3):
    name = "wavlm-eam-flam-focal-supcon-and-yet-more"
    table_3[1] = replace(table_3[1], cell=replace(table_3[1].cell, row=name))
    first = [line.split(" ")[0] for line in rendered(table_3, 80)]
    start = first.index("wavlm-eam") + 1
    assert first[start].endswith("-")
    assert name.startswith(first[start])
    assert name.endswith(first[start + 1])


def test_a_terminal_shows_markup_in_names_literally(table_3):
    table_3[1] = replace(table_3[1], cell=replace(table_3[1].cell, row="[red]x[/red]"))
    assert any(line.startswith("[red]x[/red] ") for line in rendered(table_3, 80))
