"""A manifest as a corpus: its name, its classes and its folds; and a large one."""

import re

import pytest

from core.corpora.catalog import CORPORA
from core.corpora.folds import split
from core.corpora.groups import fold_schemes
from core.corpora.manifest import LAYOUT, manifest_corpus, read_manifest
from core.corpora.utterance import CorpusError
from tests.core.corpora.manifests import ALL, HEADER, ROWS, SPANS, read, write


def test_a_corpus_has_sorted_classes_the_schemes_and_the_rows(folder):
    path = write(folder, ALL + SPANS, "My Corpus (v2).csv")
    corpus = manifest_corpus(path)
    assert (corpus.name, corpus.title) == ("my-corpus-v2", "my-corpus-v2")
    assert corpus.classes == ("angry", "sad")
    assert list(corpus.schemes) == ["column", "leave-one-session-out", "leave-one-speaker-out"]
    assert corpus.default_scheme == "column"
    assert corpus.sources == ()
    assert corpus.expected is None
    assert (corpus.where_to_get, corpus.layout, corpus.licence) == ("", LAYOUT, "")
    parsed = corpus.parse()
    assert parsed == read_manifest(path)
    assert corpus.deviations(parsed) == []
    made = split(parsed.utterances, corpus.schemes["column"], 2, hold_out_validation=False)
    assert [u.name for u in made.test] == ["b#0-1.5"]


def test_a_corpus_stays_as_it_was_read(folder):
    path = write(folder, HEADER + ROWS)
    corpus = manifest_corpus(path)
    path.write_text(f"{HEADER}a.wav,happy,s1\n")
    assert {u.label for u in corpus.parse().utterances} == set(corpus.classes)


@pytest.mark.parametrize(
    ("stem", "name", "expected"),
    [
        ("emodb", "", "emodb"),
        ("-Émotions_2 ", "", "emotions_2"),
        ("__x.y--z__", "", "x-y--z"),
        ("音声", "", "manifest"),
        ("a" * 70, "", "a" * 64),
        ("IEMOCAP", "", "iemocap-manifest"),
        ("x", "savee", "savee-manifest"),
        ("x", "my-own_1", "my-own_1"),
    ],
)
def test_a_corpus_is_named_by_the_user_or_its_file_and_never_as_one_of_the_catalog(
    folder, stem, name, expected
):
    corpus = manifest_corpus(write(folder, HEADER + ROWS, f"{stem}.csv"), name)
    assert corpus.name == corpus.title == expected
    assert corpus.name not in CORPORA


@pytest.mark.parametrize("name", ["Mine", "-a", "a b", "a\n", "a" * 65, "é"])
def test_a_name_that_is_no_name_is_refused(folder, name):
    shown = repr(name)
    expected = f"a corpus's name must match [a-z0-9][a-z0-9_-]{{0,63}}, got {shown}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        manifest_corpus(write(folder, HEADER + ROWS), name)


def test_the_folds_that_are_asked_for_are_the_default(folder):
    path = write(folder, ALL + SPANS)
    assert manifest_corpus(path, folds="2-groups").default_scheme == "2-groups"
    assert manifest_corpus(path, folds="leave-one-speaker-out").default_scheme == (
        "leave-one-speaker-out"
    )
    plain = write(folder, HEADER + ROWS, "plain.csv")
    assert manifest_corpus(plain).default_scheme == "leave-one-speaker-out"
    expected = (
        "folds must be one of leave-one-speaker-out, K-groups with K in 2..2, got 'column'; "
        "column is not offered: no fold column is filled; leave-one-session-out is not offered: "
        "no session is given that is more than the speaker"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        manifest_corpus(plain, folds="column")


def test_a_broken_manifest_makes_no_corpus(folder):
    with pytest.raises(CorpusError, match="line 1: must name a column 'path'"):
        manifest_corpus(write(folder, "label,speaker\nx,y\n"))


def test_five_thousand_rows_keep_their_order_and_names(tmp_path):
    lines = ["path,label,speaker,session,fold,start_s,end_s,gender"]
    for n in range(5000):
        folder, clip = tmp_path / f"wav/{n // 500}", f"{n:04d}.wav"
        if n % 500 == 0:
            folder.mkdir(parents=True)
        (folder / clip).touch()
        speaker = n % 50
        lines.append(
            f"wav/{n // 500}/{clip},label{n % 7},s{speaker},{speaker // 2},{speaker % 5},"
            f"{n / 100},{n / 100 + 1.5},{'FM'[speaker % 2]}"
        )
    parsed = read(tmp_path, "\n".join(lines))
    assert len(parsed.utterances) == 5000
    assert parsed.utterances[4999].name == "wav/9/4999#49.99-51.49"
    assert list(fold_schemes(parsed.utterances)) == [
        *("column", "leave-one-session-out", "leave-one-speaker-out")
    ]
