"""The embedded conversion's content network: anybody's log-mel → what a voice's decoder needs to
say the same.

Per 25 ms frame it gives the decoder's text features, as the text encoder would for the phone that is being
said, and the phone itself; per 12.5 ms energy as the target speaker would have it, and voicing. It is taught
on the target's recordings in disguise (`voicewright.audio.augment`), so nothing of the source's timbre has a
reason to get through. Convolutions alone: what it says of a frame depends on `frames_back` frames before and
`frames_ahead` after.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from voicewright.audio.mel import PRESETS
from voicewright.records import Strict

MEL = "content"
"""The mel preset that the network reads."""
LOUD = 4.6
"""Nats (20 dB): frames this far below the loudest are no speech and do not count in the mean spectrum."""
FLOOR = -5.0
"""Log power below which no band's mean is believed: silence is not stretched into speech."""
DEPTH = 3.0
"""Nats that one unit of the network's input stands for."""
LEAST = -4.0
"""The lowest value that the network sees: 52 dB below a band's mean."""


class ContentConfig(Strict):
    """Widths of the content network. `ahead` of a block's kernel - 1 frames are in the future."""

    channels: int = Field(256, gt=0)
    blocks: int = Field(8, gt=0)
    expansion: int = Field(3, gt=0)
    kernel: int = Field(9, gt=0)
    ahead: int = Field(2, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    bottleneck: bool = False
    """Whether the text features see nothing but the phones' probabilities."""

    @property
    def frames_ahead(self) -> int:
        """25 ms frames of future that an output frame depends on, the stem's included."""
        return self._deep * self.ahead + 2

    @property
    def frames_back(self) -> int:
        return self._deep * (self.kernel - 1 - self.ahead) + 3

    @property
    def _deep(self) -> int:
        return self.blocks + (2 if self.bottleneck else 0)


@dataclass
class Content:
    """text [B, H, F], phones (logits) [B, K, F], energy and voicing (logits) [B, 2F]."""

    text: Tensor
    phones: Tensor
    energy: Tensor
    voicing: Tensor


def mean_spectrum(mel: Tensor) -> Tensor:
    """Mean of each band over the loud frames: mel [B, 80, T] (preset "content") → [B, 80, 1].

    It stands for channel, level and much of the speaker; `ContentNet` hears what differs from it.
    """
    level = torch.logsumexp(mel.float(), 1, keepdim=True)
    loud = (level > level.quantile(0.95, dim=2, keepdim=True) - LOUD).to(mel.dtype)
    return ((mel * loud).sum(2, keepdim=True) / loud.sum(2, keepdim=True)).clamp_min(FLOOR)


def normalised(mel: Tensor, mean: Tensor) -> Tensor:
    """mel [B, 80, T] against its mean spectrum [B, 80, 1], at the network's scale."""
    return ((mel - mean) / DEPTH).clamp(LEAST, 3.0)


class Block(nn.Module):
    """Depthwise convolution, then a wider pair of linear layers, beside a bypass: x [B, T, C] → [B, T, C]."""

    def __init__(self, config: ContentConfig) -> None:
        super().__init__()
        width = config.channels
        self.edges = (config.kernel - 1 - config.ahead, config.ahead)
        self.depthwise = nn.Conv1d(width, width, config.kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.expansion * width)
        self.narrow = nn.Linear(config.expansion * width, width)
        self.gain = nn.Parameter(torch.full((width,), 0.3))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(nn.functional.pad(x.transpose(1, 2), self.edges)).transpose(1, 2)
        y = self.narrow(nn.functional.gelu(self.widen(self.norm(y)), approximate="tanh"))
        return x + self.gain * self.dropout(y)


class ContentNet(nn.Module):
    """See the module. text: width of the decoder's text features; phones: how many token ids there are."""

    def __init__(self, config: ContentConfig, text: int, phones: int) -> None:
        super().__init__()
        self.config = config
        self.text_width = text
        width, bands = config.channels, PRESETS[MEL].n_mels
        self.stem = nn.Conv1d(bands, width, 5, padding=2)
        self.halve = nn.Conv1d(width, width, 4, stride=2, padding=1)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.phones = nn.Linear(width, phones)
        self.curves = nn.Linear(width, 4)
        self.text: nn.Module
        if config.bottleneck:
            self.text = nn.Sequential(
                nn.Linear(phones, width),
                Block(config),
                Block(config),
                nn.LayerNorm(width),
                nn.Linear(width, text),
            )
        else:
            self.text = nn.Linear(width, text)

    def forward(self, x: Tensor) -> Content:
        """x: `normalised` mel [B, 80, 2F]."""
        y = nn.functional.gelu(self.stem(x), approximate="tanh")
        y = self.halve(y).transpose(1, 2)
        for block in self.blocks:
            y = block(y)
        y = self.norm(y)
        phones = self.phones(y)
        seen = phones.float().softmax(2).to(phones.dtype) if self.config.bottleneck else y
        curves = self.curves(y).float()
        return Content(
            text=self.text(seen).transpose(1, 2),
            phones=phones.transpose(1, 2),
            energy=curves[..., :2].flatten(1),
            voicing=curves[..., 2:].flatten(1),
        )
