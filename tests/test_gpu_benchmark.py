"""The GPU's benchmark, on the CPU with a tiny geometry; and what it says where there is no GPU."""

import re
from pathlib import Path

import pytest
import torch

from tests.benchmarks import gpu

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}


def load(family: str) -> gpu.Load:
    return gpu.Load(
        family=family,
        geometry=TINY,
        device=torch.device("cpu"),
        batch=2,
        seconds=0.5,
        steps=2,
        matmul=64,
        trials=(),
    )


@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize("family", ["WavLM", "HuBERT"])
def test_a_table_has_a_row_for_each_kind_of_step_and_the_cost_of_table_3(family: str) -> None:
    lines = list(gpu.table(load(family), family))
    rows = [re.split(r" *\| *", line)[1:-1] for line in lines if line.startswith("|")][2:]
    assert [row[0] for row in rows] == ["ours", "stock bf16", "stock float32"]
    assert rows[0][3] == "1.00×"
    for _, milliseconds, rate, _, peak, share in rows:
        assert float(milliseconds) * float(rate) == pytest.approx(2000, rel=0.02)  # a batch of 2
        assert peak == "–"  # the CPU tells none
        assert float(share.removesuffix(" %")) >= 0
    ours = float(rows[0][2])
    (hours,) = re.findall(r"6,600,000 utterance passes: (\S+) h", "\n".join(lines))
    assert float(hours) == pytest.approx(6_600_000 / ours / 3600, rel=0.02)


def test_the_products_of_our_step_are_about_those_of_the_stock_one(tmp_path: Path) -> None:
    small = load("HuBERT")
    gpu.save(small, tmp_path)
    ours, stock = (
        gpu.flops_of(gpu.step_of(kind, small, tmp_path)) for kind in ("ours", "stock float32")
    )
    assert ours == pytest.approx(stock, rel=0.02)


def test_without_a_gpu_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "this benchmark needs a GPU that torch can use, found none\n"
