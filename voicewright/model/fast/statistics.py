"""Where mean and variance of AdaIN come from: the utterance, samples of it, or what its voice said before.

Sites are numbers of norms: from 0 on in the generator, -1 and below in the layers before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_MEMORY = 2400
"""Rows that what is carried remembers: half a minute."""


class Statistics:
    """Mean and variance at every norm. This one: each segment has its own, as the whole
    graph computes them."""

    computes = True

    def at(self, site: int, found: list[Tensor | None]) -> list[Tensor]:
        """found: [2, C] for each segment → what each segment is to be normalised by."""
        return [stats for stats in found if stats is not None]


class Kept(Statistics):
    """A whole utterance's own statistics, kept."""

    def __init__(self) -> None:
        self.kept: dict[int, Tensor] = {}

    def at(self, site: int, found: list[Tensor | None]) -> list[Tensor]:
        (own,) = super().at(site, found)
        self.kept[site] = own
        return [own]


def pool(parts: Tensor, weights: Sequence[float]) -> Tensor:
    """Mean and variance of a whole, of those of its parts [N, 2, C] with weights that sum to 1."""
    both = parts.double()
    share = torch.tensor(weights, dtype=torch.float64)[:, None]
    mean = (share * both[:, 0]).sum(0)
    var = (share * (both[:, 1] + (both[:, 0] - mean).square())).sum(0)
    return torch.stack([mean, var]).float()


class Pooled(Statistics):
    """Segments are samples of one utterance, with weights that sum to 1; their statistics are pooled and
    kept. before: statistics from elsewhere, which count by `trust`."""

    def __init__(
        self, weights: Sequence[float], before: dict[int, Tensor] | None = None, trust: float = 0.0
    ) -> None:
        self._weights, self._before, self._trust = weights, before, trust
        self.kept: dict[int, Tensor] = {}

    def at(self, site: int, found: list[Tensor | None]) -> list[Tensor]:
        own = pool(torch.stack([stats for stats in found if stats is not None]), self._weights)
        if self._before is not None:
            own = pool(torch.stack([self._before[site], own]), [self._trust, 1 - self._trust])
        self.kept[site] = own
        return [own] * len(found)


class Frozen(Statistics):
    """Statistics from elsewhere, the same for every segment."""

    computes = False

    def __init__(self, kept: dict[int, Tensor]) -> None:
        self._kept = kept

    def at(self, site: int, found: list[Tensor | None]) -> list[Tensor]:
        return [self._kept[site]] * len(found)


class Carried:
    """A voice's statistics, from what it has said: `stats` as `Frozen` takes them, of `rows` rows."""

    def __init__(self) -> None:
        self.stats: dict[int, Tensor] = {}
        self.rows = 0

    def learn(self, stats: dict[int, Tensor], rows: int) -> None:
        """Take in the statistics of an utterance of so many rows."""
        share = rows / (rows + self.rows)
        self.stats = self.stats | {
            site: pool(torch.stack([self.stats[site], own]), [1 - share, share])
            if site in self.stats
            else own
            for site, own in stats.items()
        }
        self.rows = min(self.rows + rows, _MEMORY)

    def running(self, rows: int) -> Statistics:
        """For the next `rows` rows of a stream: by what came before and, as far as it is of their number, by
        themselves. What `running` gave is to be given to `follow` afterwards."""
        if not self.stats:
            return Pooled([1.0])
        if not rows:
            return Frozen(self.stats)
        return Pooled([1.0], self.stats, self.rows / (self.rows + rows))

    def follow(self, made: Statistics, rows: int) -> None:
        """Take over what a stream's next rows were normalised by."""
        if isinstance(made, Pooled):
            self.stats = made.kept
            self.rows = min(self.rows + rows, _MEMORY)

    def copy(self) -> Carried:
        other = Carried()
        other.stats, other.rows = self.stats, self.rows
        return other
