"""Averages against numbers worked out by hand, and what may not be averaged."""

import json
import math
from dataclasses import replace

import pytest

from ablation.aggregate import Spread, changed_settings, results_document, results_text, summarise
from ablation.grid import Cell
from ablation.published import PublishedFigure
from ablation.scores import FoldScore, SpeakerScore
from core.config import RunConfig
from core.result import EpochMetrics, FoldResult, Prediction
from tests.ablation.stand_ins import corpus_of

FIGURE = PublishedFigure(
    reference="table3.12", corpus="iemocap", encoder="wavlm-large", wa=0.7763, ua=0.781
)


def cell_of(folds=3, seeds=(0,), **settings) -> Cell:
    config = RunConfig.from_dict(settings)
    return Cell(
        row="wavlm-eam",
        published="table3.8",
        config=config,
        corpus=corpus_of(config, folds, ("angry", "sad")),
        seeds=seeds,
    )


def score_of(fold=1, seed=0, wa=0.7, ua=0.6, confusion=((3, 1), (2, 4)), **changes) -> FoldScore:
    values = {
        "row": "wavlm-eam",
        "corpus": "iemocap",
        "run_id": f"{fold:06}{seed:06}",
        "n": sum(map(sum, confusion)),
        "wa_oracle": None,
        "ua_oracle": None,
        "best_epoch": 20,
        "speakers": {f"s{fold}": SpeakerScore(n=10, wa=wa, ua=ua)},
    }
    return FoldScore(fold=fold, seed=seed, wa=wa, ua=ua, confusion=confusion, **(values | changes))


def result_of(**changes) -> FoldResult:
    """Two speakers, classes 0 and 1; confusion [[2, 1], [0, 1]]."""
    rows = [("a", 0, 0.9), ("a", 0, 0.2), ("b", 0, 0.8), ("b", 1, 0.3)]
    values = {
        "run_id": "0123456789ab",
        "config": RunConfig.from_dict({"fold": 4, "seed": 7, "corpus.name": "ravdess"}),
        "corpus_fingerprint": "c",
        "encoder_fingerprint": "e",
        "classes": ("angry", "sad"),
        "loss_weights": {"kl": 1.0},
        "history": tuple(
            EpochMetrics(
                epoch=epoch,
                losses={"total": 1.0},
                learning_rate=1e-4,
                validation=None,
                oracle={"wa": wa, "ua": ua},
                seconds=1.0,
                finished_at_ms=0,
            )
            for epoch, wa, ua in ((1, 0.5, 0.9), (2, 0.75, 0.8))
        ),
        "best_epoch": 2,
        "predictions": tuple(
            Prediction(utterance=f"u{i}", speaker=who, label=label, probabilities=(p, 1 - p))
            for i, (who, label, p) in enumerate(rows)
        ),
        "seconds": 3.0,
        "device": "cpu",
        "left_out": 2,
        "counts_differ": False,
    }
    return FoldResult(**(values | changes))


def test_a_result_becomes_the_scores_of_its_fold():
    score = FoldScore.from_result("full", result_of())
    assert (score.row, score.corpus, score.fold, score.seed) == ("full", "ravdess", 4, 7)
    assert (score.run_id, score.n, score.best_epoch, score.left_out) == ("0123456789ab", 4, 2, 2)
    assert score.confusion == ((2, 1), (0, 1))
    assert score.wa == pytest.approx(3 / 4)
    assert score.ua == pytest.approx((2 / 3 + 1) / 2)
    assert (score.wa_oracle, score.ua_oracle) == (0.5, 0.9)  # the epoch with the best UA
    assert score.speakers == {
        "a": SpeakerScore(n=2, wa=0.5, ua=0.5),  # shows one class only
        "b": SpeakerScore(n=2, wa=1.0, ua=1.0),
    }


def test_a_result_without_oracle_has_none():
    history = tuple(replace(epoch, oracle=None) for epoch in result_of().history)
    score = FoldScore.from_result("full", result_of(history=history))
    assert score.wa_oracle is None
    assert score.ua_oracle is None


