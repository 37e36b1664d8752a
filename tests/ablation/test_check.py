"""A corpus folder beside the paper's corpus: every defect is named, and a sound one is clean."""

import json
import shutil
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ablation.check import check_corpus, verb
from ablation.check_view import render
from core.corpora.catalog import CORPORA
from core.corpora.synthetic import write_corpus
from core.corpora.utterance import CorpusError, Parsed, Utterance


@pytest.fixture(scope="module")
def savee(tmp_path_factory):
    """As many clips as the release has."""
    return write_corpus("savee", tmp_path_factory.mktemp("savee"), 1, 120)


@pytest.fixture(scope="module")
def iemocap(tmp_path_factory):
    return write_corpus("iemocap", tmp_path_factory.mktemp("iemocap"), 1, 8)


@pytest.fixture(scope="module")
def ravdess(shared):
    folder = shared / "data" / "ravdess"
    if not folder.is_dir():
        pytest.skip(f"needs the real RAVDESS clips at {folder}")
    return folder


def check(name, folder, limit=20):
    return check_corpus(CORPORA[name], folder, workers=2, limit=limit)


def linked(source: Path, folder: Path) -> Path:
    """The same tree, its files links, to be damaged without harm."""
    for path in source.rglob("*.*"):
        link = folder / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return folder


def about(report, *words):
    """The problems that name all of this."""
    return [line for line in report.problems if all(word in line for word in words)]


def shown(report, width=120):
    console = Console(width=width, highlight=False, record=True, file=StringIO())
    console.print(render(report, width))
    return console.export_text()


def test_a_corpus_as_published_is_clean(savee):
    report = check("savee", savee)
    assert report.problems == ()
    assert report.to_json() == {
        "corpus": "savee",
        "utterances": 480,
        "classes": {
            **dict.fromkeys(("angry", "disgust", "fearful", "happy", "sad", "surprised"), 60),
            "neutral": 120,
        },
        "sessions": {who: {"total": 120, "F": 0, "M": 120} for who in ("DC", "JE", "JK", "KL")},
        "speakers": dict.fromkeys(("DC", "JE", "JK", "KL"), 120),
        "problems": [],
    }
    assert len(report.audio) == 480
    text = shown(report)
    assert "clean: this is the corpus of the paper" in text
    assert "sample rates  16000 Hz (480 files)" in text


def test_the_real_ravdess_is_clean_its_published_twins_included(ravdess):
    report = check("ravdess", ravdess)
    assert report.problems == ()
    assert report.to_json()["utterances"] == 1440
    assert report.to_json()["sessions"]["02"] == {"total": 60, "F": 60, "M": 0}
    seconds = sum(facts.duration_s for facts in report.audio)
    assert seconds / 3600 == pytest.approx(1.48, abs=0.01)


