"""The generator in windows: memory and delay are bounded by a window, and no join can click.

Convolutions reach about a tenth of a second, so a window with that much context on either side gives exactly the
samples of the whole, if only AdaIN normalises alike. AdaIN's statistics span the utterance: they are taken once,
from the first window and a few probes spread over the rest, weighted by the time that each stands for, and then
held for all windows. Whatever error that estimate has is the same everywhere, so windows fit each other to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from voicewright.config import HOP, SAMPLE_RATE
from voicewright.model.fast.generator import FastGenerator, Frozen, Pooled, Segment

_RATE = SAMPLE_RATE // HOP
"""Feature rows a second."""
_EDGE = 2
"""Rows at a probe's cut edges that do not count: the zeros outside reach into them most."""


@dataclass(frozen=True)
class Windows:
    """How an utterance is cut. Seconds of the first window, by how much windows grow, and their largest length;
    number and seconds of the probes that statistics are taken from."""

    first: float = 0.5
    growth: float = 2.0
    largest: float = 2.0
    probes: int = 8
    probe: float = 0.25

    def cuts(self, rows: int) -> list[int]:
        """Ends of the windows in rows; none but a lone one is shorter than half of the first."""
        ends, size, least = [0], self.first, round(self.first * _RATE / 2)
        while ends[-1] < rows:
            end = ends[-1] + max(1, round(size * _RATE))
            ends.append(rows if rows - end < least else end)
            size = min(size * self.growth, self.largest)
        return ends[1:]

    def probed(self, start: int, rows: int) -> list[tuple[int, int, float]]:
        """First row, end, and share of time of each probe in rows start..rows, evenly spread."""
        left = rows - start
        size = round(self.probe * _RATE)
        count = min(self.probes, left // size) if size else 0
        if count == 0:
            return [(start, rows, left / rows)] if left and self.probes else []
        if count < self.probes or count * size >= left:  # so short that probing it is making it
            return [(start, rows, left / rows)]
        stride = left / count
        starts = [start + int(i * stride + (stride - size) / 2) for i in range(count)]
        return [(at, at + size, left / rows / count) for at in starts]


def pieces(
    generator: FastGenerator, features: Tensor, style: Tensor, harmonics: Tensor, windows: Windows
) -> Iterator[Tensor]:
    """features [2F, C], acoustic style [128], harmonics [M, n_fft + 2] → pieces of the audio [600F], in order."""
    rows = len(features)
    affine = generator.affine(style)
    ends = windows.cuts(rows)
    if len(ends) == 1:
        yield generator(features, style, harmonics)
        return

    def cut(start: int, end: int) -> Segment:
        low, high = max(0, start - generator.context), min(rows, end + generator.context)
        scale = generator.scale
        return Segment(
            features[low:high],
            harmonics[low * scale : high * scale + 1],
            affine,
            (start - low, end - low),
            low == 0,
        )

    def audible(total: Tensor, start: int, end: int) -> Tensor:
        low = max(0, start - generator.context)
        return _samples(generator, total, harmonics, low, start, end, rows)

    first = cut(0, ends[0])
    segments, shares = [first], [ends[0] / rows]
    for start, end, share in windows.probed(ends[0], rows):
        scale = generator.scale
        inner = (min(_EDGE, (end - start) // 4), end - start - min(_EDGE, (end - start) // 4))
        segments.append(
            Segment(features[start:end], harmonics[start * scale : end * scale + 1], affine, inner, False)
        )
        shares.append(share)
    total_share = sum(shares)
    pool = Pooled([share / total_share for share in shares])
    totals = generator.body(segments, pool)
    yield audible(totals[0], 0, ends[0])
    del totals, segments
    frozen = Frozen(pool.kept)
    for start, end in zip(ends, ends[1:], strict=False):
        total = generator.body([cut(start, end)], frozen)[0]
        yield audible(total, start, end)


def _samples(
    generator: FastGenerator, total: Tensor, harmonics: Tensor, low: int, start: int, end: int, rows: int
) -> Tensor:
    """Samples of rows start..end from the sums of a segment that began at row `low`."""
    scale, reach, overlap = generator.scale, generator.post_reach, generator.overlap
    # rows of the spectrum that the samples need, then those that these need in turn
    first, last = max(0, start * scale - overlap), min(rows * scale, end * scale + overlap)
    begin, stop = max(0, first - reach), min(rows * scale, last + reach)
    parts = generator.spectrum(total[begin - low * scale : stop + 1 - low * scale], harmonics[begin : stop + 1])
    parts = parts[first - begin : len(parts) - (stop - last)]
    wave = generator.stft.inverse(*(part.T[None] for part in parts.chunk(2, dim=1)))[0]
    hop = generator.stft.hop
    return wave[(start * scale - first) * hop : (end * scale - first) * hop].clone()
