"""What a planned study takes of disk and memory, estimated before anything of it is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from ablation.doctor.findings import MB
from ablation.grid import Cell, Grid
from ablation.options import Options
from ablation.plan import Wanted, slots_of
from core.checkpoints import CheckpointError, geometry
from core.config import SAMPLE_RATE_HZ, EncoderConfig, RunConfig
from core.corpora.catalog import CORPORA
from core.corpora.corpus import Corpus
from core.encoder_catalog import Geometry, is_pretrained

FLOAT_BYTES = 4  # weights, gradients, Adam's moments and the store's samples are float32
HALF_BYTES = 2  # stored frames are float16
FILES_AT_ONCE = 3  # checkpoints of a fold: the two that are kept, and the one being written
OVERHEAD = 1.1  # O: convolutions, embeddings and heads, on top of the transformer's layers
MEAN_S = 4.5  # O: of an utterance; 4.6 on IEMOCAP, 3.7 on RAVDESS
RESULT_BYTES = 0.5 * MB  # O: measured, of a finished fold: 0.1 MB in folds/, 0.2 MB in artifacts/
DEMO_BYTES = 60 * MB  # O: measured, of a synthetic corpus: its files and its store
LARGE_PARAMETERS = 30e6  # O: beyond Whisper base's encoder, 20 million
# O: measured, of a trial's process on the CPU: Whisper tiny's encoder on RAVDESS; log-mel.
PRETRAINED_TRIAL_BYTES = 4300 * MB
SMALL_TRIAL_BYTES = 1000 * MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the planned trials take, roughly.

    Attributes:
        at_once: Trials beside one another; 0 where a cluster decides, or where none fits.
        resources: That in words, as --plan has it.
        trial_bytes: Memory of one trial's process on the CPU.
        checkpoint_bytes: Disk, of all trials beside one another.
        audio_bytes: Disk, of the decoded corpora, and of what frozen encoders make of them.
        result_bytes: Disk, of all finished folds.
        large: Encoders that a CPU can't train in a sensible time.
        unknown: Encoders that are not at hand, and are in no figure.
    """

    at_once: int
    resources: str
    trial_bytes: float
    checkpoint_bytes: float
    audio_bytes: float
    result_bytes: float
    large: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def disk_bytes(self) -> float:
        """All that a run adds to the disk of --runs."""
        return self.checkpoint_bytes + self.audio_bytes + self.result_bytes


def load_of(grid: Grid, options: Options, wanted: Wanted, checkpoint_epochs: int) -> Load:
    """Estimate what the rows that are to run take."""
    cells = [cell for cell in grid.cells if not options.only or cell.row in options.only]
    threads = max(cell.config.training.threads for cell in grid.cells)
    at_once, resources = slots_of(wanted, wanted.cpus or threads)
    known: dict[str, Geometry] = {}
    unknown: list[str] = []
    for config in dict.fromkeys(cell.config.encoder for cell in cells):
        try:
            known[config.name] = geometry(config)
        except CheckpointError:
            unknown.append(config.name)
    measured = [cell.config for cell in cells if cell.config.encoder.name in known]
    sizes = [_checkpoint_bytes(config, known[config.encoder.name]) for config in measured]
    trials = at_once or wanted.at_once or 1
    return Load(
        at_once=at_once,
        resources=resources,
        trial_bytes=max(
            (_trial_bytes(c.encoder, known[c.encoder.name]) for c in measured), default=0.0
        ),
        checkpoint_bytes=FILES_AT_ONCE * trials * max(sizes, default=0.0)
        if checkpoint_epochs
        else 0.0,
        audio_bytes=sum(_audio_bytes(corpus, grid.demo) for corpus in grid.corpora.values())
        + _frame_bytes([cell for cell in cells if cell.config.encoder.name in known]),
        result_bytes=RESULT_BYTES * sum(_folds(cell, options) for cell in cells),
        large=tuple(name for name, found in known.items() if parameters(found) > LARGE_PARAMETERS),
        unknown=tuple(dict.fromkeys(unknown)),
    )


def parameters(geometry: Geometry) -> float:
    """About how many weights a transformer encoder has: 12 D² a layer, and the rest."""
    return OVERHEAD * 12 * geometry.layers * geometry.features**2


def _checkpoint_bytes(config: RunConfig, geometry: Geometry) -> float:
    """The trained weights and their two moments; with a held-out group, the best weights too."""
    heads = 6 * geometry.features**2  # FLAM's attention and the projections
    trained = heads if config.encoder.fixed else parameters(geometry) + heads
    copies = 4 if config.evaluation.selection == "validation" else 3
    return FLOAT_BYTES * copies * trained


def _trial_bytes(config: EncoderConfig, geometry: Geometry) -> float:
    """Of a process with its batches; then weights, gradients and moments, four copies."""
    base = PRETRAINED_TRIAL_BYTES if is_pretrained(config.name) else SMALL_TRIAL_BYTES
    return base + 4 * FLOAT_BYTES * parameters(geometry)


def _audio_bytes(corpus: Corpus, demo: bool) -> float:
    if demo:
        return DEMO_BYTES * max(len(corpus.sources), 1)
    return FLOAT_BYTES * SAMPLE_RATE_HZ * _seconds(corpus)


def _frame_bytes(cells: Sequence[Cell]) -> float:
    """Of the layers whose frames are stored, each once for all rows that take it."""
    layers: dict[tuple[object, ...], float] = {}
    for cell in cells:
        if cell.config.stores_frames:
            encoder, shape = cell.config.encoder, geometry(cell.config.encoder)
            per_s = shape.frames_per_s * HALF_BYTES * shape.features
            per_speed = per_s * _seconds(cell.corpus)
            chosen = encoder.read_layers(shape.layers)
            for layer, speed in product(chosen, cell.config.heard_speeds):
                key = cell.corpus.name, encoder.name, cell.config.audio, layer, speed
                layers[key] = per_speed / speed
    return sum(layers.values())


def _seconds(corpus: Corpus) -> float:
    """About how long a corpus is."""
    if corpus.sources:
        parts = [CORPORA[source].expected for source in corpus.sources]
        return MEAN_S * sum(sum(part.classes.values()) for part in parts if part)
    return sum(
        item.end_s - (item.start_s or 0.0) if item.end_s is not None else MEAN_S
        for item in corpus.parse().utterances
    )


def _folds(cell: Cell, options: Options) -> int:
    return len([fold for fold, _ in cell.runs() if not options.folds or fold in options.folds])
