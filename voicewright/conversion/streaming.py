"""What a live stream needs beside its network: a resampler with little delay, and a queue of fixed size.

libsoxr's stream gives its samples in bursts, 12 ms late on average and up to 40 ms from 48 to 16 kHz, for
it filters in the frequency domain. This one is the plain sum, `_ZEROS` zero crossings (2 ms at 16 kHz) late
and never more.
"""

from __future__ import annotations

from math import gcd

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from voicewright.errors import UsageError

Samples = NDArray[np.float32]

_ZEROS = 32
"""Zero crossings of the sinc on each side, of the lower rate."""
_BETA = 8.6
"""Kaiser's: 80 dB."""
_ROLLOFF = 0.94
_MOST = 1 << 21
"""Values of a filter bank; 44 100 to 48 000 Hz needs 12 thousand."""


class StreamResampler:
    """Mono samples from one rate to another, piece by piece; the pieces' lengths do not matter.

    After `n` samples in, exactly those samples have come out that need no later input."""

    def __init__(self, rate: int, to: int) -> None:
        if not (1_000 <= rate <= 768_000 and 1_000 <= to <= 768_000):
            raise UsageError(
                f"cannot resample from {rate} to {to} Hz; rates of 1000 to 768000 Hz are possible."
            )
        common = gcd(rate, to)
        self.rate, self.to = rate, to
        self._up, self._down = to // common, rate // common
        self._bank = _bank(self._up, self._down)
        """[phases, taps]: what an output sample at each place between two input samples sums."""
        self._taps = self._bank.shape[1] if self._up != self._down else 1
        self.delay = 0.0 if self._up == self._down else (self._taps // 2) / rate
        """Seconds of input that an output sample waits for."""
        self.reset()

    def reset(self) -> None:
        self._held = np.zeros(self._taps // 2 - 1 if self._up != self._down else 0, dtype=np.float32)
        self._first = 0
        """Where the next output sample is, in input samples · up, from the first window's place on."""

    def __call__(self, samples: Samples) -> Samples:
        """`samples` [n] → what is ready [about n · to / rate]."""
        if self._up == self._down:
            return np.asarray(samples, dtype=np.float32)
        held = np.concatenate([self._held, np.asarray(samples, dtype=np.float32)])
        windows = len(held) - self._taps + 1
        if windows <= 0:
            self._held = held
            return np.zeros(0, dtype=np.float32)
        count = max(-(-(windows * self._up - self._first) // self._down), 0)
        places = self._first + self._down * np.arange(count)
        starts, phases = np.divmod(places, self._up)
        view = sliding_window_view(held, self._taps)
        if self._up == 1:
            out = view[starts] @ self._bank[0]
        else:
            out = np.einsum("nt,nt->n", view[starts], self._bank[phases])
        self._first += count * self._down - windows * self._up
        self._held = held[windows:].copy()
        return out.astype(np.float32)


def _bank(up: int, down: int) -> NDArray[np.float32]:
    """float32 [up, taps]: row p filters for a place p/up after the window's middle left sample."""
    wide = max(1.0, down / up)
    half = int(np.ceil(_ZEROS * wide))
    if up * 2 * half > _MOST:
        raise UsageError(
            f"cannot resample by {up}/{down}: too odd a ratio; use a common rate such as 48000 Hz."
        )
    if up == down:
        return np.ones((1, 1), dtype=np.float32)
    cut = _ROLLOFF / wide
    offset = np.arange(2 * half)[None] - (half - 1) - np.arange(up)[:, None] / up
    window = np.i0(_BETA * np.sqrt(np.maximum(1 - (offset / half) ** 2, 0))) / np.i0(_BETA)
    bank = cut * np.sinc(cut * offset) * window
    return (bank / bank.sum(1, keepdims=True)).astype(np.float32)


class Queue:
    """Samples that came and have not gone: a ring of fixed size."""

    def __init__(self, size: int) -> None:
        self._ring = np.zeros(max(size, 1), dtype=np.float32)
        self._start = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def free(self) -> int:
        return len(self._ring) - self._count

    def push(self, samples: Samples) -> None:
        if len(samples) > self.free:
            raise ValueError(f"{len(samples)} samples do not fit into a queue with {self.free} places left")
        place = (self._start + self._count) % len(self._ring)
        first = min(len(samples), len(self._ring) - place)
        self._ring[place : place + first] = samples[:first]
        self._ring[: len(samples) - first] = samples[first:]
        self._count += len(samples)

    def push_silence(self, count: int) -> None:
        self.push(np.zeros(count, dtype=np.float32))

    def pop(self, count: int) -> Samples:
        """The oldest `count` samples; all there are, if fewer."""
        count = min(count, self._count)
        first = min(count, len(self._ring) - self._start)
        out = np.empty(count, dtype=np.float32)
        out[:first] = self._ring[self._start : self._start + first]
        out[first:] = self._ring[: count - first]
        self._start = (self._start + count) % len(self._ring)
        self._count -= count
        return out

    def clear(self) -> None:
        self._start = self._count = 0
