"""The generator in windows: memory and delay are bounded by a window, and no join can click.

Convolutions reach about a tenth of a second, so a window with that much context on either side gives
exactly the samples of the whole, if only AdaIN normalises alike. AdaIN's statistics span the utterance:
they are taken once, from the first window and short probes spread over the rest, and then held for all
windows. Whatever error that estimate has is the same everywhere, so windows fit each other to rounding.
Probes are weighted so that they have the mean and the power that the decoder's features, known for the
whole utterance, have there.

Statistics that the voice had elsewhere (`Carried`) are near enough to begin with: then the first windows need
no probes; the others follow them with better ones, cross-faded where they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from voicewright.model.fast.generator import FastGenerator, Segment
from voicewright.model.fast.statistics import Carried, Frozen, Kept, Pooled, Statistics
from voicewright.units import HOP, SAMPLE_RATE

_RATE = SAMPLE_RATE // HOP
"""Feature rows a second."""
_HOLD = 0.01
"""How strongly weights are held to the time that each part stands for."""
_SUM = 1000.0
"""How strongly they are held to a sum of 1."""
_EDGE = 2
"""Rows at a probe's cut edges that do not count: the zeros outside reach into them most."""
FADE = 1
"""Rows over which windows of other statistics are cross-faded."""


@dataclass(frozen=True)
class Windows:
    """How an utterance is cut. Seconds of the first window, by how much windows grow, and their largest
    length; seconds between the middles of probes (0: none), their length, and how many there are at most.
    early: windows made with the statistics carried, where there are some; trust: their share in those that
    the later windows get."""

    first: float = 0.5
    growth: float = 2.0
    largest: float = 2.0
    every: float = 0.3
    probe: float = 0.15
    most: int = 32
    early: int = 0
    trust: float = 0.0

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


WARM = Windows(first=0.25, early=2, trust=0.4)
"""For a voice whose statistics are carried: sound at once, probes when there is something to be heard."""


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


@dataclass(frozen=True)
class Sketch:
    """Features of an utterance's first rows, [L, C], by carried statistics; the last `loose` of them
    count for nothing."""

    features: Tensor
    loose: int


def pieces(
    generator: FastGenerator,
    features: Tensor | Callable[[], Tensor],
    style: Tensor,
    harmonics: Tensor,
    windows: Windows | None = None,
    carried: Carried | None = None,
    sketch: Sketch | None = None,
    front: dict[int, Tensor] | None = None,
) -> Iterator[Tensor]:
    """features [2F, C], acoustic style [128], harmonics [M, n_fft + 2] → pieces of the audio
    [600F], in order.

    features may be a function that makes them, not called before they are needed. carried: what is known of
    the voice, used as `windows` says, and taught by this utterance, with what `front` (filled by then) says
    of the layers before. sketch: serves the first window in place of the features, where it reaches.
    """
    known = carried is not None and carried.rows > 0
    windows = windows or chosen(carried)
    cutter = _Cutter(generator, features, style, harmonics)
    ends = windows.cuts(cutter.rows)
    if len(ends) == 1:
        own = Kept()
        yield generator(cutter.features, style, harmonics, own)
        if carried is not None:
            carried.learn(own.kept | (front or {}), cutter.rows)
        return
    done = 0
    if known and carried is not None and windows.early:
        frozen, count = Frozen(carried.stats), min(windows.early, len(ends) - 1)
        for number, (start, end) in enumerate(pairwise([0, *ends[:count]])):
            serves = number == 0 and sketch is not None and cutter.reaches(sketch, end)
            if serves and sketch is not None:
                cutter.sketched = sketch.features
            yield cutter.sound(start, end, frozen, fade=serves or number + 1 == count)
            cutter.sketched, done = None, end
        ends = ends[count:]
    pooled = cutter.pool(windows, done, ends[0], carried if known else None)
    totals = generator.body(cutter.segments, pooled)
    cutter.segments.clear()
    if carried is not None:
        carried.learn(pooled.kept | (front or {}), cutter.rows)
    frozen = Frozen(pooled.kept)
    if done == 0:
        yield cutter.audible(totals[0], 0, ends[0])
        done, ends = ends[0], ends[1:]
    del totals
    for start, end in pairwise([done, *ends]):
        yield cutter.sound(start, end, frozen)


def chosen(carried: Carried | None) -> Windows:
    """How to cut where nobody says how."""
    return WARM if carried is not None and carried.rows else Windows()


class _Cutter:
    """Segments of one utterance, and the samples that come of them."""

    def __init__(
        self,
        generator: FastGenerator,
        features: Tensor | Callable[[], Tensor],
        style: Tensor,
        harmonics: Tensor,
    ) -> None:
        self._generator, self._given, self._harmonics = generator, features, harmonics
        self._affine = generator.affine(style)
        self._tail: Tensor | None = None
        self.rows = (len(harmonics) - 1) // generator.scale
        self.sketched: Tensor | None = None
        """Features that stand in for the utterance's own."""
        self.segments: list[Segment] = []
        """What statistics are taken from."""

    @property
    def features(self) -> Tensor:
        if callable(self._given):
            self._given = self._given()
        return self._given

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

    def sound(self, start: int, end: int, policy: Statistics, fade: bool = False) -> Tensor:
        """Samples of rows start..end. fade: what follows will be made otherwise, and is to be faded into."""
        stop = end + FADE * fade
        wave = self.audible(self._generator.body([self.cut(start, stop)], policy)[0], start, stop)
        if self._tail is not None:
            rise = torch.linspace(0, 1, len(self._tail))
            wave[: len(self._tail)] = torch.lerp(self._tail, wave[: len(self._tail)], rise)
        wave, tail = wave[: (end - start) * HOP], wave[(end - start) * HOP :]
        self._tail = tail if fade else None
        return wave

    def audible(self, total: Tensor, start: int, end: int) -> Tensor:
        """Samples of rows start..end, from what `body` made of their segment."""
        low = max(0, start - self._generator.context)
        return _samples(self._generator, total, self._harmonics, low, start, end, self.rows)

    def pool(self, windows: Windows, done: int, end: int, carried: Carried | None) -> Pooled:
        """How to pool the statistics of `segments`, which are chosen here: the first window 0..end where
        nothing has been made yet (else its first rows are probed like all others), and probes."""
        head = [] if done else [(0, end)]
        if head:
            self.segments.append(self.cut(0, end))
        parts, begin = list(head), 0 if done else end
        probed = windows.probed(begin, self.rows)
        scale = self._generator.scale
        for start, stop in probed:
            edge = min(_EDGE, (stop - start) // 4)
            self.segments.append(
                Segment(
                    self.features[start:stop],
                    self._harmonics[start * scale : stop * scale + 1],
                    self._affine,
                    (edge, stop - start - edge),
                    head=False,
                    heard=False,
                )
            )
            parts.append((start + edge, stop - edge))
        left = (self.rows - begin) / self.rows / max(1, len(probed))
        shares = [end / self.rows] * len(head) + [left] * len(probed)
        weights = weigh(self.features, parts, shares)
        return Pooled(weights, None if carried is None else carried.stats, windows.trust)


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
