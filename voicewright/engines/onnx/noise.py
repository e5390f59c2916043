"""Noise that a graph without a random generator can make: a function of (seed, stream, position).

ONNX's own RandomNormal keeps a state in the session, so the second call of a file never sounds as its first;
and no consumer of Kokoro files can hand noise in. These numbers come from whole-number arithmetic modulo the
prime 2³¹ - 1 (additions, products and remainders of int64, exact on every runtime), and are made normal by
the Box-Muller formula. Torch and ONNX give the same ones, so that an export can be compared sample by sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PRIME = 2**31 - 1
_STEP, _SEED, _STREAM = 48_271, 69_621, 1_013_904_223
_ROUNDS = (1_664_525, 1_103_515_245, 742_938_285)


class HashNoise:
    """Draws for `Source`: `seed` int64 [1]; `mix` the weight [1,C] with which the source sums its channels.

    C independent channels, summed with weights w, are as noisy as one channel times |w|; so one channel is
    drawn and handed to each in proportion to its weight: the sum has the same distribution at 1/C of the
    cost.
    """

    def __init__(self, seed: Tensor, mix: Tensor) -> None:
        self.seed = seed % PRIME
        self.share = mix / mix.norm().clamp(min=1e-12)

    def __call__(self, shape: torch.Size, normal: bool) -> Tensor:
        """Uniform [1,1], or normal [1,N,C] values, fp32."""
        if not normal:
            return self.uniform(shape[1], 2)[None]
        radius = torch.sqrt(-2 * torch.log(self.uniform(shape[1], 0)))
        angle = self.uniform(shape[1], 1) * (2 * math.pi)
        return (radius * torch.cos(angle))[None, :, None] * self.share

    def uniform(self, count: int, stream: int) -> Tensor:
        """`count` values in (0, 1], fp32; streams are independent of each other."""
        x = (torch.arange(count, device=self.seed.device) + 1) * _STEP
        x = (x + self.seed * _SEED + (stream + 1) * _STREAM) % PRIME
        for add in _ROUNDS:
            x = (x * (x + add) + add) % PRIME  # below 2³¹ · 2³², so int64 holds it
        return (x.float() + 0.5) / PRIME
