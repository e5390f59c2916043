"""Where mean and variance of AdaIN come from, as `fast/statistics.py`: the utterance, or what its voice said
before. Sites: from 0 on in the generator, -1 and below in the layers before it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


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


class Frozen(Statistics):
    """Statistics from elsewhere, the same for every segment."""

    computes = False

    def __init__(self, kept: dict[int, Array]) -> None:
        self._kept = kept

    def at(self, site: int, found: list[Array | None]) -> list[Array]:
        return [self._kept[site]] * len(found)


class Carried:
    """A voice's statistics, from what it has said: as `Frozen` takes them."""

    def __init__(self, stats: dict[int, Array]) -> None:
        self.stats = stats
