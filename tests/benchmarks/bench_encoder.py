"""A training step of WavLM and an epoch of Whisper on real speech, against plain code.

    python tests/benchmarks/bench_encoder.py

WavLM: hidden 256, 4 layers, 16 utterances of 6.25 s, random weights, float32, two threads; the peer
is transformers' own `WavLMModel`. Whisper: tiny.en's encoder on 160 RAVDESS clips of ../shared,
bf16, one thread; the peer decodes and resamples each clip anew, pads all to the crop and computes
in eager float32, with the same loss, optimiser and pooling. `--results` compares what both have
learnt.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import transformers
from torch import nn

from ablation.statistics import paired_utterances
from core.audio import read_audio
from core.batches import Batcher, derived_generator
from core.clips import Clips, to_peak
from core.config import SAMPLE_RATE_HZ, EncoderConfig, RunConfig
from core.corpora.catalog import CORPORA
from core.corpora.folds import split
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
EPOCHS = 5  # of both, before they are judged


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


class PlainLoop:
    """The loop that everybody writes first."""

    def __init__(self, utterances: list[Utterance], config: RunConfig) -> None:
        torch.manual_seed(0)
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.head = nn.Sequential(nn.Linear(self.encoder.features, 64), nn.Linear(64, 8))
        modules = self.encoder, self.head
        trained = [p for each in modules for p in each.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, 1e-4, (0.9, 0.98), 1e-9)
        self.clips = self.loader(utterances, shuffle=True)

    def loader(self, utterances: list[Utterance], *, shuffle: bool) -> Any:
        clips = PlainClips(utterances, self.config)
        return torch.utils.data.DataLoader(clips, BATCH, shuffle=shuffle)

    def logits(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        frames, mask = self.encoder(waveforms, lengths)
        found: torch.Tensor = self.head(frames.sum(1) / mask.sum(1, keepdim=True))
        return found

    def epoch(self) -> None:
        for waveforms, lengths, labels in self.clips:
            self.optimiser.zero_grad()
            nn.functional.cross_entropy(self.logits(waveforms, lengths), labels).backward()
            self.optimiser.step()

    def judge(self, utterances: list[Utterance]) -> list[bool]:
        """Whether each is taken for what it is."""
        self.encoder.eval()
        with torch.no_grad():
            return [
                right
                for waveforms, lengths, labels in self.loader(utterances, shuffle=False)
                for right in (self.logits(waveforms, lengths).argmax(1) == labels).tolist()
            ]


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
        yield faster(what, trainer.train_epoch, PlainLoop(chosen, config).epoch, aim="≥ 2×")
        yield Line(
            what="the same: padding, of all samples",
            ours=f"{100 * share:.1f} %",
            peer=f"{100 * (1 - (1 - share) * padded / (CLIPS * 100_000)):.1f} %",
            ratio="",
            aim="< 5 %",
        )


def result_lines() -> Iterator[Line]:
    """What both have learnt after some epochs of half of the first fold's clips."""
    config = whisper_config()
    ravdess = CORPORA["ravdess"]
    utterances = list(ravdess.parse(SHARED / "data" / "ravdess").utterances)
    sides = split(utterances, ravdess.schemes[ravdess.default_scheme], 1, hold_out_validation=False)
    train, test = list(sides.train)[::2], sorted(sides.test, key=lambda item: item.name)
    torch.set_num_threads(config.training.threads)
    with tempfile.TemporaryDirectory() as folder:
        report = build_store([*train, *test], Path(folder), workers=2)
        clips = Clips(AudioStore.open(Path(folder), report.fingerprint), config.audio)
        trainer = Trainer(config, train, [], clips, ravdess.classes, torch.device("cpu"))
        for _ in range(EPOCHS):
            trainer.train_epoch()
        found = trainer.predict(Batcher(test, clips, ravdess.classes, config.training))
    ours = [prediction.predicted == prediction.label for prediction in found]
    loop = PlainLoop(train, config)
    for _ in range(EPOCHS):
        loop.epoch()
    peer = loop.judge(test)
    p = paired_utterances(np.subtract(ours, peer, dtype=np.int64))
    yield Line(
        what=f"Whisper tiny.en, {EPOCHS} epochs of {len(train)} clips: WA of {len(test)} others",
        ours=f"{100 * sum(ours) / len(ours):.1f} %",
        peer=f"{100 * sum(peer) / len(peer):.1f} %",
        ratio=f"McNemar's p {p:.2f}",
        aim="p > 0.05",
    )


def lines() -> Iterator[Line]:
    """Of both encoders."""
    yield from wavlm_lines()
    yield from whisper_lines()


def main() -> None:
    """Print the lines, or measure one side's memory for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alone", nargs=2, metavar=("WHO", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--results", action="store_true", help="what is learnt: half an hour")
    options = parser.parse_args()
    if options.results:
        print(HEADER, *result_lines(), sep="\n")
    elif options.alone:
        who, folder = options.alone
        step = wavlm_steps(Path(folder))[who]
        before = peak_bytes()
        step()
        print(before, peak_bytes())
    else:
        print(HEADER, *lines(), sep="\n")


if __name__ == "__main__":
    main()
