"""Voices for live tests that need no network of millions: what they say depends on what they heard alone."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from voicewright.conversion.block import FRAME, LiveOptions, Samples


class Echo:
    """Says what it heard through a filter that reaches 0.1 s back: live and whole are the same, to the
    sample."""

    def __init__(self, sample_rate: int = 32_000, gain: float = 1.0, slow: float = 0.0) -> None:
        assert sample_rate % 16_000 == 0
        self.sample_rate = sample_rate
        self.grid = 2
        self.calls: list[tuple[int, int, int, int]] = []
        self.skipped = 0
        self.resets = 0
        self.slow = slow
        self.options = plain_options()
        taps = np.random.default_rng(1).standard_normal(1600) * np.exp(-np.arange(1600) / 300)
        self._taps = gain * taps / np.abs(taps).sum()

    def convert(self, window: Samples, fresh: int, head: int, frames: int, options: LiveOptions) -> Samples:
        self.calls.append((len(window) // FRAME, fresh, head, frames))
        self.options = options
        time.sleep(self.slow)
        filtered = np.convolve(window, self._taps)[: len(window)][head * FRAME : (head + frames) * FRAME]
        pitch = np.float32(2 ** ((0.0 if options.pitch == "auto" else options.pitch) / 12))
        return (pitch * np.repeat(filtered, self.sample_rate // 16_000)).astype(np.float32)

    def skip(self, fresh: int) -> None:
        self.skipped += fresh

    def reset(self) -> None:
        self.resets += 1


def voice_like(seconds: float, rate: int, seed: int = 0) -> Samples:
    """A gliding tone with harmonics and a pause in the middle."""
    time_ = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(150 * 2 ** (0.3 * np.sin(2 * np.pi * 0.7 * time_ + seed))) / rate
    sound = sum(np.sin(k * phase + k) / k for k in range(1, 8)) * 0.1
    sound = sound * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time_))
    middle = (time_ > 0.45 * seconds) & (time_ < 0.6 * seconds)
    return np.where(middle, 0.0, sound).astype(np.float32)


def plain_options(**changes: Any) -> LiveOptions:
    """Nothing transposed, looked up or mixed: what goes in is what comes out, but for the voice."""
    plain = {"pitch": 0.0, "index_rate": 0.0, "protect": 0.5, "rms_mix": 1.0}
    return LiveOptions(**{**plain, **changes})
