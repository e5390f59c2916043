"""F0 on the 12.5 ms grid."""

from __future__ import annotations

import numpy as np
import pytest

from voicewright.audio.pitch import f0
from voicewright.errors import VoicewrightError


def _buzz(pitch: np.ndarray, rate: int = 24_000) -> np.ndarray:
    """A pulse-like voice whose pitch [T] varies."""
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 15))).astype(np.float32)


def test_a_glide_is_followed_frame_by_frame() -> None:
    """Frame k is the pitch at sample 300 k: with this glide a shift of one frame would be 1.25 Hz."""
    count = 24_000
    pitch = 150 + 100 * np.arange(count) / count
    found = f0(_buzz(pitch))
    assert found.dtype == np.float32 and len(found) == 81
    inner = slice(8, 72)
    assert (found[inner] > 0).all()
    np.testing.assert_allclose(found[inner], pitch[::300][inner], atol=0.6)


def test_silence_and_noise_have_no_pitch() -> None:
    rng = np.random.default_rng(0)
    assert not f0(np.zeros(7200, np.float32)).any()
    assert (f0(0.1 * rng.standard_normal(24_000)) > 0).mean() < 0.2
    wave = np.concatenate([np.zeros(7200), _buzz(np.full(12_000, 200.0)), np.zeros(7200)])
    found = f0(wave)
    assert not found[:22].any() and not found[68:].any()
    assert np.median(found[28:60]) == pytest.approx(200, abs=1)


@pytest.mark.parametrize("count", [0, 1, 299, 300, 600 * 7, 600 * 7 + 1, 24_000 - 1])
def test_frame_count_is_that_of_the_mel(count: int) -> None:
    assert len(f0(np.full(count, 0.01, np.float32))) == 1 + count // 300


def test_other_rates_keep_the_grid() -> None:
    found = f0(_buzz(np.full(16_000, 180.0), 16_000), rate=16_000)
    assert len(found) == 81
    assert np.median(found[10:70]) == pytest.approx(180, abs=1)


def test_two_channels_are_refused() -> None:
    with pytest.raises(VoicewrightError, match="one channel"):
        f0(np.zeros((2, 2400), np.float32))
