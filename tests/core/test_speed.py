import pytest

import core.speed
from core.batches import Batch
from core.corpora.catalog import IEMOCAP
from core.fold import CorpusAudio
from core.speed import measure_folds, peak_bytes
from core.trainer import Trainer
from tests.core.small_speech import CLASSES, CPU, small_config, tones


@pytest.fixture
def corpus():
    """Five sessions of four utterances each."""
    utterances, store = tones()
    scheme = IEMOCAP.schemes[IEMOCAP.default_scheme]
    return CorpusAudio(classes=CLASSES, scheme=scheme, utterances=tuple(utterances), store=store)


def clock(monkeypatch, step_s, score_s):
    """A clock that training and scoring move on by so much a batch and an utterance."""
    now = [0.0]
    monkeypatch.setattr(core.speed.time, "perf_counter", lambda: now[0])
    train, predict = Trainer.train_epoch, Trainer.predict

    def train_epoch(trainer, steps=None):
        now[0] += step_s * steps
        return train(trainer, steps)

    def scored(trainer, batcher):
        now[0] += score_s * len(batcher.utterances)
        return predict(trainer, batcher)

    monkeypatch.setattr(Trainer, "train_epoch", train_epoch)
    monkeypatch.setattr(Trainer, "predict", scored)


def test_an_epoch_is_its_batches_and_a_trial_scores_its_test_fold(monkeypatch, corpus):
    clock(monkeypatch, step_s=2.0, score_s=0.25)
    found = measure_folds(small_config(), corpus, CPU)
    assert [fold.fold for fold in found] == [1, 2, 3, 4, 5]
    for fold in found:
        assert fold.epoch_seconds == pytest.approx(4 * 2.0)  # 16 utterances by four
        assert fold.around_seconds == pytest.approx(4 * 0.25)


def test_what_is_scored_in_each_epoch_belongs_to_it(monkeypatch, corpus):
    clock(monkeypatch, step_s=2.0, score_s=0.25)
    evaluation = {"selection": "validation", "record_oracle": True}
    for fold in measure_folds(small_config(evaluation=evaluation), corpus, CPU):
        # 12 train, 4 are held out, 4 are tested.
        assert fold.epoch_seconds == pytest.approx(3 * 2.0 + 4 * 0.25 + 4 * 0.25)


def test_memory_is_read_after_steps_of_the_longest_batch(monkeypatch, corpus):
    seen = []
    to = Batch.to

    def noted(batch, device):
        seen.append(batch)
        return to(batch, device)

    monkeypatch.setattr(Batch, "to", noted)
    config = small_config(losses={"terms": ["kl"], "weighting": "fixed"})

    def read_peak(device):
        assert device == CPU
        assert len(seen) == core.speed.LONGEST_STEPS + 1  # and scored
        return 123

    assert peak_bytes(config, corpus, CPU, read_peak) == 123
    names = {item.name for item in seen[0].utterances}
    train = [item.name for item in corpus.utterances if item.session != "1"]
    lengths = corpus.store.lengths
    assert names == set(sorted(train, key=lambda name: -lengths[name])[:4])
