"""A source-filter voice: speech-like utterances in which emotion changes how a speaker sounds.

A glottal source with a moving pitch passes a vocal tract of seven resonances; aspiration, bursts of
consonants, pauses and background noise are added. Nothing is said, but pitch, rate, dynamics, voice
quality and tilt behave like speech.
Shapes: N samples, T frames of 10 ms, K bins of a spectrum, S syllables, V vowels, R resonances.
"""

from dataclasses import dataclass

import numpy as np

from core.corpora.prosody import Prosody, SpeakerVoice, draw_prosody

SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 160  # O: 10 ms, short against the 40 ms that a consonant lasts
FRAME_SAMPLES = 2 * HOP_SAMPLES  # Hann windows at half overlap add up to one
FFT_SAMPLES = 512  # 12 ms beyond the frame: room for a resonance 80 Hz wide to ring off
FRAMES_PER_S = SAMPLE_RATE_HZ / HOP_SAMPLES
SYLLABLES_PER_S = 4.4  # O: read speech without its pauses has 4 to 5
DURATION_RANGE_S = (0.8, 1.75)  # O: of the speech itself; margins add 0.2 s on average
MARGIN_RANGE_S = (0.05, 0.15)  # O: silence before and after

# First four formants of ten American English vowels spoken by men, as in heed, hid, head, had, hod,
# hawed, hood, who'd, hud and heard. Source: Hillenbrand et al. 1995 (JASA 97), table V.
VOWEL_FORMANTS_HZ = np.array(
    [
        [342, 2322, 3000, 3657],
        [427, 2034, 2684, 3618],
        [580, 1799, 2605, 3677],
        [588, 1952, 2601, 3624],
        [768, 1333, 2522, 3687],
        [652, 997, 2538, 3486],
        [469, 1122, 2434, 3400],
        [378, 997, 2343, 3357],
        [623, 1200, 2550, 3557],
        [474, 1379, 1710, 3334],
    ],
    dtype=np.float64,
)  # (V, 4)
# Of a uniform tube of 17.5 cm: vowels hardly move these.
UPPER_FORMANTS_HZ = np.array([4500.0, 5500.0, 6500.0])
REFERENCE_TRACT_CM = 17.5
MAX_RESONANCE_HZ = 6900.0  # O: a short tract would lift the last ones beyond Nyquist
# O: near Klatt 1980 (JASA 67), table I; the last ones wide, or a short tract would whistle.
BANDWIDTHS_HZ = np.array([70.0, 90.0, 130.0, 180.0, 300.0, 600.0, 1000.0])

# Six consonants (of lips, teeth ridge, palate, soft palate, and two sonorants): the F2 from which
# the vowel moves in, their noise, and how much of the voice goes on. O: rounded after Stevens 1998.
CONSONANT_LOCUS_HZ = np.array([900.0, 1800.0, 2000.0, 2300.0, 1000.0, 1700.0])
CONSONANT_CENTER_HZ = np.array([1200.0, 5800.0, 3600.0, 2200.0, 900.0, 1500.0])
CONSONANT_WIDTH_HZ = np.array([1800.0, 1500.0, 1100.0, 900.0, 900.0, 900.0])
CONSONANT_NOISE_DB = np.array([-24.0, -17.0, -18.0, -20.0, -60.0, -60.0])
CONSONANT_VOICING = np.array([0.05, 0.0, 0.0, 0.05, 0.45, 0.4])
CONSONANT_F1_HZ = 280.0  # a closing mouth lowers F1, whatever the consonant

BASE_TILT_DB = -3.0  # O: per octave above 500 Hz, on top of the pulse's own slope
BREATH_DB = -30.0  # O: aspiration of a modal voice against its pulses
FLOOR_RESPONSE = (0.3 * 0.85 ** np.arange(16)).astype(
    np.float32
)  # O: rooms hum more than they hiss
SHIMMER = 0.04  # O: relative, about 0.35 dB from period to period
PITCH_RANGE_HZ = (60.0, 500.0)  # O: creak to scream
PEAK = 0.99


