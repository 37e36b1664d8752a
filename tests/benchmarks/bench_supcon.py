"""Frame-level SupCon, forward and backward, against pytorch-metric-learning's.

    python tests/benchmarks/bench_supcon.py

On 16 utterances of four classes, 64 features, two threads; memory in a fresh process each.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from pytorch_metric_learning.losses import SupConLoss

from core.losses import supervised_contrastive
from tests.benchmarks.paired import HEADER, Line, extra_bytes, faster, less, peak_bytes

UTTERANCES, FEATURES, CLASSES, TEMPERATURE = 16, 64, 4, 0.07
AIMS = {312: "≥ 4×", 749: "≥ 8×"}


def steps(frames: int) -> dict[str, Callable[[], float]]:
    """Loss and gradient of the same frames, by ours and by the peer's."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    values = torch.randn(UTTERANCES, frames, FEATURES, requires_grad=True)
    labels = torch.arange(UTTERANCES) % CLASSES
    frame_mask = torch.ones(UTTERANCES, frames, dtype=torch.bool)
    peer = SupConLoss(temperature=TEMPERATURE)

    def ours() -> float:
        values.grad = None
        loss = supervised_contrastive(values, frame_mask, labels, TEMPERATURE)
        loss.backward()
        return loss.item()

    def theirs() -> float:
        values.grad = None
        loss = peer(values.flatten(0, 1), labels.repeat_interleave(frames))
        loss.backward()
        return loss.item()

    return {"ours": ours, "peer": theirs}


def lines() -> Iterator[Line]:
    """Time at two lengths, memory at the longer."""
    for frames, aim in AIMS.items():
        both = steps(frames)
        losses = [step() for step in both.values()]
        assert abs(losses[0] - losses[1]) < 1e-4 * losses[1], losses
        what = f"SupCon, {UTTERANCES} × {frames} frames: step, against pytorch-metric-learning"
        yield faster(what, both["ours"], both["peer"], aim=aim)
    memory = [extra_bytes("bench_supcon.py", ["--alone", who, "749"]) for who in ("ours", "peer")]
    yield less(f"SupCon, {UTTERANCES} × 749 frames: extra memory", *memory, aim="≤ 0.05")


def main() -> None:
    """Print the lines, or measure one side's memory for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alone", nargs=2, metavar=("WHO", "FRAMES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        who, frames = options.alone
        steps(20)[who]()  # what is loaded at the first call is no part of it
        step = steps(int(frames))[who]
        before = peak_bytes()
        step()
        print(before, peak_bytes())
    else:
        print(HEADER, *lines(), sep="\n")


if __name__ == "__main__":
    main()
