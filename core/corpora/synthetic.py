"""Synthetic speech on disk, in the layout and with the evaluation files of a real corpus.

The demo and the tests read it with the parsers that read the real corpora. `voice.py` says how it
sounds, `layouts.py` how it is named.
"""

import shutil
import uuid
import wave
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from core.corpora.layouts import LAYOUTS, Clip, Layout
from core.corpora.prosody import draw_speaker
from core.corpora.voice import SAMPLE_RATE_HZ, synthesise

RECIPE_VERSION = 1  # raise it when any byte changes: folders of another version are not reused
DROPPED_SHARE = 1 / 12  # O: turns of labels that the protocol leaves out, on top of the kept ones
FEWEST_PER_CLASS = 2  # O: of each speaker, so that no fold, however cut, lacks a class
ORDER_STREAM, VOICE_STREAM, FIRST_CLIP_STREAM = 0, 1, 2  # purposes of a speaker's random streams


def write_corpus(
    corpus: str,
    root: Path,
    seed: int,
    utterances_per_speaker: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic corpus below `root`, or find the one that is already there.

    Args:
        corpus: one of `LAYOUTS`.
        utterances_per_speaker: of the kept classes; None takes the layout's default.
        on_progress: called with the recordings written so far and their total.
    Returns:
        The corpus folder, complete. The same arguments give the same bytes.
    """
    if corpus not in LAYOUTS:
        raise ValueError(f"a synthetic corpus is one of {', '.join(LAYOUTS)}, got {corpus!r}")
    layout = LAYOUTS[corpus]
    if utterances_per_speaker is None:
        utterances_per_speaker = layout.utterances_per_speaker
    clips = plan_clips(corpus, seed, utterances_per_speaker)
    target = root / f"{corpus}-seed{seed}-{utterances_per_speaker}-v{RECIPE_VERSION}"
    if target.is_dir():
        return target
    unfinished = root / f".{target.name}.{uuid.uuid4().hex}"
    unfinished.mkdir(parents=True)
    try:
        durations_s = _write_clips(clips, unfinished, seed, layout, on_progress)
        for name, text in layout.annotate(clips, durations_s).items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("latin-1"))
        try:
            unfinished.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster, with the same bytes
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def plan_clips(corpus: str, seed: int, utterances_per_speaker: int) -> list[Clip]:
    """Name every recording of a corpus, with its speaker and label."""
    layout = LAYOUTS[corpus]
    fewest, most = sum(_fewest(layout).values()), layout.most_utterances
    if not fewest <= utterances_per_speaker <= most:
        raise ValueError(
            f"a synthetic {corpus} has {fewest} to {most} utterances per speaker,"
            f" got {utterances_per_speaker}"
        )
    counts = _share_out(utterances_per_speaker, layout)
    labels = [label for label, count in counts.items() for _ in range(count)]
    if layout.dropped:
        dropped = max(len(layout.dropped), round(DROPPED_SHARE * utterances_per_speaker))
        labels += [layout.dropped[i % len(layout.dropped)] for i in range(dropped)]
    turns = [
        _stream(seed, layout, speaker, ORDER_STREAM).permutation(labels).tolist()
        for speaker in range(len(layout.speakers))
    ]
    return [
        Clip(path, speaker, label, layout.emotions[label])
        for path, speaker, label in layout.lay_out(layout.speakers, turns)
    ]


def _fewest(layout: Layout) -> dict[str, int]:
    """Count how often a speaker has each kept label at least; merged labels share the duty."""
    same = Counter(layout.emotions[label] for label in layout.shares)
    return {label: -(-FEWEST_PER_CLASS // same[layout.emotions[label]]) for label in layout.shares}


def _share_out(total: int, layout: Layout) -> dict[str, int]:
    """Divide the utterances of a speaker among the kept labels, by share."""
    fewest, whole = _fewest(layout), sum(layout.shares.values())
    exact = {label: total * share / whole for label, share in layout.shares.items()}
    counts = {label: max(fewest[label], int(exact[label])) for label in exact}
    while missing := total - sum(counts.values()):
        step = 1 if missing > 0 else -1
        free = [label for label in counts if step > 0 or counts[label] > fewest[label]]
        counts[max(free, key=lambda label: step * (exact[label] - counts[label]))] += step
    return counts


def _stream(seed: int, layout: Layout, speaker: int, purpose: int) -> np.random.Generator:
    """Open a random stream that depends on nothing else, such as what was drawn before."""
    return np.random.default_rng([seed, layout.number, speaker, purpose])


def _write_clips(
    clips: Sequence[Clip],
    folder: Path,
    seed: int,
    layout: Layout,
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, float]:
    """Synthesise and write every clip; give the durations in seconds by path."""
    voices = [
        draw_speaker(sex, _stream(seed, layout, speaker, VOICE_STREAM))
        for speaker, (sex, _) in enumerate(layout.speakers)
    ]
    durations_s = {}
    uttered = Counter[int]()
    for done, clip in enumerate(clips, start=1):
        generator = _stream(seed, layout, clip.speaker, FIRST_CLIP_STREAM + uttered[clip.speaker])
        uttered[clip.speaker] += 1
        samples = synthesise(clip.emotion, voices[clip.speaker], generator)
        path = folder / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE_HZ, samples.size, "NONE", ""))
            file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
        durations_s[clip.path] = samples.size / SAMPLE_RATE_HZ
        if on_progress is not None:
            on_progress(done, len(clips))
    return durations_s
