from dataclasses import replace

from ablation.logged import TAG_LIMIT, description, final_metrics, parameters
from ablation.scores import FoldScore
from tests.ablation.stand_ins import result_of, trial_of


def test_a_micro_batch_is_told_where_there_was_one():
    result = result_of()
    score = FoldScore.from_result("plain", result)
    whole = final_metrics(result, score)
    parts = final_metrics(replace(result, micro_batch=4), score)
    assert parts == whole | {"micro_batch": 4}
    assert "micro_batch" not in whole


def test_settings_are_worded_as_in_a_plan_and_told_beside_row_and_corpus():
    told = parameters(trial_of("plain", fold=3))
    assert {name: told[name] for name in ("row", "corpus", "fold", "seed")} == {
        "row": "plain",
        "corpus": "savee",
        "fold": "3",
        "seed": "0",
    }
    assert told["losses.terms"] == "kl, center, focal, supcon"
    assert told["audio.trim_db"] == "none"
    assert told["evaluation.record_oracle"] in ("true", "false")
    assert not [text for text in told.values() if text.startswith(("(", "[", "'"))]


def test_a_table_too_long_for_a_tag_is_cut_between_lines_and_says_so():
    line = "| a row | 75.00 |"
    assert description(f"{line}\n") == f"{line}\n"
    told = description(f"{line}\n" * 1000)
    assert len(told) <= TAG_LIMIT
    *kept, _, last, _ = told.split("\n")
    assert set(kept) == {line}
    assert len(kept) == (TAG_LIMIT - 66) // len(f"{line}\n")
    assert last == "Too long to be shown whole: see table.md among the artifacts."
