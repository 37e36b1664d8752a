"""MSP-IMPROV against the counts of the release, and against folders that are not quite it."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.corpora import msp_improv
from core.corpora.catalog import CORPORA
from core.corpora.check import count, differences
from core.corpora.utterance import CorpusError, Parsed, label_lines

Plant = Callable[..., Path]

TURN = "MSP-IMPROV-S01A-F01-S-FM01"
AUDIO = f"session1/S01A/S/{TURN}.wav"
LINE = b"UTD-IMPROV-S01A-F01-S-FM01.avi; N; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000;\n"


@pytest.fixture(scope="module")
def parsed(msp_improv_replica: Path) -> Parsed:
    return msp_improv.parse(msp_improv_replica)


def test_the_manifest_parses_to_its_own_labels(parsed, msp_improv_paths):
    labels = {path.rpartition("/")[2]: label for path, label in msp_improv_paths.items()}
    assert [utterance.name for utterance in parsed.utterances] == sorted(labels)
    for utterance in parsed.utterances:
        assert utterance.label == msp_improv.LABELS[labels[utterance.name]]
        assert utterance.path.stem == utterance.name
    assert all(utterance.path.is_file() for utterance in parsed.utterances)
    counts = count(parsed.utterances)
    assert counts.classes == {"angry": 792, "happy": 2640, "neutral": 3470, "sad": 885}
    assert {session: n["total"] for session, n in counts.sessions.items()} == {
        **{"1": 916, "2": 1328, "3": 1622, "4": 1044, "5": 1407, "6": 1470}
    }
    assert counts.speakers == {
        **{"F01": 411, "F02": 690, "F03": 856, "F04": 515, "F05": 710, "F06": 720},
        **{"M01": 505, "M02": 638, "M03": 766, "M04": 529, "M05": 697, "M06": 750},
    }


def test_labelled_turns_without_audio_are_named(parsed):
    assert len(parsed.missing) == 11
    assert Counter(name[14] for name in parsed.missing) == {"H": 4, "N": 7}


def test_dropped_turns_are_counted_in_a_note(parsed):
    assert parsed.notes == ["640 turns of other labels dropped (O 320, X 320)"]
    assert (parsed.duplicates, parsed.problems) == ([], [])


def test_labels_come_to_the_published_totals_by_scenario(msp_improv_replica):
    (path,) = [path for path in msp_improv_replica.iterdir() if path.name.startswith("Eval")]
    labels, defects = msp_improv.read_evaluation(label_lines(path), str(path))
    assert (len(labels), defects) == (8438, [])
    kept = Counter((name.split("-")[4], label) for name, label in labels.items() if label in "ASHN")
    assert {s: tuple(kept[s, label] for label in "ASHN") for s in "TRSP"} == {
        "T": (115, 106, 136, 283),
        "R": (169, 80, 88, 241),
        "S": (470, 633, 1048, 1789),
        "P": (38, 66, 1372, 1164),
    }


def test_a_complete_release_differs_in_nothing(msp_improv_replica, parsed, plant, tmp_path):
    (tmp_path / "release").symlink_to(msp_improv_replica, target_is_directory=True)
    plant(tmp_path, [f"{name}.wav" for name in parsed.missing])
    complete = msp_improv.parse(tmp_path)
    counts = count(complete.utterances)
    assert counts.classes == {"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885}
    assert counts.total == 7798
    assert differences(counts, CORPORA["msp_improv"].expected) == []
    assert complete.missing == []


def test_the_label_is_the_raters_and_not_the_target_in_the_name(tmp_path, plant):
    plant(tmp_path, [AUDIO], **{"Evalution.txt": LINE})
    (utterance,) = msp_improv.parse(tmp_path).utterances
    assert utterance.name == "MSP-IMPROV-S01A-F01-S-FM01"
    assert utterance.label == "neutral"
    assert (utterance.speaker, utterance.session, utterance.gender) == ("F01", "1", "F")


@pytest.mark.parametrize(
    "row",
    [
        "UTD-IMPROV-S01A-F01-S-FM01.avi; S; A:NaN; V:NaN; D:NaN ; N:NaN;",
        "  UTD-IMPROV-S01A-F01-S-FM01.avi ;S;A:3.0;V:3.5",
        "MSP-IMPROV-S01A-F01-S-FM01.wav; s",
        "\ufeffUTD-IMPROV-S01A-F01-S-FM01.avi; S;",
    ],
)
def test_fields_may_be_nan_missing_or_spaced(tmp_path, plant, row):
    plant(tmp_path, [AUDIO], **{"Evaluation.txt": row.encode()})
    assert [u.label for u in msp_improv.parse(tmp_path).utterances] == ["sad"]


def test_a_label_file_is_read_once_whatever_links_lead_to_it(tmp_path, plant):
    plant(tmp_path, [AUDIO], **{"Evalution.txt": b"UTD-IMPROV-S01A-F01-S-FM01.avi; Q;\n"})
    (tmp_path / "session1" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "Evaluation.txt").symlink_to("Evalution.txt")
    with pytest.raises(CorpusError) as caught:
        msp_improv.parse(tmp_path)
    assert len(caught.value.problems) == 1


def test_both_label_files_are_read_when_they_agree(tmp_path, plant):
    plant(tmp_path, [AUDIO], **{"Evalution.txt": LINE, "Evaluation.txt": LINE})
    assert len(msp_improv.parse(tmp_path).utterances) == 1


def test_label_files_that_disagree_are_refused(tmp_path, plant):
    contrary = LINE.replace(b"; N;", b"; S;")
    plant(tmp_path, [AUDIO], **{"Evaluation.txt": LINE, "Evalution.txt": contrary})
    expected = f"{tmp_path / 'Evalution.txt'}: {TURN} is S here, N elsewhere"
    with pytest.raises(CorpusError, match=re.escape(expected)):
        msp_improv.parse(tmp_path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            b"\nUTD-IMPROV-S01A-F01-S-FM01.avi; Q;",
            ":3: a label must read 'UTD-IMPROV-S01A-F01-S-FM01.avi; L; \u2026' with L one of "
            "A, H, S, N, O, X; found 'UTD-IMPROV-S01A-F01-S-FM01.avi; Q;'",
        ),
        (
            b"UTD-IMPROV-S01A-F01-S-FM01.avi; A:3.0; V:3.5;",
            ":2: a label must read 'UTD-IMPROV-S01A-F01-S-FM01.avi; L; \u2026' with L one of "
            "A, H, S, N, O, X; found 'UTD-IMPROV-S01A-F01-S-FM01.avi; A:3.0; V:3.5;'",
        ),
        (
            b"UTD-IMPROV-S01A-01-S-FM01.avi; N;",
            ":2: a label must read 'UTD-IMPROV-S01A-F01-S-FM01.avi; L; \u2026' with L one of "
            "A, H, S, N, O, X; found 'UTD-IMPROV-S01A-01-S-FM01.avi; N;'",
        ),
        (
            b"UTD-IMPROV-S01A-F01-S-FM01.avi; H;",
            f":2: {TURN} is H here, N above",
        ),
    ],
)
def test_a_label_that_cannot_be_trusted_is_named_with_its_line(tmp_path, plant, row, problem):
    plant(tmp_path, [AUDIO], **{"Evalution.txt": LINE + row})
    with pytest.raises(CorpusError) as caught:
        msp_improv.parse(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: the labels of MSP-IMPROV cannot be trusted\n"
        f"  {tmp_path / 'Evalution.txt'}{problem}"
    )


def test_a_label_file_without_labels_is_refused(tmp_path, plant):
    plant(tmp_path, [AUDIO], **{"Evalution.txt": b"nothing\n"})
    expected = "must hold lines such as 'UTD-IMPROV-\u2026.avi; N; \u2026'; found none"
    with pytest.raises(CorpusError, match=re.escape(expected)):
        msp_improv.parse(tmp_path)


def test_labels_without_any_audio_are_refused(tmp_path, plant):
    plant(tmp_path, ["x.wav"], **{"Evalution.txt": LINE})
    with pytest.raises(CorpusError) as caught:
        msp_improv.parse(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: MSP-IMPROV must hold audio of its turns, such as "
        "'session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav'; found none of 1"
    )


def test_audio_without_labels_is_refused_with_the_expected_layout(tmp_path, plant):
    plant(tmp_path, [AUDIO])
    with pytest.raises(CorpusError) as caught:
        msp_improv.parse(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} is not MSP-IMPROV: it must hold 'Evalution.txt' (or 'Evaluation.txt') and "
        "audio such as 'session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav', at any depth; "
        "found 'session1'"
    )


def test_audio_without_a_label_and_copies_are_remarked(tmp_path, plant):
    stray = "MSP-IMPROV-S01A-M01-S-FM02"
    plant(tmp_path, [AUDIO, f"a/b/c/d/{TURN}.wav", f"{stray}.flac"], **{"Evalution.txt": LINE})
    parsed = msp_improv.parse(tmp_path)
    assert [utterance.path for utterance in parsed.utterances] == [tmp_path / AUDIO]
    assert parsed.notes == [
        f"1 audio files without a label ignored: '{stray}'",
        f"1 duplicate copies ignored: 'a/b/c/d/{TURN}.wav'",
    ]


@settings(max_examples=150, deadline=None, database=None)
@given(
    content=st.binary(max_size=200) | st.text(alphabet="UTD-IMPROVS01AF.avi; \r\nN").map(str.encode)
)
def test_any_bytes_give_labels_or_a_corpus_error(content, tmp_path_factory):
    root = tmp_path_factory.getbasetemp() / "msp-fuzz"
    (root / AUDIO).parent.mkdir(parents=True, exist_ok=True)
    (root / AUDIO).touch()
    (root / "Evalution.txt").write_bytes(LINE + b"UTD-IMPROV-" + content)
    try:
        outcome = ", ".join(utterance.label for utterance in msp_improv.parse(root).utterances)
    except CorpusError as error:
        outcome = str(error)
    assert outcome == "neutral" or "Evalution.txt:2: a label must read" in outcome
