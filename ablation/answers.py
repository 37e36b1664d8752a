"""What a fold's model said of each test utterance, small enough to travel with the fold's score.

Utterances stand in the order of their names. The names themselves stay behind: a digest of them,
their speakers and their true classes tells whether two folds were tested on the same ones.
"""

import hashlib
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from core.result import Prediction

_NUMBER = np.dtype("<u4")
_PARTS = 3  # speakers, labels, predicted


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The test utterances of one fold (N of them) in the order of their names.

    Attributes:
        digest: Of names, speakers and true classes; equal where these are.
        speakers: (N,) int. Places among the sorted names of the fold's speakers.
        labels: (N,) int. True classes.
        predicted: (N,) int. The model's.
    """

    digest: str
    speakers: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def correct(self) -> NDArray[np.int64]:
        """(N,) 1 where the model was right, else 0."""
        return (self.labels == self.predicted).astype(np.int64)


def pack(predictions: Sequence["Prediction"]) -> str:
    """As one line of text: about a byte an utterance, thousands of folds in a few megabytes."""
    told = sorted(predictions, key=lambda item: item.utterance)
    names = sorted({item.speaker for item in told})
    place = {name: index for index, name in enumerate(names)}
    identity = json.dumps([[item.utterance, item.speaker, item.label] for item in told])
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    numbers = np.array(
        [
            [place[item.speaker] for item in told],
            [item.label for item in told],
            [item.predicted for item in told],
        ],
        dtype=_NUMBER,
    )
    return f"{digest}:{b64encode(zlib.compress(numbers.tobytes(), 9)).decode('ascii')}"


def unpack(text: str, n: int) -> Answers:
    """The inverse of `pack`, for a fold of `n` utterances.

    Raises:
        ValueError: the text is not what `pack` writes of so many.
    """
    digest, _, packed = text.partition(":")
    size = _PARTS * n * _NUMBER.itemsize
    try:
        # A byte more than expected is asked for: neither too much nor too little passes.
        content = zlib.decompressobj().decompress(b64decode(packed, validate=True), size + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"answers must be as this program packs them, found: {error}") from error
    if len(content) != size:
        raise ValueError(f"answers must be of n = {n} utterances, found another number")
    speakers, labels, predicted = (
        np.frombuffer(content, dtype=_NUMBER).reshape(_PARTS, n).astype(np.int64)
    )
    return Answers(digest, speakers, labels, predicted)
