"""Faults put into clean speech are found, and clean speech has none. The speech is made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from voicewright.audio.pitch import f0
from voicewright.judging.measures import Judged, artefact_measures, whistle_threshold
from voicewright.judging.metrics import measure
from voicewright.judging.statistics import Bootstrap
from voicewright.listen.artefacts import end_hums, listen_for_artefacts
from voicewright.listen.words import Errors

RATE = 24_000
Clip = np.ndarray


def resonance(wave: Clip, hertz: float, width: float) -> Clip:
    """One formant: a two-pole resonator, by its impulse response."""
    time = np.arange(1200) / RATE
    response = np.exp(-np.pi * width * time) * np.sin(2 * np.pi * hertz * time)
    return np.convolve(wave, response)[: len(wave)] * (width / 400)


def speech(base: float, seed: int) -> Clip:
    """Two seconds of gliding vowels with breath between, dying away at the end; float32, 24 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(2 * RATE) / RATE
    pitch = base * 2 ** (0.35 * np.sin(2 * np.pi * (0.7 * time + rng.random())) - 0.15 * time)
    phase = np.cumsum(pitch) / RATE
    pulses = np.diff(np.floor(phase), prepend=0.0)
    source = pulses + 0.01 * rng.standard_normal(len(time))
    formants = ((500.0, 1.0), (1500.0, 0.4), (2500.0, 0.08), (3500.0, 0.05))
    spoken = sum(
        weight * resonance(source, hertz * (1 + 0.1 * rng.standard_normal()), 80.0)
        for hertz, weight in formants
    )
    syllables = np.clip(1.3 * np.abs(np.sin(2 * np.pi * 1.7 * time + rng.random())), 0.0, 1.0)
    fricative = 0.02 * rng.standard_normal(len(time)) * (syllables < 0.4)
    end = np.clip((2.0 - time) / 0.35, 0.0, 1.0) ** 2
    wave = (spoken / np.abs(spoken).max() * syllables + fricative) * end
    wave += 1e-4 * rng.standard_normal(len(time))
    return np.concatenate([np.zeros(1200), wave, 1e-4 * rng.standard_normal(4800)]).astype(np.float32) * 0.3


CLEAN = [speech(base, seed) for seed, base in enumerate((95.0, 130.0, 165.0, 210.0, 180.0, 240.0))]


NOTHING = measure(np.zeros(600, np.float32), "a")


def figures(clips: Sequence[Clip], recordings: Sequence[Clip] = CLEAN) -> dict[str, float]:
    """The report's figures of these clips."""

    def judged(clip: Clip) -> Judged:
        track = f0(clip)
        return Judged("", Errors(0, 1, 0, 1), 1.0, NOTHING, artefacts=listen_for_artefacts(clip, track))

    threshold = whistle_threshold([judged(clip) for clip in recordings])
    sides = [judged(clip) for clip in clips]
    bootstrap = Bootstrap(len(sides), resamples=2)
    return {one.key: bootstrap.figures(one, sides)[0] for one in artefact_measures(threshold)}


@pytest.fixture(scope="module")
def clean() -> dict[str, float]:
    return figures(CLEAN)


def echo(milliseconds: float, gain: float) -> Callable[[Clip], Clip]:
    def add(clip: Clip) -> Clip:
        lag = round(milliseconds * 24)
        out = clip.copy()
        out[lag:] += gain * clip[:-lag]
        return out

    return add


def tone(hertz: float, decibels: float) -> Callable[[Clip], Clip]:
    def add(clip: Clip) -> Clip:
        level = np.sqrt(2 * np.mean(clip**2)) * 10 ** (decibels / 20)
        return (clip + level * np.sin(2 * np.pi * hertz * np.arange(len(clip)) / RATE)).astype(np.float32)

    return add


def buzz(decibels: float, seconds: float = 0.4, hertz: float = 150.0) -> Callable[[Clip], Clip]:
    """A held end: harmonics of one pitch, then digital silence."""

    def add(clip: Clip) -> Clip:
        time = np.arange(round(seconds * RATE)) / RATE
        held = sum(np.cos(2 * np.pi * hertz * k * time) / k for k in range(1, 6))
        held *= np.sqrt(np.mean(clip**2) / np.mean(held**2)) * 10 ** (decibels / 20)
        return np.concatenate([clip[:-4000], held, np.zeros(4800)]).astype(np.float32)

    return add