def test_a_score_survives_json():
    score = FoldScore.from_result("full", result_of())
    assert FoldScore.from_dict(json.loads(json.dumps(score.to_dict()))) == score
    assert FoldScore.from_dict(score_of().to_dict()) == score_of()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wa": 70.0}, "wa: must lie in 0..1, got 70.0"),
        ({"ua": math.nan}, "ua: must be a finite number, got nan"),
        ({"ua_oracle": -0.1}, "ua_oracle: must lie in 0..1, got -0.1"),
        ({"fold": 0}, "fold: must lie in 1..1e+09, got 0"),
        ({"row": ""}, "row: must be a text, got ''"),
        ({"recall": 1}, "recall: unknown key"),
        ({"confusion": [[3, 1], [2]]}, "confusion: must be square, got ((3, 1), (2,))"),
        ({"confusion": []}, "confusion: must be square, got ()"),
        ({"confusion": [[-3]]}, "confusion: must lie in 0..1e+09, got -3"),
        ({"n": 11}, "confusion: must count n = 11 utterances, got 10"),
        ({"speakers": None}, "speakers: must be a mapping, got nothing"),
        ({"speakers": {"DC": 3}}, "speakers.DC: must be a mapping, got 3"),
        ({"speakers": {"DC": {"n": 1, "wa": 1}}}, "speakers.DC.ua: must be given"),
    ],
)
def test_a_malformed_score_is_refused_by_key(change, message):
    with pytest.raises(ValueError, match=r".") as caught:
        FoldScore.from_dict(score_of().to_dict() | change)
    assert str(caught.value) == message


def test_a_score_that_is_no_mapping_is_refused():
    with pytest.raises(ValueError, match=r"score: must be a mapping, got \[1\]"):
        FoldScore.from_dict([1])


def test_a_score_without_a_value_names_all_that_are_missing():
    with pytest.raises(ValueError, match=r"wa: must be given; ua: must be given"):
        values = score_of().to_dict()
        del values["wa"], values["ua"]
        FoldScore.from_dict(values)


def test_means_and_sample_deviations_are_over_the_folds():
    scores = [score_of(1, wa=0.6, ua=0.5), score_of(3, wa=0.9, ua=0.8), score_of(2, wa=0.6, ua=0.5)]
    summary = summarise(cell_of(), scores, FIGURE)
    assert [score.fold for score in summary.folds] == [1, 2, 3]
    assert summary.wa.mean == pytest.approx(0.7)
    assert summary.ua.mean == pytest.approx(0.6)
    # deviations -0.1, -0.1, 0.2: squares sum to 0.06, over n - 1 = 2
    assert summary.wa.std == pytest.approx(math.sqrt(0.03))
    assert summary.ua.std == pytest.approx(math.sqrt(0.03))
    assert (summary.wa.n, summary.complete, summary.missing) == (3, True, ())
    assert summary.published is FIGURE
    assert summary.corpus == "iemocap"


def test_pooled_figures_weigh_utterances_and_not_folds():
    scores = [
        score_of(1, confusion=((8, 0), (1, 1))),
        score_of(2, confusion=((0, 2), (0, 0))),
    ]
    summary = summarise(cell_of(folds=2), scores, None)
    assert summary.confusion == ((8, 2), (1, 1))
    assert summary.pooled_wa == pytest.approx(9 / 12)
    assert summary.pooled_ua == pytest.approx((8 / 10 + 1 / 2) / 2)


def test_folds_under_several_seeds_are_one_sample():
    scores = [
        score_of(fold, seed, ua=ua)
        for (fold, seed), ua in {(1, 0): 0.2, (2, 0): 0.4, (1, 5): 0.6, (2, 5): 0.8}.items()
    ]
    summary = summarise(cell_of(folds=2, seeds=(5, 0)), scores, None)
    assert summary.ua.mean == pytest.approx(0.5)
    assert summary.ua.std == pytest.approx(math.sqrt(0.2 / 3))
    assert summary.ua.n == 4
    assert summary.speakers == pytest.approx({"s1": 0.4, "s2": 0.6})
    assert [(s.fold, s.seed) for s in summary.folds] == [(1, 0), (1, 5), (2, 0), (2, 5)]