def synthesise(label: str, speaker: SpeakerVoice, generator: np.random.Generator) -> np.ndarray:
    """Let a speaker utter nonsense in one emotion.

    Args:
        label: one of `prosody.PROSODIES`.
    Returns:
        (N,) float32 at 16 kHz, within ±0.99; N is a whole number of 10 ms frames.
    """
    prosody = draw_prosody(label, speaker, generator)
    score = _draw_score(prosody, speaker, generator)
    source = _glottal_source(score, prosody, generator)  # (N,)
    speech = _filter(source, score, prosody, speaker, generator)

    level_db = speaker.gain_db + prosody.loudness_db
    speech *= 10 ** (level_db / 20) / np.sqrt(np.mean(speech**2))
    hiss = generator.standard_normal(speech.size, dtype=np.float32)
    floor = np.convolve(hiss, FLOOR_RESPONSE, mode="same")
    speech += 10 ** ((speaker.gain_db + speaker.floor_db) / 20) * floor
    return np.asarray(speech * min(1.0, PEAK / np.abs(speech).max()), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Score:
    """What is uttered, frame by frame."""

    pitch_hz: np.ndarray  # (T,)
    voicing: np.ndarray  # (T,) amplitude
    friction: np.ndarray  # (T,) amplitude
    formants_hz: np.ndarray  # (T, 4) for the reference tract
    consonant: np.ndarray  # (T,) index of the consonant whose noise sounds


def _draw_score(prosody: Prosody, speaker: SpeakerVoice, generator: np.random.Generator) -> _Score:
    """Draw the syllables of one utterance and lay them out in time."""
    rate = SYLLABLES_PER_S * 2**prosody.rate_octaves
    fewest, most = (round(limit * rate) for limit in DURATION_RANGE_S)
    syllables = min(max(int(generator.integers(4, 7)), fewest), max(most, fewest))
    consonants_s = generator.uniform(0.25, 0.4, syllables) / rate
    vowels_s = generator.uniform(0.5, 0.8, syllables) / rate
    vowels_s[-1] *= 1.3  # speech slows down at the end of a phrase
    paused = generator.random(syllables) < 0.12 + prosody.pause_odds
    paused[-1] = False
    pauses_s = np.where(paused, generator.uniform(0.08, 0.2, syllables), 0.0)

    lead_s, tail_s = generator.uniform(*MARGIN_RANGE_S, 2)
    ends_s = lead_s + np.cumsum(consonants_s + vowels_s + pauses_s)
    starts_s = ends_s - consonants_s - vowels_s - pauses_s
    opens_s, closes_s = starts_s + consonants_s, ends_s - pauses_s  # of the vowels
    frames = int(np.ceil((ends_s[-1] + tail_s) * FRAMES_PER_S))
    times_s = np.arange(frames) / FRAMES_PER_S

    consonants = generator.integers(0, CONSONANT_LOCUS_HZ.size, syllables)
    level_db = max(0.5, 3 + prosody.accent_db) * generator.standard_normal(syllables)
    vowel_gains = 10 ** ((level_db - 3 * np.arange(syllables) / syllables) / 20)
    murmur = CONSONANT_VOICING[consonants]
    still = np.zeros(syllables)
    return _Score(
        pitch_hz=_pitch_contour(times_s, (opens_s, closes_s), prosody, speaker, generator),
        voicing=_draw_line(
            times_s,
            (starts_s + 0.01, murmur),
            (opens_s, murmur),
            (opens_s + 0.025, vowel_gains),
            (opens_s + 0.6 * vowels_s, 0.9 * vowel_gains),
            (closes_s - 0.01, np.where(paused, 0.0, 0.35 * vowel_gains)),
            (ends_s, np.where(paused, 0.0, 0.35 * vowel_gains)),
        )
        * ((times_s > starts_s[0]) & (times_s < closes_s[-1])),
        friction=_draw_line(
            times_s,
            (starts_s, still),
            (starts_s + 0.5 * consonants_s, 10 ** (CONSONANT_NOISE_DB[consonants] / 20)),
            (opens_s, still),
        ),
        formants_hz=_formant_tracks(times_s, (starts_s, opens_s, closes_s), consonants, generator),
        consonant=consonants[np.clip(np.searchsorted(starts_s, times_s) - 1, 0, None)],
    )


def _draw_line(times_s: np.ndarray, *knots: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Draw straight lines through knots (S,), (S,), in their order within a syllable: (T,)."""
    knot_times_s = np.stack([time_s for time_s, _ in knots], axis=1)  # (S, knots)
    values = np.stack([value for _, value in knots], axis=1)
    return np.asarray(np.interp(times_s, knot_times_s.ravel(), values.ravel()))


def _smooth(track: np.ndarray, reach_frames: int) -> np.ndarray:
    """Round the corners of (T,) with a Hann window that reaches so many frames to either side."""
    window = np.hanning(2 * reach_frames + 3)[1:-1]
    padded = np.pad(track, reach_frames, mode="edge")
    return np.asarray(np.convolve(padded, window / window.sum(), mode="valid"))


def _pitch_contour(
    times_s: np.ndarray,
    vowels_s: tuple[np.ndarray, np.ndarray],
    prosody: Prosody,
    speaker: SpeakerVoice,
    generator: np.random.Generator,
) -> np.ndarray:
    """Add up declination, one accent a vowel, a final move and period-to-period wobble: (T,) Hz."""
    opens_s, closes_s = vowels_s
    accents_st = max(0.4, 2.5 + prosody.excursion_st) * generator.standard_normal(opens_s.size)
    contour_st = _draw_line(
        times_s, (opens_s, 0 * accents_st), ((opens_s + closes_s) / 2, accents_st)
    )
    contour_st -= 2.0 * (times_s - times_s.mean())  # O: F0 declines by about 2 semitones a second
    contour_st += prosody.ending_st * np.clip(1 + (times_s - closes_s[-1]) / 0.35, 0, 1)
    contour_st = _smooth(contour_st, 4)
    contour_st += max(0.03, 0.15 + prosody.tremor_st) * generator.standard_normal(times_s.size)
    pitch_hz = speaker.pitch_hz * 2 ** ((prosody.pitch_st + contour_st) / 12)
    return np.clip(pitch_hz, *PITCH_RANGE_HZ)


def _formant_tracks(
    times_s: np.ndarray,
    syllables_s: tuple[np.ndarray, np.ndarray, np.ndarray],
    consonants: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Move from each consonant's place to its vowel: (T, 4) Hz."""
    starts_s, opens_s, closes_s = syllables_s
    drawn = generator.integers(0, len(VOWEL_FORMANTS_HZ), starts_s.size)
    vowels = VOWEL_FORMANTS_HZ[drawn]  # (S, 4)
    closed = vowels.copy()
    closed[:, 0] = CONSONANT_F1_HZ
    # speakers go half the way only
    closed[:, 1] = (CONSONANT_LOCUS_HZ[consonants] + vowels[:, 1]) / 2
    steady_s, leaves_s = (opens_s + 0.3 * (closes_s - opens_s), closes_s - 0.02)
    tracks = [
        _draw_line(
            times_s,
            ((starts_s + opens_s) / 2, closed[:, formant]),
            (steady_s, vowels[:, formant]),
            (leaves_s, vowels[:, formant]),
        )
        for formant in range(vowels.shape[1])
    ]
    return np.stack([_smooth(track, 3) for track in tracks], axis=1)


def _glottal_source(score: _Score, prosody: Prosody, generator: np.random.Generator) -> np.ndarray:
    """Differentiate a glottal flow u² - u³, u from 0 to 1 while it is open, and add breath: (N,).

    Taking differences of the flow itself keeps its sharp closing free of most aliasing.
    Source: the pulse is the one of Klatt & Klatt 1990 (JASA 87).
    """
    frames = score.pitch_hz.size
    samples = np.arange(frames * HOP_SAMPLES, dtype=np.float64)
    pitch_hz = np.interp(samples / HOP_SAMPLES, np.arange(frames), score.pitch_hz)
    cycles = np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    period = cycles.astype(np.int64)
    quotient = float(np.clip(0.6 + prosody.openness, 0.3, 0.9))
    opening = ((cycles - period) / quotient).astype(np.float32)
    is_open = opening < 1
    flow = opening * opening * (1 - opening) * is_open
    shimmer = generator.standard_normal(int(period[-1]) + 1, dtype=np.float32)
    pulses = np.diff(flow, prepend=flow[0]) * (1 + SHIMMER * shimmer)[period]
    pulses /= np.sqrt(np.mean(pulses * pulses))
    breath = generator.standard_normal(samples.size, dtype=np.float32)
    breath *= np.float32(10 ** ((BREATH_DB + prosody.breath_db) / 20))
    return np.asarray(pulses + breath * np.where(is_open, np.float32(1.0), np.float32(0.3)))


def _filter(
    source: np.ndarray,
    score: _Score,
    prosody: Prosody,
    speaker: SpeakerVoice,
    generator: np.random.Generator,
) -> np.ndarray:
    """Send the source through the tract, frame by frame, and add the noise of consonants: (N,)."""
    bins_hz = np.fft.rfftfreq(FFT_SAMPLES, 1 / SAMPLE_RATE_HZ)  # (K,)
    tilt_db = (BASE_TILT_DB + prosody.tilt_db) * np.log2(np.maximum(bins_hz, 500.0) / 500.0)
    formants_hz = score.formants_hz * [2**prosody.jaw_octaves, 1, 1, 1]
    tract = _tract_polynomials(formants_hz, REFERENCE_TRACT_CM / speaker.tract_cm)  # (T, 2R + 1)
    distance = (bins_hz - CONSONANT_CENTER_HZ[:, None]) / CONSONANT_WIDTH_HZ[:, None]
    shapes = np.exp(-0.5 * distance**2).astype(np.float32)  # (consonants, K)

    noise = generator.standard_normal(source.size, dtype=np.float32)
    spectra = _spectra(source, score.voicing)  # (T, K)
    spectra *= (10 ** (tilt_db / 20)).astype(np.float32)
    spectra /= np.fft.rfft(tract, FFT_SAMPLES)
    spectra += _spectra(noise, score.friction) * shapes[score.consonant]
    blocks = np.fft.irfft(spectra, FFT_SAMPLES)  # (T, FFT)
    reach = -(-FFT_SAMPLES // HOP_SAMPLES)
    blocks = np.pad(blocks, ((0, 0), (0, reach * HOP_SAMPLES - FFT_SAMPLES)))
    blocks = blocks.reshape(len(blocks), reach, HOP_SAMPLES)
    speech = np.zeros((len(blocks) + reach - 1, HOP_SAMPLES), np.float32)
    for later in range(reach):
        speech[later : later + len(blocks)] += blocks[:, later]
    return speech[: len(blocks)].ravel()


def _spectra(samples: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Analyse Hann frames, each with its own gain: (N,), (T,) -> (T, K) complex64."""
    hops = np.append(samples, np.zeros(HOP_SAMPLES)).astype(np.float32).reshape(-1, HOP_SAMPLES)
    frames = np.concatenate([hops[:-1], hops[1:]], axis=1)  # (T, FRAME)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES)
    frames *= (gains[:, None] * window).astype(np.float32)
    return np.fft.rfft(frames, FFT_SAMPLES)


def _tract_polynomials(formants_hz: np.ndarray, tract_scale: float) -> np.ndarray:
    """Multiply out the resonances, with unit gain at 0 Hz: (T, 4) -> (T, 2R + 1) float32."""
    upper_hz = np.broadcast_to(UPPER_FORMANTS_HZ, (len(formants_hz), UPPER_FORMANTS_HZ.size))
    resonances_hz = tract_scale * np.hstack([formants_hz, upper_hz])
    resonances_hz = np.minimum(resonances_hz, MAX_RESONANCE_HZ)  # (T, R)
    radius = np.exp(-np.pi * BANDWIDTHS_HZ / SAMPLE_RATE_HZ)
    first = -2 * radius * np.cos(2 * np.pi * resonances_hz / SAMPLE_RATE_HZ)
    gain = 1 + first + radius**2
    product = np.zeros((len(formants_hz), 2 * BANDWIDTHS_HZ.size + 1))
    product[:, 0] = 1
    for k in range(BANDWIDTHS_HZ.size):
        delayed = product.copy()
        product[:, 1:] += first[:, k, None] * delayed[:, :-1]
        product[:, 2:] += radius[k] ** 2 * delayed[:, :-2]
    return np.asarray(product / gain.prod(axis=1, keepdims=True), np.float32)
