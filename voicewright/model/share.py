"""A batch in parts: losses over clips that lie in several processes, equal to those of the whole batch.

A loss is a function of sums and means over a batch's clips. `Share` gives these: of a whole batch they are
what they are; of a part (`Part`) they are added up over all parts. Every process then has the whole batch's
loss, and its gradient with regard to the clips at hand; these gradients, added up over the processes, are the
whole batch's. So norms, ratios and masked means of a batch stay exact, not only means over clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor

Add = Callable[[Tensor], Tensor]
"""A vector → its sum over all parts, without gradient."""


class Share:
    """All of a batch's clips are here: sums and means are taken as they are, and torch's own state draws."""

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the batch, from the mean over the clips at hand, of which each counts alike."""
        return self.means([value])[0]

    def means(self, values: Sequence[Tensor]) -> list[Tensor]:
        """`mean` of several, of any shapes."""
        return list(values)

    def sums(self, *values: Tensor) -> list[Tensor]:
        """Sums over the batch, from sums over the clips at hand."""
        return list(values)

    def norms(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Euclidean norms over the batch, from those over the clips at hand."""
        return list(values)

    def kinds(self, found: Mapping[str, Sequence[Tensor]], counts: Mapping[str, int]) -> dict[str, Tensor]:
        """Means by name of what not every clip has, scalars; counts: how many the batch has of each."""
        return {name: torch.stack(list(values)).mean() for name, values in found.items()}

    def total(self, count: int) -> int:
        """How many there are in the batch of what each clip has equally many of."""
        return count

    def mine(self, rows: Tensor) -> Tensor:
        """The rows of the clips at hand, from those of a whole batch."""
        return rows

    def rand(self, *shape: int, device: torch.device) -> Tensor:
        """Uniform numbers, the same in every part; to be drawn for a whole batch, then `mine`."""
        return torch.rand(*shape, device=device)

    def randn(self, *shape: int, device: torch.device) -> Tensor:
        """Normal numbers, as `rand`."""
        return torch.randn(*shape, device=device)

    def randint(self, end: int) -> int:
        """A number below `end`, the same in every part."""
        return int(torch.randint(0, end, ()))

    def randperm(self, count: int) -> list[int]:
        """An order of so many, the same in every part."""
        found: list[int] = torch.randperm(count).tolist()
        return found


WHOLE = Share()


@dataclass
class Part(Share):
    """Some of a batch's clips.

    rows: which. count: how many the batch has. among: over how many of them losses are taken; fewer than
    `count` where a step takes its batch in pieces. empty: nothing is here; the one row stands in, so that
    every process computes the same, and counts nothing. seed: of what all parts draw alike.
    """

    rows: Sequence[int]
    count: int
    among: int
    add: Add
    seed: int = 0
    empty: bool = False
    _generators: dict[str, torch.Generator] = field(default_factory=dict)

    def means(self, values: Sequence[Tensor]) -> list[Tensor]:
        return self.sums(*(value.float() * (len(self.rows) / self.among) for value in values))

    def sums(self, *values: Tensor) -> list[Tensor]:
        local = torch.cat([value.float().reshape(-1) for value in values])
        added = self.add(torch.zeros_like(local) if self.empty else local.detach())
        whole = _Added.apply(local, added, 0.0 if self.empty else 1.0)
        pieces = whole.split([prod(value.shape) for value in values])
        return [piece.view(value.shape) for piece, value in zip(pieces, values, strict=True)]

    def norms(self, values: Sequence[Tensor]) -> list[Tensor]:
        return [
            value.clamp_min(1e-20).sqrt()
            for value in self.sums(*(value.float().square() for value in values))
        ]

    def kinds(self, found: Mapping[str, Sequence[Tensor]], counts: Mapping[str, int]) -> dict[str, Tensor]:
        none = next(iter(found.values()))[0].new_zeros(())
        names = [name for name, count in counts.items() if count]
        here = [torch.stack([none, *found.get(name, ())]).sum() for name in names]
        # The loop weighs a piece by its clips of whatever kind.
        scale = self.count / self.among
        return {
            name: total * (scale / counts[name]) for name, total in zip(names, self.sums(*here), strict=True)
        }

    def total(self, count: int) -> int:
        return count // len(self.rows) * self.among

    def mine(self, rows: Tensor) -> Tensor:
        return rows[torch.tensor(self.rows, device=rows.device)]

    def rand(self, *shape: int, device: torch.device) -> Tensor:
        return torch.rand(*shape, device=device, generator=self._generator(device))

    def randn(self, *shape: int, device: torch.device) -> Tensor:
        return torch.randn(*shape, device=device, generator=self._generator(device))

    def randint(self, end: int) -> int:
        return int(torch.randint(0, end, (), generator=self._generator(torch.device("cpu"))))

    def randperm(self, count: int) -> list[int]:
        found: list[int] = torch.randperm(count, generator=self._generator(torch.device("cpu"))).tolist()
        return found

    def _generator(self, device: torch.device) -> torch.Generator:
        name = str(device)
        if name not in self._generators:
            self._generators[name] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[name]


class _Added(torch.autograd.Function):
    """A sum over parts, whose gradient goes to this part's own summand."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, added: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return added.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0] * ctx.weight, None, None


def parted(count: int, number: int, of: int, pieces: int, add: Add, seed: int) -> list[Part]:
    """A batch of `count` clips, for process `number` of `of`, to be taken in so many pieces.

    Each piece is `among` / `count` of the batch, over all processes. seed: of what all draw alike.
    """
    own = [range(rank, count, of) for rank in range(of)]
    found = []
    for piece in range(pieces):
        rows = list(own[number][piece::pieces])
        among = sum(len(of_rank[piece::pieces]) for of_rank in own)
        if among:
            found.append(Part(rows or [0], count, among, add, seed, not rows))
    return found
