"""Every constant of the reproduction, once, with its source.

Sources: P = the paper, C = published code of its baseline (Kang et al., LAM) or of the same group's
earlier work, O = our own choice. Grids hold differences from these defaults, never a copy of them.
The defaults are the paper's full method, the last row of its Table 3.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.classifiers import ClassifierConfig, settled
from core.corpora.catalog import CORPORA
from core.schema import ConfigError, Problem, build, flatten, nested, number, show, suggest

RECIPE_VERSION = 3
"""Raised whenever code changes what a config computes, so that old results are never mistaken."""

SAMPLE_RATE_HZ = 16_000  # P's encoders (WavLM, HuBERT) were trained at 16 kHz

Term = Literal["kl", "center", "focal", "supcon"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What must be known of an encoder before it is loaded."""

    source: str  # the hub's name of the checkpoint, or "" for an encoder without weights
    layers: int
    features: int


ENCODERS: dict[str, Geometry] = {
    "wavlm-large": Geometry(source="microsoft/wavlm-large", layers=24, features=1024),
    "wavlm-base": Geometry(source="microsoft/wavlm-base", layers=12, features=768),
    "wavlm-base-plus": Geometry(source="microsoft/wavlm-base-plus", layers=12, features=768),
    "hubert-large": Geometry(source="facebook/hubert-large-ll60k", layers=24, features=1024),
    "hubert-base": Geometry(source="facebook/hubert-base-ls960", layers=12, features=768),
    "wav2vec2-large": Geometry(source="facebook/wav2vec2-large-lv60", layers=24, features=1024),
    "wav2vec2-base": Geometry(source="facebook/wav2vec2-base", layers=12, features=768),
    "whisper-tiny": Geometry(source="openai/whisper-tiny", layers=4, features=384),
    "whisper-base": Geometry(source="openai/whisper-base", layers=6, features=512),
    "whisper-small": Geometry(source="openai/whisper-small", layers=12, features=768),
    # O: trained from scratch, for the demo and for tests of the machinery.
    "logmel-small": Geometry(source="", layers=2, features=48),
    "logmel-base": Geometry(source="", layers=3, features=80),
}


