"""The generator in windows, as `fast/windows.py`, which says why; cuts and probes are its own records.

A window that begins within an utterance's silent head leaves that out: `silent` rows are not made, but zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voicewright.config import HOP, SAMPLE_RATE
from voicewright.model.light.generator import Generator, Segment
from voicewright.model.light.statistics import Array, Carried, Frozen, Kept, Pooled, Statistics

RATE = SAMPLE_RATE // HOP
"""Feature rows a second."""
_HOLD = 0.01
_SUM = 1000.0
_EDGE = 2
FADE = 1
"""As in `fast/windows.py`: how weights are held to shares and to a sum of 1, rows at a probe's cut edges, and
rows over which windows of other statistics are cross-faded."""


@dataclass(frozen=True)
class Windows:
    """How an utterance is cut: as `fast.windows.Windows`. silent: rows at the head that nobody hears."""

    first: float = 0.5
    growth: float = 2.0
    largest: float = 2.0
    every: float = 0.3
    probe: float = 0.15
    most: int = 32
    early: int = 0
    trust: float = 0.0
    silent: int = 0

    def cuts(self, rows: int) -> list[int]:
        """Ends of the windows in rows; none but a lone one is shorter than half of the first."""
        ends, size, least = [0], self.first, round(self.first * RATE / 2)
        while ends[-1] < rows:
            end = ends[-1] + max(1, round(size * RATE)) + (self.silent if len(ends) == 1 else 0)
            ends.append(rows if rows - end < least else end)
            size = min(size * self.growth, self.largest)
        return ends[1:]

    def probed(self, start: int, rows: int) -> list[tuple[int, int]]:
        """First row and end of each probe in rows start..rows, evenly spread."""
        left, size = rows - start, max(1, round(self.probe * RATE))
        if left <= 0 or self.every <= 0:
            return []
        count = min(self.most, max(1, round(left / (self.every * RATE))))
        if count * size >= left:
            return [(start, rows)]
        stride = left / count
        starts = [start + int(i * stride + (stride - size) / 2) for i in range(count)]
        return [(at, at + size) for at in starts]


WARM = Windows(first=0.15, early=2, trust=0.4)
"""For a voice whose statistics are carried."""


def weigh(features: Array, parts: list[tuple[int, int]], prior: list[float]) -> list[float]:
    """Weights of the parts of an utterance (rows from..to of features [L, C]) by which their mean and power
    come nearest to the whole's, held near their prior shares; not negative, their sum is 1."""
    mean, spread = features.mean(0), features.std(0, ddof=1) + np.float32(1e-3)

    def moments(x: Array) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        z = ((x - mean) / spread).astype(np.float64)
        return np.concatenate([z.mean(0), np.square(z).mean(0)])

    shares = np.asarray(prior, np.float64)
    shares /= shares.sum()
    wanted = moments(features)
    scale = shares * np.stack([moments(features[first:end]) for first, end in parts], axis=1)
    gram = scale.T @ scale / len(wanted) + (_HOLD / len(parts)) * np.eye(len(parts))
    right = scale.T @ wanted / len(wanted) + _HOLD / len(parts)
    sums = _SUM * shares
    gram, right = gram + np.outer(sums, shares), right + sums
    keep = np.ones(len(parts), bool)
    factors = np.zeros(len(parts))
    for _ in parts:
        factors[:] = 0
        factors[keep] = np.linalg.solve(gram[np.ix_(keep, keep)], right[keep])
        if not (factors < 0).any():
            break
        keep &= factors >= 0
    weights = np.maximum(factors * shares, 0)
    return [float(weight) for weight in weights / weights.sum()]


@dataclass(frozen=True)
class Sketch:
    """Features of an utterance's first rows, [L, C], by carried statistics; the last `loose` of them count
    for nothing."""

    features: Array
    loose: int