def test_a_lone_fold_has_no_spread():
    summary = summarise(cell_of(folds=1), [score_of()], None)
    assert (summary.wa.mean, summary.wa.n) == (0.7, 1)
    assert math.isnan(summary.wa.std)


def test_a_row_without_results_has_no_figures():
    summary = summarise(cell_of(folds=2), [], FIGURE)
    assert summary.missing == ((1, 0), (2, 0))
    assert summary.wa.n == summary.ua.n == 0
    figures = (summary.wa.mean, summary.wa.std, summary.pooled_wa, summary.pooled_ua)
    assert all(map(math.isnan, figures))
    assert summary.wa_oracle is None
    assert summary.confusion == ((0, 0), (0, 0))
    assert (summary.speakers, summary.left_out) == ({}, 0)


def test_missing_folds_are_counted_and_the_row_is_not_complete():
    summary = summarise(cell_of(folds=2, seeds=(0, 1)), [score_of(2, 0), score_of(1, 1)], None)
    assert summary.missing == ((1, 0), (2, 1))
    assert not summary.complete
    assert summary.ua.n == 2


def test_oracle_figures_are_averaged_apart():
    scores = [score_of(1, ua_oracle=0.8, wa_oracle=0.9), score_of(2, ua_oracle=0.6, wa_oracle=0.9)]
    summary = summarise(cell_of(folds=2), scores, None)
    assert summary.ua == Spread(0.6, 0.0, 2)
    assert summary.ua_oracle.mean == pytest.approx(0.7)
    assert summary.wa_oracle == Spread(0.9, 0.0, 2)


def test_an_oracle_that_only_some_folds_recorded_is_not_averaged():
    scores = [score_of(1, ua_oracle=0.8, wa_oracle=0.9), score_of(2)]
    assert summarise(cell_of(folds=2), scores, None).ua_oracle is None


def test_left_out_utterances_are_those_of_the_corpus_not_a_sum():
    scores = [score_of(1, left_out=3), score_of(2, left_out=3)]
    assert summarise(cell_of(folds=2), scores, None).left_out == 3


RULE = "row 'wavlm-eam' on 'iemocap' needs folds 1..3 once for each of seeds 0"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([score_of(2), score_of(1), score_of(2)], f"{RULE}, got more than one of fold 2 seed 0"),
        ([score_of(4)], f"{RULE}, got fold 4 seed 0"),
        ([score_of(1, seed=1)], f"{RULE}, got fold 1 seed 1"),
        ([score_of(2, row="x")], f"{RULE}, got fold 2 seed 0 of row 'x' on 'iemocap'"),
        ([score_of(2, corpus="savee")], f"{RULE}, got fold 2 seed 0 of row 'wavlm-eam' on 'savee'"),
        ([score_of(1, confusion=((4,),))], f"{RULE} over 2 classes, got fold 1 seed 0 over 1"),
    ],
)
def test_a_doubled_or_foreign_fold_is_refused_by_number(scores, message):
    with pytest.raises(ValueError, match=r".") as caught:
        summarise(cell_of(), scores, None)
    assert str(caught.value) == message


def test_settings_are_the_differences_from_the_defaults():
    config = RunConfig.from_dict(
        {"fold": 2, "seed": 3, "losses.terms": ["kl"], "mixup.method": "lam"}
    )
    assert changed_settings(config) == {"losses.terms": ["kl"], "mixup.method": "lam"}
    folds = {"corpus.name": "ravdess", "corpus.folds": "emobox"}
    assert changed_settings(RunConfig.from_dict(folds)) == {"corpus.folds": "emobox"}


def document_of(summaries) -> dict:
    return results_document(
        summaries, grid="table3", title="Table 3", demo=False, selection="last", git_commit="abc"
    )


