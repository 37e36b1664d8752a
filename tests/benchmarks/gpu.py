"""A training step of WavLM-Large's and HuBERT-Large's geometry on one GPU: time, memory, what of
the chip is used, how many trials fit beside one another, and how long the paper's Table 3 takes.

    python tests/benchmarks/gpu.py        # prints markdown; exit status 2 without a GPU

Random weights, written and read in transformers' format, nothing is downloaded. A step is forward,
the mean square of the frames, backward into the transformer and fused Adam; the front end is
frozen, as by default. Peers are transformers' own models under the same step. Medians of ten steps.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from core.config import SAMPLE_RATE_HZ, EncoderConfig
from core.encoders import build_encoder

BATCH, SECONDS = 16, 6.25
STEPS = 10
TRIALS = (1, 2, 4)  # packed on the GPU, a process each
TABLE_3_UTTERANCES = 6_600_000  # 15 rows x 5 folds x 20 epochs of IEMOCAP's 4 425 or so
MATMUL = 8192  # the chip's rate is that of a product of two such squares
FAMILIES = {
    "WavLM": (transformers.WavLMConfig, transformers.WavLMModel),
    "HuBERT": (transformers.HubertConfig, transformers.HubertModel),
}
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is measured.

    Attributes:
        geometry: Settings of transformers' config.
    """

    family: str
    geometry: dict[str, Any]
    device: torch.device
    batch: int = BATCH
    seconds: float = SECONDS
    steps: int = STEPS
    matmul: int = MATMUL
    trials: tuple[int, ...] = TRIALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Of one kind of step: median time, and peak memory, which only a GPU tells."""

    step_s: float
    peak_bytes: int | None


def save(load: Load, folder: Path) -> None:
    """The geometry with random weights, as transformers writes a checkpoint."""
    config_class, model_class = FAMILIES[load.family]
    config = config_class(**load.geometry, layerdrop=0.0, apply_spec_augment=False)
    torch.manual_seed(0)
    model_class(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))


def step_of(kind: str, load: Load, folder: Path) -> Callable[[], None]:
    """A training step of `stock float32`, `stock bf16` or `ours`."""
    waveforms = torch.randn(load.batch, round(load.seconds * SAMPLE_RATE_HZ), device=load.device)
    lengths = torch.full((load.batch,), waveforms.shape[1], device=load.device)
    model: Any
    if kind == "ours":
        model = build_encoder(EncoderConfig(name=str(folder))).to(load.device)
    else:
        model = FAMILIES[load.family][1].from_pretrained(folder).to(load.device).train()
        model.feature_extractor._freeze_parameters()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(trained, 1e-4, fused=True)
    half = kind != "stock float32"

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(load.device.type, torch.bfloat16, enabled=half):
            if kind == "ours":
                frames = model(waveforms, lengths)[0]
            else:
                mask = torch.ones_like(waveforms, dtype=torch.long)
                frames = model(waveforms, attention_mask=mask).last_hidden_state
        frames.float().square().mean().backward()
        optimiser.step()

    return step


def measure(step: Callable[[], None], load: Load) -> Reading:
    """After two steps that warm up."""
    on_gpu = load.device.type == "cuda"
    for _ in range(2):
        step()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times = [_seconds(step, load.device) for _ in range(load.steps)]
    return Reading(
        step_s=median(times), peak_bytes=torch.cuda.max_memory_allocated() if on_gpu else None
    )


def matmul_rate(load: Load) -> float:
    """FLOP/s of a large product in bf16: what the chip really gives."""
    left, right = (
        torch.randn(load.matmul, load.matmul, device=load.device, dtype=torch.bfloat16)
        for _ in range(2)
    )
    times = [_seconds(lambda: left @ right, load.device) for _ in range(load.steps + 2)]
    return 2 * load.matmul**3 / median(times[2:])


def flops_of(step: Callable[[], None]) -> int:
    """Of the products and attentions in a step, forward and backward."""
    unknown = {torch.ops.aten.addmm_: _addmm_flops}  # torch counts it only out of place
    with FlopCounterMode(display=False, custom_mapping=unknown) as counter:
        step()
    return counter.get_total_flops()


def _addmm_flops(_sum: Sequence[int], left: Sequence[int], right: Sequence[int], **_: Any) -> int:
    return 2 * left[0] * left[1] * right[1]


def packed_rate(count: int, load: Load, folder: Path) -> float:
    """Utterances a second of so many trials together, a process each, from one start."""
    (folder / "load.json").write_text(
        json.dumps(
            {"family": load.family, "batch": load.batch, "seconds": load.seconds}
            | {"steps": load.steps, "device": str(load.device)}
        )
    )
    command = [sys.executable, str(Path(__file__).resolve()), "--alone", str(folder)]
    with ExitStack() as running:
        trials = [
            running.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(count)
        ]
        for trial in trials:
            _line(trial, "ready")
        started = time.perf_counter()
        for trial in trials:
            assert trial.stdin is not None
            trial.stdin.write("go\n")
            trial.stdin.flush()
        for trial in trials:
            _line(trial, "done")
        return count * load.steps * load.batch / (time.perf_counter() - started)


def _line(trial: "subprocess.Popen[str]", wanted: str) -> None:
    assert trial.stdout is not None
    while (line := trial.stdout.readline()) and line.strip() != wanted:
        pass
    if not line:
        raise RuntimeError(f"a packed trial must say {wanted!r}, ended with {trial.wait()}")


def alone(folder: Path) -> None:
    """One of the packed trials."""
    told = json.loads((folder / "load.json").read_text())
    device, steps = torch.device(told.pop("device")), told["steps"]
    load = Load(geometry={}, device=device, **told)
    step = step_of("ours", load, folder)
    for _ in range(2):
        _seconds(step, device)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(steps):
        step()
    _seconds(lambda: None, device)
    print("done", flush=True)


def table(load: Load, name: str) -> Iterator[str]:
    """Markdown, line by line, as it is measured."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save(load, folder)
        rate = matmul_rate(load)
        yield f"## {name}, batch {load.batch} × {load.seconds:g} s"
        yield ""
        yield "| step | ms | utterances/s | against ours | peak memory | of the matmul rate |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
        ours = 0.0
        for kind in ("ours", "stock bf16", "stock float32"):
            step = step_of(kind, load, folder)
            reading = measure(step, load)
            share = flops_of(step) / reading.step_s / rate
            ours = ours or reading.step_s
            yield _row(kind, reading, reading.step_s / ours, share, load.batch)
            del step
            if load.device.type == "cuda":
                torch.cuda.empty_cache()
        yield ""
        yield f"bf16 product of {load.matmul}²: {rate / 1e12:.3g} TFLOP/s."
        best = load.batch / ours
        for count in load.trials:
            together = packed_rate(count, load, folder)
            best = max(best, together)
            yield f"Packed, {count} at once: {together:.3g} utterances/s."
        hours = TABLE_3_UTTERANCES / best / 3600
        yield f"Table 3, {TABLE_3_UTTERANCES:,} utterance passes: {hours:.3g} h of this GPU."
        yield ""


def _row(kind: str, reading: Reading, ratio: float, share: float, batch: int) -> str:
    peak = "–" if reading.peak_bytes is None else f"{reading.peak_bytes / (1 << 30):.2f} GiB"
    speed = f"{1000 * reading.step_s:.3g} | {batch / reading.step_s:.3g} | {ratio:.2f}×"
    return f"| {kind} | {speed} | {peak} | {100 * share:.1f} % |"


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of wall time until the device has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 2 where there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alone", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        alone(options.alone)
        return 0
    if not torch.cuda.is_available():
        print("this benchmark needs a GPU that torch can use, found none", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    print(f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}", end="\n\n")
    for family in FAMILIES:
        for line in table(Load(family=family, geometry=LARGE, device=device), f"{family}-Large"):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
