"""RMVPE's tensors in their file's names, with weights that follow from each name alone."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import torch
from torch import Tensor

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def _norm(name: str, width: int) -> Shapes:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (width,)
    yield f"{name}.num_batches_tracked", ()


def _blocks(name: str, before: int, width: int) -> Shapes:
    for index in range(4):
        source = before if index == 0 else width
        yield f"{name}.{index}.conv.0.weight", (width, source, 3, 3)
        yield from _norm(f"{name}.{index}.conv.1", width)
        yield f"{name}.{index}.conv.3.weight", (width, width, 3, 3)
        yield from _norm(f"{name}.{index}.conv.4", width)
        if source != width:
            yield f"{name}.{index}.shortcut.weight", (width, source, 1, 1)
            yield f"{name}.{index}.shortcut.bias", (width,)


def shapes() -> Shapes:
    yield from _norm("unet.encoder.bn", 1)
    widths = [16, 32, 64, 128, 256]
    for index, width in enumerate(widths):
        yield from _blocks(f"unet.encoder.layers.{index}.conv", [1, *widths][index], width)
    for index in range(4):
        yield from _blocks(f"unet.intermediate.layers.{index}.conv", 512 if index else 256, 512)
    for index, width in enumerate(reversed(widths)):
        name = f"unet.decoder.layers.{index}"
        yield f"{name}.conv1.0.weight", (2 * width, width, 3, 3)
        yield from _norm(f"{name}.conv1.1", width)
        yield from _blocks(f"{name}.conv2", 2 * width, width)
    yield "cnn.weight", (3, 16, 3, 3)
    yield "cnn.bias", (3,)
    for way in ("", "_reverse"):
        yield f"fc.0.gru.weight_ih_l0{way}", (768, 384)
        yield f"fc.0.gru.weight_hh_l0{way}", (768, 256)
        yield f"fc.0.gru.bias_ih_l0{way}", (768,)
        yield f"fc.0.gru.bias_hh_l0{way}", (768,)
    yield "fc.1.weight", (360, 512)
    yield "fc.1.bias", (360,)


def made(name: str, shape: tuple[int, ...]) -> Tensor:
    if not shape:
        return torch.tensor(1)
    rng = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    noise = torch.randn(shape, generator=rng)
    if name.endswith("running_var"):
        return 1 + 0.2 * noise.abs()
    if len(shape) == 1:
        gain = 1.0 if name.endswith(".weight") else 0.0
        return gain + 0.1 * noise - (2.0 if name == "fc.1.bias" else 0.0)
    scale = 0.15 if name == "fc.1.weight" else 0.7 * math.sqrt(2 / math.prod(shape[1:]))
    return scale * noise


def state() -> dict[str, Tensor]:
    return {name: made(name, shape) for name, shape in shapes()}


def sound(seconds: float) -> Tensor:
    """A gliding tone with harmonics, silence at its end, and faint noise: the same on every machine."""
    time = torch.arange(round(seconds * 16_000), dtype=torch.float64) / 16_000
    phase = 2 * math.pi * (150 * time + 40 * time.square())
    tone = sum(torch.sin(k * phase) / k for k in range(1, 9))
    rng = torch.Generator().manual_seed(11)
    noise = torch.randn(len(time), generator=rng, dtype=torch.float64)
    return (0.2 * tone * (time < 0.8 * seconds) + 0.001 * noise).float()
