"""Who hears what together, without a model."""

from itertools import chain

from ablation.archive import Archive
from ablation.stress.evaluation import _spread, open_jobs
from core.conditions import conditions
from core.config import RunConfig

FROZEN = {"encoder.name": "wavlm-base", "encoder.train": "frozen", "mixup.method": "none"}
WANTED = conditions(["gain"])


def config_of(fold, **settings):
    return RunConfig.from_dict({"corpus.name": "savee", "fold": fold, **settings})


def jobs_of(tmp_path):
    configs = {
        "a": config_of(1, **FROZEN),
        "b": config_of(1, **FROZEN, **{"pooling.method": "mean", "seed": 3}),
        "c": config_of(2, **FROZEN),
        "d": config_of(1, **{**FROZEN, "encoder.train": "all"}),
        "e": config_of(1, **{**FROZEN, "mixup.method": "eam"}),
    }
    corpus = object()
    models = {name: (config, corpus) for name, config in configs.items()}
    return open_jobs(models, Archive(tmp_path), tmp_path, WANTED)


def test_models_of_one_fold_hear_together_where_their_encoders_are_frozen(tmp_path):
    jobs = jobs_of(tmp_path)
    assert [job.run_ids for job in jobs] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert sum(job.count for job in jobs) == 5 * len(WANTED)
    assert all(list(job.left) == WANTED for job in jobs)


def test_few_jobs_are_cut_by_conditions_so_that_all_workers_have_one(tmp_path):
    jobs = jobs_of(tmp_path)[:2]
    cut = _spread(jobs, 5)
    assert len(cut) == 6
    for job in jobs:
        parts = [part.left for part in cut if part.run_ids == job.run_ids]
        assert sorted(chain(*parts), key=WANTED.index) == WANTED
    assert _spread(jobs, 2) == jobs
    assert len(_spread(jobs[:1], 99)) == len(WANTED)
