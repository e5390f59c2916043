"""In which precision the networks around a conversion multiply."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import UsageError

Precision = Literal["auto", "fp32", "bf16"]
PRECISIONS = ("auto", "fp32", "bf16")


def fastest() -> torch.dtype:
    """bf16 where the processor multiplies it faster than fp32: AVX-512 with BF16, or AMX."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32


def choose(precision: str = "auto") -> torch.dtype:
    """auto: bf16 where the processor multiplies it twice as fast (AVX-512 with BF16, or AMX), else fp32.

    bf16 is of products alone: sums, norms and what is carried from layer to layer stay in fp32 where that
    matters. Raises UsageError for another word.
    """
    if precision not in PRECISIONS:
        raise UsageError(f"there is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}.")
    if precision == "auto":
        return fastest()
    return torch.bfloat16 if precision == "bf16" else torch.float32


def project(linear: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer in the precision of its weights."""
    return F.linear(x.to(linear.weight.dtype), linear.weight, linear.bias)
