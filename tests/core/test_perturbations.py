"""Perturbed speech is what was asked for, by measures taken independently."""

import numpy as np
import pytest
from scipy import signal

from core.conditions import CODECS_AND_BANDS, KINDS, RT60S_S, SNRS_DB, Condition, conditions
from core.perturbations import Surroundings, babble, perturbed, pink, room_response
from core.stress import PerturbedStore, generator_of
from tests.core.small_speech import MemoryStore, utterance

RATE = 16_000
EVERY = [(one.kind, one.level) for one in conditions()[1:]]


def speech(samples=24_000, seed=0, loud=0.1):
    """Something with speech's band and pauses: filtered noise that comes and goes."""
    rng = np.random.default_rng(seed)
    noise = signal.lfilter([1.0], [1.0, -0.95], rng.standard_normal(samples))
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * np.arange(samples) / RATE)
    return (loud * noise * envelope / np.abs(noise).max()).astype(np.float32)


def around(seed=0, others=3):
    return Surroundings(
        np.random.default_rng(seed), others, lambda place: speech(9_000, place + 10)
    )


def rates_db(one, other):
    powers = [np.mean(np.square(part.astype(np.float64))) for part in (one, other)]
    return 10 * np.log10(powers[0] / powers[1])


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr_db", SNRS_DB)
def test_noise_lies_below_speech_as_far_as_asked(kind, snr_db):
    heard = speech()
    noise = perturbed(heard, kind, snr_db, around()).astype(np.float64) - heard
    assert rates_db(heard, noise) == pytest.approx(snr_db, abs=1e-3)


def test_every_level_meets_the_same_noise():
    heard = speech()
    faint, loud = (perturbed(heard, "pink", snr, around()) - heard for snr in (20.0, 0.0))
    assert np.allclose(10 * faint, loud, atol=1e-5)


def test_pink_noise_has_equal_power_in_every_octave():
    power = np.square(np.abs(np.fft.rfft(pink(1 << 18, np.random.default_rng(0)))))
    octaves = [power[1 << k : 2 << k].sum() for k in range(8, 17)]
    assert np.ptp(10 * np.log10(octaves)) < 1.0
    assert power[0] == pytest.approx(0.0, abs=1e-9)


def test_babble_is_made_of_others_equally_loud_and_needs_one():
    voices = {0: speech(8_000, 1), 1: 50 * speech(8_000, 2), 2: np.zeros(100, np.float32)}
    given = Surroundings(np.random.default_rng(0), 3, voices.__getitem__)
    mixed = babble(8_000, given)
    shares = []
    for place in (0, 1):
        voice = voices[place].astype(np.float64) / np.sqrt(np.mean(np.square(voices[place])))
        found = np.fft.irfft(np.fft.rfft(mixed) * np.conj(np.fft.rfft(voice))) / 8_000
        shares.append(found.max())  # of each at its own shift
    assert shares == pytest.approx([1.0, 1.0], abs=0.2)
    alone = Surroundings(np.random.default_rng(0), 1, lambda _: np.zeros(9, np.float32))
    with pytest.raises(ValueError, match="needs another utterance that is not silent, found none"):
        babble(10, alone)


def test_gain_scales_and_clips_at_full_scale():
    heard = np.array([0.5, -0.05, 0.9], np.float32)
    louder = perturbed(heard, "gain", 10.0, around())
    assert louder == pytest.approx([1.0, -0.05 * 10**0.5, 1.0])
    assert perturbed(heard, "gain", -20.0, around()) == pytest.approx(heard / 10)


@pytest.mark.parametrize("rt60_s", RT60S_S)
def test_a_room_s_energy_falls_by_60_db_in_its_time(rt60_s):
    """Schroeder's backward integration, a line through its fall from -5 to -35 dB."""
    response = room_response(rt60_s, np.random.default_rng(3))
    left = np.cumsum(np.square(response)[::-1])[::-1]
    level = 10 * np.log10(left / left[0])
    part = (level < -5) & (level > -35)
    slope = np.polyfit(np.flatnonzero(part) / RATE, level[part], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.05)
    assert np.square(response).sum() == pytest.approx(1.0)
    assert np.square(response[0]) == pytest.approx(0.5)