def test_the_results_document_is_laid_out_as_documented():
    score = score_of(1, wa=0.7, ua=0.6, left_out=1)
    row = document_of([summarise(cell_of(folds=2), [score], FIGURE)])["rows"][0]
    assert row == {
        "row": "wavlm-eam",
        "corpus": "iemocap",
        "encoder": "wavlm-large",
        "settings": {},
        "seeds": [0],
        "classes": ["angry", "sad"],
        "complete": False,
        "missing": [{"fold": 2, "seed": 0}],
        "folds": [
            {
                "fold": 1,
                "seed": 0,
                "run_id": "000001000000",
                "n": 10,
                "wa": 0.7,
                "ua": 0.6,
                "wa_oracle": None,
                "ua_oracle": None,
                "best_epoch": 20,
                "speakers": {"s1": {"n": 10, "wa": 0.7, "ua": 0.6}},
            }
        ],
        "wa": {"mean": 0.7, "std": None, "n": 1},
        "ua": {"mean": 0.6, "std": None, "n": 1},
        "wa_oracle": None,
        "ua_oracle": None,
        "optimism": None,
        "interval": None,
        "seeds_split": None,
        "tests": None,
        "pooled": {"wa": 0.7, "ua": pytest.approx((3 / 4 + 4 / 6) / 2)},
        "speakers": {"s1": 0.6},
        "confusion": [[3, 1], [2, 4]],
        "left_out": 1,
        "counts_differ": False,
        "published": {"wa": 0.7763, "ua": 0.781},
    }


def test_the_head_of_the_results_document_names_the_study():
    document = document_of([])
    head = ["grid", "title", "demo", "selection", "git_commit", "statistics", "paper", "rows"]
    assert list(document) == head
    assert document["grid"] == "table3"


def test_the_optimism_is_the_oracle_minus_the_honest_mean():
    scores = [score_of(fold, wa=0.7, ua=0.6, wa_oracle=0.75, ua_oracle=0.7) for fold in (1, 2, 3)]
    summary = summarise(cell_of(), scores, None)
    assert summary.optimism == pytest.approx((0.05, 0.1))
    row = document_of([summary])["rows"][0]
    assert row["optimism"] == {"wa": pytest.approx(0.05), "ua": pytest.approx(0.1)}


def test_a_row_chosen_on_the_test_fold_has_no_honest_figure_to_be_optimistic_against():
    scores = [score_of(fold, wa_oracle=0.75, ua_oracle=0.7) for fold in (1, 2, 3)]
    cell = cell_of(**{"evaluation.selection": "oracle"})
    assert summarise(cell, scores, None).optimism is None


def test_the_figures_of_table_2_carry_their_speakers():
    figure = replace(FIGURE, wa=None, speakers={"DC": 0.823})
    row = document_of([summarise(cell_of(), [], figure)])["rows"][0]
    assert row["published"] == {"wa": None, "ua": 0.781, "speakers": {"DC": 0.823}}


def test_nan_never_reaches_json():
    text = results_text(document_of([summarise(cell_of(), [], None)]))
    row = json.loads(text, parse_constant=pytest.fail)["rows"][0]
    assert row["wa"] == {"mean": None, "std": None, "n": 0}
    assert row["pooled"] == {"wa": None, "ua": None}
    assert row["published"] is None


def test_results_do_not_depend_on_the_order_in_which_folds_finished():
    scores = [score_of(fold, seed, ua=fold / 7) for fold in (1, 2, 3) for seed in (0, 1)]
    scores = [replace(s, speakers={"z": s.speakers[f"s{s.fold}"]} | s.speakers) for s in scores]
    cell = cell_of(seeds=(0, 1))
    texts = {
        results_text(document_of([summarise(cell, order, None)]))
        for order in (scores, scores[::-1], scores[3:] + scores[:3])
    }
    assert len(texts) == 1
    assert json.loads(texts.pop())["rows"][0]["folds"][0]["speakers"].keys() == {"s1", "z"}
