"""What a run in MLflow was made from, and what came of it: its data set, and the model itself."""

import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from ablation import logged
from ablation.archive import Archive
from ablation.export import export_run
from ablation.grid import Trial
from ablation.outages import described
from core.result import FoldResult

ROOT = Path(__file__).resolve().parent.parent
MODEL = "model"  # the artifact folder, and the tag that names it
NEEDED = ("torch", "torchaudio", "transformers", "numpy", "soundfile", "safetensors", "pandas")


def data_set_of(result: FoldResult) -> DatasetInput:
    """The corpus of a fold: name, fingerprint and counts; no audio and no names."""
    name, digest = result.config.corpus.name, result.corpus_fingerprint
    source = json.dumps({"fingerprint": digest})
    data = Dataset(name, digest, "local", source, profile=logged.profile_of(result))
    inner, context = result.config.evaluation.inner_fold, f"fold {result.config.fold}"
    context = context if inner is None else f"inner fold {inner} of {context}"
    return DatasetInput(data, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def log_models(uri: str, study: str, models: Mapping[str, Trial], archive: Archive) -> list[str]:
    """Log kept models to their folds' runs as `mlflow.pyfunc`; those that are there stay.

    Returns:
        What went wrong, a line each.
    """
    problems = []
    client = MlflowClient(tracking_uri=uri)
    for run_id, trial in models.items():
        try:
            experiment = client.get_experiment_by_name(study)
            query = f"tags.run_id = '{run_id}' and status = 'FINISHED'"
            runs = client.search_runs([experiment.experiment_id], query) if experiment else []
            for run in runs:
                tags = run.data.tags
                if tags.get("row") == trial.row and MODEL not in tags:
                    _log_model(client, run.info.run_id, run_id, archive)
        except Exception as error:  # whatever MLflow's database or server, or the export raise
            problems.append(f"the model of {run_id} is not logged: {described(error)}")
    return problems


def _log_model(client: MlflowClient, run: str, run_id: str, archive: Archive) -> None:
    """Export a model and put it into a run, its loading code as text beside it and no pickle."""
    with tempfile.TemporaryDirectory() as scratch:
        exported, saved = Path(scratch) / "exported", Path(scratch) / MODEL
        export_run(run_id, archive, exported)
        with warnings.catch_warnings():
            # Of its own types, as it is imported, and of ours: audio comes in more than one form.
            warnings.simplefilter("ignore")
            import mlflow.pyfunc
            from mlflow.models import Model

            # MLflow sets filters of its own on the way.
            warnings.showwarning = lambda *warning, **where: None
            mlflow.pyfunc.save_model(
                saved,
                python_model=str(ROOT / "ablation" / "audio_model.py"),
                artifacts={"model": str(exported)},
                code_paths=[str(ROOT / "core")],
                pip_requirements=_requirements(),
                mlflow_model=Model(artifact_path=MODEL, run_id=run),
            )
        client.log_artifacts(run, str(saved), MODEL)
        client.set_tag(run, MODEL, f"runs:/{run}/{MODEL}")


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in NEEDED]