def is_pretrained(name: str) -> bool:
    """Whether an encoder of this name starts from weights."""
    return name not in ENCODERS or ENCODERS[name].source != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """Which corpus, and which of its published fold assignments."""

    name: str = "iemocap"  # P §3.3: the ablation's corpus
    folds: str = ""  # "": the corpus's own default scheme, filled in by `RunConfig.from_dict`


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The pre-trained network under the method."""

    name: str = "wavlm-large"  # P §2.2; an alias of ENCODERS, a hub name or a folder
    layer: int | None = number(None, 0, 100)  # type: ignore[arg-type]  # O: last; C uses 22 of 24
    weigh_layers: bool = (
        False  # O: that one alone; true: a learned average of all up to it (SUPERB)
    )
    # O: as the encoder gives them; true: each frame to zero mean and unit variance, without which
    # the few features that dwarf all others in the middle of a transformer hold up frozen training.
    normalise: bool = False
    # P says "pre-trained", batch 16 on 24 GB; C (LAM) trains all, C (SeeNet) all but the CNN.
    train: Literal["all", "transformer", "frozen"] = "transformer"


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioConfig:
    """What of an utterance the encoder sees."""

    crop_s: float = number(6.25, 0.1, 60.0)  # C (LAM): the first 100 000 samples
    normalise: Literal["peak", "none"] = "peak"  # C (LAM): peak; zero stays zero
    # O: cut what is this far below the loudest 10 ms from both ends, before the crop; none: no cut,
    # as P and C say nothing of it. Half of a RAVDESS clip is such silence.
    trim_db: float | None = number(None, 1.0, 120.0)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """What training does to an utterance beside mixing it; scoring hears it as it was spoken."""

    # O: the own one. Of several, 0.9, 1 and 1.1 by custom, each epoch draws one for each utterance;
    # tempo, pitch and formants move by it, as if somebody else spoke (Ko et al. 2015, 3.1).
    speeds: tuple[float, ...] = field(default=(1.0,), metadata={"range": (0.5, 2.0, False)})


@dataclass(frozen=True, slots=True, kw_only=True)
class MixupConfig:
    """Mixing of two utterances and their labels, in training only."""

    method: Literal["none", "lam", "eam"] = "eam"  # P §2.2
    probability: float = number(0.5, 0.0, 1.0)  # C (LAM) 0.5; C (SeeNet) mixes every utterance
    snr_min_db: float = number(-5.0, -60.0, 60.0)  # P §2.2
    snr_max_db: float = number(10.0, -60.0, 60.0)  # P §2.2
    max_share: float = number(0.5, 0.0, 1.0, above=True)  # P §2.2: under half of the host


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingConfig:
    """From frames to one vector per utterance."""

    method: Literal["first", "mean", "max", "flam"] = "flam"  # P §2.3; C (LAM): first
    heads: int = number(16, 1, 64)  # P §2.3


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The terms of Eq. 11, their constants and their weights."""

    terms: tuple[Term, ...] = ("kl", "center", "focal", "supcon")  # P §2.4
    # P: "empirically set to normalize each component into [0, 1]". Calibrated: each weight is one
    # over the term's mean over the first batches, then frozen. Fixed: the four weights below.
    weighting: Literal["calibrated", "fixed"] = "calibrated"
    calibration_batches: int = number(8, 1, 1000)  # O
    kl_weight: float = number(1.0, 0.0, 1e6)  # C (LAM)
    center_weight: float = number(0.002, 0.0, 1e6)  # C (LAM)
    focal_weight: float = number(1.0, 0.0, 1e6)  # O
    supcon_weight: float = number(0.1, 0.0, 1e6)  # O
    focal_gamma: float = number(2.0, 0.0, 20.0)  # Lin et al. 2017; P names the symbol only
    temperature: float = number(0.07, 0.0, 100.0, above=True)  # the group's later work; P: symbol
    normalise_frames: bool = True  # Khosla et al. 2020; P's Eq. 10 leaves it open
    projected_features: int = number(64, 1, 4096)  # P §3.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The optimisers and their schedule."""

    epochs: int = number(20, 1, 10_000)  # P §3.2: the decay ends at the 20th
    batch_size: int = number(16, 1, 4096)  # P §3.2
    # O: batches filled together from one draw, sorted by length: less padding, and companions of
    # similar length. 1 leaves the order to chance alone.
    length_pool: int = number(8, 1, 10_000)
    learning_rate: float = number(1e-4, 0.0, 10.0, above=True)  # P §3.2
    center_learning_rate: float = number(5e-3, 0.0, 10.0, above=True)  # P §3.2
    decay: float = number(0.875, 0.0, 1.0, above=True)  # P §3.2: 7/8 an epoch
    decay_epochs: int = number(20, 1, 10_000)  # P §3.2
    beta1: float = number(0.9, 0.0, 0.9999)  # C (LAM)
    beta2: float = number(0.98, 0.0, 0.999999)  # C (LAM)
    epsilon: float = number(1e-9, 0.0, 1.0, above=True)  # C (LAM)
    # O: bfloat16 is autocast; tf32 is float32 but for a GPU's products, of 10 of its 23 bits.
    precision: Literal["float32", "tf32", "bfloat16"] = "bfloat16"
    # O: a trial's threads on the CPU, which decide in what order sums round.
    threads: int = number(1, 1, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Which epoch is reported, and on what it was chosen."""

    # last: all training folds train, the last epoch is scored. validation: the next speaker group
    # is held out and its best UA picks the epoch. oracle: the best epoch on the test fold itself,
    # the practice behind many published figures; optimistic, and named so wherever it appears.
    selection: Literal["last", "validation", "oracle"] = "last"
    record_oracle: bool = False  # note the oracle figure beside the honest one


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One experiment whole: one fold of one corpus under one setting and one seed."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    fold: int = number(1, 1, 1000)
    seed: int = number(0, 0, 2**31 - 1)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    mixup: MixupConfig = field(default_factory=MixupConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> "RunConfig":
        """The one gate: settings, dotted or nested, become a config or a `ConfigError`."""
        flat = flatten(settings)
        config = build(cls, flat)  # all of them, since what has no effect must be right as well
        if config.classifier != ClassifierConfig():
            config = build(cls, settled(flat))
        if config.corpus.name in CORPORA and not config.corpus.folds:
            scheme = CORPORA[config.corpus.name].default_scheme
            config = replace(config, corpus=replace(config.corpus, folds=scheme))
        if problems := list(_contradictions(config)):
            raise ConfigError(problems)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; `from_dict` of it is this config again."""
        return nested(self)

    @property
    def stores_frames(self) -> bool:
        """Whether the encoder sees each utterance once, at each speed: frozen and unmixed.

        A mixture is another one each epoch: where a setting mixes, a frozen encoder runs each time.
        """
        frozen = self.encoder.train == "frozen" and is_pretrained(self.encoder.name)
        return frozen and self.mixup.method == "none"

    @property
    def heard_speeds(self) -> tuple[float, ...]:
        """The speeds that training hears, and the own one, at which all is scored."""
        return tuple(sorted({1.0, *self.augment.speeds}))

    def on_fold(self, fold: int, seed: int) -> "RunConfig":
        """The same setting on another fold and seed."""
        return replace(self, fold=fold, seed=seed)


def _contradictions(config: RunConfig) -> Iterator[Problem]:
    """What is wrong between settings that are each right alone."""
    yield from _corpus_contradictions(config)
    mixup, losses, geometry = config.mixup, config.losses, ENCODERS.get(config.encoder.name)
    speeds = config.augment.speeds
    if not speeds or len(set(speeds)) < len(speeds) or any(round(s, 2) != s for s in speeds):
        rule = "must hold one or more speeds once each, in whole hundredths"
        yield Problem("augment.speeds", f"{rule}, got {show(speeds)}")
    if mixup.snr_min_db > mixup.snr_max_db:
        text = f"must not exceed mixup.snr_max_db = {mixup.snr_max_db:g}, got {mixup.snr_min_db:g}"
        yield Problem("mixup.snr_min_db", text, ("mixup.snr_max_db",))
    if not losses.terms or len(set(losses.terms)) < len(losses.terms):
        text = f"must name one or more terms once each, got {show(losses.terms)}"
        yield Problem("losses.terms", text)
    elif not {"kl", "focal"} & set(losses.terms):
        rule = "must hold 'kl' or 'focal': nothing else trains the classifier"
        yield Problem("losses.terms", f"{rule}, got {', '.join(losses.terms)}")
    if geometry is None:
        return
    layer, heads, name = config.encoder.layer, config.pooling.heads, config.encoder.name
    if layer is not None and layer > geometry.layers:
        text = f"must lie in 0..{geometry.layers} for {name!r}, got {layer}"
        yield Problem("encoder.layer", text, ("encoder.name",))
    if config.pooling.method == "flam" and geometry.features % heads:
        text = f"must divide the {geometry.features} features of {name!r}, got {heads}"
        yield Problem("pooling.heads", text, ("encoder.name", "pooling.method"))


def _corpus_contradictions(config: RunConfig) -> Iterator[Problem]:
    """A corpus of the catalog has known folds; any other brings its own, under a scheme's name."""
    corpus = CORPORA.get(config.corpus.name)
    if corpus is None and config.corpus.folds:
        return
    if corpus is None:
        hint = suggest(config.corpus.name, CORPORA)
        text = f"must be one of {', '.join(CORPORA)}, got {show(config.corpus.name)}{hint}"
        yield Problem("corpus.name", text)
    elif config.corpus.folds not in corpus.schemes:
        rule = f"must be one of {', '.join(corpus.schemes)} for {corpus.name}"
        hint = suggest(config.corpus.folds, corpus.schemes)
        text = f"{rule}, got {show(config.corpus.folds)}{hint}"
        yield Problem("corpus.folds", text, ("corpus.name",))
    elif config.fold > (folds := corpus.schemes[config.corpus.folds].folds):
        text = f"must lie in 1..{folds} for {corpus.name}, got {config.fold}"
        yield Problem("fold", text, ("corpus.name", "corpus.folds"))