def whistling(clip: Clip) -> Clip:
    """Noise between 2 and 3 kHz, as strong as the speech is."""
    spectrum = np.fft.rfft(np.random.default_rng(5).standard_normal(len(clip)))
    hertz = np.fft.rfftfreq(len(clip), 1 / RATE)
    noise = np.fft.irfft(spectrum * ((hertz > 2000) & (hertz < 3000)), len(clip))
    envelope = np.convolve(np.abs(clip), np.ones(600) / 600, "same")
    return (clip + 2.0 * envelope * noise / np.sqrt(np.mean(noise**2))).astype(np.float32)


FAULTS = {
    "echo_12": [(echo(12.5, 0.3), 0.3), (echo(12.5, -0.3), 0.3), (echo(12.5, 0.15), 0.12)],
    "echo_25": [(echo(25.0, 0.3), 0.3), (echo(25.0, 0.15), 0.12)],
    "lines": [(tone(2400, -40), 3), (tone(4800, -50), 3), (tone(7200, -50), 3), (tone(9600, -50), 3)],
    "level_2_3": [(whistling, 6)],
    "whistle": [(whistling, 0.2)],
    "hums": [(buzz(-10), 1), (buzz(-35), 1), (buzz(-20, hertz=60.0), 1)],
}


@pytest.mark.parametrize("key", FAULTS)
def test_a_fault_raises_its_figure(key: str, clean: dict[str, float]) -> None:
    for number, (spoil, rise) in enumerate(FAULTS[key]):
        found = figures([spoil(clip) for clip in CLEAN])[key]
        assert found - clean[key] >= rise, f"{key} {number}: {clean[key]:.3f} to {found:.3f}"


def test_clean_speech_has_no_fault(clean: dict[str, float]) -> None:
    assert clean["echo_12"] < 0.15 and clean["echo_25"] < 0.15
    assert abs(clean["lines"]) < 2.0
    assert clean["whistle"] < 0.05 and clean["hums"] == 0.0


def test_one_fault_is_not_another(clean: dict[str, float]) -> None:
    elsewhere = figures([echo(18.0, 0.4)(clip) for clip in CLEAN])
    assert elsewhere["echo_12"] - clean["echo_12"] < 0.15 and elsewhere["echo_25"] - clean["echo_25"] < 0.15
    lined = figures([tone(4800, -50)(clip) for clip in CLEAN])
    assert lined["echo_12"] - clean["echo_12"] < 0.15 and lined["hums"] == 0.0
    between = figures([tone(3000, -50)(clip) for clip in CLEAN])
    assert between["lines"] - clean["lines"] < 1.0
    hummed = figures([buzz(-30)(clip) for clip in CLEAN])
    assert hummed["lines"] - clean["lines"] < 2.0 and hummed["echo_12"] - clean["echo_12"] < 0.15


def test_a_louder_clip_has_the_same_figures(clean: dict[str, float]) -> None:
    louder = figures([clip * 3 for clip in CLEAN], [clip * 3 for clip in CLEAN])
    for key, value in clean.items():
        assert louder[key] == pytest.approx(value, abs=1e-3), key


def test_ends_that_do_not_hum() -> None:
    rng = np.random.default_rng(1)
    clip = CLEAN[2].astype(np.float64)
    level = float(np.sqrt(np.mean(clip**2)))
    noisy = np.concatenate([clip, 0.05 * level * rng.standard_normal(12_000)])
    time = np.arange(9600) / RATE
    dying = 0.3 * np.sin(2 * np.pi * 150 * time) * 10 ** (-60 * time / 0.4 / 20)
    for end in (clip, noisy, np.concatenate([clip, dying]), np.concatenate([clip, np.zeros(9600)])):
        assert not end_hums(end / np.abs(end).max())


@pytest.mark.parametrize("length", [0, 10, 3999, 24_000])
def test_nothing_to_hear(length: int) -> None:
    for clip in (np.zeros(length, np.float32), np.full(length, np.nan, np.float32)):
        found = listen_for_artefacts(clip, np.zeros(0))
        assert set(found.figures.values()) == {0.0}
    noise = np.random.default_rng(0).standard_normal(length).astype(np.float32)
    assert all(np.isfinite(list(listen_for_artefacts(noise, np.zeros(length // 300)).figures.values())))
