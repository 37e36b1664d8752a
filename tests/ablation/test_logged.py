from dataclasses import replace

from ablation.logged import final_metrics
from ablation.scores import FoldScore
from tests.ablation.stand_ins import result_of


def test_a_micro_batch_is_told_where_there_was_one():
    result = result_of()
    score = FoldScore.from_result("plain", result)
    whole = final_metrics(result, score)
    parts = final_metrics(replace(result, micro_batch=4), score)
    assert parts == whole | {"micro_batch": 4}
    assert "micro_batch" not in whole
