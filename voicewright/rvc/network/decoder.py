"""Latent and F0 → samples: HiFi-GAN whose stages read a sine of F0, or no F0 at all (`dec`).

Facts (shapes, order, key names, levels) follow RVC.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.tts.source import random_like
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.layers import SLOPE, NormedConv, NormedTransposed

AMPLITUDE = 0.1
NOISE_VOICED, NOISE_UNVOICED = 0.003, AMPLITUDE / 3
LAST_SLOPE = 0.01
"""LeakyReLU's before the last convolution: torch's default there, and all public weights know it."""


def phase(f0: Tensor, hop: int, rate: int) -> Tensor:
    """Turns of a sine whose frequency is constant within a frame: f0 [B,T] Hz → [B, hop·T], wrapped, fp32.

    Accumulated in fp64, so that an hour is as exact as a second.
    """
    step = f0.double() / rate
    turns = step[:, :, None] * torch.arange(1, hop + 1, device=f0.device, dtype=torch.float64)
    ends = (step * hop) % 1
    starts = (torch.cumsum(ends, dim=1) - ends) % 1
    turns = turns + starts[:, :, None]
    return (turns - turns.round()).flatten(1).float()


class Excitation(nn.Module):
    """`m_source`: f0 [B,T] in Hz → a sine with a little noise, noise alone where it is 0: [B,1,hop·T]."""

    def __init__(self, hop: int, rate: int) -> None:
        super().__init__()
        self.hop, self.rate = hop, rate
        self.l_linear = nn.Linear(1, 1)

    def forward(self, f0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        with torch.autocast(f0.device.type, enabled=False):
            with torch.no_grad():
                f0 = f0.float()
                # Upstream draws a start phase here and then sets it to zero; the draw is kept, so that
                # equal seeds give equal noise.
                random_like(torch.Size([1, 1, 1]), f0.device, generator, normal=False)
                wave = torch.sin(phase(f0, self.hop, self.rate) * (2 * torch.pi)) * AMPLITUDE
                voiced = (f0 > 0).float().repeat_interleave(self.hop, dim=1)
                level = voiced * NOISE_VOICED + (1 - voiced) * NOISE_UNVOICED
                noise = random_like(wave[:, :, None].shape, f0.device, generator, normal=True)
                wave = wave * voiced + noise[:, :, 0] * level
            return torch.tanh(self.l_linear(wave[:, :, None])).transpose(1, 2)


class ResidualBlock(nn.Module):
    """Kind 1: per dilation two convolutions, the second undilated (`convs1`, `convs2`), and the residual."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            NormedConv(channels, channels, kernel, dilation) for dilation in dilations
        )
        self.convs2 = nn.ModuleList(NormedConv(channels, channels, kernel) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T] → [B,C,T]."""
        for first, second in zip(self.convs1, self.convs2, strict=True):
            x = x + second(F.leaky_relu(first(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class SmallResidualBlock(nn.Module):
    """Kind 2: one convolution per dilation under `convs`."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(NormedConv(channels, channels, kernel, dilation) for dilation in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,T] → [B,C,T]."""
        for conv in self.convs:
            x = x + conv(F.leaky_relu(x, SLOPE))
        return x


class Decoder(nn.Module):
    """`dec`: latent [B,inter,T], F0 [B,T], speaker [B,gin,1] → samples [B,1,hop·T]; any slice will do."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        rates, top = config.upsample_rates, config.initial_channels
        self.hop = config.hop
        self.kernels = len(config.resblock_kernels)
        self.f0 = config.f0
        block = ResidualBlock if config.resblock == "1" else SmallResidualBlock
        if config.f0:
            self.m_source = Excitation(config.hop, config.sample_rate)
            self.noise_convs = nn.ModuleList()
        self.conv_pre = nn.Conv1d(config.inter, top, 7, padding=3)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for i, (rate, kernel) in enumerate(zip(rates, config.upsample_kernels, strict=True)):
            width = top >> (i + 1)
            self.ups.append(NormedTransposed(2 * width, width, kernel, rate))
            for size, dilations in zip(config.resblock_kernels, config.resblock_dilations, strict=True):
                self.resblocks.append(block(width, size, dilations))
            if config.f0:
                step = math.prod(rates[i + 1 :])
                if i + 1 < len(rates):
                    conv = nn.Conv1d(1, width, 2 * step, stride=step, padding=step // 2)
                else:
                    conv = nn.Conv1d(1, width, 1)
                self.noise_convs.append(conv)
        self.conv_post = nn.Conv1d(top >> len(rates), 1, 7, padding=3, bias=False)
        self.cond = nn.Conv1d(config.gin, top, 1)

    def excitation(
        self, f0: Tensor | None, frames: int | None = None, generator: torch.Generator | None = None
    ) -> Tensor | None:
        """What the stages read, [B,1,hop·T], stretched to `frames` frames where given; None without F0."""
        if not self.f0:
            return None
        if f0 is None:
            raise ValueError("this synthesizer follows F0 and was given none")
        wave: Tensor = self.m_source(f0, generator)
        return stretched(wave, None if frames is None else frames * self.hop)

    def forward(
        self,
        x: Tensor,
        f0: Tensor | None,
        g: Tensor,
        frames: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """frames: length that latent and excitation are stretched to before decoding (formant shift)."""
        wave = self.excitation(f0, frames, generator)
        x = self.conv_pre(stretched(x, frames)) + self.cond(g)
        for i, up in enumerate(self.ups):
            x = up(F.leaky_relu(x, SLOPE))
            if wave is not None:
                x = x + self.noise_convs[i](wave)
            total = self.resblocks[i * self.kernels](x)
            for j in range(1, self.kernels):
                total = total + self.resblocks[i * self.kernels + j](x)
            x = total / self.kernels
        return torch.tanh(self.conv_post(F.leaky_relu(x, LAST_SLOPE)))


def stretched(x: Tensor, length: int | None) -> Tensor:
    """[B,C,T] linearly interpolated to `length` steps, or as it is."""
    if length is None or length == x.shape[2]:
        return x
    return F.interpolate(x, size=length, mode="linear")
