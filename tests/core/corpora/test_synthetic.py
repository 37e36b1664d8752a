"""The synthetic corpora: read by the real parsers, the same every time, of fair difficulty."""

import wave
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import recall_score

from core.corpora import iemocap, msp_improv, ravdess, savee
from core.corpora.layouts import LAYOUTS
from core.corpora.prosody import PROSODIES
from core.corpora.synthetic import plan_clips, write_corpus
from core.corpora.utterance import Utterance

PARSERS: dict[str, ModuleType] = {
    "iemocap": iemocap,
    "msp_improv": msp_improv,
    "ravdess": ravdess,
    "savee": savee,
}
FOUR_CLASSES = {"angry", "happy", "sad", "neutral"}
CLASSES = {
    "iemocap": FOUR_CLASSES,
    "msp_improv": FOUR_CLASSES,
    "ravdess": set(PROSODIES),
    "savee": set(PROSODIES) - {"calm"},
}
SPEAKERS = {"iemocap": 10, "msp_improv": 12, "ravdess": 24, "savee": 4}
SMALLEST = {"iemocap": 8, "msp_improv": 8, "ravdess": 16, "savee": 14}


@pytest.fixture(scope="module", params=list(LAYOUTS))
def small(request, tmp_path_factory) -> tuple[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    return request.param, write_corpus(request.param, root, 0, SMALLEST[request.param])


def test_the_parser_of_the_real_corpus_reads_every_kept_utterance(small):
    corpus, folder = small
    parsed = PARSERS[corpus].parse(folder)
    assert len(parsed.utterances) == SPEAKERS[corpus] * SMALLEST[corpus]
    assert {utterance.label for utterance in parsed.utterances} == CLASSES[corpus]
    assert not parsed.duplicates


def test_every_speaker_has_every_class_twice(small):
    corpus, folder = small
    utterances = PARSERS[corpus].parse(folder).utterances
    counts = Counter((utterance.speaker, utterance.label) for utterance in utterances)
    assert len(counts) == SPEAKERS[corpus] * len(CLASSES[corpus])
    assert min(counts.values()) >= 2


def test_audio_is_16_khz_mono_of_16_bits(small):
    _, folder = small
    path = sorted(folder.rglob("*.wav"))[-1]
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        assert file.getnframes() * 2 + 44 == path.stat().st_size


def test_nothing_but_the_corpus_is_left_beside_it(small):
    _, folder = small
    assert list(folder.parent.iterdir()) == [folder]


def test_sessions_hold_a_woman_and_a_man_where_the_corpus_has_sessions(small):
    corpus, folder = small
    people = {(u.session, u.speaker, u.gender) for u in PARSERS[corpus].parse(folder).utterances}
    if corpus in ("iemocap", "msp_improv"):
        sessions = {session for session, _, _ in people}
        assert len(sessions) == {"iemocap": 5, "msp_improv": 6}[corpus]
        pairs = {(session, gender) for session, _, gender in people}
        assert pairs == {(session, gender) for session in sessions for gender in "FM"}
    else:
        women = sum(gender == "F" for _, _, gender in people)
        assert women == {"ravdess": 12, "savee": 0}[corpus]


def test_iemocap_speakers_also_talk_where_the_other_wears_the_sensors():
    clips = [Path(clip.path).stem for clip in plan_clips("iemocap", 0, 36)]
    assert {(name[5], name.split("_")[-1][0]) for name in clips} == {
        (wearer, speaker) for wearer in "FM" for speaker in "FM"
    }


def test_iemocap_turns_follow_each_other_in_their_dialogue(tmp_path):
    folder = write_corpus("iemocap", tmp_path, 0, 8)
    lines = (folder / "Session3/dialog/EmoEvaluation/Ses03M_impro05a.txt").read_text().splitlines()
    spans = [line[1 : line.index("]")].split(" - ") for line in lines if line.startswith("[")]
    assert len(spans) > 2
    assert [end for _, end in spans[:-1]] == [begin for begin, _ in spans[1:]]


def test_labels_outside_the_protocol_come_on_top_and_are_dropped():
    labels = Counter(clip.label for clip in plan_clips("iemocap", 0, 36))
    assert labels["fru"]
    assert labels["xxx"]
    assert labels.total() - labels["fru"] - labels["xxx"] == 360
    assert labels["hap"] == 40
    assert labels["exc"] == 70


@pytest.mark.parametrize("corpus", LAYOUTS)
@pytest.mark.parametrize("more", [0, 5, 23])
def test_every_size_gives_its_number_of_different_names(corpus, more):
    size = SMALLEST[corpus] + more
    clips = plan_clips(corpus, 0, size)
    kept = [clip for clip in clips if clip.label in LAYOUTS[corpus].shares]
    assert len(kept) == size * SPEAKERS[corpus]
    assert len({clip.path for clip in clips}) == len(clips)


def test_a_whole_ravdess_has_the_names_of_the_release():
    paths = [clip.path for clip in plan_clips("ravdess", 0, 60)]
    assert len(set(paths)) == 1440
    neutral = {Path(path).stem[9:17] for path in paths if Path(path).stem[6:8] == "01"}
    assert neutral == {"01-01-01", "01-01-02", "01-02-01", "01-02-02"}


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first, again = (content(write_corpus("savee", tmp_path / n, 5, 14)) for n in ("a", "b"))
    other = content(write_corpus("savee", tmp_path, 6, 14))
    assert first == again
    assert all(first[name] != other[name] for name in first.keys() & other.keys())


def test_what_is_there_is_used_again(tmp_path):
    folder = write_corpus("savee", tmp_path, 0, 14)
    marker = folder / "marker"
    marker.touch()
    assert write_corpus("savee", tmp_path, 0, 14) == folder
    assert marker.exists()


def test_progress_counts_up_to_the_last_recording(tmp_path):
    seen: list[tuple[int, int]] = []
    write_corpus("savee", tmp_path, 0, 14, lambda *progress: seen.append(progress))
    assert seen == [(done, 56) for done in range(1, 57)]


def test_an_interrupted_corpus_leaves_nothing_behind(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus("savee", tmp_path, 0, 14, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_faster_of_two_processes_wins(tmp_path):
    folders: list[Path] = []

    def overtake(done: int, total: int) -> None:
        if done == 1:
            folders.append(write_corpus("savee", tmp_path, 0, 14))
            (folders[0] / "marker").touch()

    assert write_corpus("savee", tmp_path, 0, 14, overtake) == folders[0]
    assert (folders[0] / "marker").exists()
    assert list(tmp_path.iterdir()) == folders


def test_unknown_corpora_and_sizes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one of iemocap, msp_improv, ravdess, savee, got 'emodb'"):
        write_corpus("emodb", tmp_path, 0)
    with pytest.raises(ValueError, match="ravdess has 16 to 60 utterances per speaker, got 61"):
        write_corpus("ravdess", tmp_path, 0, 61)
    assert list(tmp_path.iterdir()) == []


def describe(utterance: Utterance) -> np.ndarray:
    """Mean, spread and movement of the cepstrum, after peak normalisation as in training."""
    with wave.open(str(utterance.path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32)
    samples /= np.abs(samples).max()
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames)) ** 2  # (T, 201)
    edges = np.unique(np.geomspace(2, 200, 40).astype(int))
    bands = np.log10(np.add.reduceat(power, edges, axis=1) + 1e-6)
    cosines = np.cos(np.pi / bands.shape[1] * np.outer(np.arange(bands.shape[1]) + 0.5, range(16)))
    cepstra = bands @ cosines
    return np.concatenate([cepstra.mean(0), cepstra.std(0), np.diff(cepstra, axis=0).std(0)])


def test_emotions_are_neither_hidden_nor_obvious_across_sessions(tmp_path):
    utterances = iemocap.parse(write_corpus("iemocap", tmp_path, 0)).utterances
    features = np.stack([describe(utterance) for utterance in utterances])
    labels, sessions = np.array([(u.label, u.session) for u in utterances]).T
    predicted = np.empty_like(labels)
    for session in np.unique(sessions):
        test = sessions == session
        classifier = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        predicted[test] = classifier.fit(features[~test], labels[~test]).predict(features[test])
    assert 0.5 < recall_score(labels, predicted, average="macro") < 0.85
