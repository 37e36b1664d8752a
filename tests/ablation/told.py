"""Folds' scores made from what was said of each utterance, for tests of statistics and tables."""

from collections.abc import Callable, Sequence

import numpy as np

from ablation.answers import pack
from ablation.grid import Cell, Grid
from ablation.scores import FoldScore, SpeakerScore
from core.metrics import score, score_speakers
from core.result import Prediction

Line = tuple[str, str, int, int]  # utterance, speaker, label, predicted


def score_told(
    row: str,
    lines: Sequence[Line],
    classes: int,
    *,
    corpus: str = "iemocap",
    fold: int = 1,
    seed: int = 0,
    oracle: float | None = None,
    packed: bool = True,
) -> FoldScore:
    """The score of a fold in which just this was said; `oracle` is added to its own rates."""
    names, speakers, labels, predicted = (list(part) for part in zip(*lines, strict=True))
    whole = score(labels, predicted, classes)
    predictions = [
        Prediction(
            utterance=name,
            speaker=speaker,
            label=label,
            probabilities=tuple(float(c == said) for c in range(classes)),
        )
        for name, speaker, label, said in lines
    ]
    return FoldScore(
        row=row,
        corpus=corpus,
        fold=fold,
        seed=seed,
        run_id=f"{fold:06}{seed:06}",
        n=len(names),
        wa=whole.wa,
        ua=whole.ua,
        wa_oracle=None if oracle is None else whole.wa + oracle,
        ua_oracle=None if oracle is None else whole.ua + oracle,
        best_epoch=1,
        speakers={
            name: SpeakerScore(n=one.n, wa=one.wa, ua=one.ua)
            for name, one in score_speakers(labels, predicted, speakers, classes).items()
        },
        confusion=tuple(tuple(counts) for counts in whole.confusion.tolist()),
        answers=pack(predictions) if packed else None,
    )


def drawn_lines(
    fold: int,
    accuracy: float,
    generator: np.random.Generator,
    *,
    classes: int = 4,
    speakers: Sequence[str] = ("f", "m"),
    each: int = 40,
) -> list[Line]:
    """Utterances of a fold, always the same, each recognised with this probability."""
    lines = []
    for name in speakers:
        for number in range(each):
            label = number % classes
            right = generator.random() < accuracy
            said = label if right else (label + 1 + int(generator.integers(classes - 1))) % classes
            lines.append((f"{fold}{name}{number:04}", f"{fold}{name}", label, said))
    return lines


def drawn_scores(
    grid: Grid, accuracy: Callable[[Cell], float], *, oracle: float | None = None, each: int = 40
) -> list[FoldScore]:
    """A finished grid whose rows recognise utterances with these probabilities."""
    generator = np.random.default_rng(7)
    found = []
    for cell in grid.cells:
        names = {"savee": ("DC", "JE", "JK", "KL")}.get(cell.corpus.name)
        for fold, seed in cell.runs():
            who = (names[fold - 1],) if names else ("f", "m")
            lines = drawn_lines(
                fold,
                accuracy(cell),
                generator,
                classes=len(cell.classes),
                speakers=who,
                each=each,
            )
            if names:  # SAVEE's speakers go by their own names
                lines = [(name, speaker[1:], *said) for name, speaker, *said in lines]
            found.append(
                score_told(
                    cell.row,
                    lines,
                    len(cell.classes),
                    corpus=cell.corpus.name,
                    fold=fold,
                    seed=seed,
                    oracle=oracle,
                )
            )
    return found
