"""A trained model on its own test fold again, under perturbations that it was not trained for.

Every utterance is perturbed as it is stored, before it is trimmed, cropped and levelled, by draws
of its name and the kind of perturbation alone: every row, seed and level meets the same noise and
the same room.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np

from core.classifier import Classifier
from core.clips import Clips, Waveforms
from core.conditions import CLEAN, SEED, Condition
from core.config import AudioConfig
from core.corpora.folds import split
from core.corpora.utterance import Utterance
from core.fold import CorpusAudio
from core.perturbations import Surroundings, perturbed
from core.result import Prediction


class PerturbedStore:
    """Reads as a store of waveforms, each perturbed.

    Babble is of other speakers' test utterances where there are any, else of the same speaker's.
    """

    def __init__(
        self, store: Waveforms, condition: Condition, utterances: Sequence[Utterance]
    ) -> None:
        self._store = store
        self._condition = condition
        self._speakers = {item.name: item.speaker for item in utterances}
        self._kept: tuple[str, np.ndarray] | None = None

    @property
    def lengths(self) -> Mapping[str, int]:
        """As they were."""
        return self._store.lengths

    def waveform(self, name: str) -> np.ndarray:
        """(N,) float32 at 16 kHz, the same at every call."""
        if self._condition.kind == CLEAN:
            return self._store.waveform(name)
        if self._kept is None or self._kept[0] != name:  # trimming and reading both ask for it
            self._kept = name, self._perturbed(name)
        return self._kept[1]

    def _perturbed(self, name: str) -> np.ndarray:
        others = self._others(name)
        around = Surroundings(
            generator_of(self._condition.kind, name),
            len(others),
            lambda place: self._store.waveform(others[place]),
        )
        kind, level = self._condition.kind, self._condition.level
        try:
            return perturbed(np.array(self._store.waveform(name)), kind, level, around)
        except ValueError as error:
            raise ValueError(f"{name}, {self._condition.name}: {error}") from error

    def _others(self, name: str) -> list[str]:
        """In the order of their names, so that draws among them are the same everywhere."""
        own = self._speakers[name]
        others = sorted(item for item, speaker in self._speakers.items() if speaker != own)
        return others or sorted(self._speakers.keys() - {name})


def generator_of(kind: str, name: str) -> np.random.Generator:
    """The draws of one utterance under one kind of perturbation."""
    digest = sha256(f"{SEED}/{kind}/{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def hear(
    classifiers: Sequence[Classifier], corpus: CorpusAudio, condition: Condition
) -> list[list[Prediction]]:
    """What models of one fold say of its test side under a condition, by the utterances' names.

    In the batches in which the fold was scored: clean, on the device that it was scored on, this is
    what the fold archived. An utterance is perturbed once for all of them, and passes an encoder
    that they share but once.

    Raises:
        core.kept_model.ModelError: the weights give NaN or infinity.
        ValueError: an utterance can't be perturbed so; says which and why.
    """
    config = classifiers[0].model.config
    holds_out = config.evaluation.selection == "validation"
    test = split(corpus.utterances, corpus.scheme, config.fold, holds_out).test
    perturbed_store = PerturbedStore(corpus.store, condition, test)
    heard: dict[AudioConfig, list[np.ndarray]] = {}
    found = []
    for classifier in classifiers:
        audio = classifier.model.config.audio
        if audio not in heard:
            clips = Clips(perturbed_store, audio)
            heard[audio] = [clips.read(item.name) for item in test]
        found.append(_predictions(classifier.probabilities(heard[audio]), test, corpus.classes))
    for classifier in classifiers:
        classifier.forget()
    return found


def _predictions(
    probabilities: np.ndarray, test: Sequence[Utterance], classes: Sequence[str]
) -> list[Prediction]:
    found = [
        Prediction(
            utterance=item.name,
            speaker=item.speaker,
            label=classes.index(item.label),
            probabilities=tuple(row),
        )
        for item, row in zip(test, probabilities.tolist(), strict=True)
    ]
    return sorted(found, key=lambda prediction: prediction.utterance)
