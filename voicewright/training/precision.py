"""Half precision in training: autocast, and the loss scale that keeps fp16's gradients from vanishing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from voicewright.training.state import Counters

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """What a forward pass runs under in a recipe's precision."""
    if precision in HALVES:
        return torch.autocast(device.type, HALVES[precision])
    return nullcontext()


class LossScale:
    """Keeps fp16's gradients from vanishing: losses are scaled up, gradients down again.

    Halved where gradients overflow, doubled after many steps without; always 1 in other precisions. It
    lives in the counters, so that resuming is exact.
    """

    PATIENCE = 2000

    def __init__(self, counters: Counters, active: bool) -> None:
        self.counters, self.active = counters, active

    @property
    def value(self) -> float:
        return self.counters.scale if self.active else 1.0

    def undo(self, parameters: Sequence[nn.Parameter]) -> None:
        if self.active:
            torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], 1 / self.value)

    def held(self) -> None:
        """A step went well."""
        if self.active:
            self.counters.steady += 1
            if self.counters.steady >= self.PATIENCE:
                self.counters.scale, self.counters.steady = 2 * self.counters.scale, 0

    def lower(self) -> bool:
        """After an overflow; False when there is nothing left to lower, and something is wrong."""
        if not self.active or self.counters.scale <= 1:
            return False
        self.counters.scale, self.counters.steady = self.counters.scale / 2, 0
        return True
