"""Which channels of a recording are heard, and at what scale: looked up once, before it is read.

Channels are averaged, unless that spoils the speech: they cancel, or one is dead, or is but noise beside
another. Floating-point samples may have any scale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

_FRAME = 0.050
_MOST_FRAMES = 1 << 21
"""Frames kept, all channels together: 29 hours of one channel, or as much as 16 MB."""
_CANCELLED = 0.3
"""The mix has less than this share of the power that unrelated channels would leave in it."""
_QUIET_DB = 20.0
"""A channel so far below another adds nothing to the mix but halves it."""
_CLEARER_DB = 12.0
"""A channel whose speech stands out by so much more is better heard alone."""
_SOUNDING = 1e-12
_OVERSHOOT = 1.5
"""Decoders of lossy formats go so far above full scale; more was there before."""
_FAINT = 0.002
_SPEAKS_DB = 20.0
_HALF = 0.5


@dataclass(frozen=True)
class Mix:
    """How channels become one. `channel`: the only one that is heard, None: the mean of all."""

    channel: int | None = None
    scale: float = 1.0
    note: str = ""

    def mono(self, block: Values) -> Values:
        """[n, channels] → [n]."""
        if self.channel is not None:
            heard = block[:, self.channel]
        else:
            heard = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        return heard if self.scale == 1.0 else heard * np.float32(self.scale)


class _Frames:
    """Power of frames, of every channel and of the mean of all: [frames, channels + 1]."""

    def __init__(self, rate: int, channels: int) -> None:
        self._length = max(1, round(_FRAME * rate))
        self._most = _MOST_FRAMES // (channels + 1)
        self._rest = np.zeros((0, channels), np.float32)
        self._powers: list[Values] = []
        self._count = 0

    def feed(self, block: Values) -> None:
        if self._count >= self._most:
            return
        joined = np.concatenate([self._rest, block]) if len(self._rest) else block
        count = len(joined) // self._length
        whole, self._rest = joined[: count * self._length], joined[count * self._length :].copy()
        if count:
            self._keep(whole.reshape(count, self._length, -1))

    def _keep(self, frames: Values) -> None:
        with_mix = np.concatenate([frames, frames.mean(axis=2, keepdims=True)], axis=2).astype(np.float64)
        self._powers.append(with_mix.var(axis=1).astype(np.float32))
        self._count += len(frames)

    def powers(self) -> NDArray[np.float64]:
        """Variance within frames: an offset, or one that wanders, has none."""
        if not self._powers and len(self._rest):
            self._keep(self._rest[None])
        return np.concatenate(self._powers).astype(np.float64) if self._powers else np.zeros((0, 2))


def examine(blocks: Iterable[Values], rate: int, channels: int, floats: bool, whole: bool) -> Mix:
    """Look through a recording: blocks [n, channels] at `rate`; `floats`, `whole`: see AudioInfo.

    Memory is bounded whatever the length. Values that are not numbers are left for the reader to find.
    """
    if channels == 1 and whole:
        return Mix()
    frames = _Frames(rate, channels)
    peaks = np.zeros(channels)
    mixed = 0.0
    for block in blocks:
        if not np.isfinite(block).all():
            break
        frames.feed(block)
        if len(block):
            peaks = np.maximum(peaks, np.abs(block).max(axis=0))
            mixed = max(mixed, float(np.abs(block.mean(axis=1)).max()))
    powers = frames.powers()
    channel, note = _choose(powers, channels)
    peak = float(peaks[channel]) if channel is not None else mixed
    levels = _levels(powers[:, channels if channel is None else channel]) if len(powers) else np.zeros(1)
    scale = 1.0
    if peak > (1.0 if floats else _OVERSHOOT):
        scale = 1.0 / peak
    elif floats and 0.0 < peak < _FAINT and _span(levels) > _SPEAKS_DB:
        scale = _HALF / peak
    if scale != 1.0 and not note and (peak > 100.0 or peak < _FAINT):
        note = f"its samples go up to {peak:.3g}: they were scaled"
    return Mix(channel, scale, note)


def _levels(powers: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(powers, 1e-20))


def _span(levels: NDArray[np.float64]) -> float:
    """How far what is loud stands above what is soft, in dB."""
    low, high = np.percentile(levels, [10, 95])
    return float(high - low)


def _choose(powers: NDArray[np.float64], channels: int) -> tuple[int | None, str]:
    """The channel to be heard alone, and why; None: all of them."""
    if channels == 1 or not len(powers):
        return None, ""
    total = powers[:, :channels].mean(axis=0)
    if total.max() < _SOUNDING:
        return None, ""
    levels = _levels(powers[:, :channels])
    # What speaks is what comes and goes. A dead channel, hum and noise do not.
    spans = np.minimum([_span(levels[:, at]) for at in range(channels)], 60.0)
    spans[total < _SOUNDING] = -1.0
    loudness = 10 * np.log10(np.maximum(total, 1e-20))
    best = max(
        range(channels), key=lambda at: (round(float(spans[at]) / 3.0), round(float(loudness[at]), 1), -at)
    )
    mix = powers[:, channels].mean()
    if mix < _CANCELLED * total.sum() / channels**2:
        return best, f"its channels cancel each other: channel {best + 1} of {channels} was taken"
    others = [at for at in range(channels) if at != best]
    useful = [
        at
        for at in others
        if loudness[at] > loudness[best] - _QUIET_DB and spans[at] > spans[best] - _CLEARER_DB
    ]
    if useful or (loudness[best] < loudness[others].max() - 40.0):
        return None, ""
    return best, f"only channel {best + 1} of {channels} has clear speech: it was taken alone"
