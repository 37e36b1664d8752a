"""Grids, trials and results made by hand, for tests that train nothing."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ablation.grid import Cell, Grid, Trial
from core.config import RunConfig
from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.corpora.folds import FoldScheme
from core.fold import CorpusAudio
from core.result import EpochMetrics, FoldResult, Prediction

SAVEE = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")


def config_of(fold: int = 1, seed: int = 0, epochs: int = 2) -> RunConfig:
    return RunConfig.from_dict(
        {
            "corpus.name": "savee",
            "fold": fold,
            "seed": seed,
            "encoder.name": "logmel-small",
            "training.epochs": epochs,
        }
    )


def corpus_of(config: RunConfig, folds: int, classes: tuple[str, ...]) -> Corpus:
    """The config's corpus with another number of folds and other classes."""
    scheme = config.corpus.folds
    groups = tuple((str(fold),) for fold in range(folds))
    return replace(
        CORPORA[config.corpus.name],
        classes=classes,
        schemes={scheme: FoldScheme(scheme, "speaker", groups)},
    )


def grid_of(rows: tuple[str, ...] = ("plain", "full"), demo: bool = False) -> Grid:
    cells = [
        Cell(row=row, published="", config=config_of(), corpus=CORPORA["savee"], seeds=(0,))
        for row in rows
    ]
    return Grid(
        name="tiny",
        title="A tiny study",
        path=Path("tiny.yaml"),
        demo=demo,
        selection="last",
        cells=tuple(cells),
    )


def trial_of(row: str = "plain", fold: int = 1) -> Trial:
    return Trial(row=row, config=config_of(fold))


def metrics_of(epoch: int, loss: float = 1.5) -> EpochMetrics:
    return EpochMetrics(
        epoch=epoch,
        losses={"total": loss, "kl": 2 * loss},
        learning_rate=1e-4,
        validation=None,
        oracle={"wa": 0.5, "ua": 0.25 * epoch},
        seconds=2.0,
        finished_at_ms=1_700_000_000_000 + epoch,
    )


def result_of(run_id: str = "0123456789ab", fold: int = 1) -> FoldResult:
    """Four utterances of two classes, three of them right: WA 3/4, UA (2/2 + 1/2) / 2 = 3/4."""
    certain = [tuple(float(i == label) for i in range(len(SAVEE))) for label in range(2)]
    told = [(0, 0), (0, 0), (1, 1), (1, 0)]  # label, predicted
    return FoldResult(
        run_id=run_id,
        config=config_of(fold),
        corpus_fingerprint="c" * 16,
        encoder_fingerprint="0" * 16,
        classes=SAVEE,
        loss_weights={"kl": 1.0},
        history=(metrics_of(1), metrics_of(2, 1.25)),
        best_epoch=2,
        predictions=tuple(
            Prediction(
                utterance=f"DC_a0{number}",
                speaker="DC",
                label=label,
                probabilities=certain[predicted],
            )
            for number, (label, predicted) in enumerate(told)
        ),
        seconds=4.0,
        device="cpu",
        left_out=0,
    )


def untrained_result(
    run_id: str,
    config: RunConfig,
    corpus: CorpusAudio,
    predictions: Iterable[Prediction],
    seconds: float = 1.0,
) -> FoldResult:
    """A fold of one epoch that no training gave, with these answers."""
    epoch = EpochMetrics(
        epoch=1,
        losses={"total": 1.0},
        learning_rate=1e-3,
        validation=None,
        oracle=None,
        seconds=seconds,
        finished_at_ms=1,
    )
    return FoldResult(
        run_id=run_id,
        config=config,
        corpus_fingerprint=corpus.store.fingerprint,
        encoder_fingerprint="0" * 16,
        classes=corpus.classes,
        loss_weights={},
        history=(epoch,),
        best_epoch=1,
        predictions=tuple(predictions),
        seconds=seconds,
        device="cpu",
        left_out=0,
    )
