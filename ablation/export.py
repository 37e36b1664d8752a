"""A kept model as a folder that needs nothing beside it: the verb `export`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ablation.archive import Archive
from ablation.argument_groups import add_kept
from ablation.complaints import complain
from ablation.predict import find_run

DONE, REFUSED = 0, 2  # exit statuses


def verb(arguments: Sequence[str]) -> int:
    """Run `runner.py export`; returns the exit status."""
    options = parser().parse_args(arguments)
    try:
        run_id = find_run(options.run, options.runs)
        export_run(run_id, Archive(options.runs), options.folder)
    except (ValueError, OSError) as error:  # each says where, what must hold and what was found
        complain(str(error))
        return REFUSED
    if options.json:
        print(json.dumps({"run_id": run_id, "folder": str(options.folder.resolve())}))
    else:
        print(f"written: {options.folder}, run {run_id}; its README.md says how to load it")
    return DONE


def export_run(run_id: str, archive: Archive, folder: Path) -> None:
    """Write the folder of one run's kept model.

    Raises:
        ValueError: the folder is not free, or the model or its encoder can't be used.
        OSError: it can't be written.
    """
    from ablation.model_card import card_of
    from core.checkpoints import fetch, fingerprint
    from core.exported import export_model, refuse_used
    from core.kept_model import ModelError, read_model

    refuse_used(folder)
    model = read_model(archive.model(run_id))
    encoder = model.config.encoder
    fetch(encoder)
    if fingerprint(encoder) != model.facts.encoder_fingerprint:
        raise ModelError(
            f"run {run_id}: its encoder {encoder.name!r} must be the one it was trained on, "
            "found another"
        )
    export_model(model, folder, card_of(archive.load(run_id), archive))


def parser() -> argparse.ArgumentParser:
    """What may be typed after `export`."""
    made = argparse.ArgumentParser(
        prog="runner.py export",
        allow_abbrev=False,
        description="Write a trained model as a folder in transformers' layout, with a model card. "
        "Exit status: 0 it is there; 2 it could not be.",
    )
    made.add_argument("run", metavar="RUN", help="a run's id or its beginning")
    made.add_argument("folder", type=Path, metavar="FOLDER", help="a new or an empty folder")
    made.add_argument("--json", action="store_true", help="print what was written as JSON")
    add_kept(made)
    return made
