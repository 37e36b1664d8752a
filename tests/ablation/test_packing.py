import pytest

import ablation.packing
from ablation.cluster import Resources
from ablation.packing import CONTEXT_BYTES, described, gpu_shares, share_of
from ablation.trials import _request
from tests.ablation.stand_ins import config_of

GIB = 1 << 30


@pytest.mark.parametrize(
    ("peak_gib", "free_gib", "beside"),
    [
        (20, 24, 1),  # 22 + 0.6 of 24
        (22, 24, 1),  # does not even fit with its margin: a whole one all the same
        (40, 24, 1),
        (10, 24, 2),  # 11.6
        (10, 80, 6),  # 11.6
        (7, 24, 2),  # 8.3: three would take 24.9
        (6.5, 24, 3),  # 7.7
        (0, 80, 16),  # however small
    ],
)
def test_as_many_trials_share_a_gpu_as_its_memory_holds(peak_gib, free_gib, beside):
    share = share_of(int(peak_gib * GIB), int(free_gib * GIB))
    assert int(1 / share) == beside
    assert share * beside <= 1  # Ray counts in ten thousandths: all of them fit
    assert share * (beside + 1) > 1
    if beside > 1:
        assert beside * (peak_gib * GIB * 1.1 + CONTEXT_BYTES) <= free_gib * GIB


def test_what_was_measured_is_said_in_words():
    text = "took 6.5 GB of a GPU at its peak: "
    assert described(6_500_000_000, 0.3333) == f"{text}3 such trials to a GPU"
    assert described(6_500_000_000, 1.0) == f"{text}one such trial to a GPU"


def test_each_kind_of_trial_is_measured_once_on_a_gpu_of_its_own(monkeypatch):
    asked = []

    def each(work, items, shared, share, *, fresh):
        asked.append((items, share, fresh))
        return [(10 * GIB, 24 * GIB)] * len(items)

    monkeypatch.setattr(ablation.packing, "each", each)
    trials = {"a": config_of(1), "b": config_of(2), "c": config_of(1, seed=7)}
    told = []
    shares = gpu_shares(
        trials, {}, Resources(cpus=2, packed=True), lambda *words: told.append(words)
    )
    assert shares == {"a": 0.5, "b": 0.5, "c": 0.5}
    assert asked == [([config_of(1)], (2, 1.0), True)]
    assert told == [("a", "took 10.7 GB of a GPU at its peak: 2 such trials to a GPU")]


def test_a_trial_reserves_its_own_share():
    request = _request(2.0, 1.0, {"a": 0.5, "b": 0.3333})
    (bundle,) = request({"run_id": "b"}).bundles
    assert bundle == {"CPU": 2.0, "GPU": 0.3333}
    assert _request(2.0, 1.0, {}) == {"cpu": 2.0, "gpu": 1.0}
