"""Kept models of the small corpus, for tests."""

from core.fold import Fold
from core.kept_model import write_model
from tests.core.small_checkpoints import save_self_supervised, save_whisper
from tests.core.small_folds import of
from tests.core.small_speech import CPU, small_config, tones


def trained(tmp_path, settings, precision="float32", selection="last"):
    """A kept fold: its file, its result and the waveforms of its corpus."""
    settings = dict(settings)
    family, mixup = settings.pop("encoder", ""), settings.pop("mixup", "none")
    standardise, speeds = settings.pop("standardise", False), settings.pop("speeds", [1.0])
    if family == "whisper":
        save_whisper(tmp_path / "encoder")
    elif family:
        save_self_supervised(
            tmp_path / "encoder", family, norm="group" if family == "wav2vec2" else "layer"
        )
    if family:
        settings["name"] = str(tmp_path / "encoder")
    utterances, store = tones()
    store.frames_folder = tmp_path / "frames"
    config = small_config(
        encoder=settings,
        mixup={"method": mixup},
        pooling={"standardise": standardise},
        evaluation={"selection": selection, "speeds": speeds},
        training={"precision": precision, "learning_rate": 3e-3},
        audio={"trim_db": 30.0, "crop_s": 0.15},
    )
    fold = Fold(config, of(utterances, store), CPU)
    while not fold.finished:
        fold.step()
    result = fold.result()
    write_model(tmp_path / "model.safetensors", fold.kept_model("all"))
    return tmp_path / "model.safetensors", result, store
