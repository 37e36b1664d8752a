"""Names, labels and evaluation files of the synthetic corpora: what each looks like on disk.

Sizes and label shares stand in `LAYOUTS`; the real layouts are described in the parsers beside.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.corpora.prosody import PROSODIES

OTHER_SEX = {"F": "M", "M": "F"}
IRREGULAR_DIALOGUES = {3: "M_impro05a", 5: "M_script01_1b"}  # two of the five that the release has
IEMOCAP_ATTRIBUTES = {  # O: valence, activation, dominance from 1 to 5; nothing here reads them
    "ang": (1.9, 3.8, 3.9),
    "hap": (3.9, 3.2, 3.1),
    "exc": (3.9, 3.7, 3.4),
    "sad": (2.2, 2.5, 2.8),
    "neu": (3.0, 2.6, 2.9),
    "fru": (2.3, 3.1, 3.3),
    "xxx": (2.8, 3.0, 3.1),
}
SAVEE_SPEAKERS = ("DC", "JE", "JK", "KL")

Speakers = Sequence[tuple[str, int]]  # sex and number (session or actor) of each
Turns = Sequence[Sequence[str]]  # the labels that each speaker utters, in order


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording to write."""

    path: str  # below the corpus folder
    speaker: int
    label: str  # as the corpus writes it
    emotion: str  # as `prosody.PROSODIES` calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a corpus looks like on disk."""

    number: int  # part of every random stream, so that no two corpora share a recording
    speakers: Speakers
    utterances_per_speaker: int  # default, kept classes only
    most_utterances: int  # that names have room for
    shares: Mapping[str, int]  # of the kept labels: their counts in the real corpus, or a ratio
    dropped: tuple[str, ...]
    emotions: Mapping[str, str]  # of every label
    lay_out: Callable[[Speakers, Turns], Iterator[tuple[str, int, str]]]  # path, speaker, label
    annotate: Callable[[Sequence[Clip], Mapping[str, float]], dict[str, str]]  # texts by path


def _iemocap_paths(speakers: Speakers, turns: Turns) -> Iterator[tuple[str, int, str]]:
    """Let both speakers of a session take turns in each dialogue, whoever wears the sensors."""
    for session in sorted({number for _, number in speakers}):
        irregular = IRREGULAR_DIALOGUES.get(session, "M_script02_2")
        names = [
            f"Ses{session:02d}{part}"
            for part in ("F_impro01", "M_impro04", "F_script01_1", irregular)
        ]
        pair = [speaker for speaker, (_, number) in enumerate(speakers) if number == session]
        for place, dialogue in enumerate(names):
            shares = [turns[speaker][place :: len(names)] for speaker in pair]
            for turn in range(max(map(len, shares))):
                for speaker, share in zip(pair, shares, strict=True):
                    if turn < len(share):
                        utterance = f"{dialogue}_{speakers[speaker][0]}{turn:03d}"
                        path = f"Session{session}/sentences/wav/{dialogue}/{utterance}.wav"
                        yield path, speaker, share[turn]


def _iemocap_evaluations(clips: Sequence[Clip], durations_s: Mapping[str, float]) -> dict[str, str]:
    """Write a file for each dialogue: a line per turn, then the votes of its raters."""
    lines: dict[str, list[str]] = {}
    start_s: dict[str, float] = {}
    for clip in clips:
        session, _, _, dialogue, file = clip.path.split("/")
        name = f"{session}/dialog/EmoEvaluation/{dialogue}.txt"
        begin_s = start_s.get(name, 6.0)
        end_s = start_s[name] = begin_s + durations_s[clip.path]
        valence, activation, dominance = IEMOCAP_ATTRIBUTES[clip.label]
        header = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"
        lines.setdefault(name, [header]).append(
            f"[{begin_s:.4f} - {end_s:.4f}]\t{file.removesuffix('.wav')}\t{clip.label}"
            f"\t[{valence:.4f}, {activation:.4f}, {dominance:.4f}]\n"
            f"C-E2:\t{clip.emotion.title()};\t()\n"
            f"A-E3:\tval {valence:.0f}; act {activation:.0f}; dom  {dominance:.0f};\t()\n"
        )
    return {name: "\n".join(blocks) + "\n" for name, blocks in lines.items()}


