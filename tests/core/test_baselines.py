"""The field's baselines agree with scikit-learn alone, on the same folds."""

import builtins
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from core.baselines import PROBE_STEPS, BaselineFold, build, features_of, probabilities
from core.classifiers import is_unused
from core.config import ConfigError, RunConfig
from core.corpora.catalog import CORPORA
from core.features import FrameStore
from core.fold import CorpusAudio, Fold
from core.functionals import FEATURES, build_functionals, open_functionals
from core.store import AudioStore, build_store
from tests.core.small_checkpoints import save_whisper
from tests.core.small_folds import of
from tests.core.small_speech import CPU, small_config, tones

RAVDESS = Path(__file__).resolve().parents[2].parent / "shared/data/ravdess"


def baseline(method, **changes):
    return small_config(classifier={"method": method}, **changes)


def test_svm_shares_are_largest_at_what_it_predicts_ties_of_votes_included():
    rng = np.random.default_rng(0)
    train, labels = rng.standard_normal((60, 2)), rng.integers(0, 5, 60)
    tested = rng.standard_normal((4_000, 2))
    model = build(baseline("egemaps-svm")).fit(train, labels)
    shares = probabilities(model, tested, 6)
    said = model.predict(tested)
    assert (model.decision_function(tested).argmax(1) != said).any()  # there are ties
    assert np.array_equal(shares.argmax(1), said)
    assert shares.sum(1) == pytest.approx(1.0)
    assert not shares[:, 5].any()  # a class that was never trained


def test_two_classes_and_classes_that_skip_numbers_keep_their_places():
    train = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    for method in ("egemaps-svm", "linear-probe"):
        model = build(baseline(method)).fit(train, [1, 1, 3, 3])
        shares = probabilities(model, np.array([[-3.0], [3.0]]), 4)
        assert shares.argmax(1).tolist() == [1, 3]
        assert not shares[:, [0, 2]].any()


def test_the_settings_reach_scikit_learn():
    own = {"svm_c": 2.5, "svm_kernel": "linear", "svm_gamma": 0.5}
    svm = build(RunConfig.from_dict({"classifier": {"method": "egemaps-svm", **own}}))[-1]
    assert (svm.C, svm.kernel, svm.gamma) == (2.5, "linear", 0.5)
    assert build(baseline("egemaps-svm"))[-1].gamma == "scale"
    config = RunConfig.from_dict({"classifier": {"method": "linear-probe", "probe_c": 0.1}})
    assert build(config)[-1].C == 0.1


def test_a_probe_reads_the_stored_frames_as_scikit_learn_does(tmp_path):
    save_whisper(tmp_path / "encoder")
    utterances, store = tones(per_class=3)
    store.frames_folder = tmp_path / "frames"
    config = baseline(
        "linear-probe", encoder={"name": str(tmp_path / "encoder"), "layer": 2}, fold=2
    )
    fold = BaselineFold(config, of(utterances, store), CPU)
    metrics = fold.step()
    result = fold.result()
    frames = FrameStore(next((tmp_path / "frames").glob("[!.]*")), [2])
    x = np.stack([frames.read(item.name).astype(np.float64).mean(0) for item in utterances])
    y = np.array([result.classes.index(item.label) for item in utterances])
    test = np.array([item.session == "2" for item in utterances])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=PROBE_STEPS))
    model.fit(x[~test], y[~test])
    expected = {
        item.name: row
        for item, row in zip(np.array(utterances)[test], model.predict_proba(x[test]), strict=True)
    }
    assert len(result.predictions) == len(expected) == 12
    for item in result.predictions:
        assert np.array(item.probabilities) == pytest.approx(expected[item.utterance], abs=1e-3)
    assert (fold.finished, metrics.epoch, result.best_epoch) == (True, 1, 1)
    own = model.predict_proba(x[~test])[np.arange((~test).sum()), y[~test]]
    assert metrics.losses["kl"] == pytest.approx(-np.log(own).mean(), abs=1e-3)
    assert result.from_dict(result.to_dict()) == result
    assert fold.kept_model("all") is None


def test_a_probe_may_norm_frames_and_hear_an_encoder_without_weights():
    utterances, store = tones()
    corpus = of(utterances, store)
    plain, normed = (
        features_of(baseline("linear-probe", encoder={"normalise": norms}), corpus, CPU)
        for norms in (False, True)
    )
    again = features_of(baseline("linear-probe"), corpus, CPU)
    for name, vector in plain.items():
        assert np.array_equal(vector, again[name])
        assert normed[name].mean() == pytest.approx(0.0, abs=1e-5)
        assert abs(vector.mean()) > 1e-3 or vector.std() != pytest.approx(normed[name].std())


