"""The first part of a stream: two windows by the statistics that its voice had elsewhere, then all of the
rest by its own, cross-faded where they meet.

Windows are as in `fast/windows.py`, which says why they join. There, windows to the end bound the memory, and
probes estimate their statistics; with Kokoro's weights that estimate is 3 dB off, and it costs more than the
whole utterance. Here the rest is the whole's own samples, made while the first windows are heard. Rows of the
silent head that nobody hears are not made, but zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voicewright.model.light.generator import Generator, Segment
from voicewright.model.light.statistics import Array, Carried, Frozen, Statistics
from voicewright.units import HOP, SAMPLE_RATE

RATE = SAMPLE_RATE // HOP
"""Feature rows a second."""
_MOST = 0.7
"""Share of an utterance that early windows may make."""
FADE = 1
"""Rows over which windows of other statistics are cross-faded."""


@dataclass(frozen=True)
class Windows:
    """Seconds of the windows that come early; rows of silence before the first of them that nobody hears."""

    early: tuple[float, ...] = (0.2, 0.5)
    silent: int = 0

    def cuts(self, rows: int) -> list[int]:
        """Ends of the early windows in rows; none where little would be left to come after them."""
        ends, end = [], self.silent
        for seconds in self.early:
            end += max(1, round(seconds * RATE))
            if end > _MOST * rows:
                break
            ends.append(end)
        return ends


@dataclass(frozen=True)
class Sketch:
    """Features of an utterance's first rows, [L, C], by carried statistics; the last `loose` of them
    count for nothing."""

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
) -> Iterator[Array]:
    """features: makes the generator's features [2F, C]; acoustic style [128], harmonics [M, n_fft + 2] →
    pieces of the audio [600F], in order. carried: what is known of the voice. sketch: serves the first window
    in place of the features, where it reaches."""
    cutter = _Cutter(generator, features, style, harmonics)
    done, frozen = 0, Frozen(carried.stats)
    ends = windows.cuts(cutter.rows)
    if ends and windows.silent:
        done = windows.silent
        yield np.zeros(done * HOP, np.float32)
    for number, (start, end) in enumerate(pairwise([done, *ends])):
        serves = number == 0 and sketch is not None and cutter.reaches(sketch, end)
        if serves and sketch is not None:
            cutter.sketched = sketch.features
        yield cutter.sound(start, end, frozen, fade=serves or number + 1 == len(ends))
        cutter.sketched, done = None, end
    yield cutter.faded(generator(cutter.features, style, harmonics, Statistics())[done * HOP :])


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
        wave = self.faded(wave)
        wave, tail = wave[: (end - start) * HOP], wave[(end - start) * HOP :]
        self._tail = tail if fade else None
        return wave

    def faded(self, wave: Array) -> Array:
        """A window's samples, with what is left of the window before it faded out over them."""
        if self._tail is not None:
            rise = np.linspace(0, 1, len(self._tail), dtype=np.float32)
            wave[: len(self._tail)] = self._tail + rise * (wave[: len(self._tail)] - self._tail)
        self._tail = None
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
