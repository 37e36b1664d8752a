"""The verb `figures`: train one fold in this process and draw what its model makes of speech."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from ablation.figures.attention import Attended, attention_figure
from ablation.figures.canvas import SUFFIXES, save
from ablation.figures.embeddings import embeddings_figure, project
from ablation.figures.mixing import Mixed, mixing_figure
from ablation.grid import Grid
from ablation.options import Options
from ablation.progress import bar
from ablation.study import check_encoder, open_corpus
from core.batches import derived_generator
from core.clips import Clips, Inputs
from core.config import SAMPLE_RATE_HZ, RunConfig
from core.corpora.folds import split
from core.corpora.utterance import Utterance
from core.devices import best_device
from core.fold import CorpusAudio, Fold
from core.inspection import attend, embed, mix
from core.model import EmotionModel
from core.schema import suggest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 1500  # O: of one cloud, drawn where there are more; t-SNE takes minutes for all
EXAMPLES = 4  # O: utterances to draw attention over, one a class
MIXTURES = 2  # O

Cloud = tuple[NDArray[np.float32], NDArray[np.int64]]  # embeddings and class numbers


@dataclass(frozen=True, slots=True)
class Choice:
    """Which model is drawn, and over which utterances; none named, a few of its test fold."""

    row: str
    fold: int
    utterances: tuple[str, ...] = ()


def draw_model(grid: Grid, choice: Choice, options: Options, console: Console) -> list[Path]:
    """Train the fold and write its pictures into the study's folder; returns the files.

    Of several corpora it is the grid's first, of several seeds the first.

    Raises:
        ValueError: an encoder, a corpus or a chosen utterance is not at hand.
    """
    cell = next(cell for cell in grid.cells if cell.row == choice.row)
    config = cell.setting(choice.fold).on_fold(choice.fold, cell.seeds[0])
    check_encoder(config.encoder, config.pooling)
    corpus = open_corpus(cell.corpus, grid, options, console)
    holds_out = config.evaluation.selection == "validation"
    parts = split(corpus.utterances, corpus.scheme, config.fold, holds_out)
    examples = _examples(choice.utterances, corpus, parts.test)
    title = f"{config.corpus.name}, fold {config.fold}: {choice.row}{' (demo)' * grid.demo}"

    fold = Fold(config, corpus, best_device())
    sides = {side: _drawn(getattr(parts, side), config) for side in ("train", "test")}
    clouds = {"before": _clouds(fold, corpus, sides)}
    _train(fold, choice, console)
    clouds["after"] = _clouds(fold, corpus, sides)

    with bar(console, "t-SNE") as on_progress:
        on_progress(0, 1)
        figures = {"embeddings": fig_2(clouds, corpus.classes, title)}
    if config.pooling.method == "flam":
        attended = attended_by(fold.model, config, fold.inputs, corpus, examples)
        figures["attention"] = attention_figure(attended, SAMPLE_RATE_HZ, title)
    else:
        _remark(console, f"no attention: {choice.row!r} pools by {config.pooling.method}, not flam")
    if config.mixup.method != "none":
        mixtures = mixed_examples(config, corpus, parts.train)
        heading = f"{config.mixup.method.upper()}, {title}"
        figures["mixing"] = mixing_figure(mixtures, SAMPLE_RATE_HZ, heading)
    else:
        _remark(console, f"no mixing examples: {choice.row!r} mixes nothing")
    stem = f"model-{grid.rows.index(choice.row) + 1:02d}-fold{choice.fold}"
    return _written(figures, options.reports / grid.study / "figures", stem)


def fig_2(
    clouds: Mapping[str, Mapping[str, Cloud]], classes: Sequence[str], title: str
) -> "Figure":
    """The paper's Fig. 2 from embeddings by when ("before", "after") and by side.

    Each cloud is laid out by itself, as in the paper.
    """
    letters = iter("abcdefgh")
    panels = {}
    for when, sides in clouds.items():
        for side, (embeddings, labels) in sides.items():
            name = f"({next(letters)}) {side}, {when} (n = {len(labels)})"
            panels[name] = (project(embeddings), labels.tolist())
    return embeddings_figure(panels, classes, title)


def attended_by(
    model: EmotionModel,
    config: RunConfig,
    inputs: Inputs,
    corpus: CorpusAudio,
    utterances: Sequence[Utterance],
) -> list[Attended]:
    """Each utterance with the attention that a model of FLAM pays it."""
    clips = Clips(corpus.store, config.audio)
    found = []
    for utterance in utterances:
        heard = attend(model, config, inputs, corpus.classes, utterance)
        guess = int(heard.probabilities.argmax())
        verdict = f"{corpus.classes[guess]} {100 * heard.probabilities[guess]:.0f} %"
        title = f"{utterance.name}: {utterance.label}, heard as {verdict}"
        found.append(Attended(title, clips.read(utterance.name), heard.weights))
    return found


def mixed_examples(
    config: RunConfig, corpus: CorpusAudio, train: Sequence[Utterance]
) -> list[Mixed]:
    """A few mixtures as training makes them, of hosts and partners drawn from its utterances."""
    clips = Clips(corpus.store, config.audio)
    generator = derived_generator(config.seed, config.fold, "figures")
    found = []
    for host, partner in torch.randint(len(train), (MIXTURES, 2), generator=generator).tolist():
        made = mix(train[host], train[partner], clips, config.mixup, generator)
        found.append(
            Mixed(
                host=made.host,
                partner=made.partner,
                mixture=made.mixture,
                classes=(train[host].label, train[partner].label),
                host_span=made.host_span,
                partner_span=made.partner_span,
                mix_ratio=made.mix_ratio,
                snr_db=made.snr_db,
            )
        )
    return found


def _train(fold: Fold, choice: Choice, console: Console) -> None:
    """All epochs; the model then has the weights that the setting's selection scores."""
    with bar(console, f"training {choice.row}, fold {choice.fold}") as on_progress:
        while not fold.finished:
            fold.step()
            on_progress(len(fold.history), fold.config.training.epochs)
    scores = fold.result().scores()
    text = f"{choice.row}, fold {choice.fold}: WA {scores.wa:.3f}  UA {scores.ua:.3f}"
    console.print(Text(text))


