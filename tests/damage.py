"""What a disturbed study lacks, has twice or has otherwise than the undisturbed one."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.small_study import FINISHED, Study


@dataclass(frozen=True)
class TrackedFold:
    """A fold's run in MLflow's database: how often each metric stands at each step."""

    row: str
    run_id: str
    status: str
    values: Counter[tuple[str, int]]


def tracked(study: Study) -> list[TrackedFold]:
    """The runs of folds that MLflow has not in its bin; read without MLflow, for a second view."""
    database = study.runs / "mlflow.db"
    if not database.exists():
        return []
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        tags: dict[str, dict[str, str]] = {}
        for name, key, value in connection.execute("select run_uuid, key, value from tags"):
            tags.setdefault(name, {})[key] = value
        runs = connection.execute(
            "select run_uuid, status from runs where lifecycle_stage = 'active'"
        ).fetchall()
        values: dict[str, Counter[tuple[str, int]]] = {name: Counter() for name, _ in runs}
        for name, key, step in connection.execute("select run_uuid, key, step from metrics"):
            if name in values:
                values[name][key, step] += 1
    return [
        TrackedFold(tags[name]["row"], tags[name]["run_id"], status, values[name])
        for name, status in runs
        if tags.get(name, {}).get("level") == "fold"
    ]


@dataclass(frozen=True)
class Damage:
    """What a disturbed study lacks, has twice or has otherwise than the undisturbed one."""

    lost: list[str]
    doubled: list[str]
    other: list[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.other)


def damage(study: Study, undisturbed: Study) -> Damage:
    """Compare a study that has finished with the same one that nothing happened to."""
    wanted = {
        (row["row"], fold["run_id"])
        for row in undisturbed.figures()["rows"]
        for fold in row["folds"]
    }
    runs = tracked(study)
    counts = Counter((run.row, run.run_id) for run in runs)
    histories, epochs = study.histories(), list(range(1, study.epochs + 1))
    lost = [f"{run_id} ({row}) in MLflow" for row, run_id in sorted(wanted - counts.keys())]
    lost += [f"{run_id} on the disk" for _, run_id in sorted(wanted) if run_id not in histories]
    doubled = [f"{name}: {times} runs in MLflow" for name, times in counts.items() if times > 1]
    other = [f"figure {place}" for place in differences(study.figures(), undisturbed.figures())]
    other += [f"file {name}" for name in study.strays(FINISHED)]
    other += [f"{name} is of no wanted fold" for name in counts.keys() - wanted]
    for run_id, history in histories.items():
        if [epoch["epoch"] for epoch in history] != epochs:
            other.append(f"{run_id} on the disk has other epochs than 1 to {study.epochs}")
    for run in runs:
        if run.status != "FINISHED":
            other.append(f"{run.run_id} is {run.status} in MLflow")
        if sorted(step for key, step in run.values if key == "loss_total") != epochs:
            lost.append(f"{run.run_id}: epochs in MLflow")
        doubled += [f"{run.run_id}: {key}" for key, times in run.values.items() if times > 1]
    return Damage(lost, doubled, other)


def differences(found: Any, wanted: Any, place: str = "") -> Iterator[str]:
    """The places where two JSON documents differ, with both values."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        for key in found:
            yield from differences(found[key], wanted[key], f"{place}.{key}")
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for number, pair in enumerate(zip(found, wanted, strict=True)):
            yield from differences(*pair, f"{place}[{number}]")
    elif found != wanted:
        yield f"{place}: {found}, undisturbed {wanted}"
