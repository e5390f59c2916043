"""Layers of Beatrice 2 as its rc.0 files hold them: folded for inference.

Layer norms inside blocks have no affine part of their own, layer scales and weight normalisation are
multiplied into the weights, and queries and keys carry head_dim^(-1/4) each. Tensors follow the names of the
modules here; `files.py` knows in which order and shape they lie on disk.

Source: the rc.0 trainer of Project Beatrice (MIT), whose dump functions define the format; this is a
reimplementation, not its code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 4


class DelayedConv(nn.Conv1d):
    """Convolution whose output at frame t sees frames up to t + delay. x [B, C, T] → [B, C', T]."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, delay: int = 0, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, groups=groups, bias=bias)
        self.edges = (kernel - 1 - delay, delay)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.edges))


class InterleavedAttention(nn.Module):
    """Causal self-attention among frames 40 ms apart. x [B, T, C], T a multiple of 4 → [B, T, C].

    Every fourth frame belongs to one sequence, so four sequences run side by side.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(channels, 3 * channels)
        """Rows ordered by head, then query, key, value."""
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, channels = x.shape
        rows = (
            x.view(batch, length // 4, 4, channels).transpose(1, 2).reshape(batch * 4, length // 4, channels)
        )
        parts = self.inputs(rows).view(batch * 4, length // 4, HEADS, 3, channels // HEADS)
        query, key, value = parts.permute(3, 0, 2, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0)
        rows = self.output(mixed.transpose(1, 2).reshape(batch * 4, length // 4, channels))
        return rows.view(batch, 4, length // 4, channels).transpose(1, 2).reshape(batch, length, channels)


class VoiceAttention(nn.Module):
    """Attention from frames to a voice's memory. x [B, T, C], memory [B, M, K] → [B, T, C]."""

    def __init__(self, channels: int, memory: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, memory)
        self.output = nn.Linear(memory, channels)
        self.memory = nn.Linear(memory, 2 * memory)
        """Rows ordered by head, then key, value. On disk these lie in a file of their own."""

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        batch, length, _ = x.shape
        size = self.query.out_features // HEADS
        query = self.query(x).view(batch, length, HEADS, size).transpose(1, 2)
        parts = self.memory(memory).view(batch, memory.shape[1], HEADS, 2, size)
        key, value = parts.permute(3, 0, 2, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.output(mixed.transpose(1, 2).reshape(batch, length, HEADS * size))


class Block(nn.Module):
    """ConvNeXt block, optionally behind attention. x [B, C, T] → [B, C, T]."""

    def __init__(
        self,
        channels: int,
        inner: int,
        kernel: int,
        *,
        normed: bool,
        interleaved: bool = False,
        memory: int | None = None,
    ) -> None:
        super().__init__()
        self.normed = normed
        self.attention = InterleavedAttention(channels) if interleaved else None
        self.voice = VoiceAttention(channels, memory) if memory else None
        self.depthwise = DelayedConv(channels, channels, kernel, groups=channels)
        self.widen = nn.Linear(channels, inner)
        self.narrow = nn.Linear(inner, channels)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        if self.attention is not None:
            x = x + self.attention(_norm(x.transpose(1, 2))).transpose(1, 2)
        if self.voice is not None:
            assert memory is not None
            x = x + self.voice(_norm(x.transpose(1, 2)), memory).transpose(1, 2)
        y = self.depthwise(x).transpose(1, 2)
        if self.normed:
            y = _norm(y)
        y = self.narrow(F.gelu(self.widen(y), approximate="tanh"))
        return x + y.transpose(1, 2)


class Stack(nn.Module):
    """Embedding convolution, then blocks. x [B, inputs, T] → [B, channels, T].

    `normed` stacks have layer norms, with weights, after the embedding and after the last block; the others
    (weight standardisation in training, folded here) have none at all.
    """

    def __init__(
        self,
        channels: int,
        inner: int,
        blocks: int,
        *,
        kernel: int,
        embed: int,
        delay: int = 0,
        normed: bool = True,
        interleaved: bool = False,
        memory: int | None = None,
    ) -> None:
        super().__init__()
        self.interleaved = interleaved
        self.embed = DelayedConv(channels, channels, embed, delay=delay)
        self.first_norm = nn.LayerNorm(channels) if normed else None
        self.blocks = nn.ModuleList(
            Block(channels, inner, kernel, normed=normed, interleaved=interleaved, memory=memory)
            for _ in range(blocks)
        )
        self.last_norm = nn.LayerNorm(channels) if normed else None

    def layers(self) -> list[Block]:
        """The blocks, in order."""
        return [block for block in self.blocks if isinstance(block, Block)]

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        x = self.embed(x)
        if self.first_norm is not None:
            x = self.first_norm(x.transpose(1, 2)).transpose(1, 2)
        length = x.shape[2]
        if self.interleaved and length % 4:
            x = F.pad(x, (0, -length % 4))
        for block in self.blocks:
            x = block(x, memory)
        x = x[:, :, :length]
        if self.last_norm is not None:
            x = self.last_norm(x.transpose(1, 2)).transpose(1, 2)
        return x


def _norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis without weights. [..., C] → [..., C]."""
    return F.layer_norm(x, (x.shape[-1],))


def gelu(x: Tensor) -> Tensor:
    """GELU in its tanh form, as these networks were trained with."""
    return F.gelu(x, approximate="tanh")


def shift_right(x: Tensor, frames: int) -> Tensor:
    """Later by so many frames, the beginning mirrored. x [B, C, T] → [B, C, T]; T above 2 · frames."""
    if frames == 0:
        return x
    kept = x[..., : x.shape[-1] - frames]
    return torch.cat([kept[..., 1 : frames + 1].flip(-1), kept], dim=-1)
