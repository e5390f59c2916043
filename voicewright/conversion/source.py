"""What is to be converted: 16 kHz without rumble, in pieces cut where it is quiet, each
with its surroundings."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr

from voicewright.conversion.protocol import CONTENT_RATE, Chunks, Samples
from voicewright.conversion.signal import HighPass, Unfiltered, quietest
from voicewright.errors import UsageError, VoicewrightError
from voicewright.stopping import Cancel, stop_if

GRID = 320
"""Chunks begin on multiples of the content encoder's hop, so that they all see the same frames."""
EXTRA = 80
"""Samples after a chunk that let the content encoder (windows of 400) give one frame for every hop."""
_RATES = range(2_000, 768_001)
_SILENT = 1e-4
_WINDOW = 5 * CONTENT_RATE
_WINDOWS = 6


class Source:
    """Blocks of any lengths at `rate` as blocks at `to` (and through the high-pass), checked while they come.

    Raises UsageError for a rate that nothing has, VoicewrightError for what is not mono or not numbers.
    """

    def __init__(
        self,
        blocks: Iterable[Samples],
        rate: int,
        cancel: Cancel | None = None,
        to: int = CONTENT_RATE,
        filtered: bool = True,
    ) -> None:
        if rate not in _RATES:
            raise UsageError(f"a recording cannot have {rate} samples a second.")
        self._blocks, self.rate, self._cancel = blocks, rate, cancel
        self._to, self._filtered = to, filtered
        self.samples = 0
        """How many have come, at `rate`."""
        self.peak = 0.0

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is known only at the end is complete only then."""
        found = []
        if self.rate < CONTENT_RATE:
            found.append(
                f"the recording has {self.rate} samples a second, nothing above {self.rate // 2} Hz: "
                "consonants are heard less well than in one of 16000."
            )
        if self.samples and self.peak < _SILENT:
            found.append("the recording is silent.")
        return tuple(found)

    def __iter__(self) -> Iterator[Samples]:
        resampler = None
        if self.rate != self._to:
            resampler = soxr.ResampleStream(self.rate, self._to, 1, dtype="float32")
        filtering = HighPass() if self._filtered else Unfiltered()
        for block in self._blocks:
            stop_if(self._cancel)
            values = self._checked(block)
            if resampler is not None:
                values = resampler.resample_chunk(values)
            if len(values) and len(out := filtering.feed(values)):
                yield out
        rest = np.zeros(0, np.float32)
        if resampler is not None:
            rest = resampler.resample_chunk(rest, last=True)
        if len(out := filtering.feed(rest, last=True)):
            yield out

    def _checked(self, block: Samples) -> Samples:
        values = check_recording(block, self.rate, self.samples)
        self.samples += len(values)
        self.peak = max(self.peak, float(np.abs(values).max(initial=0.0)))
        return values


def check_recording(samples: Samples, rate: int, before: int | None = None) -> Samples:
    """Samples [n] as float32; `before`: how many of a stream came already (None: this is all, and some
    there must be).

    Raises VoicewrightError for what is not mono, not numbers, or nothing at all.
    """
    values = np.ascontiguousarray(samples, np.float32)
    if values.ndim != 1:
        raise VoicewrightError(f"a recording must be one channel [n], not of shape {list(values.shape)}.")
    if before is None and not len(values):
        raise VoicewrightError("the recording holds no samples.")
    if not (finite := np.isfinite(values)).all():
        at = ((before or 0) + int(np.argmin(finite))) / rate
        raise VoicewrightError(
            f"the recording holds values that are not numbers at {at:.2f} s: it is damaged."
        )
    return values


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples [start, end) of the 16 kHz source and what is heard round them.

    heard: [320 k + EXTRA] from `at` on, which may lie before the beginning; beyond the ends it is mirrored.
    """

    start: int
    end: int
    at: int
    heard: Samples
    last: bool

    @property
    def own(self) -> Samples:
        return self.heard[self.start - self.at : self.end - self.at]


def pieces(source: Iterable[Samples], chunks: Chunks, cancel: Cancel | None = None) -> Iterator[Piece]:
    """The source cut up. Raises VoicewrightError when it holds no samples."""
    pad = max(1, round(chunks.pad * CONTENT_RATE / GRID)) * GRID
    center, query, longest = (
        round(seconds * CONTENT_RATE) for seconds in (chunks.center, chunks.query, chunks.longest)
    )
    reach = max(longest, center + query)  # a cut may fall so far on, and what follows it is heard too
    blocks = iter(source)
    held, held_at, ended, start = np.zeros(0, np.float32), 0, False, 0
    while True:
        missing = start + reach + pad + EXTRA - held_at - len(held)
        fresh = [held]
        while missing > 0 and not ended:
            stop_if(cancel)
            block = next(blocks, None)
            ended = block is None
            if block is not None:
                fresh.append(block)
                missing -= len(block)
        if len(fresh) > 1:  # what is held may be a whole recording, not to be copied for every piece
            held = np.concatenate(fresh)
        known = held_at + len(held)
        if known == 0:
            raise VoicewrightError("the recording holds no samples.")
        last = ended and known - start <= longest
        if last:
            end = known
        else:
            low = start - held_at + center - query
            end = (held_at + quietest(held, low, low + 2 * query)) // GRID * GRID
        yield _piece(held, held_at, start, end, pad, last)
        if last:
            return
        start = end
        keep = max(0, start - pad)
        held, held_at = held[keep - held_at :], keep


def _piece(held: Samples, held_at: int, start: int, end: int, pad: int, last: bool) -> Piece:
    at = start - pad
    length = -(-(end + pad - at) // GRID) * GRID + EXTRA
    first, stop = max(0, at), min(held_at + len(held), at + length)
    inside = held[first - held_at : stop - held_at]
    beyond = (first - at, at + length - stop)
    heard = np.pad(inside, beyond, "reflect" if len(inside) > 1 else "edge")
    return Piece(start, end, at, np.ascontiguousarray(heard, np.float32), last)


@dataclass(frozen=True)
class Survey:
    """A recording at a glance. pitch: median F0 of its loudest half-minute in Hz, 0 where none was found."""

    seconds: float
    peak: float
    pitch: float


def survey(
    blocks: Iterable[Samples],
    rate: int,
    estimate: Callable[[Samples], Samples] | None,
    cancel: Cancel | None = None,
) -> Survey:
    """Length, peak and median F0 of a recording of any length, in bounded memory. Raises as Source."""
    source = Source(blocks, rate, cancel)
    loudest: list[tuple[float, int, Samples]] = []
    held, number = np.zeros(0, np.float32), 0

    def keep(window: Samples) -> None:
        nonlocal number
        entry = (float(np.square(window, dtype=np.float64).mean()), -number, window.copy())
        number += 1
        if len(loudest) < _WINDOWS:
            heapq.heappush(loudest, entry)
        else:
            heapq.heappushpop(loudest, entry)

    for block in source:
        held = np.concatenate([held, block])
        while len(held) >= _WINDOW:
            keep(held[:_WINDOW])
            held = held[_WINDOW:]
    if len(held) > CONTENT_RATE // 5:
        keep(held)
    voiced = []
    if estimate is not None:
        for _, _, window in loudest:
            stop_if(cancel)
            f0 = estimate(window)
            voiced.append(f0[f0 > 0])
    found = np.concatenate(voiced) if voiced else np.zeros(0)
    return Survey(source.seconds, source.peak, float(np.median(found)) if len(found) else 0.0)
