"""What MLflow is given of one fold, as plain values and files; MLflow itself is not needed here."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablation.aggregate import Summary
from ablation.columns import setting_text
from ablation.figures.canvas import save
from ablation.figures.confusion import ConfusionPicture
from ablation.grid import Grid, Trial
from ablation.scores import FoldScore
from ablation.tables import DEMO, ORACLE, columns, escape, markdown_table, notes
from core.config import RunConfig
from core.identity import config_key
from core.result import EpochMetrics, FoldResult
from core.schema import flatten

TAG_LIMIT = 5000  # MLflow's on a tag's value in every store it supports
FOLD, INNER = "fold", "inner"  # levels of trainings: on an outer fold, and of a search inside one
LEVELS = (FOLD, INNER)


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search chose, on an outer fold or over all of them."""

    tags: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What MLflow is told of a search, beside its inner trainings.

    Attributes:
        choices: By the level and the name of the run that holds them.
        text: In markdown, the description of the search's own run.
        files: Its artifacts.
    """

    corpus: str
    choices: Sequence[tuple[str, str, Choice]]
    text: str
    files: Sequence[Path]


def level_of(config: RunConfig) -> str:
    """Whether a training is scored on its fold, or inside its training side."""
    return FOLD if config.evaluation.inner_fold is None else INNER


def outer_name(config: RunConfig) -> str:
    """How the run is called that an outer fold's inner trainings are nested in."""
    return f"outer fold {config.fold}"


def fold_name(trial: Trial) -> str:
    """How a fold's run is called in lists, which show the beginning, below its row's run."""
    config = trial.config
    return f"fold {config.fold} · seed {config.seed} · {trial.row} · {config.corpus.name}"


def fold_tags(trial: Trial, run_id: str) -> dict[str, str]:
    """What a fold's run is found by, beside its row."""
    config = trial.config
    place = {"fold": str(config.fold), "seed": str(config.seed)}
    if config.evaluation.inner_fold is not None:
        place["inner_fold"] = str(config.evaluation.inner_fold)
    return {**place, "run_id": run_id, "config_key": config_key(config)}


def parameters(trial: Trial) -> dict[str, str]:
    """What a fold is compared by: its row, its corpus and every setting, worded as in a plan."""
    config = trial.config
    settings = {"row": trial.row, "corpus": config.corpus.name, **flatten(config.to_dict())}
    return {name: setting_text(value) for name, value in settings.items()}


def began_ms(result: FoldResult) -> int:
    """When its first epoch began: what is sent long afterwards has still taken its own time."""
    first = result.history[0]
    return first.finished_at_ms - round(1000 * first.seconds)


def epoch_metrics(epoch: EpochMetrics) -> dict[str, float]:
    """One epoch's losses and, where it was scored, its rates."""
    values: dict[str, float] = {f"loss_{name}": value for name, value in epoch.losses.items()}
    values["learning_rate"] = epoch.learning_rate
    values["epoch_seconds"] = epoch.seconds
    for part, scores in (("validation", epoch.validation), ("oracle", epoch.oracle)):
        values |= {f"epoch_{name}_{part}": value for name, value in (scores or {}).items()}
    return values


def final_metrics(result: FoldResult, score: FoldScore) -> dict[str, float]:
    """What is known of a fold once it has finished.

    An inner training's rates have names of their own: a test fold's are never beside them.
    """
    values = {"n": score.n, "wa": score.wa, "ua": score.ua, "best_epoch": score.best_epoch}
    if level_of(result.config) == INNER:
        values |= {f"inner_{rate}": values.pop(rate) for rate in ("wa", "ua")}
    elif score.ua_oracle is not None and score.wa_oracle is not None:
        values |= {"wa_oracle": score.wa_oracle, "ua_oracle": score.ua_oracle}
    values |= {f"weight_{term}": value for term, value in result.loss_weights.items()}
    values["train_seconds"] = result.seconds
    # Under this prefix MLflow's UI shows them as system metrics.
    values |= {f"system/{at}_peak_megabytes": mb for at, mb in result.peak_memory_mb.items()}
    if result.micro_batch is not None:
        values["micro_batch"] = result.micro_batch
    return values


def score_tags(score: FoldScore) -> dict[str, str]:
    """The score as JSON, cut to what a tag may hold."""
    text = json.dumps(score.to_dict(), separators=(",", ":"))
    parts = [text[i : i + TAG_LIMIT] for i in range(0, len(text), TAG_LIMIT)]
    return {f"score.{index}": part for index, part in enumerate(parts)}


def score_of(tags: Mapping[str, str]) -> FoldScore:
    """The score that `score_tags` cut up.

    Raises:
        ValueError: the tags hold no whole score.
    """
    parts: list[str] = []
    while (part := tags.get(f"score.{len(parts)}")) is not None:
        parts.append(part)
    return FoldScore.from_dict(json.loads("".join(parts)))


def study_note(summaries: Sequence[Summary], grid: Grid, commit: str) -> str:
    """The study in MLflow's narrow column: its rows' figures and the notes, without the settings.

    Its pages set the cells of a table side by side without a gap.
    """
    left_out = (f"oracle{ORACLE}", f"optimism{ORACLE}")
    shown = [column for column in columns(summaries, ()) if not column.header.startswith(left_out)]
    head, rule, *lines = markdown_table(shown).split("\n")
    head, *lines = (line.replace(" |", "&emsp;|") for line in (head, *lines))
    table = "\n".join([head, rule, *lines])
    said = "\n".join(f"- {escape(note)}" for note in notes(summaries, grid.selection, commit))
    title = f"**{escape(grid.title)}.** {escape(DEMO) if grid.demo else ''}".rstrip()
    return description(f"{title}\n\n{table}\n\n{said}\n")


def description(table: str) -> str:
    """A markdown table as a run's description, whole lines of it where it is too long for a tag."""
    if len(table) <= TAG_LIMIT:
        return table
    rest = "\n\nToo long to be shown whole: see table.md among the artifacts.\n"
    room = TAG_LIMIT - len(rest)
    return table[: max(table.rfind("\n", 0, room), 0) or room] + rest


def profile_of(result: FoldResult) -> str:
    """What is known of a fold's data set in numbers, as JSON: no audio, no names."""
    counts = {"left_out": result.left_out, "counts_differ": result.counts_differ}
    return json.dumps({"utterances": result.utterances, **counts})


def picture_title(result: FoldResult) -> str:
    """What stands above a fold's confusions."""
    return f"{result.config.corpus.name}, fold {result.config.fold}"


def write_artifacts(result: FoldResult, folder: Path, picture: ConfusionPicture) -> None:
    """Write `confusion.json`, `confusion.png`, `config.json` and `predictions.csv`.

    Args:
        picture: Of the result's classes, laid out for its title.
    """
    scores = result.scores()
    confusion = {"classes": result.classes, "counts": scores.confusion.tolist()}
    (folder / "confusion.json").write_text(json.dumps(confusion, indent=1))
    figure = picture.show(scores.confusion, picture_title(result))
    save(figure, folder / "confusion.png")
    (folder / "config.json").write_text(json.dumps(result.config.to_dict(), indent=1))
    _write_predictions(result, folder / "predictions.csv")


def _write_predictions(result: FoldResult, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["utterance", "speaker", "label", "predicted", *result.classes])
        for item in result.predictions:
            classes = (result.classes[item.label], result.classes[item.predicted])
            probabilities = [f"{probability:.6f}" for probability in item.probabilities]
            writer.writerow([item.utterance, item.speaker, *classes, *probabilities])
