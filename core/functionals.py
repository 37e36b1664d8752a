"""openSMILE's eGeMAPS functionals of a corpus, computed once and kept beside its audio store.

    <audio fingerprint>.frames/egemaps/functionals.f32    float32 little-endian, by utterance
    <audio fingerprint>.frames/egemaps/index.json         format, feature set, names in order
An utterance is heard whole, as it is stored: neither trimmed nor levelled, since loudness is among
the features.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.config import SAMPLE_RATE_HZ
from core.fingerprint import read_json, write_json
from core.store import AudioStore
from core.whole_files import only_builder, whole_file

FORMAT = 1  # raised when the files' layout changes, or what they are computed from
FEATURES = 88  # Eyben et al. 2016, Table 1 and 2: eGeMAPS
FEATURE_SET = "eGeMAPSv02"


def build_functionals(
    audio: AudioStore, *, on_progress: Callable[[int, int], None] | None = None
) -> bool:
    """Compute them unless they are there; returns whether openSMILE had to run.

    Raises:
        ValueError: openSMILE is not installed, or gives no finite numbers for an utterance.
        OSError: they can't be written.
    """
    folder = _folder(audio)
    if _read(folder) is not None:
        return False
    extract = _extractor()
    folder.mkdir(parents=True, exist_ok=True)
    with only_builder(folder):
        if _read(folder) is not None:
            return False  # built by whom we waited for
        names = sorted(audio.lengths)
        with whole_file(folder / "functionals.f32") as file:
            for done, name in enumerate(names, start=1):
                found = extract(np.array(audio.waveform(name)))
                if found.shape != (FEATURES,) or not np.isfinite(found).all():
                    raise ValueError(
                        f"openSMILE must give {FEATURES} finite numbers for {name!r} "
                        f"({audio.lengths[name]} samples), gave others"
                    )
                file.write(np.ascontiguousarray(found, "<f4").data)
                if on_progress:
                    on_progress(done, len(names))
        index = {"format": FORMAT, "set": FEATURE_SET, "features": FEATURES, "names": names}
        write_json(folder / "index.json", index)
    return True


def open_functionals(audio: AudioStore, names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """(88,) of each utterance, computed unless they are there.

    Raises:
        As `build_functionals`.
    """
    build_functionals(audio)
    found = _read(_folder(audio))
    assert found is not None, "they were built just now"
    return {name: found[name] for name in names}


def _extractor() -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    try:
        import opensmile
    except ImportError as error:
        raise ValueError(
            "classifier.method egemaps-svm needs openSMILE: pip install '.[baselines]' (the "
            f"package opensmile, free for research), found: {error}"
        ) from error
    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet[FEATURE_SET],
        feature_level=opensmile.FeatureLevel.Functionals,
    )

    def extract(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        table: Any = smile.process_signal(waveform, SAMPLE_RATE_HZ)
        return np.asarray(table.to_numpy()[0], dtype=np.float32)

    return extract


def _folder(audio: AudioStore) -> Path:
    return audio.frames_folder / "egemaps"


def _read(folder: Path) -> dict[str, NDArray[np.float32]] | None:
    """By utterance; None where they are not there, or not whole."""
    index = read_json(folder / "index.json")
    names = index.get("names")
    if index.get("format") != FORMAT or not isinstance(names, list):
        return None
    try:
        rows = np.fromfile(folder / "functionals.f32", "<f4")
    except OSError:
        return None
    if len(rows) != FEATURES * len(names):
        return None
    return dict(zip(names, rows.reshape(-1, FEATURES), strict=True))