def _clouds(
    fold: Fold, corpus: CorpusAudio, sides: Mapping[str, Sequence[Utterance]]
) -> dict[str, Cloud]:
    return {
        "training" if side == "train" else side: embed(
            fold.model, fold.config, fold.inputs, corpus.classes, utterances
        )
        for side, utterances in sides.items()
    }


def _drawn(utterances: Sequence[Utterance], config: RunConfig) -> list[Utterance]:
    """At most `MOST_POINTS` of them, the same each time."""
    generator = derived_generator(config.seed, config.fold, "figures")
    order = torch.randperm(len(utterances), generator=generator)[:MOST_POINTS]
    return [utterances[index] for index in sorted(order.tolist())]


def _examples(
    names: Sequence[str], corpus: CorpusAudio, test: Sequence[Utterance]
) -> list[Utterance]:
    """The named utterances; else the first of the test fold of each of the first classes.

    Not the ones that look best: by name, whatever the model says of them.
    """
    known = {utterance.name: utterance for utterance in corpus.utterances}
    for name in names:
        if name not in known:
            rule = f"--utterance must be an utterance of the corpus, got {name!r}"
            raise ValueError(f"{rule}{suggest(name, known)}")
    if names:
        return [known[name] for name in names]
    ordered = sorted(test, key=lambda utterance: utterance.name)
    first: dict[str, Utterance] = {}
    for utterance in ordered:
        first.setdefault(utterance.label, utterance)
    return [first[label] for label in corpus.classes if label in first][:EXAMPLES]


def _written(figures: Mapping[str, "Figure"], folder: Path, stem: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, figure in figures.items():
        for suffix in SUFFIXES:
            files.append(folder / f"{stem}-{name}{suffix}")
            save(figure, files[-1])
    return files


def _remark(console: Console, text: str) -> None:
    console.print(Text(text, style="yellow"), soft_wrap=True)
