"""How long a start takes to find out which folds are missing, where a thousand have finished.

    python tests/benchmarks/bench_readback.py --rows 50 --seeds 5

Archives a result for each trial of a grid of that many rows, SAVEE's four folds and so many seeds,
sends them all to MLflow, and takes the median of five readings of each kind. The aim: 1 000
finished trials are read back in under 2 s.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ablation.archive import Archive  # noqa: E402
from ablation.finished import read_scores  # noqa: E402
from ablation.grid import Grid, Overrides, Trial  # noqa: E402
from ablation.grid_file import load_grid  # noqa: E402
from ablation.provenance import Provenance  # noqa: E402
from ablation.published import load  # noqa: E402
from ablation.study import trials_by_run_id  # noqa: E402
from ablation.tracking import Tracker  # noqa: E402
from core.result import FoldResult, Prediction  # noqa: E402
from tests.ablation.stand_ins import result_of  # noqa: E402

READINGS = 5
UTTERANCES = 120  # of a fold, as in the whole SAVEE
FINGERPRINT = "c" * 16


def grid_of(folder: Path, rows: int, seeds: int) -> Grid:
    """The demo of a grid whose rows are as many experiments."""
    lines = [f"  - {{name: row {i}, losses.focal_gamma: {1 + i / 100}}}" for i in range(rows)]
    head = ["name: many", "title: Many rows", "corpora: [savee]", f"seeds: {seeds}", "rows:"]
    path = folder / "many.yaml"
    path.write_text("\n".join([*head, *lines]))
    return load_grid(path, Overrides(demo=True), load(ROOT / "reports" / "published.yaml"))


def named_trials(grid: Grid) -> dict[str, list[Trial]]:
    """The grid's trials by run id, as at the start of a study."""
    corpus = SimpleNamespace(store=SimpleNamespace(fingerprint=FINGERPRINT))
    return trials_by_run_id(grid.trials(), {"savee": corpus})


def finished(run_id: str, trial: Trial) -> FoldResult:
    """A result as large as a real one."""
    made = result_of(run_id, trial.config.fold)
    one = made.predictions[0]
    predictions = [Prediction(**_fields(one, f"{i:03}")) for i in range(UTTERANCES)]
    return replace(made, config=trial.config, predictions=tuple(predictions))


def _fields(prediction: Prediction, name: str) -> dict[str, object]:
    chances = tuple(0.1 + 0.001 * place for place in range(len(prediction.probabilities)))
    return {"utterance": name, "speaker": "DC", "label": 0, "probabilities": chances}


def missing(grid: Grid, archive: Archive) -> list[str]:
    """What a start does to find out: every run id, and whether it is archived."""
    return [run_id for run_id in named_trials(grid) if not archive.holds(run_id)]


def timed(what: str, reading: Callable[[], object]) -> None:
    """Print the median time of five readings."""
    seconds = []
    for _ in range(READINGS):
        started = time.perf_counter()
        reading()
        seconds.append(time.perf_counter() - started)
    print(f"{what:<44} {median(seconds):7.3f} s  ({min(seconds):.3f} to {max(seconds):.3f})")


def fill(tracker: Tracker, named: Mapping[str, list[Trial]], archive: Archive) -> None:
    """Send everything to MLflow; without the files of each fold, which no reading opens."""
    tracker._artifacts = lambda run, result: None
    for run_id, trials in named.items():
        for trial in trials:
            tracker.finish(trial, archive.load(run_id))
    tracker.close()


def main() -> None:
    """Build, then measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; the system's by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        runs = Path(folder) / "runs"
        runs.mkdir()
        grid, archive = grid_of(Path(folder), options.rows, options.seeds), Archive(runs)
        named = named_trials(grid)
        for run_id, trials in named.items():
            archive.save(finished(run_id, trials[0]))
        print(f"{len(named)} finished trials of {len(grid.trials())}")
        assert missing(grid, archive) == []
        timed("what is missing: run ids and archive (aim: 2 s)", lambda: missing(grid, archive))
        timed("of which the trials' run ids", lambda: named_trials(grid))
        timed("every archived fold whole", lambda: [archive.load(run_id) for run_id in named])
        uri = f"sqlite:///{runs / 'mlflow.db'}"
        tracker = Tracker(uri, grid, runs, Provenance.here(ROOT))
        fill(tracker, named, archive)
        assert len(tracker.finished()) == len(named)
        timed("which of them MLflow holds", tracker.finished)
        timed("their scores, from MLflow", lambda: read_scores(uri, grid, named))


if __name__ == "__main__":
    main()
