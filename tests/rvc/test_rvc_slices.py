"""Recordings are sliced as upstream slices them."""

from __future__ import annotations

import numpy as np
import pytest

from voicewright.rvc.train.slices import highpass, level_out, slices, sounding, windows

# What the slicer of the RVC WebUI keeps of `bursts(seed)` at 32 kHz.
SPANS = {
    0: [(0, 55_680), (105_600, 177_600)],
    1: [(27_840, 84_960), (129_600, 211_200), (248_640, 301_550)],
    2: [(0, 31_680), (70_080, 120_960), (120_960, 156_758)],
}


def bursts(seed: int) -> np.ndarray:
    """Six stretches, noise and near silence in turn."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(6):
        level = 0.1 if number % 2 == seed % 2 else 0.0003
        parts.append(rng.standard_normal(int(rng.uniform(0.1, 2.5) * 32_000)) * level)
    return np.concatenate(parts)


@pytest.mark.parametrize("seed", list(SPANS))
def test_silences_are_cut_where_upstream_cuts_them(seed: int) -> None:
    assert sounding(bursts(seed), 32_000) == SPANS[seed]


def test_sound_without_silence_stays_whole() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(64_000)
    assert sounding(noise, 32_000) == [(0, 64_000)]


def test_windows_overlap_and_the_rest_stays_whole() -> None:
    assert windows(0, 400, 100) == [(0, 400)]
    assert windows(10, 10 + 401, 100) == [(10, 380), (350, 411)]
    assert windows(0, 1000, 100) == [(0, 370), (340, 710), (680, 1000)]


def test_levels_and_refusals() -> None:
    tone = 0.5 * np.sin(np.arange(1000) / 10)
    leveled = level_out(tone)
    assert leveled is not None
    assert np.abs(leveled).max() == pytest.approx(0.9 * 0.75 + 0.25 * np.abs(tone).max(), rel=1e-6)
    assert level_out(np.zeros(100)) is None and level_out(np.zeros(0)) is None
    assert level_out(5.1 * tone) is None


def test_rumble_goes_and_speech_stays() -> None:
    time = np.arange(40_000) / 40_000
    for hertz, low, high in ((15, 0.0, 0.01), (200, 0.98, 1.02)):
        kept = highpass(np.sin(2 * np.pi * hertz * time), 40_000)[20_000:]
        assert low <= np.abs(kept).max() <= high


def test_a_long_recording_gives_slices_of_the_window() -> None:
    rng = np.random.default_rng(1)
    found = slices(0.1 * rng.standard_normal(16_000 * 12), 16_000)
    assert [len(x) / 16_000 for x in found] == pytest.approx([3.7, 3.7, 3.7, 1.8])
    assert all(x.dtype == np.float32 for x in found)
