"""Measures of the judge on signals whose answers are known."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from voicewright.audio.files import read
from voicewright.audio.pitch import f0 as track_f0
from voicewright.judging import metrics, spectrum
from voicewright.judging.measures import ERRORS, Judged, periodicity_measure
from voicewright.judging.statistics import Bootstrap, estimate, ratio_of
from voicewright.listen.words import Errors, comparable, count_errors

RATE = 24_000
Samples = np.ndarray


def pulses(hertz: float = 200.0, seconds: float = 1.0) -> Samples:
    """All harmonics up to 11 kHz, in phase."""
    time = np.arange(int(seconds * RATE)) / RATE
    wave = sum(np.cos(2 * np.pi * hertz * k * time) for k in range(1, int(11_000 / hertz)))
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def noise(seconds: float = 1.0, seed: int = 0, level: float = 0.05) -> Samples:
    samples = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return (level * samples).astype(np.float32)


def flat_f0(samples: Samples, hertz: float = 200.0) -> Samples:
    return np.full(1 + len(samples) // 300, hertz, np.float32)


@pytest.mark.parametrize("hertz", [83.0, 200.0, 317.0])
def test_pulse_train_is_periodic_in_every_band(hertz: float) -> None:
    clip = pulses(hertz)
    found = metrics.periodicity(clip, flat_f0(clip, hertz), (metrics.BAND, *metrics.profile_bands()))
    assert found[0].value > 0.98
    assert all(one.value > 0.9 for one in found)


def test_noise_reads_what_is_taken_off() -> None:
    clip = noise(3.0, seed=5)
    track = flat_f0(clip)
    value = metrics.periodicity(clip, track)[0].value
    zero = metrics.noise_periodicity(track, seed=1)[0]
    assert 0.05 < zero < 0.3
    assert abs(metrics.above_noise(value, zero)) < 0.05
    assert metrics.above_noise(1.0, zero) == pytest.approx(1.0)


def test_harmonics_drowned_above_a_frequency_are_seen_up_to_there() -> None:
    """A pulse train below 3 kHz with noise above: the weakness of a small vocoder."""
    clip = pulses(180.0, 2.0).astype(np.float64)
    low = metrics._band_pass(clip, 0.0, 3000.0, RATE)
    high = metrics._band_pass(noise(2.0).astype(np.float64), 3000.0, 11_500.0, RATE)
    mixed = (low + high).astype(np.float32)
    track = flat_f0(mixed, 180.0)
    bands = metrics.profile_bands()
    zero = metrics.noise_periodicity(track, bands)
    found = metrics.periodicity(mixed, track, bands)
    profile = [metrics.above_noise(one.value, z) for one, z in zip(found, zero, strict=True)]
    assert metrics.visible_to(profile) in (3000.0, 4000.0)
    assert min(profile[:3]) > 0.8 and max(profile[4:]) < 0.1


def test_periodicity_of_nothing() -> None:
    silent = np.zeros(RATE, np.float32)
    assert metrics.periodicity(silent, np.zeros(81, np.float32))[0].value == 0.0
    assert metrics.periodicity(np.zeros(50, np.float32), np.full(1, 200.0))[0].value == 0.0


def test_planted_tone_is_found_and_named() -> None:
    plain = [noise(1.0, seed) for seed in range(8)]
    time = np.arange(RATE) / RATE
    tone = (10 ** (-50 / 20) * np.sin(2 * np.pi * 3500 * time)).astype(np.float32)
    recordings = spectrum.long_term([noise(1.0, seed) for seed in range(20, 28)])
    assert spectrum.constant_tones(spectrum.long_term(plain), recordings) == []
    found = spectrum.constant_tones(spectrum.long_term([clip + tone for clip in plain]), recordings)
    assert len(found) == 1
    assert found[0].hertz == pytest.approx(3500, abs=6)
    assert found[0].prominence > spectrum.TONE_DB


def test_tone_of_the_recordings_and_pitch_are_no_tones() -> None:
    time = np.arange(RATE) / RATE
    tone = (0.01 * np.sin(2 * np.pi * 3500 * time)).astype(np.float32)
    ours = spectrum.long_term([noise(1.0, seed) + tone for seed in range(6)])
    theirs = spectrum.long_term([noise(1.0, seed) + tone for seed in range(9, 15)])
    assert spectrum.constant_tones(ours, theirs) == []
    clean = spectrum.long_term([noise(1.0, seed) for seed in range(6)])
    assert spectrum.constant_tones(ours, clean)
    assert spectrum.constant_tones(ours, clean, (3400.0, 3600.0)) == []


def test_clipping_is_counted() -> None:
    wave = 0.5 * np.sin(2 * np.pi * 100 * np.arange(RATE) / RATE).astype(np.float32)
    assert metrics.clipped_samples(wave) == 0
    full = np.clip(wave * 3, -1, 1)
    assert metrics.clipped_samples(full) == int((np.abs(full) >= 0.999).sum()) > 100
    scaled = full * np.float32(0.4)  # clipped first, made quieter after
    assert metrics.clipped_samples(scaled) == int((np.abs(full) == 1).sum())
    assert metrics.clipped_samples(np.zeros(0, np.float32)) == 0


def test_direct_current_is_measured_against_the_sound() -> None:
    clip = pulses()
    rms = float(np.sqrt(np.mean((clip + 0.1) ** 2)))
    assert metrics.measure(clip + np.float32(0.1), "a").dc_offset == pytest.approx(0.1 / rms, rel=1e-2)
    assert metrics.measure(clip - clip.mean(), "a").dc_offset < 1e-4


def test_timing_of_planted_silences() -> None:
    def gap(seconds: float) -> Samples:
        return np.zeros(int(seconds * RATE), np.float32)

    clip = np.concatenate([gap(0.5), pulses(seconds=0.8), gap(0.3), pulses(seconds=0.6), gap(0.25)])
    found = metrics.timing(clip)
    assert found.seconds == pytest.approx(2.45)
    assert found.leading == pytest.approx(0.5, abs=0.03)
    assert found.trailing == pytest.approx(0.25, abs=0.03)
    assert found.pauses == pytest.approx(0.3, abs=0.05)
    assert found.speaking == pytest.approx(1.7, abs=0.05)
    silent = metrics.timing(gap(1.0))
    assert (silent.speaking, silent.silence_share, silent.pause_share) == (0.0, 1.0, 0.0)


def test_pitch_statistics() -> None:
    track = np.array([0, 100, 200, 0, 100, 200], np.float32)
    found = metrics.f0_statistics(track)
    assert (found.frames, found.voiced, found.mean_hz, found.sd_hz) == (6, 4, 150.0, 50.0)
    assert found.sd_semitones == pytest.approx(6.0)
    assert found.voiced_share == pytest.approx(4 / 6)
    assert metrics.f0_statistics(np.zeros(5)).voiced == 0


def test_measuring_a_tracked_clip() -> None:
    clip = np.concatenate([np.zeros(6000, np.float32), pulses(200.0, 1.0), np.zeros(6000, np.float32)])
    found = metrics.measure(clip, "Ten letters.")
    assert found.f0.mean_hz == pytest.approx(200.0, rel=0.01)
    assert found.letters == 10 and found.rate == pytest.approx(10.0, rel=0.06)
    assert found.band.value > 0.9
    empty = metrics.measure(np.zeros(0, np.float32), "a")
    assert empty.peak == 0.0 and empty.as_dict()["lufs"] == -99.0


def test_spectral_distance() -> None:
    rising = np.sin(np.cumsum(np.linspace(200, 2000, RATE)) * 2 * np.pi / RATE).astype(np.float32)
    slow = np.sin(np.cumsum(np.linspace(200, 2000, 2 * RATE)) * 2 * np.pi / RATE).astype(np.float32)
    assert spectrum.spectral_distance(rising, rising) < 1e-3
    assert spectrum.spectral_distance(rising, 0.3 * rising, warp=False) < 0.1
    warped = spectrum.spectral_distance(rising, slow)
    assert warped < 0.35 * spectrum.spectral_distance(rising, slow, warp=False)
    assert spectrum.ltas_distance(spectrum.long_term([rising]), spectrum.long_term([rising])) == 0.0


def test_text_for_comparing() -> None:
    assert comparable("Mr. O’Brien paid 3 dollars, etc.") == comparable(
        "mr o'brien paid three dollars et cetera"
    )
    assert comparable("“Wolf-dog!” – Straße 2", "de") == "wolf dog straße zwei"
    assert comparable("?!") == ""


def test_error_counts() -> None:
    found = count_errors("The cat sat.", "the hat sat down")
    assert (found.word_errors, found.words) == (2, 3)
    assert (found.character_errors, found.characters) == (6, 11)
    assert count_errors("One", "one two three four").wer == 1.0  # capped
    nothing = count_errors("The cat sat.", "")
    assert (nothing.word_errors, nothing.character_errors) == (3, 11)


def judged(wrong: int, words: int) -> Judged:
    clip = metrics.measure(np.zeros(600, np.float32), "a")
    return Judged("", Errors(wrong, words, wrong, words), 0.5, clip)


def test_bootstrap_is_corpus_level_seeded_and_paired() -> None:
    rng = np.random.default_rng(3)
    clips = [judged(int(rng.integers(0, 4)), int(rng.integers(4, 12))) for _ in range(60)]
    worse = [judged(2 * one.errors.word_errors, one.errors.words) for one in clips]
    wer = ERRORS[0]
    value, resampled = Bootstrap(60, seed=7).figures(wer, clips)
    errors, words = sum(c.errors.word_errors for c in clips), sum(c.errors.words for c in clips)
    assert value == pytest.approx(errors / words)
    again = Bootstrap(60, seed=7).figures(wer, clips)[1]
    other = Bootstrap(60, seed=8).figures(wer, clips)[1]
    assert np.array_equal(resampled, again) and not np.array_equal(resampled, other)
    interval = estimate(value, resampled)
    assert interval.low is not None and interval.high is not None
    assert interval.low < value < interval.high
    # Twice the errors on every clip: a paired ratio knows that it is 2 and nothing else.
    ratio = ratio_of(Bootstrap(60, seed=7).figures(wer, worse), (value, resampled))
    assert ratio is not None
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2.0, 2.0, 2.0))
    assert ratio_of((1.0, resampled), (0.0, resampled)) is None


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(100):
        clips = [judged(int(rng.binomial(10, 0.25)), 10) for _ in range(40)]
        interval = estimate(*Bootstrap(40, trial, 300).figures(ERRORS[0], clips))
        assert interval.low is not None and interval.high is not None
        hits += interval.low <= 0.25 <= interval.high
    assert 85 <= hits <= 100


def test_periodicity_line_pools_by_weight() -> None:
    clip = pulses()
    one = Judged("", Errors(0, 1, 0, 1), 1.0, metrics.measure(clip, "a"))
    value, _ = Bootstrap(2, 0, 10).figures(periodicity_measure(0.15), [one, one])
    assert value == pytest.approx((one.measures.band.value - 0.15) / 0.85)


def test_real_recordings_read_as_they_should() -> None:
    folder = os.environ.get("VOICEWRIGHT_SPEECH")
    if not folder or not (Path(folder) / "kathleen").is_dir():
        pytest.skip("set VOICEWRIGHT_SPEECH to a folder with kathleen/ to measure real recordings")
    lines = (Path(folder) / "kathleen" / "metadata.csv").read_text("utf-8").splitlines()
    texts = dict(line.split("|")[:2] for line in lines)
    paths = sorted((Path(folder) / "kathleen").rglob("a*7.*"))[::8]
    clips = [read(path) for path in paths]
    found = [metrics.measure(clip, texts[path.stem]) for clip, path in zip(clips, paths, strict=True)]
    tracks = np.concatenate([track_f0(clip) for clip in clips])
    raw = sum(one.band.weighted for one in found) / sum(one.band.weight for one in found)
    noise = metrics.noise_periodicity(tracks)[0]
    assert metrics.above_noise(raw, noise) == pytest.approx(0.45, abs=0.08)
    halves = spectrum.long_term(clips[::2]), spectrum.long_term(clips[1::2])
    assert spectrum.ltas_distance(*halves) < 3.0
