"""Samples on their way into and out of a conversion: rumble off, places to cut, loudness of the source."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.protocol import CONTENT_RATE, PITCH_HOP, Samples

HIGH_PASS_HZ = 48.0
ORDER = 5
_EDGE = 18
"""Samples mirrored at the ends before filtering: what scipy's filtfilt takes for this filter."""
_DECAY = CONTENT_RATE // 4
"""Samples after which nothing of the filter's response is left (10⁻¹⁰)."""
_QUIETEST = 1e-6


@lru_cache(maxsize=1)
def _sections() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The high-pass as second-order sections, and their state under a constant input of 1."""
    from scipy.signal import butter, sosfilt_zi

    sections = butter(ORDER, HIGH_PASS_HZ, "high", fs=CONTENT_RATE, output="sos")
    return sections, sosfilt_zi(sections)


class HighPass:
    """RVC's high-pass on a stream: what scipy's filtfilt gives for the whole, a quarter of a second late."""

    def __init__(self) -> None:
        self._state: NDArray[np.float64] | None = None
        self._held = np.zeros(0)
        self._first = np.zeros(0)
        """Raw samples of the beginning, until there are enough to mirror."""
        self._raw_tail = np.zeros(0)

    def feed(self, samples: Samples, last: bool = False) -> Samples:
        """The next samples [n] at 16 kHz; filtered ones [m], altogether as many as were fed at the last."""
        from scipy.signal import sosfilt

        sections, rest = _sections()
        raw = samples.astype(np.float64)
        if self._state is None:
            raw = self._first = np.concatenate([self._first, raw])
            if len(raw) <= _EDGE and not last:
                return np.zeros(0, np.float32)
            if not len(raw):
                return np.zeros(0, np.float32)
            head = _mirrored(raw[::-1])[::-1]
            self._state = rest * (head[0] if len(head) else raw[0])
            if len(head):
                _, self._state = sosfilt(sections, head, zi=self._state)
        self._raw_tail = np.concatenate([self._raw_tail, raw])[-(_EDGE + 1) :]
        if last:
            raw = np.concatenate([raw, (tail := _mirrored(self._raw_tail))])
        forward, self._state = sosfilt(sections, raw, zi=self._state)
        self._held = np.concatenate([self._held, forward])
        ready = len(self._held) - (len(tail) if last else _DECAY)
        if ready <= 0:
            return np.zeros(0, np.float32)
        backward, _ = sosfilt(sections, self._held[::-1], zi=rest * self._held[-1])
        out = backward[::-1][:ready].astype(np.float32)
        self._held = self._held[ready:]
        return out


class Unfiltered:
    """In place of a high-pass: what is fed comes out."""

    def feed(self, samples: Samples, last: bool = False) -> Samples:
        return samples


def _mirrored(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """What follows samples when they are turned round their last one: up to _EDGE samples."""
    count = min(_EDGE, len(samples) - 1)
    return 2 * samples[-1] - samples[-2 : -2 - count : -1] if count > 0 else np.zeros(0)


def high_pass(samples: Samples) -> Samples:
    """The whole at once: [n] → [n]."""
    return HighPass().feed(samples, last=True)


def loudness_around(samples: Samples) -> NDArray[np.float64]:
    """Sum of |x| over the 160 samples around each sample [n] (mirrored at the ends): where it is low, cut."""
    half = PITCH_HOP // 2
    padded = np.pad(np.abs(samples.astype(np.float64)), half, "reflect" if len(samples) > 1 else "edge")
    sums = np.cumsum(np.pad(padded, (1, 0)))
    return np.asarray(sums[PITCH_HOP:] - sums[:-PITCH_HOP])[: len(samples)]


def quietest(samples: Samples, low: int, high: int) -> int:
    """Where in [low, high) it is quietest: the first such place."""
    # Only what is asked about and its neighbours: samples may be a whole recording.
    first = max(0, low - PITCH_HOP // 2)
    around = loudness_around(samples[first : high + PITCH_HOP // 2])
    return low + int(np.argmin(around[low - first : high - first]))


@dataclass
class _Track:
    """RMS over a second, every half second, of a signal that comes in pieces; zeros beyond its ends."""

    rate: int

    def __post_init__(self) -> None:
        self.hop = self.rate // 2
        self._held = np.zeros(self.hop)
        """Squares from half a second before the next point on."""
        self.points: list[float] = []

    def feed(self, samples: Samples, last: bool = False) -> None:
        self._held = np.concatenate([self._held, np.square(samples.astype(np.float64))])
        while len(self._held) >= 2 * self.hop or (last and len(self._held) > 0):
            self.points.append(float(np.sqrt(self._held[: 2 * self.hop].sum() / (2 * self.hop))))
            self._held = self._held[self.hop :]


class LoudnessMix:
    """Gives the result some of the source's loudness: y · in^(1 - rate) · out^(rate - 1), both RMS over 1 s.

    `source` at CONTENT_RATE and `result` at its own rate come in pieces, side by side; what `feed` gives is
    up to a second behind. rate 1 changes nothing.
    """

    def __init__(self, result_rate: int, rate: float) -> None:
        self._rate = rate
        self._source, self._result = _Track(CONTENT_RATE), _Track(result_rate)
        self._hop = self._result.hop
        self._waiting = np.zeros(0, np.float32)
        self._at = 0

    def feed(self, source: Samples, result: Samples, last: bool = False) -> Samples:
        if self._rate == 1:
            return result
        self._source.feed(source, last)
        self._result.feed(result, last)
        self._waiting = np.concatenate([self._waiting, result])
        known = min(len(self._source.points), len(self._result.points))
        end = self._at + len(self._waiting)
        ready = end if last else max(self._at, min(end, (known - 1) * self._hop))
        taken, self._waiting = self._waiting[: ready - self._at], self._waiting[ready - self._at :]
        places = np.arange(self._at, ready) / self._hop
        self._at = ready
        if not len(taken):
            return taken
        wanted = _between(self._source.points, places) ** (1 - self._rate)
        own = np.maximum(_between(self._result.points, places), _QUIETEST) ** (self._rate - 1)
        return (taken * wanted * own).astype(np.float32)


def _between(points: list[float], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points read at fractional places, the last one held."""
    first = min(int(places[0]), len(points) - 1)
    near = np.asarray(points[first : int(places[-1]) + 2])
    return np.interp(places - first, np.arange(len(near)), near)
