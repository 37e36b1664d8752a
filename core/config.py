"""Every constant of the reproduction, once, with its source.

Sources: P = the paper, C = published code of its baseline (Kang et al., LAM) or of the same group's
earlier work, O = our own choice. Grids hold differences from these defaults, never a copy of them.
The defaults are the paper's full method, the last row of its Table 3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from core.classifiers import ClassifierConfig, settled
from core.contradictions import contradictions
from core.corpora.catalog import CORPORA
from core.encoder_catalog import is_drawn
from core.schema import ConfigError, build, flatten, nested, number

RECIPE_VERSION = 3
"""Raised whenever code changes what a config computes, so that old results are never mistaken."""

SAMPLE_RATE_HZ = 16_000  # P's encoders (WavLM, HuBERT) were trained at 16 kHz

Term = Literal["kl", "center", "focal", "supcon"]

Colour = Literal["white", "pink", "brown"]


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
    # O: none; else the frames of these layers side by side, in the place of `layer`'s.
    join_layers: tuple[int, ...] = field(default=(), metadata={"range": (0, 100, False)})
    # O: as the encoder gives them; true: each frame to zero mean and unit variance, without which
    # the few features that dwarf all others in the middle of a transformer hold up frozen training.
    normalise: bool = False
    # P says "pre-trained", batch 16 on 24 GB; C (LAM) trains all, C (SeeNet) all but the CNN.
    train: Literal["all", "transformer", "frozen"] = "transformer"
    # O: 0, the weights themselves are trained. Else they stay, and to the attention's query and
    # value projections B A alpha / rank is added, of which B and A alone are trained (Hu et al.
    # 2022, LoRA, 4; rank 8 is among the best of their Table 6, alpha the first rank one tries).
    lora_rank: int = number(0, 0, 1024)
    lora_alpha: float = number(8.0, 0.0, 1e4, above=True)

    @property
    def fixed(self) -> bool:
        """Whether its weights are the same from the first trial to the last, whatever the seed."""
        return self.train == "frozen" and not is_drawn(self.name)

    def read_layers(self, last: int) -> tuple[int, ...]:
        """Which layers' frames are read, of an encoder whose last layer is this one."""
        if self.join_layers:
            return self.join_layers
        top = last if self.layer is None else self.layer
        return tuple(range(top + 1)) if self.weigh_layers else (top,)

    def frame_features(self, features: int) -> int:
        """Features of a frame that is read, of an encoder whose layers have so many."""
        return features * max(1, len(self.join_layers))


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
    # O: none. Else so many utterances get Gaussian noise, after mixing, at an SNR against their own
    # power that is drawn evenly (Snyder et al. 2018, x-vectors, 3.3: 0 to 15 dB), of a colour drawn
    # from these: power falls with frequency by its power of 0, 1 or 2.
    noise_probability: float = number(0.0, 0.0, 1.0)
    noise_snr_min_db: float = number(0.0, -60.0, 120.0)
    noise_snr_max_db: float = number(15.0, -60.0, 120.0)
    noise_colours: tuple[Colour, ...] = ("white",)
    # O: none. Else SpecAugment (Park et al. 2019): so many masks an utterance, each over 0 to
    # `frequency_width` neighbouring bands (theirs for LibriSpeech: 27 of 80; at most the 64 of the
    # smallest spectrogram here) and over 0 to `time_share` of its own frames (Switchboard: 0.2).
    frequency_masks: int = number(0, 0, 100)
    frequency_width: int = number(27, 1, 64)
    time_masks: int = number(0, 0, 100)
    time_share: float = number(0.2, 0.0, 1.0, above=True)

    @property
    def disturbs(self) -> bool:
        """Whether a batch is changed after it was made: by noise or by masks."""
        return self.noise_probability > 0 or self.masks

    @property
    def masks(self) -> bool:
        """Whether parts of the encoder's input are masked."""
        return self.frequency_masks > 0 or self.time_masks > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MixupConfig:
    """Mixing of two utterances and their labels, in training only."""

    # P §2.2: eam; C (LAM): lam. mixup: plain, of Zhang et al. 2018.
    method: Literal["none", "lam", "eam", "mixup"] = "eam"
    probability: float = number(0.5, 0.0, 1.0)  # C (LAM) 0.5; C (SeeNet) mixes every utterance
    snr_min_db: float = number(-5.0, -60.0, 60.0)  # P §2.2
    snr_max_db: float = number(10.0, -60.0, 60.0)  # P §2.2
    max_share: float = number(0.5, 0.0, 1.0, above=True)  # P §2.2: under half of the host
    # Of Beta(alpha, alpha), from which plain mixup draws; Zhang et al. 2018, 3.1: 0.1 to 0.4
    alpha: float = number(0.2, 0.0, 100.0, above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolingConfig:
    """From frames to one vector per utterance."""

    # P §2.3; C (LAM): first. Statistics: O, after Snyder et al. 2018 (x-vectors).
    method: Literal["first", "mean", "max", "statistics", "flam"] = "flam"
    heads: int = number(16, 1, 64)  # P §2.3
    # O: as it is; true: each feature of an utterance's vector to zero mean and unit variance over
    # the training set, once, as before a linear probe.
    standardise: bool = False


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
    # O: none; the share of the target that KL and focal see spread evenly over all classes, 0.1 by
    # custom (Szegedy et al. 2016, 7).
    label_smoothing: float = number(0.0, 0.0, 1.0)


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
    # O: each utterance once an epoch. true: as many, each of a class drawn evenly and any of that
    # class (Kang et al. 2020, "Decoupling representation and classifier", 3: class-balanced).
    balanced: bool = False
    # O: that of the encoder; else the rate of all but its pretrained weights, which decays alike.
    head_learning_rate: float | None = number(None, 0.0, 10.0, above=True)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """Which epoch is reported, and on what it was chosen."""

    # last: all training folds train, the last epoch is scored. validation: the next speaker group
    # is held out and its best UA picks the epoch. oracle: the best epoch on the test fold itself,
    # the practice behind many published figures; optimistic, and named so wherever it appears.
    selection: Literal["last", "validation", "oracle"] = "last"
    record_oracle: bool = False  # note the oracle figure beside the honest one
    # O: as it was spoken. Of several, an utterance is heard at each, and the mean of its logits
    # decides: test-time augmentation (Krizhevsky et al. 2012, 4.1, by crops; here by speeds).
    speeds: tuple[float, ...] = field(default=(1.0,), metadata={"range": (0.5, 2.0, False)})
    # O: none, all epochs are trained. Else a trial ends after so many in a row without a better UA
    # on the held-out group; C (LAM) has 10, on validation WA.
    patience: int | None = number(None, 1, 10_000)  # type: ignore[arg-type]
    # None: the fold's own group is scored. Else this group of its training side is, in the place of
    # the fold's, which takes no part at all: an inner fold of nested cross-validation (`search:`).
    inner_fold: int | None = number(None, 1, 1000)  # type: ignore[arg-type]


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
        if problems := list(contradictions(config)):
            raise ConfigError(problems)
        return config

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; `from_dict` of it is this config again."""
        return nested(self)

    @property
    def stores_frames(self) -> bool:
        """Whether the encoder sees each utterance once, at each speed: frozen and undisturbed.

        A mixture, noise or a mask is another one each epoch: with them a frozen encoder runs each
        time.
        """
        undisturbed = self.mixup.method == "none" and not self.augment.disturbs
        return self.encoder.fixed and undisturbed

    @property
    def heard_speeds(self) -> tuple[float, ...]:
        """The speeds that training or scoring hears, and the own one."""
        return tuple(sorted({1.0, *self.augment.speeds, *self.evaluation.speeds}))

    def on_fold(self, fold: int, seed: int) -> "RunConfig":
        """The same setting on another fold and seed."""
        return replace(self, fold=fold, seed=seed)
