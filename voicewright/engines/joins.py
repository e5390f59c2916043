"""The edges of a synthesised chunk: excess silence off, a natural pause on, faded so that no join clicks.

Every chunk is finished by itself (it fades in from nothing and out to nothing), so that a stream can be sent
on chunk by chunk, and within a chunk piece by piece, and is still sample for sample what they give together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.limit import CEILING, Limiter
from voicewright.units import SAMPLE_RATE

Samples = NDArray[np.float32]

PAUSES = {
    ".": 0.42,
    "!": 0.42,
    "?": 0.45,
    "…": 0.50,
    ":": 0.34,
    ";": 0.32,
    "—": 0.28,
    ",": 0.20,
    ")": 0.20,
}
"""Seconds between chunks by the last mark of the earlier one."""
PAUSE = 0.08
"""Seconds between chunks cut where no mark stands."""
PARAGRAPH = 0.25
"""Seconds added where a blank line stands."""
LEAD = 0.05
"""Seconds of silence kept before a chunk's first sound."""
TAIL = 0.20
"""Seconds of silence kept after the last sound of all."""
FADE = 0.010
_WINDOW = 0.010
_LOOK = 0.1
"""Seconds into the first token that are looked at before the head is cut."""
_FLOOR = 0.003
"""RMS below which anything is silence."""
_QUIET_DB = -38.0
"""Below the loudest 10 ms. Only decides what may go beyond the model's own edges: fricatives are safe."""


@dataclass(frozen=True)
class Trimmed:
    """samples [N] ready to be appended; `offset`: where they begin within the untrimmed chunk."""

    samples: Samples
    offset: int


def pause_after(phonemes: str, paragraph: bool, speed: float) -> float:
    """Seconds of silence wanted after a chunk that ends so."""
    last = phonemes.rstrip().rstrip('"”')[-1:]
    return (PAUSES.get(last, PAUSE) + (PARAGRAPH if paragraph else 0.0)) / speed


def trim(samples: Samples, head: int, tail: int, after: float, rate: int = SAMPLE_RATE) -> Trimmed:
    """Cut and pad a chunk's silent edges; fade both ends.

    samples: [N]. head: samples before the first spoken token; tail: sample where the last spoken token ends
    (the model's own clock); only what lies outside [head, tail] may be cut, and of that only what is silent.
    after: seconds of silence wanted behind the last sound; zeros are added where the model left less.
    """
    edges = Edges(len(samples), head, tail, after, rate=rate, ceiling=None)
    kept = edges.feed(samples)
    return Trimmed(kept, edges.offset)