def _msp_improv_paths(speakers: Speakers, turns: Turns) -> Iterator[tuple[str, int, str]]:
    """Follow the sentence by its target emotion, which only the target turns are sure to show."""
    for speaker, (sex, session) in enumerate(speakers):
        for nth, label in enumerate(turns[speaker]):
            scenario, target = "PSTR"[nth % 4], "AHSN"[nth // 4 % 4]
            if scenario in "TR" and label in "AHSN":
                target = label
            sentence = f"S{nth % 20 + 1:02d}{target}"
            partner = sex if scenario == "R" else OTHER_SEX[sex]
            name = f"{sentence}-{sex}{session:02d}-{scenario}-{sex}{partner}{nth // 20 + 1:02d}"
            yield f"session{session}/{sentence}/{scenario}/MSP-IMPROV-{name}.wav", speaker, label


def _msp_improv_evaluation(
    clips: Sequence[Clip], durations_s: Mapping[str, float]
) -> dict[str, str]:
    """Write one file for the corpus, under the name that its release misspells."""
    blocks = []
    for clip in clips:
        turn = clip.path.rpartition("/MSP-")[2].removesuffix(".wav")
        blocks.append(
            f"UTD-{turn}.avi; {clip.label}; A:3.000000; V:3.500000; D:3.000000 ; N:4.000000; \n"
            f"WORKER00000001; {clip.emotion.title()}; {clip.emotion.title()}; "
            "A:3.000000; V:3.000000; D:3.000000; N:4.000000; \n"
        )
    return {"Evalution.txt": "\n".join(blocks)}


def _ravdess_paths(speakers: Speakers, turns: Turns) -> Iterator[tuple[str, int, str]]:
    """Change the statement first from clip to clip, then the repetition, then the intensity."""
    for speaker, (_, actor) in enumerate(speakers):
        seen = Counter[str]()
        for label in turns[speaker]:
            nth, seen[label] = seen[label], seen[label] + 1
            fields = f"{label}-{nth // 4 + 1:02d}-{nth % 2 + 1:02d}-{nth // 2 % 2 + 1:02d}"
            yield f"Actor_{actor:02d}/03-01-{fields}-{actor:02d}.wav", speaker, label


def _savee_paths(speakers: Speakers, turns: Turns) -> Iterator[tuple[str, int, str]]:
    for speaker, letters in enumerate(SAVEE_SPEAKERS):
        seen = Counter[str]()
        for label in turns[speaker]:
            seen[label] += 1
            yield f"{letters}/{label}{seen[label]:02d}.wav", speaker, label


def _no_annotation(clips: Sequence[Clip], durations_s: Mapping[str, float]) -> dict[str, str]:
    """Write nothing: these corpora say it all in the names of their files."""
    return {}


LAYOUTS = {
    "iemocap": Layout(
        number=1,
        speakers=tuple((sex, session) for session in range(1, 6) for sex in "FM"),
        utterances_per_speaker=36,
        most_utterances=900,
        shares={"ang": 1103, "hap": 595, "exc": 1041, "sad": 1084, "neu": 1708},
        dropped=("fru", "xxx"),
        emotions={
            "ang": "angry",
            "hap": "happy",
            "exc": "happy",
            "sad": "sad",
            "neu": "neutral",
            "fru": "angry",
            "xxx": "surprised",
        },
        lay_out=_iemocap_paths,
        annotate=_iemocap_evaluations,
    ),
    "msp_improv": Layout(
        number=2,
        speakers=tuple((sex, session) for session in range(1, 7) for sex in "FM"),
        utterances_per_speaker=24,
        most_utterances=900,
        shares={"A": 792, "H": 2644, "S": 885, "N": 3477},
        dropped=("O", "X"),
        emotions={
            "A": "angry",
            "H": "happy",
            "S": "sad",
            "N": "neutral",
            "O": "disgust",
            "X": "fearful",
        },
        lay_out=_msp_improv_paths,
        annotate=_msp_improv_evaluation,
    ),
    "ravdess": Layout(
        number=3,
        speakers=tuple(("FM"[actor % 2], actor) for actor in range(1, 25)),
        utterances_per_speaker=16,
        most_utterances=60,  # more would need a third statement or repetition
        shares={"01": 4} | {f"{emotion:02d}": 8 for emotion in range(2, 9)},
        dropped=(),
        emotions={f"{nth:02d}": emotion for nth, emotion in enumerate(PROSODIES, start=1)},
        lay_out=_ravdess_paths,
        annotate=_no_annotation,
    ),
    "savee": Layout(
        number=4,
        speakers=tuple(("M", nth) for nth in range(1, 5)),
        utterances_per_speaker=48,
        most_utterances=120,
        shares={"a": 1, "d": 1, "f": 1, "h": 1, "n": 2, "sa": 1, "su": 1},
        dropped=(),
        emotions={
            "a": "angry",
            "d": "disgust",
            "f": "fearful",
            "h": "happy",
            "n": "neutral",
            "sa": "sad",
            "su": "surprised",
        },
        lay_out=_savee_paths,
        annotate=_no_annotation,
    ),
}
