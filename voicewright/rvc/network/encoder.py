"""Content features and coarse pitch → mean and log deviation of the latent's prior (`enc_p`).

Facts (shapes, order, key names) follow VITS and RVC: post-norm transformer layers with relative positions
within ±10 frames, whose embeddings all heads share.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.layers import ChannelNorm
from voicewright.rvc.network.config import PITCH_BINS, SynthesizerConfig
from voicewright.rvc.network.layers import SLOPE, float_mask

WINDOW = 10
"""Frames to either side that have a relative position."""
_HIDDEN = -1e4
"""Score of what may not be attended to; a row that may attend to nothing gives even weights."""


def _band(x: Tensor) -> Tensor:
    """The diagonals of x [B,H,T,T+20] on which relative positions lie: a view [B,H,T,21].

    Entry (t, k) is column t + k, which stands for frame t + k − 10.
    """
    items, heads, frames, _ = x.shape
    width = 2 * WINDOW + 1
    strides = (x.stride(0), x.stride(1), x.stride(2) + x.stride(3), x.stride(3))
    return x.as_strided((items, heads, frames, width), strides, x.storage_offset())


class RelativeAttention(nn.Module):
    """Self-attention over [B,C,T] with relative keys and values.

    Scores have ten more columns on either side than there are frames, so that the relative positions are
    plain diagonals of them, and a view serves; those columns get no weight.
    """

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.width = heads, channels // heads
        self.conv_q = nn.Conv1d(channels, channels, 1)
        self.conv_k = nn.Conv1d(channels, channels, 1)
        self.conv_v = nn.Conv1d(channels, channels, 1)
        self.conv_o = nn.Conv1d(channels, channels, 1)
        self.drop = nn.Dropout(dropout)
        deviation = self.width**-0.5
        self.emb_rel_k = nn.Parameter(torch.empty(1, 2 * WINDOW + 1, self.width))
        self.emb_rel_v = nn.Parameter(torch.empty(1, 2 * WINDOW + 1, self.width))
        for table in (self.emb_rel_k, self.emb_rel_v):
            nn.init.normal_(table, 0.0, deviation)
        for conv in (self.conv_q, self.conv_k, self.conv_v):
            nn.init.xavier_uniform_(conv.weight)

    def forward(self, x: Tensor, hidden: Tensor | None) -> Tensor:
        """`hidden` bool [B,1,T,T]: pairs of which one is padding; None: nothing is padded."""
        items, channels, frames = x.shape

        def split(y: Tensor) -> Tensor:
            return y.view(items, self.heads, self.width, -1).transpose(2, 3)

        query = split(self.conv_q(x)) / math.sqrt(self.width)
        key = split(F.pad(self.conv_k(x), (WINDOW, WINDOW)))
        value = split(F.pad(self.conv_v(x), (WINDOW, WINDOW)))
        scores = query @ key.transpose(2, 3)
        _band(scores).add_(query @ self.emb_rel_k.transpose(1, 2))
        if hidden is not None:
            scores[..., WINDOW:-WINDOW].masked_fill_(hidden, _HIDDEN)
        scores[..., :WINDOW] = -math.inf
        scores[..., -WINDOW:] = -math.inf
        weights = self.drop(torch.softmax(scores, dim=3))
        out = weights @ value + _band(weights) @ self.emb_rel_v
        return self.conv_o(out.transpose(2, 3).reshape(items, channels, frames))


class FeedForward(nn.Module):
    """Two convolutions with a ReLU between; padding never enters them."""

    def __init__(self, channels: int, inner: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(channels, inner, kernel)
        self.conv_2 = nn.Conv1d(inner, channels, kernel)
        self.drop = nn.Dropout(dropout)
        self._sides = ((kernel - 1) // 2, kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B,C,T], mask [B,1,T] → [B,C,T]."""
        x = self.conv_1(F.pad(x * mask, self._sides))
        x = self.drop(torch.relu(x))
        return self.conv_2(F.pad(x * mask, self._sides)) * mask


class Transformer(nn.Module):
    """Attention and feed-forward layers, each added to its input and then normed."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        channels, count = config.hidden, config.layers
        self.drop = nn.Dropout(config.dropout)
        self.attn_layers = nn.ModuleList(
            RelativeAttention(channels, config.heads, config.dropout) for _ in range(count)
        )
        self.norm_layers_1 = nn.ModuleList(ChannelNorm(channels) for _ in range(count))
        self.ffn_layers = nn.ModuleList(
            FeedForward(channels, config.filter, config.kernel, config.dropout) for _ in range(count)
        )
        self.norm_layers_2 = nn.ModuleList(ChannelNorm(channels) for _ in range(count))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B,hidden,T], mask [B,1,T] → [B,hidden,T]."""
        real = mask.bool()
        hidden = None if bool(real.all()) else ~(real[:, :, :, None] & real[:, :, None])
        x = x * mask
        layers = zip(self.attn_layers, self.norm_layers_1, self.ffn_layers, self.norm_layers_2, strict=True)
        for attend, norm1, feed, norm2 in layers:
            x = norm1(x + self.drop(attend(x, hidden)))
            x = norm2(x + self.drop(feed(x, mask)))
        return x * mask


class TextEncoder(nn.Module):
    """`enc_p`: content [B,T,256|768], coarse pitch [B,T] → mean, log deviation [B,inter,T], mask [B,1,T]."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        self.emb_phone = nn.Linear(config.phone_width, config.hidden)
        if config.f0:
            self.emb_pitch = nn.Embedding(PITCH_BINS, config.hidden)
        self.encoder = Transformer(config)
        self.proj = nn.Conv1d(config.hidden, 2 * config.inter, 1)
        self._scale = math.sqrt(config.hidden)
        self._f0 = config.f0

    def forward(
        self, phone: Tensor, pitch: Tensor | None, lengths: Tensor, skip: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """skip: frames at the head that give context alone and are left out of what is returned."""
        x = self.emb_phone(phone)
        if self._f0:
            if pitch is None:
                raise ValueError("this synthesizer follows a pitch and was given none")
            x = x + self.emb_pitch(pitch)
        x = F.leaky_relu(x * self._scale, SLOPE).transpose(1, 2)
        mask = float_mask(lengths, x.shape[2], x)
        x = self.encoder(x * mask, mask)[:, :, skip:]
        mask = mask[:, :, skip:]
        mean, logs = (self.proj(x) * mask).chunk(2, dim=1)
        return mean, logs, mask
