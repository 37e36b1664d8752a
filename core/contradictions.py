"""What is wrong between settings that are each right alone."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.corpora.catalog import CORPORA
from core.encoder_catalog import ENCODERS, is_pretrained
from core.schema import Problem, show, suggest

if TYPE_CHECKING:
    from core.config import EncoderConfig, RunConfig


def contradictions(config: "RunConfig") -> Iterator[Problem]:
    """What is wrong between settings that are each right alone."""
    yield from _of_the_corpus(config)
    mixup, losses, geometry = config.mixup, config.losses, ENCODERS.get(config.encoder.name)
    yield from _of_speeds(config)
    if mixup.snr_min_db > mixup.snr_max_db:
        text = f"must not exceed mixup.snr_max_db = {mixup.snr_max_db:g}, got {mixup.snr_min_db:g}"
        yield Problem("mixup.snr_min_db", text, ("mixup.snr_max_db",))
    yield from _of_noise(config)
    yield from _of_training(config)
    if not losses.terms or len(set(losses.terms)) < len(losses.terms):
        text = f"must name one or more terms once each, got {show(losses.terms)}"
        yield Problem("losses.terms", text)
    elif not {"kl", "focal"} & set(losses.terms):
        rule = "must hold 'kl' or 'focal': nothing else trains the classifier"
        yield Problem("losses.terms", f"{rule}, got {', '.join(losses.terms)}")
    yield from _of_layers(config.encoder)
    if geometry is None:
        return
    features, heads = config.encoder.frame_features(geometry.features), config.pooling.heads
    if config.pooling.method == "flam" and features % heads:
        text = f"must divide the {features} features of {config.encoder.name!r}, got {heads}"
        yield Problem("pooling.heads", text, ("encoder.name", "pooling.method"))


def _of_speeds(config: "RunConfig") -> Iterator[Problem]:
    for key, speeds in (
        ("augment.speeds", config.augment.speeds),
        ("evaluation.speeds", config.evaluation.speeds),
    ):
        if not speeds or len(set(speeds)) < len(speeds) or any(round(s, 2) != s for s in speeds):
            rule = "must hold one or more speeds once each, in whole hundredths"
            yield Problem(key, f"{rule}, got {show(speeds)}")


def _of_layers(encoder: "EncoderConfig") -> Iterator[Problem]:
    joined, layer = encoder.join_layers, encoder.layer
    if len(set(joined)) < len(joined):
        yield Problem("encoder.join_layers", f"must hold each layer once, got {show(joined)}")
    for key, is_set in (("layer", layer is not None), ("weigh_layers", encoder.weigh_layers)):
        if joined and is_set:
            text = "can't stand beside encoder.join_layers, which names the layers itself"
            yield Problem(f"encoder.{key}", text, ("encoder.join_layers",))
    if (geometry := ENCODERS.get(encoder.name)) is None:
        return
    if not geometry.layers and encoder.train != "frozen":
        rule = f"must be 'frozen' for {encoder.name!r}, in which there is nothing to train"
        yield Problem("encoder.train", f"{rule}, got {show(encoder.train)}", ("encoder.name",))
    for key, named in (("join_layers", joined), ("layer", () if layer is None else (layer,))):
        for one in named:
            if one > geometry.layers:
                text = f"must lie in 0..{geometry.layers} for {encoder.name!r}, got {one}"
                yield Problem(f"encoder.{key}", text, ("encoder.name",))


def _of_the_corpus(config: "RunConfig") -> Iterator[Problem]:
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
    if config.evaluation.inner_fold == config.fold:
        yield Problem("evaluation.inner_fold", f"must be another than the fold, got {config.fold}")


def _of_noise(config: "RunConfig") -> Iterator[Problem]:
    augment = config.augment
    low, high, colours = augment.noise_snr_min_db, augment.noise_snr_max_db, augment.noise_colours
    if low > high:
        text = f"must not exceed augment.noise_snr_max_db = {high:g}, got {low:g}"
        yield Problem("augment.noise_snr_min_db", text, ("augment.noise_snr_max_db",))
    if not colours or len(set(colours)) < len(colours):
        text = f"must name one or more colours once each, got {show(colours)}"
        yield Problem("augment.noise_colours", text)


def _of_training(config: "RunConfig") -> Iterator[Problem]:
    encoder, evaluation = config.encoder, config.evaluation
    if evaluation.patience is not None and evaluation.selection != "validation":
        rule = "needs evaluation.selection: validation, whose group says when to stop"
        text = f"{rule}, got {show(evaluation.selection)}"
        yield Problem("evaluation.patience", text, ("evaluation.selection",))
    if encoder.lora_rank and encoder.train != "transformer":
        rule = "must be 0 unless encoder.train is 'transformer', of which it trains an addition"
        text = f"{rule}, got {encoder.lora_rank} with {show(encoder.train)}"
        yield Problem("encoder.lora_rank", text, ("encoder.train",))
    if encoder.lora_rank and not is_pretrained(encoder.name):
        rule = f"must be 0 for {encoder.name!r}, which has no trained weights to add to"
        yield Problem("encoder.lora_rank", f"{rule}, got {encoder.lora_rank}", ("encoder.name",))
