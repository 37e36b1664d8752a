"""The four corpora of the paper: classes in order, folds, expected counts, where to get them."""

from typing import Literal

from core.corpora import iemocap, msp_improv, ravdess, savee
from core.corpora.check import Expected
from core.corpora.corpus import Corpus
from core.corpora.folds import FoldScheme


def _schemes(*schemes: FoldScheme) -> dict[str, FoldScheme]:
    return {scheme.name: scheme for scheme in schemes}


def _leave_one_out(by: Literal["session", "speaker"], keys: tuple[str, ...]) -> FoldScheme:
    return FoldScheme(f"leave-one-{by}-out", by, tuple((key,) for key in keys))


def _actors(*groups: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{actor:02d}" for actor in group) for group in groups)


# P §3.1 for the classes; women and men were counted from the release's own turn names.
IEMOCAP_SESSIONS = {
    "1": {"total": 1085, "F": 528, "M": 557},
    "2": {"total": 1023, "F": 481, "M": 542},
    "3": {"total": 1151, "F": 522, "M": 629},
    "4": {"total": 1031, "F": 528, "M": 503},
    "5": {"total": 1241, "F": 590, "M": 651},
}
IEMOCAP_CLASSES = {  # counted likewise, excited merged into happy
    "1": {"angry": 229, "happy": 278, "sad": 194, "neutral": 384},
    "2": {"angry": 137, "happy": 327, "sad": 197, "neutral": 362},
    "3": {"angry": 240, "happy": 286, "sad": 305, "neutral": 320},
    "4": {"angry": 327, "happy": 303, "sad": 143, "neutral": 258},
    "5": {"angry": 170, "happy": 442, "sad": 245, "neutral": 384},
}

IEMOCAP = Corpus(
    name="iemocap",
    title=iemocap.TITLE,
    classes=("angry", "happy", "sad", "neutral"),
    parse=iemocap.parse,
    sources=("iemocap",),
    schemes=_schemes(_leave_one_out("session", tuple(IEMOCAP_SESSIONS))),  # P §3.1
    default_scheme="leave-one-session-out",
    expected=Expected(
        classes={"angry": 1103, "happy": 1636, "sad": 1084, "neutral": 1708},
        sessions=IEMOCAP_SESSIONS,
        session_classes=IEMOCAP_CLASSES,
        speakers={
            f"Ses0{session}_{gender}": counts[gender]
            for session, counts in IEMOCAP_SESSIONS.items()
            for gender in ("F", "M")
        },
    ),
    where_to_get="https://sail.usc.edu/iemocap/iemocap_release.htm (release form; no charge)",
    layout=iemocap.LAYOUT,
    licence="for research, under the release form of the University of Southern California",
)

MSP_IMPROV = Corpus(
    name="msp_improv",
    title=msp_improv.TITLE,
    classes=("angry", "happy", "sad", "neutral"),
    parse=msp_improv.parse,
    sources=("msp_improv",),
    schemes=_schemes(_leave_one_out("session", ("1", "2", "3", "4", "5", "6"))),  # P §3.1
    default_scheme="leave-one-session-out",
    # The release's own totals: 7798 of 8438 turns (P §3.1). Its counts by session and speaker are
    # not published, so they are not compared.
    expected=Expected(
        classes={"angry": 792, "happy": 2644, "sad": 885, "neutral": 3477},
        speakers=dict.fromkeys(f"{gender}0{n}" for gender in "FM" for n in range(1, 7)),
    ),
    where_to_get="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html "
    "(agreement between the institutions)",
    layout=msp_improv.LAYOUT,
    licence="for research, under an agreement with the University of Texas at Dallas",
)

RAVDESS = Corpus(
    name="ravdess",
    title=ravdess.TITLE,
    classes=("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"),
    parse=ravdess.parse,
    sources=("ravdess",),
    # P §3.1 says six subject-independent folds and not which; the first three are published.
    schemes=_schemes(
        FoldScheme(  # as HiCMAE
            "consecutive",
            "speaker",
            _actors(*(tuple(range(first, first + 4)) for first in range(1, 25, 4))),
        ),
        FoldScheme(  # as EmoBox
            "emobox",
            "speaker",
            _actors(
                (1, 11, 20, 21),
                (4, 10, 12, 14),
                (8, 9, 19, 23),
                (3, 5, 7, 24),
                (2, 15, 16, 18),
                (6, 13, 17, 22),
            ),
        ),
        FoldScheme(  # as Luna-Jiménez et al., five folds
            "luna-jimenez",
            "speaker",
            _actors(
                (2, 5, 14, 15, 16),
                (3, 6, 7, 13, 18),
                (10, 11, 12, 19, 20),
                (8, 17, 21, 23, 24),
                (1, 4, 9, 22),
            ),
        ),
        FoldScheme(  # O: two folds of twelve actors, on which settings are chosen
            "halves",
            "speaker",
            _actors(tuple(range(1, 13)), tuple(range(13, 25))),
        ),
    ),
    default_scheme="consecutive",
    expected=Expected(
        classes={label: 96 if label == "neutral" else 192 for label in ravdess.LABELS.values()},
        speakers=dict.fromkeys(ravdess.ACTORS, 60),
    ),
    where_to_get="https://zenodo.org/records/1188976 (Audio_Speech_Actors_01-24.zip)",
    layout=ravdess.LAYOUT,
    licence="CC BY-NC-SA 4.0",
)

SAVEE = Corpus(
    name="savee",
    title=savee.TITLE,
    classes=("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised"),
    parse=savee.parse,
    sources=("savee",),
    schemes=_schemes(_leave_one_out("speaker", savee.SPEAKERS)),  # P §3.1
    default_scheme="leave-one-speaker-out",
    expected=Expected(
        classes={label: 120 if label == "neutral" else 60 for label in savee.LABELS.values()},
        speakers=dict.fromkeys(savee.SPEAKERS, 120),
    ),
    where_to_get="http://kahlan.eps.surrey.ac.uk/savee/ (registration; no charge)",
    layout=savee.LAYOUT,
    licence="for research, under the terms of the University of Surrey",
)

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus for corpus in (IEMOCAP, MSP_IMPROV, RAVDESS, SAVEE)
}
