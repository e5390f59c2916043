"""What goes on from block to block of a live stream, so that blocks say the same where they overlap.

That is random numbers that belong to frames of the stream, and the phase of an excitation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Noise:
    """Random numbers for every frame of a stream, [frames, width], of which the last are kept.

    Normal ones; with `uniform`, between 0 and 1."""

    def __init__(self, width: int, seed: int | None, frames: int = 64, uniform: bool = False) -> None:
        self._width, self._seed, self._uniform = width, seed, uniform
        self._kept = np.zeros((frames, width), dtype=np.float32)
        self.clear()

    def clear(self) -> None:
        self._random = np.random.default_rng(self._seed)
        self._kept[:] = 0.0

    def shift(self, fresh: int) -> None:
        """So many frames are new."""
        if fresh > len(self._kept):
            self._grow(fresh)
        self._kept[:-fresh] = self._kept[fresh:].copy()
        draw = self._random.random if self._uniform else self._random.standard_normal
        draw(out=self._kept[-fresh:], dtype=np.float32)

    def ending(self, frames: int, behind: int) -> Floats:
        """[frames, width] that end `behind` frames before the newest."""
        if frames + behind > len(self._kept):
            self._grow(frames + behind)
        end = len(self._kept) - behind
        return self._kept[end - frames : end]

    def _grow(self, frames: int) -> None:
        kept = self._kept
        self._kept = np.zeros((frames, self._width), dtype=np.float32)
        self._kept[frames - len(kept) :] = kept


class Phase:
    """The turns of an excitation where frames of the stream begin, as the last block had them."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._first = 0
        self._turns = np.zeros(0)

    def start(self, turns: NDArray[np.float64], first: int, anchor: int) -> float:
        """What to add to the turns of a block, so that frame `anchor` of the stream begins where the last
        block had it; 0 where that one did not reach.

        `turns` [frames + 1]: the turns, not wrapped, at the beginnings of the block's frames and at its end,
        the first of which is frame `first` of the stream. They are remembered."""
        added, known = 0.0, anchor - self._first
        if 0 <= known < len(self._turns):
            added = float((self._turns[known] - turns[anchor - first]) % 1.0)
        self._turns, self._first = (turns + added) % 1.0, first
        return added
