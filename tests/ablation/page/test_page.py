"""The page as a browser and a reader of screens take it: well-formed, complete in itself, safe."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

import ablation.page.drawings
from ablation.archive import Archive
from ablation.columns import STATISTICS_RANK, Column
from ablation.courses import read_courses
from ablation.figures.forest import Estimate
from ablation.page.document import page
from ablation.page.drawings import MOST_DRAWN, draw_corpus, gains
from ablation.page.tables import column_table, stacked
from ablation.page.write import add_page
from ablation.provenance import Provenance
from ablation.report import summarise_grid, write_report
from ablation.scores import FoldScore
from core.result import FoldResult, Prediction
from tests.ablation.stand_ins import SAVEE, grid_of, metrics_of, result_of
from tests.ablation.test_report import FIGURES

HERE = Provenance("abc123", {"python": "3.99"})
HOSTILE = '</title><script>alert("x")</script>&<img src=//evil onerror=x>\'"$x_'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A strict reader: every element closed in order, everything noted."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names)
        self.tags[tag] += 1
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        assert "svg" in self.open, f"only SVG closes {tag} at once"
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def fold_of(fold: int, right: int, speakers: int = 2) -> FoldResult:
    """Eight utterances of two classes and so many speakers, `right` of each four recognised."""
    predictions = tuple(
        Prediction(
            utterance=f"u{fold}{speaker}{number}",
            speaker=f"S{fold}{speaker}",
            label=number % 2,
            probabilities=tuple(
                float(place == (number % 2 if number < right else 1 - number % 2))
                for place in range(len(SAVEE))
            ),
        )
        for speaker in range(speakers)
        for number in range(4)
    )
    return replace(result_of(f"{fold:06x}{right:06x}", fold), predictions=predictions)


def study(folder: Path, rows=("plain", "full"), folds=(1, 2, 3, 4), demo=True):
    """A grid, its summaries and its archive; the second row is better than the first."""
    grid, archive = grid_of(rows, demo), Archive(folder)
    scores = []
    for place, row in enumerate(rows):
        for fold in folds:
            result = fold_of(fold, right=2 + min(place, 2))
            archive.save(result)
            scores.append(FoldScore.from_result(row, result))
    return grid, summarise_grid(grid, scores, FIGURES), archive


def text_of(grid, summaries, archive) -> str:
    courses = read_courses(archive, summaries)
    won = gains(summaries)
    drawings = list(draw_corpus(summaries, courses, won, 1))
    return page(grid, summaries, drawings, {"savee": won}, HERE)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    return text_of(*study(tmp_path_factory.mktemp("page"), ("plain", HOSTILE)))


@pytest.fixture(scope="module")
def read(text) -> Page:
    return Page(text)


def test_the_page_is_well_formed_and_has_one_title_and_one_main(text, read):
    assert text.startswith("<!DOCTYPE html>\n")
    assert read.elements[0] == ("html", {"lang": "en"})
    assert all(read.tags[tag] == 1 for tag in ("head", "title", "body", "header", "main", "h1"))


def test_nothing_is_fetched_and_nothing_runs(text, read):
    assert not read.tags.keys() & {"script", "link", "img", "iframe", "object", "image", "a"}
    assert "@import" not in text
    for _, attributes in read.elements:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href") or "url(" in (value or ""):
                assert re.search(r"^#|url\(#", value or ""), (name, value)
    assert "url(" not in "".join(re.findall(r"<style>(.*?)</style>", text))
    policy = read.all("meta")[2]
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_whatever_a_row_is_called_it_is_text(read):
    assert read.all("h1") == [{}]
    assert f"{HOSTILE} on savee" in read.texts
    labels = [svg["aria-label"] or "" for svg in read.all("svg")]
    assert any(HOSTILE in label for label in labels)


def test_every_picture_has_words_and_a_caption(read):
    assert read.tags["svg"] == read.tags["figure"] == read.tags["figcaption"] == 5
    for svg in read.all("svg"):
        assert svg["role"] == "img"
        assert len(svg["aria-label"] or "") > 40


def test_no_two_elements_share_a_name_and_every_reference_is_met(text, read):
    names = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
    assert {one or other for one, other in references} <= set(names)


def test_headings_go_down_one_step_at_a_time(read):
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later - before <= 1 for before, later in pairwise(levels))


def test_cells_of_headings_say_what_they_head(read):
    assert {head.get("scope") for head in read.all("th")} == {"col", "row"}
    assert read.tags["caption"] == read.tags["table"]
    for section in read.all("section"):
        assert section["tabindex"] == "0"
        assert section["aria-label"]


def test_ticks_are_read_out(text):
    spoken = '<span aria-hidden="true">✓</span><span class="spoken">yes</span>'
    assert text.count(spoken) == 2 * 4  # four losses in each row


def test_figures_of_the_table_and_of_the_differences_stand_in_the_page(read):
    assert "50.00 ± 0.00" in read.texts  # UA of the first row
    assert "75.00 ± 0.00" in read.texts
    assert read.texts.count("+25.00") == 2 * 3  # UA and WA, with both ends of their intervals


def test_a_demo_says_so_first_and_a_real_study_does_not(tmp_path, read):
    assert read.all("p")[0] == {"class": "warning"}
    real = Page(text_of(*study(tmp_path, folds=(), demo=False)))
    assert {"class": "warning"} not in real.all("p")


def test_ink_follows_the_page_and_dark_is_provided_for(text):
    svgs = "".join(re.findall(r"<svg.*?</svg>", text))
    assert "currentColor" in svgs
    assert "#1a1a1b" not in svgs
    assert not re.search(r"<path[^>]*#ffffff", svgs)  # no white ground under a picture
    for medium in ("prefers-color-scheme:dark", "print", "max-width:30rem"):
        assert f"@media ({medium})" in text or f"@media {medium}" in text


def test_without_any_fold_the_page_has_no_pictures_and_is_whole(tmp_path):
    bare = Page(text_of(*study(tmp_path, folds=())))
    assert bare.tags["svg"] == 0
    assert "Pictures" not in bare.texts
    assert bare.tags["details"] == 2


def test_several_seeds_are_columns_of_a_fold(tmp_path):
    grid, *_ = study(tmp_path, folds=())
    cells = tuple(replace(cell, seeds=(0, 7)) for cell in grid.cells)
    grid = replace(grid, cells=cells)
    scores = [FoldScore.from_result("plain", fold_of(1, 2))]
    scores.append(replace(scores[0], seed=7, ua=0.625))
    found = Page(page(grid, summarise_grid(grid, scores, FIGURES), [], {}, HERE))
    start = found.texts.index("seed 0")
    assert found.texts[start - 1 : start + 5] == ["fold", "seed 0", "seed 7", "1", "50.00", "62.50"]


def test_five_thousand_runs_make_a_page_of_a_megabyte_and_a_half_at_most(tmp_path):
    """25 rows of 4 folds and 50 seeds. Beyond some rows only the ends have pictures."""
    rows = tuple(f"row {number}, with a name" for number in range(MOST_DRAWN + 1))
    grid = grid_of(rows)
    seeds = tuple(range(50))
    grid = replace(grid, cells=tuple(replace(cell, seeds=seeds) for cell in grid.cells))
    archive = Archive(tmp_path)
    result = replace(fold_of(1, 2), history=tuple(metrics_of(epoch) for epoch in range(1, 21)))
    archive.save(result)
    base = FoldScore.from_result("", result)
    scores = [
        replace(base, row=row, fold=fold, seed=seed)
        for row in rows
        for fold in (1, 2, 3, 4)
        for seed in seeds
    ]
    assert len(scores) == 5000
    text = text_of(grid, summarise_grid(grid, scores, FIGURES), archive)
    assert len(text.encode()) < 1_500_000
    found = Page(text)
    assert found.tags["svg"] == 2 + 2 + 1  # all rows together; the last row; the first's curves


def test_page_and_pictures_lie_beside_the_table_and_repeat_byte_by_byte(tmp_path):
    grid, summaries, archive = study(tmp_path / "runs")
    made = []
    for place in ("one", "two"):
        report = write_report(grid, summaries, tmp_path / place, "abc123")
        old = tmp_path / place / "tiny-demo" / "figures"
        old.mkdir()
        for name in ("1-09-curves.svg", "model-01-fold1-mixing.svg", "9-lives.png"):
            (old / name).write_text("of an earlier start")
        report = add_page(report, grid, archive, HERE)
        assert report.files[-1].name == "report.html"
        folder = tmp_path / place / "tiny-demo"
        made.append({path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert made[0] == made[1]
    parts = ["1-differences", "1-speakers"]
    parts += [f"1-{row}-{what}" for row in ("01", "02") for what in ("confusion", "curves")]
    pictures = {f"{part}{suffix}" for part in parts for suffix in (".png", ".svg")}
    kept = {"model-01-fold1-mixing.svg", "9-lives.png"}  # the verb's, and the user's
    tables = {"table.md", "results.json", "report.html"}
    assert pictures | kept | tables <= made[0].keys()
    assert "1-09-curves.svg" not in made[0]  # of a row that is no more


def test_a_picture_of_differences_holds_the_rows_that_differ_most(monkeypatch, tmp_path):
    monkeypatch.setattr(ablation.page.drawings, "MOST_COMPARED", 1)
    _, summaries, archive = study(tmp_path, ("plain", "same", "better"))
    won = gains(summaries)
    far = [
        replace(gain, ua=Estimate(value, value, value))
        for gain, value in zip(won, (-0.3, 0.2), strict=True)
    ]
    drawing = next(draw_corpus(summaries, read_courses(archive, summaries), far, 1))
    assert drawing.text.startswith("UA and WA of 1 rows minus those of plain")
    assert drawing.caption.endswith("Of 2 rows, the 1 furthest from it.")
    assert [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()] == ["same"]


def test_an_interval_stands_below_its_figure():
    figure = Column("WA %", ("71.00 ± 2.00", "70.00"), group="WA")
    interval = Column("95 %\nWA", ("69.00–73.00", "–"), rank=STATISTICS_RANK, group="WA")
    other = Column("UA %", ("60.00", "61.00"), group="UA")
    (one, two) = stacked([figure, interval, other])
    assert one.header == "WA %\n95 %"
    assert one.cells == ("71.00 ± 2.00\n69.00–73.00", "70.00")
    assert two == other
    html = column_table([Column("row", ("a", "b"), align="left"), one], "Rates")
    assert '71.00 ± 2.00<br><span class="detail">69.00–73.00</span></td>' in html
