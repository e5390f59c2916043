"""Recordings of any length as pieces with their surroundings, and pieces made into one recording again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from voicewright.conversion.protocol import Chunks, Samples

FADE = 0.02
"""Seconds in which one piece fades into the next."""
_HEAR = 0.02
"""Seconds over which loudness is averaged when a quiet place is looked for."""


@dataclass(frozen=True)
class Piece:
    """samples: `before` samples of surroundings, `count` of the piece's own, then surroundings again."""

    samples: Samples
    before: int
    count: int
    number: int


class Resampler:
    """Blocks at another rate, without a seam."""

    def __init__(self, rate: int, to: int) -> None:
        self._stream = None if rate == to else soxr.ResampleStream(rate, to, 1, dtype="float32")

    def all(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Every block resampled, and at the end what the filter still holds."""
        if self._stream is None:
            yield from blocks
            return
        for block in blocks:
            if len(out := self._stream.resample_chunk(block)):
                yield out
        yield self._stream.resample_chunk(np.zeros(0, np.float32), last=True)


def as_long(pieces: Iterable[Samples], due: Callable[[], int]) -> Iterator[Samples]:
    """Pieces that are `due()` samples together, asked at the end: rounding is mended in the last of them."""
    given, waiting = 0, np.zeros(0, np.float32)
    for piece in pieces:
        if not len(piece):
            continue
        if len(waiting):
            given += len(waiting)
            yield waiting
        waiting = piece
    rest = max(0, due() - given)
    if rest:
        yield np.pad(waiting, (0, max(0, rest - len(waiting))))[:rest]


class Cutter:
    """Cuts a stream at quiet places; every cut falls on a multiple of `grid` samples."""

    def __init__(self, chunks: Chunks, grid: int, rate: int) -> None:
        self._grid, self._hear = grid, round(_HEAR * rate)

        def samples(seconds: float) -> int:
            return max(grid, round(seconds * rate / grid) * grid)

        self._pad, self._query = samples(chunks.pad), samples(chunks.query)
        self._center = samples(chunks.center)
        # A cut may fall so far on.
        self._longest = max(samples(chunks.longest), self._center + self._query)

    def all(self, blocks: Iterable[Samples]) -> Iterator[Piece]:
        """The pieces in order; holds at most one piece, its surroundings and a block."""
        held: list[Samples] = []
        size, before, number = 0, 0, 0
        for block in blocks:
            held.append(block)
            size += len(block)
            while size - before > self._longest + self._pad:
                whole = held[0] if len(held) == 1 else np.concatenate(held)
                cut = before + self._quiet(whole[before:])
                yield Piece(whole[: cut + self._pad], before, cut - before, number)
                number += 1
                start = max(0, cut - self._pad)
                held, size, before = [whole[start:]], len(whole) - start, cut - start
        if size - before > 0:
            whole = np.concatenate(held)
            yield Piece(whole, before, len(whole) - before, number)

    def _quiet(self, wave: Samples) -> int:
        """Where to cut: the quietest place near the centre."""
        low, high = self._center - self._query, self._center + self._query
        power = np.square(wave[low : high + self._hear], dtype=np.float64)
        total = np.concatenate([[0.0], np.cumsum(power)])
        at = np.arange(0, high - low, self._grid)
        loud = total[np.minimum(at + self._hear, len(power))] - total[at]
        return low + int(at[int(np.argmin(loud))])


class Crossfade:
    """Pieces made into one recording again: the surroundings cut off, each faded into the next."""

    def __init__(self, rate: int) -> None:
        fade = round(FADE * rate)
        self._rising = np.square(np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)))
        self._tail: Samples | None = None

    def join(self, piece: Piece, made: Samples) -> Samples:
        """made: as long as the piece's samples → its own, faded in from the piece before."""
        own = made[piece.before : piece.before + piece.count].copy()
        if self._tail is not None:
            n = min(len(self._tail), len(own))
            own[:n] = self._tail[:n] * (1 - self._rising[:n]) + own[:n] * self._rising[:n]
        self._tail = made[piece.before + piece.count :][: len(self._rising)].copy()
        return own
