"""The generator in windows: memory and delay are bounded by a window, and no join can click.

Convolutions reach about a tenth of a second, so a window with that much context on either side gives exactly
the samples of the whole, if only AdaIN normalises alike. AdaIN's statistics span the utterance: they are
taken once, from the first window and short probes spread over the rest, and then held for all windows.
Whatever error that estimate has is the same everywhere, so windows fit each other to rounding. Probes are
weighted so that they have the mean and the power that the decoder's features, known for the whole utterance,
have there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from voicewright.config import HOP, SAMPLE_RATE
from voicewright.model.fast.generator import FastGenerator, Frozen, Pooled, Segment

_RATE = SAMPLE_RATE // HOP
"""Feature rows a second."""
_HOLD = 0.01
"""How strongly weights are held to the time that each part stands for."""
_SUM = 1000.0
"""How strongly they are held to a sum of 1."""
_EDGE = 2
"""Rows at a probe's cut edges that do not count: the zeros outside reach into them most."""


@dataclass(frozen=True)
class Windows:
    """How an utterance is cut. Seconds of the first window, by how much windows grow, and their largest
    length; seconds between the middles of probes (0: none), their length, and how many there are at most."""

    first: float = 0.5
    growth: float = 2.0
    largest: float = 2.0
    every: float = 0.5
    probe: float = 0.25
    most: int = 24

    def cuts(self, rows: int) -> list[int]:
        """Ends of the windows in rows; none but a lone one is shorter than half of the first."""
        ends, size, least = [0], self.first, round(self.first * _RATE / 2)
        while ends[-1] < rows:
            end = ends[-1] + max(1, round(size * _RATE))
            ends.append(rows if rows - end < least else end)
            size = min(size * self.growth, self.largest)
        return ends[1:]

    def probed(self, start: int, rows: int) -> list[tuple[int, int]]:
        """First row and end of each probe in rows start..rows, evenly spread."""
        left, size = rows - start, max(1, round(self.probe * _RATE))
        if left <= 0 or self.every <= 0:
            return []
        count = min(self.most, max(1, round(left / (self.every * _RATE))))
        if count * size >= left:  # so short that probing it is making it
            return [(start, rows)]
        stride = left / count
        starts = [start + int(i * stride + (stride - size) / 2) for i in range(count)]
        return [(at, at + size) for at in starts]


def weigh(features: Tensor, parts: list[tuple[int, int]], prior: list[float]) -> list[float]:
    """Weights of the parts of an utterance (rows from..to of features [L, C]) by which their mean and power
    come nearest to the whole's, held near their prior shares; not negative, their sum is 1."""
    mean, spread = features.mean(0), features.std(0) + 1e-3

    def moments(x: Tensor) -> Tensor:
        z = ((x - mean) / spread).double()
        return torch.cat([z.mean(0), z.square().mean(0)])

    shares = torch.tensor(prior, dtype=torch.float64)
    shares /= shares.sum()
    wanted = moments(features)
    have = torch.stack([moments(features[first:end]) for first, end in parts], dim=1)
    # ridge regression by the normal equations, relative to the shares; negative weights leave one round at a
    # time
    scale = shares * have
    gram = scale.T @ scale / len(wanted) + (_HOLD / len(parts)) * torch.eye(len(parts), dtype=torch.float64)
    right = scale.T @ wanted / len(wanted) + _HOLD / len(parts)
    sums = _SUM * shares
    gram, right = gram + torch.outer(sums, shares), right + sums
    keep = torch.ones(len(parts), dtype=torch.bool)
    factors = torch.zeros(len(parts), dtype=torch.float64)
    for _ in parts:
        factors.zero_()
        factors[keep] = torch.linalg.solve(gram[keep][:, keep], right[keep])
        if not (factors < 0).any():
            break
        keep &= factors >= 0
    weights = (factors * shares).clamp(min=0)
    return [float(weight) for weight in weights / weights.sum()]


def pieces(
    generator: FastGenerator, features: Tensor, style: Tensor, harmonics: Tensor, windows: Windows
) -> Iterator[Tensor]:
    """features [2F, C], acoustic style [128], harmonics [M, n_fft + 2] → pieces of the audio [600F], in
    order."""
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
    segments, parts = [first], [(0, ends[0])]
    probed = windows.probed(ends[0], rows)
    for start, end in probed:
        scale, edge = generator.scale, min(_EDGE, (end - start) // 4)
        inner = (edge, end - start - edge)
        segments.append(
            Segment(features[start:end], harmonics[start * scale : end * scale + 1], affine, inner, False)
        )
        parts.append((start + edge, end - edge))
    shares = [ends[0] / rows] + [(rows - ends[0]) / rows / max(1, len(probed))] * len(probed)
    pool = Pooled(weigh(features, parts, shares))
    totals = generator.body(segments, pool)
    yield audible(totals[0], 0, ends[0])
    del totals, segments
    frozen = Frozen(pool.kept)
    for start, end in pairwise(ends):
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
    parts = generator.spectrum(
        total[begin - low * scale : stop + 1 - low * scale], harmonics[begin : stop + 1]
    )
    parts = parts[first - begin : len(parts) - (stop - last)]
    wave = generator.stft.inverse(*(part.T[None] for part in parts.chunk(2, dim=1)))[0]
    hop = generator.stft.hop
    return wave[(start * scale - first) * hop : (end * scale - first) * hop].clone()
