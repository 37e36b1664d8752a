"""How emotions and speakers change a voice: the tables and draws behind the synthetic speech.

Every cue is a number that adds up: an utterance has the cues of its emotion, times how strongly it
is shown, plus its speaker's own, plus scatter. Shapes: P cues.
"""

from dataclasses import astuple, dataclass, fields

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Prosody:
    """How a voice departs from its speaker's neutral one; every cue adds up, zero is neutral."""

    pitch_st: float = 0.0  # mean F0, semitones
    excursion_st: float = 0.0  # added to the 2.5 semitones by which F0 moves with each accent
    ending_st: float = 0.0  # pitch move over the last syllables
    rate_octaves: float = 0.0  # syllables a second, as log2
    loudness_db: float = 0.0
    accent_db: float = 0.0  # added to the 3 dB by which syllables differ
    tilt_db: float = 0.0  # per octave above 500 Hz; positive is brighter
    openness: float = 0.0  # open quotient: negative is tense, positive is lax
    breath_db: float = 0.0  # aspiration against voicing
    tremor_st: float = 0.0  # added to the 0.15 semitones of period-to-period wobble
    pause_odds: float = 0.0  # added to the 0.12 chance of a pause after a syllable
    jaw_octaves: float = 0.0  # F1, as log2; positive is a wide mouth


# Directions after Scherer 2003 (Speech Communication 40), Juslin & Laukka 2003 (Psychological
# Bulletin 129) and, for disgust and surprise, Banse & Scherer 1996 (JPSP 70). The sizes are O, set
# so that classes overlap.
PROSODIES = {
    "neutral": Prosody(),
    # close to sadness in level, without its breath and falling line
    "calm": Prosody(
        pitch_st=-1.0,
        excursion_st=-0.6,
        rate_octaves=-0.2,
        loudness_db=-3,
        accent_db=-1,
        tilt_db=-0.8,
        openness=0.05,
        breath_db=3,
        pause_odds=0.04,
    ),
    # high, wide, rising, rather fast, bright, wide mouth
    "happy": Prosody(
        pitch_st=3.8,
        excursion_st=2.2,
        ending_st=1.5,
        rate_octaves=0.12,
        loudness_db=4,
        accent_db=1.5,
        tilt_db=1.0,
        jaw_octaves=0.08,
    ),
    # low, narrow, falling, slow, soft, dull, breathy, with pauses
    "sad": Prosody(
        pitch_st=-1.8,
        excursion_st=-1.4,
        ending_st=-1.5,
        rate_octaves=-0.3,
        loudness_db=-6,
        accent_db=-1.5,
        tilt_db=-2.0,
        openness=0.08,
        breath_db=7,
        tremor_st=0.08,
        pause_odds=0.12,
        jaw_octaves=-0.05,
    ),
    # high, wide, fast, loud, much high-frequency energy, tense, strong accents
    "angry": Prosody(
        pitch_st=3.0,
        excursion_st=1.4,
        ending_st=-1.5,
        rate_octaves=0.2,
        loudness_db=8,
        accent_db=3,
        tilt_db=2.6,
        openness=-0.14,
        breath_db=-3,
        tremor_st=0.1,
        pause_odds=-0.06,
        jaw_octaves=0.14,
    ),
    # high, narrow, fast, trembling, little low-frequency energy
    "fearful": Prosody(
        pitch_st=5.0,
        excursion_st=-0.6,
        ending_st=0.8,
        rate_octaves=0.25,
        loudness_db=1,
        accent_db=-0.5,
        tilt_db=0.4,
        openness=0.02,
        breath_db=4,
        tremor_st=0.35,
        pause_odds=0.06,
        jaw_octaves=-0.05,
    ),
    # low, slow, creaky, narrowed tract
    "disgust": Prosody(
        pitch_st=-1.2,
        excursion_st=0.6,
        ending_st=-2.0,
        rate_octaves=-0.25,
        loudness_db=-1,
        accent_db=1.5,
        tilt_db=0.8,
        openness=-0.12,
        tremor_st=0.2,
        pause_odds=0.05,
        jaw_octaves=-0.16,
    ),
    # very high and wide, rising at the end
    "surprised": Prosody(
        pitch_st=5.5,
        excursion_st=3.0,
        ending_st=5.0,
        rate_octaves=0.0,
        loudness_db=4,
        accent_db=1.0,
        tilt_db=0.6,
        breath_db=2,
        jaw_octaves=0.1,
    ),
}


