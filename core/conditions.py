"""Under which conditions kept models are heard again, with every constant of them and its source.

Sources: O = our own choice, but for those named. Nothing here is part of a run id.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256

VERSION = 1  # raised when what a condition computes changes
SEED = 0

SNRS_DB = (20.0, 10.0, 5.0, 0.0)  # O: from hardly audible to as loud as the speech
GAINS_DB = (-20.0, -10.0, 10.0)  # O
FULL_SCALE = 1.0  # of a converter, which clips what is louder
RT60S_S = (0.3, 0.6, 1.0)  # O: a living room, a classroom, a hall
# O: as much energy in the tail as in the direct sound, which is so at a room's critical distance.
TAIL_ENERGY = 1.0
BABBLE_VOICES = 5  # Snyder et al. 2018 (x-vectors): three to seven
BAND_HZ = (300.0, 3400.0)  # ITU-T G.712: the telephone's band
TELEPHONE_HZ = 8_000  # ITU-T G.711, whose mu-law has 8 bits
LOWPASS_HZ = 4_000.0  # O: as if sampled at the telephone's rate, and nothing else
FILTER_ORDER = 8  # O: of a Butterworth filter, run forth and back so that nothing moves in time
# libsndfile's scale from 0, the best, to 1. LAME takes no 1. With RAVDESS's speech at 16 kHz mono
# these give 15 (MP3, variable), 22 (Vorbis) and 7 kbit/s (Opus).
CODECS = {
    "mp3": ("MP3", "MPEG_LAYER_III", 0.99),
    "vorbis": ("OGG", "VORBIS", 1.0),
    "opus": ("OGG", "OPUS", 1.0),
}
CODECS_AND_BANDS = (*CODECS, "telephone", "lowpass")

CLEAN = "clean"
# By kind: the levels, what they are called on an axis, and their unit.
KINDS: dict[str, tuple[tuple[float | str, ...], str, str]] = {
    "white": (SNRS_DB, "SNR of white noise", "dB"),
    "pink": (SNRS_DB, "SNR of pink noise", "dB"),
    "babble": (SNRS_DB, "SNR of babble", "dB"),
    "gain": (GAINS_DB, "gain", "dB"),
    "reverb": (RT60S_S, "reverberation time (RT60)", "s"),
    "codec": (CODECS_AND_BANDS, "codec", ""),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One perturbation at one level; of the clean one, no level."""

    kind: str
    level: float | str = ""

    @property
    def name(self) -> str:
        """As tables name it: white 20 dB, gain +10 dB, codec opus, clean."""
        if isinstance(self.level, str):
            return f"{self.kind} {self.level}".strip()
        number = f"{self.level:+g}" if self.kind == "gain" else f"{self.level:g}"
        return f"{self.kind} {number} {KINDS[self.kind][2]}"

    @property
    def key(self) -> str:
        """Names what is computed, on this machine's codecs, as 12 hexadecimal digits."""
        identity = {**asdict(self), "version": VERSION, "seed": SEED}
        if self.level in CODECS:
            from soundfile import __libsndfile_version__

            identity["libsndfile"] = __libsndfile_version__
        return sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def conditions(kinds: Sequence[str] = tuple(KINDS)) -> list[Condition]:
    """The clean one first, then every level of these kinds."""
    found = [Condition(kind, level) for kind in kinds for level in KINDS[kind][0]]
    return [Condition(CLEAN), *found]
