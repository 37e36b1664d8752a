"""A training step of WavLM and an epoch of Whisper on real speech, against plain code.

    python tests/benchmarks/bench_encoder.py

WavLM: hidden 256, 4 layers, 16 utterances of 6.25 s, random weights, float32, two threads; the peer
is transformers' own `WavLMModel`. Whisper: tiny.en's encoder on 160 RAVDESS clips of ../shared,
bf16, one thread; the peer decodes and resamples each clip anew, pads all to the crop and computes
in eager float32, with the same loss, optimiser and pooling.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
import transformers
from torch import nn

from core.audio import read_audio
from core.batches import Batcher, derived_generator
from core.clips import Clips, to_peak
from core.config import SAMPLE_RATE_HZ, EncoderConfig, RunConfig
from core.corpora.catalog import CORPORA
from core.corpora.utterance import Utterance
from core.encoders import build_encoder
from core.store import AudioStore, build_store
from core.trainer import Trainer
from tests.benchmarks.paired import (
    HEADER,
    SHARED,
    Line,
    extra_bytes,
    faster,
    less,
    peak_bytes,
)

BATCH, SECONDS = 16, 6.25
CLIPS = 160  # of Whisper's epoch: ten batches


def save_wavlm(folder: Path) -> None:
    """The geometry of the issue, with random weights, in transformers' own format."""
    config = transformers.WavLMConfig(
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        intermediate_size=1024,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        layerdrop=0.0,
        apply_spec_augment=False,
    )
    torch.manual_seed(0)
    transformers.WavLMModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))


def wavlm_steps(folder: Path) -> dict[str, Callable[[], Any]]:
    """A step each: forward, the mean square of the frames, backward into the transformer."""
    torch.set_num_threads(2)
    waveforms = torch.randn(BATCH, round(SECONDS * SAMPLE_RATE_HZ))
    lengths = torch.full((BATCH,), waveforms.shape[1])
    ours = build_encoder(EncoderConfig(name=str(folder)))
    stock = transformers.WavLMModel.from_pretrained(folder).train()
    stock.feature_extractor._freeze_parameters()

    def step() -> None:
        ours.zero_grad()
        ours(waveforms, lengths)[0].square().mean().backward()

    def stock_step() -> None:
        stock.zero_grad()
        frames = stock(waveforms, attention_mask=torch.ones_like(waveforms, dtype=torch.long))
        frames.last_hidden_state.square().mean().backward()

    return {"ours": step, "peer": stock_step}


def wavlm_lines() -> Iterator[Line]:
    """Time by turns, memory in a fresh process each."""
    with tempfile.TemporaryDirectory() as folder:
        save_wavlm(Path(folder))
        steps = wavlm_steps(Path(folder))
        what = f"WavLM 4 × 256, {BATCH} × {SECONDS} s: step, against transformers'"
        yield faster(what, steps["ours"], steps["peer"], aim="≥ 1.5×")
        memory = [
            extra_bytes("bench_encoder.py", ["--alone", who, folder]) for who in ("ours", "peer")
        ]
        yield less("the same: extra memory", *memory, aim="≤ 0.6")


def whisper_config() -> RunConfig:
    """Plain fine-tuning."""
    return RunConfig.from_dict(
        {
            "corpus.name": "ravdess",
            "encoder.name": str(SHARED / "models" / "whisper-tiny.en-encoder"),
            "mixup.method": "none",
            "pooling.method": "mean",
            "losses.terms": ["kl"],
            "losses.weighting": "fixed",
            "training.epochs": 10_000,
        }
    )


class PlainClips(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """As a first script has it: each clip read, resampled, levelled and padded when asked for."""

    def __init__(self, utterances: list[Utterance], config: RunConfig) -> None:
        self.utterances = utterances
        self.classes = CORPORA["ravdess"].classes
        self.samples = round(config.audio.crop_s * SAMPLE_RATE_HZ)

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        item = self.utterances[index]
        waveform = torch.tensor(to_peak(read_audio(item.path)[: self.samples]))
        padded = nn.functional.pad(waveform, (0, self.samples - len(waveform)))
        return padded, len(waveform), self.classes.index(item.label)


def plain_epoch(utterances: list[Utterance], config: RunConfig) -> Callable[[], None]:
    """The loop that everybody writes first."""
    torch.manual_seed(0)
    encoder = build_encoder(config.encoder)
    head = nn.Sequential(nn.Linear(encoder.features, 64), nn.Linear(64, 8))
    trained = [p for p in (*encoder.parameters(), *head.parameters()) if p.requires_grad]
    optimiser = torch.optim.Adam(trained, 1e-4, (0.9, 0.98), 1e-9)
    loader = torch.utils.data.DataLoader(PlainClips(utterances, config), BATCH, shuffle=True)

    def epoch() -> None:
        for waveforms, lengths, labels in loader:
            frames, mask = encoder(waveforms, lengths)
            logits = head(frames.sum(1) / mask.sum(1, keepdim=True))
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits, labels).backward()
            optimiser.step()

    return epoch


def whisper_lines() -> Iterator[Line]:
    """An epoch of 160 clips, each kind of code on its own model."""
    if not SHARED.is_dir():
        return
    config = whisper_config()
    utterances = list(CORPORA["ravdess"].parse(SHARED / "data" / "ravdess").utterances)
    chosen = utterances[:: len(utterances) // CLIPS][:CLIPS]
    with tempfile.TemporaryDirectory() as folder:
        report = build_store(chosen, Path(folder), workers=2)
        clips = Clips(AudioStore.open(Path(folder), report.fingerprint), config.audio)
        trainer = Trainer(
            config, chosen, [], clips, CORPORA["ravdess"].classes, torch.device("cpu")
        )
        torch.set_num_threads(config.training.threads)
        batcher = Batcher(chosen, clips, CORPORA["ravdess"].classes, config.training)
        order = derived_generator(0, 1, "order")
        batches = list(batcher.shuffled(config.mixup, order, order))
        padded = sum(batch.inputs.numel() for batch in batches)
        share = 1 - sum(int(batch.lengths.sum()) for batch in batches) / padded
        what = f"Whisper tiny.en, an epoch of {CLIPS} RAVDESS clips, against a plain loop"
        yield faster(what, trainer.train_epoch, plain_epoch(chosen, config), aim="≥ 2×")
        yield Line(
            what="the same: padding, of all samples",
            ours=f"{100 * share:.1f} %",
            peer=f"{100 * (1 - (1 - share) * padded / (CLIPS * 100_000)):.1f} %",
            ratio="",
            aim="< 5 %",
        )


def lines() -> Iterator[Line]:
    """Of both encoders."""
    yield from wavlm_lines()
    yield from whisper_lines()


def main() -> None:
    """Print the lines, or measure one side's memory for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alone", nargs=2, metavar=("WHO", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        who, folder = options.alone
        step = wavlm_steps(Path(folder))[who]
        before = peak_bytes()
        step()
        print(before, peak_bytes())
    else:
        print(HEADER, *lines(), sep="\n")


if __name__ == "__main__":
    main()
