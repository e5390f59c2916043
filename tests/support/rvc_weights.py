"""Weights and inputs of conversion synthesizers that anyone can make again: noise seeded by names."""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from voicewright.rvc.network.config import SynthesizerConfig


def noise(name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers that depend on the name alone."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state dictionary of plausible size: no layer dies, none explodes, the last tanh is not saturated.

    Rules by name: `gamma` 1 + 0.1 n; `weight_g` 0.7 (1 + 0.1 |n|); weights n / √(fan in); biases 0.05 n;
    embeddings 0.3 n. n is `noise`.
    """
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        n = noise(name, shape)
        if name.endswith("gamma"):
            state[name] = 1 + 0.1 * n
        elif name.endswith("weight_g"):
            state[name] = 0.7 * (1 + 0.1 * n.abs())
        elif name.endswith(("beta", "bias")):
            state[name] = 0.05 * n
        elif "emb_" in name and "emb_phone" not in name:
            state[name] = 0.3 * n
        else:
            state[name] = n / math.sqrt(math.prod(shape[1:]))
    return state


def inputs(config: str, width: int, frames: int = 48, batch: int = 2) -> dict[str, Tensor]:
    """phone, lengths, pitch, f0 (a glide with unvoiced ends), speaker; the second item is shorter."""
    f0 = 120 + 2.5 * torch.arange(frames)[None].float() + 40 * torch.arange(batch)[:, None].float()
    f0[:, :5] = 0
    f0[:, -7:-3] = 0
    return {
        "phone": noise(f"{config}.phone", (batch, frames, width)),
        "lengths": torch.tensor([frames, frames - 9][:batch]),
        "pitch": ((f0 / 5).long() + 1).clamp(1, 255),
        "f0": f0,
        "speaker": torch.tensor([0, 1][:batch]),
    }


def reduced(config: SynthesizerConfig) -> SynthesizerConfig:
    """The same synthesizer in narrow: every stage, kernel and dilation, few channels."""
    return replace(
        config,
        hidden=32,
        inter=32,
        filter=64,
        layers=2,
        initial_channels=64,
        gin=16,
        speakers=3,
        spec_channels=33,
    )


def digest(shapes: dict[str, tuple[int, ...]]) -> str:
    """SHA-256 over all names and shapes."""
    lines = [f"{name} {list(shape)}" for name, shape in sorted(shapes.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def summary(x: Tensor) -> dict[str, object]:
    """A tensor in a few numbers: shape, Euclidean length, sum, and eight of its values."""
    flat = x.detach().double().flatten()
    places = torch.linspace(0, len(flat) - 1, 8).long()
    return {
        "shape": list(x.shape),
        "norm": round(flat.norm().item(), 7),
        "sum": round(flat.sum().item(), 7),
        "values": [round(value, 7) for value in flat[places].tolist()],
    }