def test_what_a_baseline_has_no_use_for_is_no_part_of_its_name():
    plain = RunConfig.from_dict({"classifier.method": "egemaps-svm"})
    other = RunConfig.from_dict(
        {
            "classifier": {"method": "egemaps-svm", "probe_c": 3.0},
            "mixup.method": "lam",
            "losses.terms": ["kl", "center"],
            "training.epochs": 30,
            "encoder.name": "wavlm-base",
            "audio.trim_db": 30,
        }
    )
    assert other == plain
    assert RunConfig.from_dict(plain.to_dict()) == plain
    probe = RunConfig.from_dict(
        {"classifier.method": "linear-probe", "encoder.name": "wavlm-base", "audio.trim_db": 30}
    )
    assert (probe.encoder.name, probe.audio.trim_db) == ("wavlm-base", 30)
    assert probe.stores_frames
    assert RunConfig.from_dict({"classifier.svm_c": 7}) == RunConfig.from_dict({})
    assert is_unused("linear-probe", "mixup.method")
    assert not is_unused("linear-probe", "training.precision")
    with pytest.raises(
        ConfigError, match=r"mixup\.probability: must lie"
    ):  # wrong is wrong all the same
        RunConfig.from_dict({"classifier.method": "egemaps-svm", "mixup.probability": 2})


def test_a_network_s_fold_is_none_of_a_baseline():
    utterances, store = tones()
    with pytest.raises(ValueError, match=r"must be of classifier.method network, got linear-probe"):
        Fold(baseline("linear-probe"), of(utterances, store), CPU)


def test_without_opensmile_one_line_says_what_to_install(monkeypatch, tmp_path):
    original = builtins.__import__

    def without(name, *args, **more):
        if name == "opensmile":
            raise ModuleNotFoundError("No module named 'opensmile'")
        return original(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    _, store = tones()
    store.frames_folder = tmp_path / "frames"
    with pytest.raises(ValueError, match=r"needs openSMILE: pip install '.\[baselines\]'") as told:
        build_functionals(store)
    assert "\n" not in str(told.value)


def test_functionals_are_computed_once_and_damage_is_noticed(monkeypatch, tmp_path):
    _, store = tones()
    store.frames_folder = tmp_path / "frames"
    heard = []
    monkeypatch.setattr(
        "core.functionals._extractor",
        lambda: lambda x: (heard.append(len(x)), np.full(FEATURES, len(x), np.float32))[1],
    )
    names = sorted(store.lengths)
    found = open_functionals(store, names)
    assert {name: int(row[0]) for name, row in found.items()} == store.lengths
    assert not build_functionals(store)
    (tmp_path / "frames/egemaps/functionals.f32").write_bytes(b"cut")
    assert build_functionals(store)
    assert len(heard) == 2 * len(names)
    monkeypatch.setattr("core.functionals._extractor", lambda: lambda x: np.full(88, np.nan))
    (tmp_path / "frames/egemaps/index.json").unlink()
    with pytest.raises(ValueError, match="must give 88 finite numbers for 'Ses01F_angry0'"):
        build_functionals(store)


# One statement, once and calmly, by one actor of each fold and one more.
CHOSEN = re.compile(r"-01-01-02-(01|05|09|13|17|21|02)$")


@pytest.mark.skipif(not RAVDESS.is_dir(), reason="needs RAVDESS in ../shared/data/ravdess")
def test_egemaps_and_svm_agree_with_scikit_learn_alone_on_real_speech(tmp_path):
    """Fold 1 of a part of RAVDESS; openSMILE and scikit-learn by themselves on its files."""
    opensmile = pytest.importorskip("opensmile", reason="needs openSMILE: .[baselines]")
    import soundfile

    corpus = CORPORA["ravdess"]
    items = [item for item in corpus.parse(RAVDESS).utterances if CHOSEN.search(item.name)]
    report = build_store(items, tmp_path, workers=1)
    scheme = corpus.schemes["consecutive"]
    audio = CorpusAudio(
        classes=corpus.classes,
        scheme=scheme,
        utterances=tuple(items),
        store=AudioStore.open(tmp_path, report.fingerprint),
    )
    settings = {"corpus.name": "ravdess", "classifier.method": "egemaps-svm"}
    fold = BaselineFold(RunConfig.from_dict(settings), audio, CPU)
    fold.step()
    scores = fold.result().scores()
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02,
        feature_level=opensmile.FeatureLevel.Functionals,
    )
    x = np.vstack(
        [smile.process_signal(*soundfile.read(u.path, dtype="float32")).to_numpy() for u in items]
    )
    # As numbers in the corpus's order: libsvm breaks ties of votes by the order of classes.
    y = np.array([corpus.classes.index(u.label) for u in items])
    test = np.array([int(u.path.parent.name[-2:]) <= 4 for u in items])  # actors 1 to 4
    predicted = make_pipeline(StandardScaler(), SVC()).fit(x[~test], y[~test]).predict(x[test])
    assert scores.wa == pytest.approx((predicted == y[test]).mean(), abs=1e-3)
    ua = recall_score(y[test], predicted, average="macro")
    assert scores.ua == pytest.approx(ua, abs=1e-3)