@pytest.mark.parametrize("codec", CODECS_AND_BANDS)
def test_a_codec_keeps_length_and_alignment(codec):
    heard = speech(31_111)
    coded = perturbed(heard, "codec", codec, around())
    assert coded.shape == heard.shape
    assert coded.dtype == np.float32
    match = signal.correlate(coded.astype(np.float64), heard.astype(np.float64), method="fft")
    assert int(match.argmax()) == len(heard) - 1  # no shift
    assert 1.0 < rates_db(heard, coded - heard) < 40.0  # speech still, and changed


@pytest.mark.parametrize(("codec", "edge_hz"), [("telephone", 3_700), ("lowpass", 4_400)])
def test_a_band_ends_where_it_says(codec, edge_hz):
    heard = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) / 10
    power = np.square(np.abs(np.fft.rfft(perturbed(heard, "codec", codec, around()))))
    assert power[edge_hz:].sum() < 1e-3 * power.sum()
    assert power[500:3_000].mean() > 0.5 * np.square(np.abs(np.fft.rfft(heard)))[500:3_000].mean()


@pytest.mark.parametrize(("kind", "level"), EVERY)
def test_silence_stays_silence_and_short_utterances_stay_as_long(kind, level):
    silence = np.zeros(400, np.float32)
    assert not perturbed(silence, kind, level, around()).any()
    for samples in (1, 2, 37):
        found = perturbed(np.full(samples, 0.1, np.float32), kind, level, around())
        assert found.shape == (samples,)
        assert np.isfinite(found).all()


def test_a_codec_that_libsndfile_lacks_is_named(monkeypatch):
    monkeypatch.setitem(
        __import__("core.perturbations").perturbations.CODECS, "opus", ("OGG", "ALAC_16", 1.0)
    )
    with pytest.raises(ValueError, match=r"libsndfile must be able to write OGG \(ALAC_16\)"):
        perturbed(speech(100), "codec", "opus", around())
    with pytest.raises(ValueError, match=r"must be one of core/conditions\.py, got 'rain' at 3"):
        perturbed(speech(100), "rain", 3.0, around())


def stored(condition):
    items = [utterance(f"u{n}", session=str(1 + n % 2)) for n in range(4)]
    waveforms = {item.name: speech(2_000, n) for n, item in enumerate(items)}
    return PerturbedStore(MemoryStore(waveforms), condition, items), waveforms


@pytest.mark.parametrize("kind", KINDS)
def test_an_utterance_is_perturbed_the_same_wherever_and_whenever_it_is_heard(kind):
    condition = conditions([kind])[1]
    (one, _), (other, _) = stored(condition), stored(condition)
    first = [one.waveform(f"u{n}") for n in range(4)]
    again = [other.waveform(f"u{n}") for n in reversed(range(4))]
    for a, b in zip(first, reversed(again), strict=True):
        assert np.array_equal(a, b)


def test_utterances_and_kinds_draw_apart():
    drawn = [
        generator_of(kind, name).standard_normal()
        for kind in ("white", "pink")
        for name in ("u0", "u1")
    ]
    assert len(set(drawn)) == 4


def test_babble_is_of_other_speakers_where_there_are_any():
    store, waveforms = stored(Condition("babble", 0.0))
    mixed = store.waveform("u0").astype(np.float64) - waveforms["u0"]
    for name, voice in waveforms.items():
        spectrum = np.fft.rfft(mixed) * np.conj(np.fft.rfft(voice.astype(np.float64)))
        peak = np.fft.irfft(spectrum).max() / np.sqrt(
            np.square(mixed).sum() * np.square(voice.astype(np.float64)).sum()
        )
        assert (peak > 0.6) == (name in ("u1", "u3")), name  # of the other session's speaker


def test_the_clean_condition_is_the_store_itself():
    store, waveforms = stored(Condition("clean"))
    assert np.array_equal(store.waveform("u2"), waveforms["u2"])


def test_conditions_have_names_and_keys_of_their_own():
    every = conditions()
    assert [one.name for one in every[:2]] == ["clean", "white 20 dB"]
    assert {"gain +10 dB", "gain -20 dB", "reverb 0.3 s", "codec opus"} < {e.name for e in every}
    assert len({one.key for one in every}) == len({one.name for one in every}) == len(every) == 24
