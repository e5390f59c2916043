"""Where mean and variance of AdaIN come from, as `fast/statistics.py`: the utterance, samples of it, or what
its voice said before. Sites: from 0 on in the generator, -1 and below in the layers before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_MEMORY = 2400
"""Rows that what is carried remembers: half a minute."""


class Statistics:
    """Mean and variance at every norm; this one: each segment has its own."""

    computes = True

    def at(self, site: int, found: list[Array | None]) -> list[Array]:
        """found: [2, C] for each segment → what each segment is to be normalised by."""
        return [stats for stats in found if stats is not None]


class Kept(Statistics):
    """A whole utterance's own statistics, kept."""

    def __init__(self) -> None:
        self.kept: dict[int, Array] = {}

    def at(self, site: int, found: list[Array | None]) -> list[Array]:
        (own,) = super().at(site, found)
        self.kept[site] = own
        return [own]


def pool(parts: Sequence[Array], weights: Sequence[float]) -> Array:
    """Mean and variance of a whole, of those of its parts [2, C] with weights that sum to 1."""
    both = np.asarray(parts, np.float64)
    share = np.asarray(weights, np.float64)[:, None]
    mean = (share * both[:, 0]).sum(0)
    var = (share * (both[:, 1] + np.square(both[:, 0] - mean))).sum(0)
    return np.stack([mean, var]).astype(np.float32)


class Pooled(Statistics):
    """Segments are samples of one utterance, with weights that sum to 1; their statistics are pooled and
    kept. before: statistics from elsewhere, which count by `trust`."""

    def __init__(
        self, weights: Sequence[float], before: dict[int, Array] | None = None, trust: float = 0.0
    ) -> None:
        self._weights, self._before, self._trust = weights, before, trust
        self.kept: dict[int, Array] = {}

    def at(self, site: int, found: list[Array | None]) -> list[Array]:
        own = pool([stats for stats in found if stats is not None], self._weights)
        if self._before is not None:
            own = pool([self._before[site], own], [self._trust, 1 - self._trust])
        self.kept[site] = own
        return [own] * len(found)


class Frozen(Statistics):
    """Statistics from elsewhere, the same for every segment."""

    computes = False

    def __init__(self, kept: dict[int, Array]) -> None:
        self._kept = kept

    def at(self, site: int, found: list[Array | None]) -> list[Array]:
        return [self._kept[site]] * len(found)


class Carried:
    """A voice's statistics, from what it has said: `stats` as `Frozen` takes them, of `rows` rows."""

    def __init__(self, stats: dict[int, Array] | None = None, rows: int = 0) -> None:
        self.stats: dict[int, Array] = stats or {}
        self.rows = rows

    def learn(self, stats: dict[int, Array], rows: int) -> None:
        """Take in the statistics of an utterance of so many rows."""
        share = rows / (rows + self.rows)
        self.stats = self.stats | {
            site: pool([self.stats[site], own], [1 - share, share]) if site in self.stats else own
            for site, own in stats.items()
        }
        self.rows = min(self.rows + rows, _MEMORY)

    def copy(self) -> Carried:
        return Carried(dict(self.stats), self.rows)