def _cues(prosody: Prosody) -> np.ndarray:
    return np.array(astuple(prosody))  # (P,)


CUES = len(fields(Prosody))
# O: standard deviations from one utterance to the next, and from one speaker to the next.
UTTERANCE_SCATTER = _cues(
    Prosody(
        pitch_st=1.5,
        excursion_st=0.8,
        ending_st=1.2,
        rate_octaves=0.13,
        loudness_db=2.5,
        accent_db=1.0,
        tilt_db=0.8,
        openness=0.05,
        breath_db=3.0,
        tremor_st=0.06,
        pause_odds=0.05,
        jaw_octaves=0.05,
    )
)
SPEAKER_SCATTER = _cues(Prosody(rate_octaves=0.12, tilt_db=0.8, openness=0.04, breath_db=2.0))
SEX_HABITS = {"F": _cues(Prosody(tilt_db=-1.5, openness=0.06, breath_db=2.0)), "M": np.zeros(CUES)}
MANNER_SHARE = (
    0.7  # O: of the scatter of utterances, the same in a speaker's utterances of an emotion
)
STRENGTH_MEAN, STRENGTH_STD = 1.05, 0.3  # O: how strongly an utterance shows its emotion


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpeakerVoice:
    """What stays the same in all utterances of one speaker."""

    pitch_hz: float  # mean F0 of neutral speech
    tract_cm: float  # length of the vocal tract
    gain_db: float  # level of the recording against full scale
    floor_db: float  # background noise against the speech
    manner: dict[str, np.ndarray]  # per emotion (P,) float: what the speaker adds to the table


def draw_speaker(sex: str, generator: np.random.Generator) -> SpeakerVoice:
    """Draw a speaker, "F" or "M".

    Source: means of pitch and tract after Titze 1989 (JASA 85); women's voices are laxer, breathier
    and duller at the source (Klatt & Klatt 1990, JASA 87). The sizes of that and all spreads are O.
    """
    if sex not in ("F", "M"):
        raise ValueError(f"the sex of a voice is 'F' or 'M', got {sex!r}")
    pitch_hz, tract_cm = (205.0, 14.8) if sex == "F" else (118.0, 17.2)
    habit = SEX_HABITS[sex] + SPEAKER_SCATTER * generator.standard_normal(CUES)
    return SpeakerVoice(
        pitch_hz=pitch_hz * 2 ** (generator.normal(0, 2.0) / 12),
        tract_cm=tract_cm + generator.normal(0, 0.6),
        gain_db=generator.normal(-27, 3.0),
        floor_db=generator.normal(-48, 4.0),
        manner={
            label: habit + MANNER_SHARE * UTTERANCE_SCATTER * generator.standard_normal(CUES)
            for label in PROSODIES
        },
    )


def draw_prosody(label: str, speaker: SpeakerVoice, generator: np.random.Generator) -> Prosody:
    """Draw how one utterance shows its emotion, the speaker's own voice included."""
    if label not in PROSODIES:
        raise ValueError(f"an emotion is one of {', '.join(PROSODIES)}, got {label!r}")
    strength = max(0.1, generator.normal(STRENGTH_MEAN, STRENGTH_STD))
    cues = strength * _cues(PROSODIES[label]) + speaker.manner[label]
    cues += UTTERANCE_SCATTER * generator.standard_normal(CUES)
    names = (field.name for field in fields(Prosody))
    return Prosody(**dict(zip(names, cues.tolist(), strict=True)))