def pieces(
    generator: Generator,
    features: Callable[[], Array],
    style: Array,
    harmonics: Array,
    windows: Windows,
    carried: Carried,
    sketch: Sketch | None,
    front: dict[int, Array],
) -> Iterator[Array]:
    """As `fast.windows.pieces`: pieces of the audio [600F], in order."""
    known = carried.rows > 0
    cutter = _Cutter(generator, features, style, harmonics)
    ends = windows.cuts(cutter.rows)
    if len(ends) == 1:
        own = Kept()
        yield generator(cutter.features, style, harmonics, own)
        carried.learn(own.kept | front, cutter.rows)
        return
    done = 0
    if known and windows.early:
        frozen, count = Frozen(carried.stats), min(windows.early, len(ends) - 1)
        if windows.silent:
            yield np.zeros(windows.silent * HOP, np.float32)
            done = windows.silent
        for number, (start, end) in enumerate(pairwise([done, *ends[:count]])):
            serves = number == 0 and sketch is not None and cutter.reaches(sketch, end)
            if serves and sketch is not None:
                cutter.sketched = sketch.features
            yield cutter.sound(start, end, frozen, fade=serves or number + 1 == count)
            cutter.sketched, done = None, end
        ends = ends[count:]
    pooled = cutter.pool(windows, done, ends[0], carried if known else None)
    totals = generator.body(cutter.segments, pooled)
    cutter.segments.clear()
    carried.learn(pooled.kept | front, cutter.rows)
    frozen = Frozen(pooled.kept)
    if done == 0:
        yield cutter.audible(totals[0], 0, ends[0])
        done, ends = ends[0], ends[1:]
    del totals
    for start, end in pairwise([done, *ends]):
        yield cutter.sound(start, end, frozen)


class _Cutter:
    """Segments of one utterance, and the samples that come of them."""

    def __init__(
        self, generator: Generator, features: Callable[[], Array], style: Array, harmonics: Array
    ) -> None:
        self._generator, self._make, self._harmonics = generator, features, harmonics
        self._affine = generator.affine(style)
        self._made: Array | None = None
        self._tail: Array | None = None
        self.rows = (len(harmonics) - 1) // generator.scale
        self.sketched: Array | None = None
        self.segments: list[Segment] = []

    @property
    def features(self) -> Array:
        if self._made is None:
            self._made = self._make()
        return self._made

    def reaches(self, sketch: Sketch, end: int) -> bool:
        """Whether a sketch is enough for the rows 0..end."""
        return end + FADE + self._generator.context <= len(sketch.features) - sketch.loose

    def cut(self, start: int, end: int) -> Segment:
        """Rows start..end with their context."""
        context, scale = self._generator.context, self._generator.scale
        low, high = max(0, start - context), min(self.rows, end + context)
        return Segment(
            (self.features if self.sketched is None else self.sketched)[low:high],
            self._harmonics[low * scale : high * scale + 1],
            self._affine,
            (start - low, end - low),
            low == 0,
        )

    def sound(self, start: int, end: int, policy: Statistics, fade: bool = False) -> Array:
        """Samples of rows start..end. fade: what follows will be made otherwise, and is to be faded into."""
        stop = end + FADE * fade
        wave = self.audible(self._generator.body([self.cut(start, stop)], policy)[0], start, stop)
        if self._tail is not None:
            rise = np.linspace(0, 1, len(self._tail), dtype=np.float32)
            wave[: len(self._tail)] = self._tail + rise * (wave[: len(self._tail)] - self._tail)
        wave, tail = wave[: (end - start) * HOP], wave[(end - start) * HOP :]
        self._tail = tail if fade else None
        return wave

    def audible(self, total: Array, start: int, end: int) -> Array:
        """Samples of rows start..end, from what `body` made of their segment."""
        generator, rows = self._generator, self.rows
        low = max(0, start - generator.context)
        scale, reach, overlap = generator.scale, generator.post_reach, generator.overlap
        first, last = max(0, start * scale - overlap), min(rows * scale, end * scale + overlap)
        begin, stop = max(0, first - reach), min(rows * scale, last + reach)
        parts = generator.spectrum(total[begin - low * scale : stop + 1 - low * scale])
        wave = generator.stft.inverse(parts[first - begin : len(parts) - (stop - last)])
        hop = generator.stft.hop
        return wave[(start * scale - first) * hop : (end * scale - first) * hop].copy()

    def pool(self, windows: Windows, done: int, end: int, carried: Carried | None) -> Pooled:
        """How to pool the statistics of `segments`, which are chosen here."""
        head = [] if done else [(0, end)]
        if head:
            self.segments.append(self.cut(0, end))
        parts, begin = list(head), 0 if done else end
        probed = windows.probed(begin, self.rows)
        scale = self._generator.scale
        for start, stop in probed:
            edge = min(_EDGE, (stop - start) // 4)
            harmonics = self._harmonics[start * scale : stop * scale + 1]
            counted = edge, stop - start - edge
            own = self.features[start:stop]
            self.segments.append(Segment(own, harmonics, self._affine, counted, head=False, heard=False))
            parts.append((start + edge, stop - edge))
        left = (self.rows - begin) / self.rows / max(1, len(probed))
        shares = [end / self.rows] * len(head) + [left] * len(probed)
        weights = weigh(self.features, parts, shares)
        return Pooled(weights, None if carried is None else carried.stats, windows.trust)