def test_each_damage_to_the_real_ravdess_is_named(ravdess, tmp_path):
    root = linked(ravdess, tmp_path / "ravdess")
    truncated = root / "Actor_03" / "03-01-05-01-02-01-03.flac"
    content = truncated.read_bytes()
    truncated.unlink()
    truncated.write_bytes(content[: len(content) // 2])
    (root / "Actor_11" / "03-01-02-02-01-01-11.flac").unlink()
    duplicated = root / "Actor_20" / "03-01-08-01-01-01-20.flac"
    (root / "copies").mkdir()
    shutil.copy(duplicated, root / "copies" / duplicated.name)
    misplaced = root / "Actor_15" / "03-01-06-01-01-01-15.flac"
    misplaced.rename(root / "Actor_16" / misplaced.name)
    mislabelled = root / "Actor_24" / "03-01-03-01-01-01-24.flac"  # happy, said to be neutral
    mislabelled.rename(mislabelled.with_name("03-01-01-02-01-01-24.flac"))

    report = check("ravdess", root)
    assert about(report, f"{truncated}: must be an intact WAV or FLAC file")
    assert about(report, "03-01-02-02-01-01-11: its audio is missing")
    copy = root / "copies" / duplicated.name
    assert about(report, f"{copy}: a second file of this name, the same bytes as in {duplicated}")
    assert about(report, misplaced.name, "the name says actor 15, the folder actor 16")
    assert about(report, "03-01-06-01-01-01-15: its audio is missing")
    assert about(report, "03-01-01-02-01-01-24", "the release has no clip of this name")
    assert about(report, "03-01-03-01-01-01-24: its audio is missing")
    assert about(report, "in all: 1437 utterances, the paper's corpus has 1440")
    assert about(report, "speaker 24: 59 utterances")
    assert len(report.problems) == 7 + 1 + 3 + 3  # and the counts: all, classes, speakers


def test_a_clip_with_another_clips_content_is_named(savee, tmp_path):
    root = linked(savee, tmp_path / "savee")
    shutil.copy(root / "JE" / "sa03.wav", tmp_path / "kept.wav")
    (root / "JE" / "h03.wav").unlink()
    (tmp_path / "kept.wav").rename(root / "JE" / "h03.wav")
    assert check("savee", root).problems == ("JE_h03 and JE_sa03: the same bytes under 2 names",)


def test_further_links_are_copies_only_where_the_clip_is_a_link_itself(savee, tmp_path):
    root = linked(savee, tmp_path / "savee")
    (root / "again" / "DC").mkdir(parents=True)
    (root / "again" / "DC" / "a01.wav").symlink_to(savee / "DC" / "a01.wav")
    (root / "up").symlink_to(root, target_is_directory=True)
    again = root / "again" / "DC" / "a01.wav"
    assert check("savee", root).problems == (
        f"{again}: a second file of this name, the same bytes as in {root / 'DC' / 'a01.wav'}, "
        "which is used",
    )
    own = (root / "DC" / "a01.wav").read_bytes()
    (root / "DC" / "a01.wav").unlink()
    (root / "DC" / "a01.wav").write_bytes(own)
    again.unlink()
    again.symlink_to(root / "DC" / "a01.wav")
    assert check("savee", root).problems == ()


def test_a_second_file_with_other_content_says_so(savee, tmp_path):
    root = linked(savee, tmp_path / "savee")
    (root / "old" / "KL").mkdir(parents=True)
    shutil.copy(savee / "KL" / "n01.wav", root / "old" / "KL" / "n02.wav")
    report = check("savee", root)
    assert len(report.problems) == 1
    assert about(report, "old/KL/n02.wav", "other bytes as in", str(root / "KL" / "n02.wav"))


def test_an_absent_speakers_clips_are_named_up_to_the_limit_and_counted(savee, tmp_path):
    root = linked(savee, tmp_path / "savee")
    shutil.rmtree(root / "JK")
    report = check("savee", root, limit=2)
    assert about(report, "its audio is missing") == [
        "JK_a01: its audio is missing",
        "JK_a02: its audio is missing",
    ]
    assert about(report, "and 118 more missing")
    assert "speaker JK: no utterances, the paper's corpus has 120" in report.problems


def test_a_name_that_is_almost_a_clips_is_named(tmp_path, savee):
    clip = tmp_path / "Actor_01" / "03-01-05-01-01-01-01.wav"
    clip.parent.mkdir()
    shutil.copy(savee / "DC" / "a01.wav", clip)
    stray = clip.with_name("03-01-05-01-01-02-1.wav")
    stray.write_bytes(b"")
    assert about(check("ravdess", tmp_path), f"{stray}: must be named as in")


def test_unreadable_files_of_every_kind_are_named_once(savee, tmp_path):
    root = linked(savee, tmp_path / "savee")
    defects = {
        "a01": b"",
        "a02": b"",
        "a03": b"not audio at all",
        "a04": (savee / "DC" / "a04.wav").read_bytes()[:-2],
    }
    for name, content in defects.items():
        (root / "DC" / f"{name}.wav").unlink()
        (root / "DC" / f"{name}.wav").write_bytes(content)
    report = check("savee", root)
    assert len(report.problems) == 4
    assert about(report, "DC/a01.wav", "an empty file of 0 bytes")
    assert about(report, "DC/a03.wav", "must be")
    assert about(report, "DC/a04.wav", "bytes of samples that its header promises")
    assert report.to_json()["utterances"] == 480  # labels are counted, audio is named


def test_a_wrong_label_in_iemocap_shows_in_its_session():
    def turns(session, label, number, gender):
        return [
            Utterance(
                name=f"{session}{label}{gender}{n}",
                path=Path(),
                label=label,
                speaker=f"Ses0{session}_{gender}",
                session=session,
                gender=gender,
            )
            for n in range(number)
        ]

    def differences_of(utterances):
        parsed = Parsed(utterances=utterances, notes=[], missing=[])
        return CORPORA["iemocap"].count_differences(parsed)

    expected = CORPORA["iemocap"].expected
    utterances = []
    for session, classes in expected.session_classes.items():
        women = expected.sessions[session]["F"]
        for label, number in classes.items():
            first = min(women, number)
            women -= first
            utterances += turns(session, label, first, "F")
            utterances += turns(session, label, number - first, "M")
    assert differences_of(utterances) == []
    wrong = next(i for i, u in enumerate(utterances) if (u.session, u.label) == ("3", "sad"))
    utterances[wrong] = turns("3", "angry", 1, utterances[wrong].gender)[0]
    assert differences_of(utterances) == [
        "angry: 1104 utterances, the paper's corpus has 1103",
        "sad: 1083 utterances, the paper's corpus has 1084",
        "session 3, angry: 241 utterances, the paper's corpus has 240",
        "session 3, sad: 304 utterances, the paper's corpus has 305",
    ]


def test_labels_that_contradict_are_a_difference_and_named_with_their_lines(iemocap, tmp_path):
    root = tmp_path / "iemocap"
    shutil.copytree(iemocap, root)
    path = root / "Session1" / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt"
    line = next(text for text in path.read_text("latin-1").splitlines() if text.startswith("["))
    path.write_text(f"{line}\n[1.0 - 2.0]\tnobody\tneu\t[1, 1, 1]\n", "latin-1")
    report = check("iemocap", root)
    assert report.problems[0] == f"{root}: the labels of IEMOCAP cannot be trusted"
    assert about(report, f"{path}:2:", "nobody")
    assert report.to_json()["utterances"] == 0


def test_a_turn_without_audio_is_named(iemocap, tmp_path):
    root = linked(iemocap, tmp_path / "iemocap")
    turn = CORPORA["iemocap"].parse(root).utterances[7]
    assert not about(check("iemocap", root), "missing")
    turn.path.unlink()
    assert about(check("iemocap", root), f"{turn.name}: its audio is missing")


def test_another_folder_is_no_corpus(tmp_path, capsys):
    with pytest.raises(CorpusError, match="is not SAVEE: it must hold audio such as"):
        check("savee", tmp_path)
    assert verb(["savee", "--data", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "is not SAVEE" in err
    assert verb(["savee", "--data", str(tmp_path / "nothing"), "--json"]) == 2


def test_the_command_prints_json_alone_and_tells_by_its_status(
    savee, tmp_path, capsys, monkeypatch
):
    home = tmp_path / "corpora"
    root = linked(savee, home / "SAVEE")
    monkeypatch.setenv("SER_DATA", str(home))
    assert verb(["savee", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["problems"] == []
    (root / "DC" / "d02.wav").unlink()
    assert verb(["savee", "--json", "--limit", "1"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "corpus", "utterances", "classes", "sessions", "speakers", "problems"
    }  # fmt: skip
    assert "DC_d02: its audio is missing" in found["problems"]
    assert verb(["savee"]) == 1
    assert "DC_d02: its audio is missing" in capsys.readouterr().out


def test_without_a_folder_the_command_says_what_to_give(capsys, monkeypatch):
    monkeypatch.delenv("SER_DATA", raising=False)
    assert verb(["iemocap"]) == 2
    assert "must be given with --data DIR or SER_DATA" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (["savee", "--limit", "0"], "must be a whole number in 1..1000000, got '0'"),
        (["cremad"], "must be one of iemocap, msp_improv, ravdess, savee, or a manifest"),
        (["ravdes"], "got 'ravdes'; did you mean 'ravdess'?"),
    ],
)
def test_wrong_usage_is_refused(words, rule, capsys):
    with pytest.raises(SystemExit) as caught:
        verb(words)
    assert caught.value.code == 2
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_tables_show_every_class_session_and_speaker_beside_the_papers(iemocap, width):
    text = shown(check("iemocap", iemocap), width)
    for name in ("angry", "happy", "sad", "neutral", "Ses01_F", "Ses05_M", "session"):
        assert name in text
    assert "1103" in text
    assert "5531" in text


def test_counts_that_nobody_published_are_shown_as_such(tmp_path):
    text = shown(check("msp_improv", write_corpus("msp_improv", tmp_path, 1, 8)))
    row = next(line for line in text.splitlines() if line.split()[:1] == ["F06"] or "F06" in line)
    assert "–" in row


def test_names_of_any_bytes_can_be_shown(savee, tmp_path):
    root = linked(savee, tmp_path / "a\x1b[31mb\udcff")
    (root / "DC" / "zz99.wav").write_bytes(b"")
    report = check("savee", root)
    assert about(report, "zz99", "the release has no clip of this name")
    text = shown(report, 400)
    assert "\\x1b[31mb\\udcff" in text
    json.loads(json.dumps(report.to_json()))


def test_a_manifest_is_read_through_and_counted(tmp_path, capsys):
    folder = write_corpus("savee", tmp_path / "data", 0, 14)
    rows = [
        f"{item.path.relative_to(tmp_path)},{item.label},{item.speaker}"
        for item in CORPORA["savee"].parse(folder).utterances
    ]
    manifest = tmp_path / "mine.csv"
    manifest.write_text("\n".join(["path,label,speaker", *rows]))
    assert verb([str(manifest), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["corpus"], report["utterances"], report["problems"]) == ("mine", 56, [])
    assert report["speakers"] == dict.fromkeys(("DC", "JE", "JK", "KL"), 14)
    assert verb([str(manifest)]) == 0
    assert "clean: every file can be read" in capsys.readouterr().out

    (tmp_path / rows[3].partition(",")[0]).write_bytes(b"RIFF")
    assert verb([str(manifest)]) == 1
    manifest.write_text("path,label\n")
    assert verb([str(manifest)]) == 2
    assert "line 1: " in capsys.readouterr().err
