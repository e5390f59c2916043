"""What a prosodic half makes a model do, and the way back: pitch and its spread from 128 numbers.

A small network that answers as the model's predictor does (`training/clone/map.py` teaches it, without any
sound), so that a half which somebody's timbre suggests can be moved to the pitch that was heard.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from voicewright.units import STYLE

HEARD = 2
"""Pitch (median, semitones over 1 Hz) and its spread (semitones)."""
WIDTH = 64
_TRUST = (0.25, 0.6)
"""How far what was heard may be missed, in semitones."""
_ROUNDS = 6


class ProsodyMap(nn.Module):
    """forward: prosodic halves [B, 128] → what is heard of them [B, 2]. It is taught apart: all buffers.

    `ways` [128, 128]: how halves of voices vary (their covariance), by which the shortest way is measured;
    `low`, `high` [2]: what the voices it was taught on were heard to do, beyond which it is not asked.
    """

    middle: Tensor
    size: Tensor
    linear: Tensor
    first: Tensor
    first_bias: Tensor
    second: Tensor
    second_bias: Tensor
    last: Tensor
    bias: Tensor
    ways: Tensor
    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        shapes = {
            "middle": (STYLE,), "size": (1,), "linear": (HEARD, STYLE), "first": (WIDTH, STYLE),
            "first_bias": (WIDTH,), "second": (WIDTH, WIDTH), "second_bias": (WIDTH,), "last": (HEARD, WIDTH),
            "bias": (HEARD,), "ways": (STYLE, STYLE), "low": (HEARD,), "high": (HEARD,),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))

    @property
    def taught(self) -> bool:
        return bool((self.high > self.low).all())

    def forward(self, halves: Tensor) -> Tensor:
        x = (halves - self.middle) / self.size
        inner = silu(silu(x @ self.first.T + self.first_bias) @ self.second.T + self.second_bias)
        return x @ self.linear.T + inner @ self.last.T + self.bias

    def settled(self, half: Tensor, wanted: Tensor) -> Tensor:
        """The half [128] nearest to `half` that is heard as `wanted` [2]: the most probable one, where halves
        vary as `ways` says and hearing errs by `_TRUST` (Gauss and Newton's rounds of it)."""
        trust = torch.tensor(_TRUST).square().diag()
        aim = torch.minimum(torch.maximum(wanted, self.low), self.high)
        found = half
        for _ in range(_ROUNDS):
            slope: Tensor = torch.autograd.functional.jacobian(lambda x: self(x[None])[0], found)
            off = aim - self(found[None])[0] + slope @ (found - half)
            across = self.ways @ slope.T
            found = half + across @ torch.linalg.solve(slope @ across + trust, off)
        return found
