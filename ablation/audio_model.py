"""A trained model as MLflow loads it. MLflow copies this file beside the model and runs it there,

where `core` lies beside it too; so nothing else of this project is imported.
"""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from core.audio import read_audio
from core.devices import best_device
from core.exported import exported_classifier
from core.windows import windows_of


class AudioModel(PythonModel):
    """Emotion probabilities of recordings, a row for each window of each."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the exported folder."""
        self._classifier = exported_classifier(Path(context.artifacts["model"]), best_device())

    def predict(
        self, context: PythonModelContext, model_input: Any, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Classify recordings.

        Args:
            model_input: Paths of WAV or FLAC files; or mappings of `audio`, (N,) or (N, channels)
                of floats in [-1, 1], and `sampling_rate` in Hz; or a data frame with a column
                `path`, or with those two.
            params: `window_s` and `hop_s`, where other windows than the model's crop are wanted.
        Returns:
            A row for each window: input (its place), start_s, end_s, predicted, and a column of
            probabilities for each class.
        Raises:
            ValueError: something can't be read; says what.
        """
        classifier, wanted = self._classifier, params or {}
        rows, heard = [], []
        for place, item in enumerate(_items(model_input)):
            windows = windows_of(
                _waveform(item),
                classifier.model.config.audio,
                wanted.get("window_s"),
                wanted.get("hop_s"),
            )
            rows += [
                {"input": place, "start_s": one.start_s, "end_s": one.end_s} for one in windows
            ]
            heard += [one.heard for one in windows]
        given = classifier.probabilities(heard)
        table = pd.DataFrame(rows, columns=["input", "start_s", "end_s"])
        table["predicted"] = [classifier.classes[best] for best in given.argmax(1)]
        return pd.concat([table, pd.DataFrame(given, columns=list(classifier.classes))], axis=1)


def _items(model_input: Any) -> Iterable[Any]:
    if not isinstance(model_input, pd.DataFrame):
        one = isinstance(model_input, str | Path | Mapping)
        return [model_input] if one else model_input
    if "path" in model_input:
        return model_input["path"].tolist()
    if {"audio", "sampling_rate"} <= set(model_input):
        return model_input[["audio", "sampling_rate"]].to_dict("records")
    raise ValueError(
        "a data frame must have a column path, or audio and sampling_rate, "
        f"got {', '.join(map(str, model_input.columns))}"
    )


def _waveform(item: Any) -> np.ndarray:
    """(N,) float32 at 16 kHz."""
    if isinstance(item, str | Path):
        return read_audio(item)
    if not (isinstance(item, Mapping) and {"audio", "sampling_rate"} <= item.keys()):
        raise ValueError(f"audio must be a path or have audio and sampling_rate, got {type(item)}")
    # By way of a file: decoded, checked and resampled by the one way that training went.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.wav"
        samples = np.asarray(item["audio"], dtype=np.float32)
        soundfile.write(path, samples, int(item["sampling_rate"]), subtype="FLOAT")
        return read_audio(path)


set_model(AudioModel())
