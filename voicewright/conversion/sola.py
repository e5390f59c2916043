"""SOLA: blocks that were converted one by one, joined where their waveforms agree.

Each block comes with what lies before its end and a little more: `block + crossfade + search` samples. The
join looks in the first `search + 1` places for the one where the new samples are most like what the last
block left, drops what lies before it, and fades over. Sources: the live loop of RVC-WebUI, and w-okada's
VoiceChangerV2, which differ in the fade and in the floor of the correlation alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RVC_FLOOR = 1e-8
"""Added to the energy under the root, for samples within ±1."""
WOKADA_FLOOR = 1e-3
"""The same of w-okada, whose samples are within ±32768."""
FULL_SCALE = 32768.0


@dataclass(frozen=True)
class Fade:
    """The two windows of a crossfade, float64 [crossfade] each; they add up to 1."""

    rising: NDArray[np.float64]
    falling: NDArray[np.float64]


def sine_fade(crossfade: int) -> Fade:
    """sin² from 0 to 1, both ends included: RVC-WebUI's."""
    rising = np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, crossfade)) ** 2
    return Fade(rising, 1.0 - rising)


def partial_fade(crossfade: int, start: float = 0.1, end: float = 0.9) -> Fade:
    """cos² between two parts of the crossfade, flat outside them, the end not reached: w-okada's.

    `start` and `end` are fractions of the crossfade, its `crossFadeOffsetRate` and `crossFadeEndRate`."""
    first, last = int(crossfade * start), int(crossfade * end)
    if not 0 <= first <= last <= crossfade:
        raise ValueError(
            f"a fade from {start} to {end} is none; both lie within 0…1, the end after the start"
        )
    place = np.arange(last - first) / max(last - first, 1)
    falling = np.ones(crossfade)
    falling[first:last] = np.cos(place * 0.5 * np.pi) ** 2
    falling[last:] = 0.0
    rising = np.zeros(crossfade)
    rising[first:last] = np.cos((1 - place) * 0.5 * np.pi) ** 2
    rising[last:] = 1.0
    return Fade(rising, falling)


STAY = 0.2
"""What `Sola(stay=…)` is for blocks that agree already: what is unlike then is what the last block could not
hear of what followed, and no reason to move."""


def best_offset(
    samples: Samples,
    tail: Samples,
    search: int,
    floor: float = RVC_FLOOR,
    last: int | None = None,
    stay: float = 0.0,
) -> int:
    """Where in `samples` [≥ search + len(tail)] the stretch most like `tail` begins, 0…search.

    The first greatest of ⟨samples, tail⟩ / √(Σ samples² + floor) over the places; 0 for a silent tail. With
    `last` and `stay`, that place if its value falls short of the greatest by no more than `stay` of it."""
    head = np.asarray(samples[: search + len(tail)], dtype=np.float64)
    products = np.correlate(head, np.asarray(tail, dtype=np.float64), "valid")
    energy = np.concatenate([[0.0], np.cumsum(head * head)])
    energies = np.maximum(energy[len(tail) :] - energy[: -len(tail)], 0.0)
    likeness = products / np.sqrt(energies + floor)
    best = int(np.argmax(likeness))
    if last is not None and stay and likeness[last] >= (1 - stay) * likeness[best]:
        return last
    return best


class Sola:
    """The join of one stream. It keeps the last block's tail; nothing grows.

    `floor` is for samples within ±1. `faded` looks for the tail as it is after fading out. `stay`: as for
    `best_offset`. `Sola.wokada` is
    the join that w-okada's server makes; the plain one is RVC-WebUI's."""

    def __init__(
        self,
        crossfade: int,
        search: int,
        *,
        floor: float = RVC_FLOOR,
        fade: Fade | None = None,
        faded: bool = False,
        stay: float = 0.0,
    ) -> None:
        if crossfade < 1 or search < 0:
            raise ValueError("a join needs a crossfade of at least one sample and a search of none or more")
        self.crossfade = crossfade
        self.search = search
        self.offset = 0
        """Where the last join was, in samples."""
        self._floor, self.stay = floor, stay
        self._faded = faded
        self._first = True
        fade = fade or sine_fade(crossfade)
        self._rising = fade.rising.astype(np.float32)
        self._falling = fade.falling.astype(np.float32)
        self._tail = np.zeros(crossfade, dtype=np.float32)

    @classmethod
    def wokada(cls, crossfade: int, search: int, start: float = 0.1, end: float = 0.9) -> Sola:
        floor = WOKADA_FLOOR / FULL_SCALE**2
        return cls(crossfade, search, floor=floor, fade=partial_fade(crossfade, start, end), faded=True)

    def reset(self) -> None:
        """Forget the last block: the next one fades in from silence."""
        self._tail[:] = 0.0
        self.offset = 0
        self._first = True

    def join(self, samples: Samples) -> Samples:
        """`samples` [block + crossfade + search] → the next block [block]."""
        block = len(samples) - self.crossfade - self.search
        if block < self.crossfade:
            raise ValueError(f"a block of {block} samples is shorter than its crossfade of {self.crossfade}")
        leaving = self._tail * self._falling
        if self._first and self._faded:
            self.offset = self.search  # w-okada takes the end of its first window
        else:
            wanted = leaving if self._faded else self._tail
            last = None if self._first else self.offset
            self.offset = best_offset(samples, wanted, self.search, self._floor, last, self.stay)
        self._first = False
        joined = samples[self.offset : self.offset + block].astype(np.float32)
        joined[: self.crossfade] *= self._rising
        joined[: self.crossfade] += leaving
        self._tail[:] = samples[self.offset + block : self.offset + block + self.crossfade]
        return joined
