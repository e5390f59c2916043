"""A recording → the slices that RVC trains on: rumble removed, cut at silences, then into windows, levelled.

The numbers are upstream's (its preprocessing and the slicer under it), so that a data set gives the slices
that its users know. Times are counted in hops of 15 ms until the very end.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

WINDOW, OVERLAP = 3.7, 0.3
"""Seconds of a slice, and what it shares with the next; a rest of up to their sum stays whole."""
RUMBLE = 48.0
"""Hz: corner of the high-pass, a causal Butterworth filter of order 5."""
LOUDEST = 2.5
"""A slice with a higher peak is left out."""
PEAK, SHARE = 0.9, 0.75
"""A slice is this share of itself scaled to the peak, the rest of it as it was."""


@dataclass(frozen=True)
class Silence:
    """What counts as silence: level in dB, and lengths in hops at the rate given."""

    rate: int
    level: float = -42.0

    @property
    def hop(self) -> int:
        return round(self.rate * 0.015)

    @property
    def frame(self) -> int:
        return min(round(self.rate * 0.4), 4 * self.hop)

    @property
    def shortest_clip(self) -> int:
        return round(self.rate * 1.5 / self.hop)

    @property
    def shortest(self) -> int:
        return round(self.rate * 0.4 / self.hop)

    @property
    def kept(self) -> int:
        return round(self.rate * 0.5 / self.hop)


def highpass(samples: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """Samples [T] without what lies below 48 Hz; causal, so that nothing rings before a sound."""
    from scipy import signal

    sections = signal.butter(5, RUMBLE, "high", fs=rate, output="sos")
    return np.asarray(signal.sosfilt(sections, samples.astype(np.float64)))


def levels(samples: NDArray[np.floating], silence: Silence) -> NDArray[np.float64]:
    """Root mean square of frames centred on every hop, zeros beyond the ends: [1 + T // hop]."""
    half = silence.frame // 2
    padded = np.pad(np.asarray(samples, np.float64), half)
    frames = np.lib.stride_tricks.sliding_window_view(padded, silence.frame)[:: silence.hop]
    return np.sqrt(np.mean(np.square(frames), axis=1))


def _cut(level: NDArray[np.float64], start: int, stop: int, kept: int) -> tuple[int, int]:
    """Which hops of a silence [start, stop) go: at most `kept` stay on each side, ends at the quietest."""

    def quietest(first: int, last: int) -> int:
        return first + int(level[first : last + 1].argmin())

    if stop - start <= kept:
        at = quietest(start, stop)
        return (0 if start == 0 else at), at
    left, right = quietest(start, start + kept), quietest(stop - kept, stop)
    if start == 0:
        return 0, right
    if stop - start <= 2 * kept:
        middle = quietest(stop - kept, start + kept)
        return min(left, middle), max(right, middle)
    return left, right


def sounding(samples: NDArray[np.floating], rate: int) -> list[tuple[int, int]]:
    """Stretches [start, stop) of samples [T] between long silences."""
    silence = Silence(rate)
    level = levels(samples, silence)
    total = len(level)
    quiet = level < 10 ** (silence.level / 20)
    cuts: list[tuple[int, int]] = []
    begun = clip = 0
    inside = False
    for i in range(total):
        if quiet[i]:
            begun, inside = (begun if inside else i), True
            continue
        if not inside:
            continue
        inside = False
        leading = begun == 0 and i > silence.kept
        middle = i - begun >= silence.shortest and i - clip >= silence.shortest_clip
        if leading or middle:
            cuts.append(_cut(level, begun, i, silence.kept))
            clip = cuts[-1][1]
    if inside and total - begun >= silence.shortest:
        last = min(total, begun + silence.kept)
        cuts.append((begun + int(level[begun : last + 1].argmin()), total + 1))
    if not cuts:
        return [(0, len(samples))]
    kept = [(0, cuts[0][0]), *((a[1], b[0]) for a, b in pairwise(cuts)), (cuts[-1][1], total)]
    if cuts[0][0] <= 0:
        del kept[0]
    if cuts[-1][1] >= total:
        del kept[-1]
    return [(a * silence.hop, min(len(samples), b * silence.hop)) for a, b in kept]


def windows(start: int, stop: int, rate: int) -> list[tuple[int, int]]:
    """A stretch in windows of 3.7 s, each 3.4 s after the one before; the rest, up to 4 s, stays whole."""
    found: list[tuple[int, int]] = []
    step = rate * (WINDOW - OVERLAP)
    while True:
        at = start + int(step * len(found))
        if stop - at <= (WINDOW + OVERLAP) * rate:
            return [*found, (at, stop)]
        found.append((at, at + int(WINDOW * rate)))


def level_out(samples: NDArray[np.floating]) -> Samples | None:
    """The slice brought most of the way to a peak of 0.9; None when it is silent or far too loud."""
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    if not 0 < peak <= LOUDEST:
        return None
    return (samples / peak * (PEAK * SHARE) + (1 - SHARE) * samples).astype(np.float32)


def slices(samples: NDArray[np.floating], rate: int) -> list[Samples]:
    """All slices of a recording of samples [T] in -1..1, at its rate."""
    clean = highpass(samples, rate)
    spans = [w for start, stop in sounding(clean, rate) for w in windows(start, stop, rate)]
    found = [level_out(clean[start:stop]) for start, stop in spans]
    return [x for x in found if x is not None]
