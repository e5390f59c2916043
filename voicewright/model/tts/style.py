"""StyleTTS 2's style encoders: a mel spectrogram becomes one half of a voice vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.config import StyleEncoder as StyleConfig
from voicewright.model.layers import spectral_norm
from voicewright.units import STYLE

MIN_FRAMES = 65
"""Mel frames: four halvings must leave the five columns that the last convolution covers."""


class Halve(nn.Module):
    """Learned halving of both axes (depthwise)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = spectral_norm(nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H/2,W/2], odd sizes rounded up."""
        return self.conv(x)


class StyleBlock(nn.Module):
    """Residual block that halves both axes: [B,C,H,W] -> [B,C',H/2,W/2], an odd W is rounded up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(inputs, inputs, 3, padding=1))
        self.conv2 = spectral_norm(nn.Conv2d(inputs, outputs, 3, padding=1))
        self.downsample_res = Halve(inputs)
        self.conv1x1 = (
            spectral_norm(nn.Conv2d(inputs, outputs, 1, bias=False)) if inputs != outputs else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.downsample_res(self.conv1(F.leaky_relu(x, 0.2)))
        y = self.conv2(F.leaky_relu(y, 0.2))
        if x.shape[3] % 2:
            x = torch.cat([x, x[..., -1:]], dim=3)
        # Pooling before the 1x1 convolution gives the same sum for a quarter of the work.
        return (self.conv1x1(F.avg_pool2d(x, 2)) + y) / math.sqrt(2)


class StyleEncoder(nn.Module):
    """Mel [B,1,80,T], T >= 65 -> style [B,128]."""

    def __init__(self, config: StyleConfig, style: int = STYLE) -> None:
        super().__init__()
        width = config.channels
        blocks: list[nn.Module] = [spectral_norm(nn.Conv2d(1, width, 3, padding=1))]
        for _ in range(4):
            wider = min(2 * width, config.max_channels)
            blocks.append(StyleBlock(width, wider))
            width = wider
        blocks += [nn.LeakyReLU(0.2), spectral_norm(nn.Conv2d(width, width, 5))]
        blocks += [nn.AdaptiveAvgPool2d(1), nn.LeakyReLU(0.2)]
        self.shared = nn.Sequential(*blocks)
        self.unshared = nn.Linear(width, style)

    def forward(self, mel: Tensor) -> Tensor:
        """Raises VoicewrightError for fewer than 65 frames."""
        if mel.shape[3] < MIN_FRAMES:
            raise VoicewrightError(
                f"A style needs at least {MIN_FRAMES} mel frames (0.8 s of audio) but got {mel.shape[3]}; "
                "use a longer recording."
            )
        return self.unshared(self.shared(mel).flatten(1))


class StyleEncoders(nn.Module):
    """The pair that makes a voice vector: acoustic half first, prosodic half second."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths = config.voicewright.style_encoder or StyleConfig()
        self.acoustic = StyleEncoder(widths, config.style_dim)
        self.prosodic = StyleEncoder(widths, config.style_dim)

    def encode(self, mel: Tensor) -> Tensor:
        """Mel [B,80,T] ("styletts2" preset) -> [B,256]."""
        mel = mel[:, None]
        return torch.cat([self.acoustic(mel), self.prosodic(mel)], dim=1)

    def forward(self, mel: Tensor) -> Tensor:
        """As `encode`: [B,80,T] -> [B,256]."""
        return self.encode(mel)
