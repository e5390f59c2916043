"""Voices drawn between and around the known ones, and the regression on them with which training begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.units import STYLE
from voicewright.voices.pack import Voicepack
from voicewright.voices.style_encoders import StyleEncoder

Floats = NDArray[np.float64]
_MIXED = 4
"""Known voices that a drawn one is mixed of, at most."""


@dataclass(frozen=True)
class Spread:
    """How known voices lie: `halves` [N, 256] their means over length, `curve` [510, 256] what is added."""

    halves: Floats
    curve: Floats

    @classmethod
    def of(cls, packs: Sequence[Voicepack]) -> Spread:
        rows = np.stack([pack.rows[:, 0] for pack in packs]).astype(np.float64)
        halves = rows.mean(1)
        return cls(halves, (rows - halves[:, None]).mean(0))

    def draw(self, rng: np.random.Generator) -> Floats:
        """A style [256]: each half a mixture of a few known ones, drawn out from the middle, moved along
        their main ways and a little anyhow."""
        style = np.zeros(2 * STYLE)
        middle = self.halves.mean(0)
        for half in (slice(0, STYLE), slice(STYLE, 2 * STYLE)):
            known = self.halves[:, half]
            count = int(rng.integers(1, min(_MIXED, len(known)) + 1))
            chosen = rng.choice(len(known), count, replace=False)
            mixed = rng.dirichlet(np.ones(count)) @ known[chosen]
            _, sizes, ways = np.linalg.svd(known - middle[half], full_matrices=False)
            along = rng.standard_normal(len(sizes)) * sizes / np.sqrt(len(known)) * rng.uniform(0, 0.6)
            style[half] = middle[half] + (mixed - middle[half]) * rng.uniform(0.7, 1.4) + along @ ways
            width = np.sqrt(np.square(sizes).sum() / known.size)
            style[half] += rng.standard_normal(STYLE) * width * rng.uniform(0, 0.5)
        return style

    def pack(self, style: Floats) -> Voicepack:
        return Voicepack.of((self.curve + style).astype(np.float32))


def begin(
    encoder: StyleEncoder, numbers: Floats, halves: Floats, real: Floats, ridge: float, heavy: int
) -> None:
    """The linear map of an encoder by ridge regression from drawn voices' numbers [N, D] to halves [N, 128].

    real [M, D]: numbers of people, by which scales are chosen too; the first `heavy` weigh five times more.
    """
    everything = np.concatenate([numbers, real])
    mean, scale = everything.mean(0), everything.std(0) + 1e-4
    scale[:heavy] /= 5
    z = (numbers - mean) / scale
    centre, middle = z.mean(0), halves.mean(0)
    x = z - centre
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (halves - middle))
    with torch.no_grad():
        for target, value in (
            (encoder.mean, mean), (encoder.scale, scale),
            (encoder.linear.weight, weights.T), (encoder.linear.bias, middle - centre @ weights),
        ):  # fmt: skip
            target.copy_(torch.from_numpy(np.ascontiguousarray(value)))