class Edges:
    """Trims, fades and limits a chunk that comes in pieces, passing on what is certain as early as it is.

    The same samples come out whatever the pieces: levels are taken in steps of 10 ms from the chunk's first
    sample, the head is decided 100 ms into the first token, the limiter looks 10 ms ahead in its own blocks.
    `total`: samples that will come. head, tail, after: as for `trim`. `before`: seconds of silence in front.
    """

    def __init__(
        self,
        total: int,
        head: int,
        tail: int,
        after: float,
        before: float = 0.0,
        rate: int = SAMPLE_RATE,
        ceiling: float | None = CEILING,
    ) -> None:
        self._total, self._head, self._tail, self._after = total, head, tail, after
        self._rate = rate
        self._decided = min(total, head + int(_LOOK * rate))
        self._fade = min(int(FADE * rate), max(tail - head, total if tail <= head else 0) // 2)
        self._levels = _Levels(int(_WINDOW * rate))
        self._limiter = None if ceiling is None else Limiter(rate, ceiling)
        self._raw = np.zeros(0, np.float32)
        self._raw_at = 0
        self._before = round(before * rate)
        self._begun = False
        self.offset = 0
        """Where what is kept begins within the chunk; certain as soon as anything has come out."""
        self.before = self._before
        """Samples of silence put in front."""
        self.length = 0
        """Samples that have come out, silence in front included."""
        self.finished = False
        """All samples have come, and all have been passed on."""

    def feed(self, samples: Samples) -> Samples:
        """Take the next samples [n]; what may be appended now [m], often not as many. Raises ValueError when
        more come than were announced."""
        fed = self._raw_at + len(self._raw) + len(samples)
        if fed > self._total or self.finished:
            raise ValueError(f"{fed} samples came where {self._total} were announced")
        self._levels.feed(samples, last=fed == self._total)
        self._raw = np.concatenate([self._raw, samples])
        out: list[Samples] = []
        if not self._begun and fed >= self._decided:
            self._begin()
            out.append(np.zeros(self._before, np.float32))
        if self._begun:
            last = fed == self._total
            kept, padding = self._end() if last else (min(fed, self._tail - self._fade), 0)
            ready = self._take(kept, last)
            out.append(ready if self._limiter is None else self._limiter.feed(ready, last))
            out.append(np.zeros(padding, np.float32))
            self.finished = last
        ready = np.concatenate(out) if out else np.zeros(0, np.float32)
        self.length += len(ready)
        return ready

    def _begin(self) -> None:
        onset = self._levels.first_loud(self._decided)
        start = self._head if onset is None else min(onset, self._head)
        self.offset = max(0, start - int(LEAD * self._rate))
        self._raw = self._raw[self.offset :]
        self._raw_at = self.offset
        self._begun = True

    def _end(self) -> tuple[int, int]:
        """Where what is kept ends, and how many zeros follow."""
        end = self._levels.last_loud(self._tail)
        stop = self._tail if end is None else max(min(end, self._total), self._tail)
        wanted = stop + int(self._after * self._rate)
        return min(wanted, self._total), max(0, wanted - self._total)

    def _take(self, stop: int, last: bool) -> Samples:
        """Faded samples up to `stop` of the chunk."""
        start = self._raw_at
        taken = self._raw[: max(0, stop - start)].copy()
        if len(taken) and self._fade:
            ramp = np.sin(0.5 * np.pi * np.arange(self._fade) / self._fade).astype(np.float32)
            if start < self.offset + self._fade:
                part = ramp[start - self.offset :][: len(taken)]
                taken[: len(part)] *= part
            if last:
                part = ramp[::-1][-len(taken) :]
                taken[len(taken) - len(part) :] *= part
        self._raw = self._raw[len(taken) :]
        self._raw_at += len(taken)
        return taken


class _Levels:
    """RMS of every 10 ms, from the chunk's first sample."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._rest = np.zeros(0, np.float32)
        self._values: list[NDArray[np.float64]] = []

    def feed(self, samples: Samples, last: bool) -> None:
        held = np.concatenate([self._rest, samples])
        whole = len(held) // self._window * self._window
        self._values.append(_rms(held[:whole].reshape(-1, self._window)))
        self._rest = held[whole:].copy()
        if last and len(self._rest):
            self._values.append(_rms(self._rest[None]))

    def first_loud(self, before: int) -> int | None:
        """Sample where the first loud 10 ms begin, of those that end by `before`."""
        values = np.concatenate(self._values)[: max(1, before // self._window)]
        loud = np.flatnonzero(values > _quiet(values))
        return int(loud[0]) * self._window if len(loud) else None

    def last_loud(self, spoken: int) -> int | None:
        """Sample where the last loud 10 ms end; loud by what was spoken up to `spoken`."""
        values = np.concatenate(self._values)
        loud = np.flatnonzero(values > _quiet(values[: spoken // self._window + 1]))
        return (int(loud[-1]) + 1) * self._window if len(loud) else None


def _rms(frames: Samples) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.mean(frames.astype(np.float64) ** 2, axis=1)))


def _quiet(levels: NDArray[np.float64]) -> float:
    return max(_FLOOR, float(levels.max(initial=0.0)) * 10 ** (_QUIET_DB / 20))


def fade(samples: Samples, rate: int = SAMPLE_RATE) -> None:
    """Fade the first and last 10 ms in place, along a quarter sine (equal power)."""
    length = min(int(FADE * rate), len(samples) // 2)
    if length:
        ramp = np.sin(0.5 * np.pi * np.arange(length) / length).astype(np.float32)
        samples[:length] *= ramp
        samples[-length:] *= ramp[::-1]
