"""Weights and inputs of the HiFi-GAN reference, by formula, so that any program can make the same ones.

The expected numbers in `test_hifigan.py` came from StyleTTS 2's own `Modules/hifigan.py` (commit 5cedc71),
not part of this repository: its `Generator(128, [3, 7, 11], [10, 5, 3, 2], 32, [[1, 3, 5]] * 3,
[20, 10, 6, 4])` was given `weight(key, shape)` for every entry of its state dict, its `m_source.forward` was
replaced by `source()`, and it was run in fp32 on `features()` and `style()`, with torch 2.13.0 on a CPU.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

STEPS = 6


def wave(count: int, pace: float, phase: float) -> Tensor:
    steps = torch.arange(count, dtype=torch.float64)
    return torch.sin(pace * steps + phase) * torch.cos(0.0137 * steps * steps + phase)


def weight(key: str, shape: torch.Size) -> Tensor:
    """A tensor of StyleTTS 2's state dict, from its name there."""
    values = wave(math.prod(shape), 0.37, zlib.crc32(key.encode()) % 628 / 100)
    if "alpha" in key:
        values = 1 + 0.4 * values
    elif key.endswith("weight_g"):
        values = 0.12 + 0.06 * values
    elif ".fc." in key:
        values = 0.1 * values
    elif key.endswith("bias"):
        values = 0.2 * values
    return values.reshape(shape).float()


def features() -> Tensor:
    """[1,32,STEPS]"""
    return wave(32 * STEPS, 0.91, 0.4).reshape(1, 32, STEPS).float()


def style() -> Tensor:
    return wave(128, 1.7, 0.2).reshape(1, 128).float()


def source() -> Tensor:
    """The excitation [1, 300·STEPS]."""
    return 0.1 * wave(300 * STEPS, 0.05, 0.0).reshape(1, -1).float()
