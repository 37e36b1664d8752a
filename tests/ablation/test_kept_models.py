"""Which weights stay: pruned to each row's best, and never trained again for."""

from dataclasses import replace

import torch

from ablation.archive import Archive
from ablation.kept_models import best_models, honest_ua, not_kept, prune
from core.config import RECIPE_VERSION
from core.kept_model import FORMAT, KeptModel, ModelFacts, write_model
from tests.ablation.stand_ins import SAVEE, config_of, metrics_of, result_of, trial_of


def keep(archive, run_id, right=3, kept="best", fold=1):
    """A finished fold with so many of four utterances right, its weights beside it."""
    result = result_of(run_id, fold)
    predictions = list(result.predictions)
    for place in range(4 - right):
        predictions[place] = replace(predictions[place], probabilities=(0.0,) * 6 + (1.0,))
    if right == 4:
        predictions[3] = replace(predictions[3], probabilities=predictions[2].probabilities)
    archive.save(replace(result, predictions=tuple(predictions)))
    facts = ModelFacts(
        format=FORMAT,
        recipe=RECIPE_VERSION,
        run_id=run_id,
        classes=SAVEE,
        corpus_fingerprint="c" * 16,
        encoder_fingerprint="0" * 16,
        epoch=2,
        kept=kept,
    )
    model = KeptModel(facts=facts, config=config_of(fold), tensors={"a": torch.zeros(1)})
    write_model(archive.model(run_id), model)


def test_each_row_s_best_fold_stays(tmp_path):
    archive = Archive(tmp_path)
    named = {"a": [trial_of("x", 1)], "b": [trial_of("x", 2)], "c": [trial_of("y", 1)]}
    for run_id, right in (("a", 2), ("b", 4), ("c", 1)):
        keep(archive, run_id, right)
    assert best_models(named, archive).keys() == {"b", "c"}
    assert prune(named, archive) == 1
    assert archive.models() == ["b", "c"]
    assert archive.holds("a")


def test_a_fold_that_two_rows_share_stays_for_either(tmp_path):
    archive = Archive(tmp_path)
    named = {"a": [trial_of("x", 1), trial_of("y", 1)], "b": [trial_of("x", 2)]}
    keep(archive, "a", 2)
    keep(archive, "b", 4)
    assert prune(named, archive) == 0
    assert archive.models() == ["a", "b"]


def test_of_equal_folds_the_first_stays(tmp_path):
    archive = Archive(tmp_path)
    named = {"z": [trial_of("x", 1)], "a": [trial_of("x", 2)]}
    for run_id in named:
        keep(archive, run_id)
    prune(named, archive)
    assert archive.models() == ["z"]


def test_what_was_to_be_kept_all_is_not_pruned(tmp_path):
    archive = Archive(tmp_path)
    named = {"a": [trial_of("x", 1)], "b": [trial_of("x", 2)]}
    keep(archive, "a", 1, kept="all")
    keep(archive, "b", 4)
    assert prune(named, archive) == 0


def test_an_oracle_s_figure_picks_no_model():
    """Its last epoch's UA is 0.5, the oracle's 1."""
    result = result_of()
    evaluation = replace(result.config.evaluation, selection="oracle")
    config = replace(result.config, evaluation=evaluation)
    history = (replace(metrics_of(1), oracle={"wa": 1.0, "ua": 1.0}), metrics_of(2))
    assert honest_ua(replace(result, config=config, history=history)) == 0.5
    assert honest_ua(result) == 0.75


def test_finished_folds_without_weights_are_counted(tmp_path):
    archive = Archive(tmp_path)
    assert not_kept(["a", "b"], archive) == ""
    archive.save(result_of("a"))
    text = "no kept weights and will not be trained again for them (--fresh does)"
    assert not_kept(["a", "b"], archive) == f"1 finished fold has {text}"
    archive.save(result_of("b"))
    assert not_kept(["a", "b"], archive) == f"2 finished folds have {text}"


def test_training_anew_forgets_the_old_weights(tmp_path):
    archive = Archive(tmp_path)
    keep(archive, "a")
    archive.forget("a")
    assert not archive.model("a").exists()
