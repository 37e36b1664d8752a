import pytest

from ablation.corpora import NoCorpusError, corpus_folder, prepare
from core.corpora.catalog import CORPORA
from core.corpora.synthetic import write_corpus

SAVEE = CORPORA["savee"]


def decoded(parsed, tmp_path, *, skip_bad_audio):
    return prepare(
        SAVEE,
        SAVEE.default_scheme,
        parsed,
        tmp_path / "store",
        workers=1,
        skip_bad_audio=skip_bad_audio,
    )


@pytest.mark.parametrize("folder", ["ravdess", "RAVDESS", "Ravdess_speech"])
def test_a_corpus_is_found_below_the_data_folder_by_name(tmp_path, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / "other").mkdir()
    assert corpus_folder("ravdess", tmp_path) == tmp_path / folder


def test_the_data_folder_is_the_corpus_itself_where_no_subfolder_has_its_name(tmp_path):
    (tmp_path / "Actor_01").mkdir()
    assert corpus_folder("ravdess", tmp_path) == tmp_path


def test_an_exact_name_wins_over_a_longer_one(tmp_path):
    for name in ("msp_improv_old", "MSP-IMPROV"):
        (tmp_path / name).mkdir()
    assert corpus_folder("msp_improv", tmp_path) == tmp_path / "MSP-IMPROV"


def test_without_data_the_message_names_the_ways_out(tmp_path):
    with pytest.raises(NoCorpusError, match=r"--data DIR or SER_DATA, got neither; --demo runs"):
        corpus_folder("iemocap", None)
    with pytest.raises(NoCorpusError, match=r"--data must be a folder, found none at .*nowhere"):
        corpus_folder("iemocap", tmp_path / "nowhere")


def test_a_corpus_is_compared_with_the_papers_and_prepared_as_it_is(tmp_path):
    folder = write_corpus("savee", tmp_path / "data", 0, 14)
    parsed = SAVEE.parse(folder)
    found = SAVEE.deviations(parsed)
    assert found[0] == "in all: 56 utterances, the paper's corpus has 480"
    assert "DC_a15: no audio" in found
    audio, report = decoded(parsed, tmp_path, skip_bad_audio=False)
    assert len(audio.utterances) == report.utterances == 56
    assert audio.left_out == 0
    assert report.built is True


def test_left_out_audio_is_not_trained_on_and_is_counted(tmp_path):
    folder = write_corpus("savee", tmp_path / "data", 0, 14)
    parsed = SAVEE.parse(folder)
    parsed.utterances[3].path.write_bytes(b"")
    audio, report = decoded(parsed, tmp_path, skip_bad_audio=True)
    assert audio.left_out == 1
    assert parsed.utterances[3] not in audio.utterances
    assert list(report.left_out) == [parsed.utterances[3].name]
