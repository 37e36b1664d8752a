"""What MLflow holds of a fold beside its figures: the data set, the memory it took, the model."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from mlflow.tracking import MlflowClient

from ablation.archive import Archive
from ablation.grid import Trial
from ablation.lineage import log_models
from ablation.provenance import Provenance
from ablation.tracking import Tracker
from core.fold import Fold
from core.kept_model import write_model
from tests.ablation.stand_ins import grid_of
from tests.core.small_folds import evaluated, of
from tests.core.small_speech import CPU, tones


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """One real fold in MLflow, its model logged twice over."""
    folder = tmp_path_factory.mktemp("logged")
    utterances, store = tones()
    fold = Fold(evaluated("last"), of(utterances, store), CPU)
    while not fold.finished:
        fold.step()
    result, archive = fold.result(), Archive(folder / "runs")
    write_model(archive.model(result.run_id), fold.kept_model("best"))
    archive.save(result)
    uri, grid = f"sqlite:///{folder / 'mlflow.db'}", grid_of()
    tracker = Tracker(uri, grid, folder / "runs", Provenance("", {}))
    trial = Trial(row="plain", config=result.config)
    tracker.finish(trial, result)
    tracker.finish(trial, result)
    tracker.close()
    problems = [log_models(uri, grid.study, {result.run_id: trial}, archive) for _ in range(2)]
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(grid.study).experiment_id
    (run,) = client.search_runs([experiment], "tags.level = 'fold'")
    return SimpleNamespace(
        result=result, store=store, uri=uri, run=run, problems=problems, client=client, grid=grid
    )


def test_a_fold_s_run_compares_by_the_columns_of_a_table(logged):
    data, result = logged.run.data, logged.result
    assert {name: data.params[name] for name in ("row", "corpus", "fold", "seed")} == {
        "row": "plain",
        "corpus": "iemocap",
        "fold": "1",
        "seed": "0",
    }
    assert (data.metrics["wa"], data.metrics["ua"]) == (result.scores().wa, result.scores().ua)
    assert data.metrics["system/cpu_peak_megabytes"] == result.peak_memory_mb["cpu"] > 50


def test_the_data_set_is_an_input_by_name_fingerprint_and_counts(logged):
    (given,) = logged.run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("iemocap", "0123456789abcdef")
    profile = json.loads(given.dataset.profile)
    assert profile["utterances"] == {"train": 16, "validation": 0, "test": 4}
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "fold 1")]


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's, of a model without a signature
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_logged_model_takes_paths_and_arrays(logged, tmp_path, monkeypatch):
    import mlflow.pyfunc  # here, where its own warnings pass

    assert logged.problems == [[], []]
    place = logged.run.data.tags["model"]
    assert place == f"runs:/{logged.run.info.run_id}/model"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", logged.uri)
    model = mlflow.pyfunc.load_model(place)
    names = [item.utterance for item in logged.result.predictions]
    arrays = [{"audio": logged.store.waveform(name), "sampling_rate": 16_000} for name in names]
    paths = []
    for name, item in zip(names, arrays, strict=True):
        paths.append(str(tmp_path / f"{name}.wav"))
        soundfile.write(paths[-1], item["audio"], 16_000, subtype="FLOAT")
    archived = np.array([item.probabilities for item in logged.result.predictions])
    for given in (paths, arrays):
        table = model.predict(given)
        assert table["input"].tolist() == [0, 1, 2, 3]
        assert np.abs(table[list(logged.result.classes)].to_numpy() - archived).max() <= 1e-5
    best = archived.argmax(1)
    assert table["predicted"].tolist() == [logged.result.classes[place] for place in best]
    with pytest.raises(ValueError, match="must be a path or have audio and sampling_rate"):
        model.predict([3])


def test_no_pickle_is_logged(logged, tmp_path):
    place = logged.client.download_artifacts(logged.run.info.run_id, "model", str(tmp_path))
    names = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert place
    assert "audio_model.py" in names
    assert "head.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".bin", ".pt"))]


def test_a_model_that_can_not_be_logged_is_a_line_and_no_error(logged, tmp_path):
    trial = Trial(row="plain", config=logged.result.config)
    run_id = logged.result.run_id
    logged.client.delete_tag(logged.run.info.run_id, "model")
    (problem,) = log_models(logged.uri, logged.grid.study, {run_id: trial}, Archive(tmp_path))
    assert problem.startswith(f"the model of {run_id} is not logged: ")
    assert "\n" not in problem
