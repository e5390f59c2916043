"""The decoder: aligned text features, F0 and energy become generator features, then audio."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from voicewright.model.config import ModelConfig
from voicewright.model.layers import AdaINConvBlock
from voicewright.model.tts.generator import Generator
from voicewright.model.tts.hifigan import HifiGan

F0_WIDTHS = (1, 3, 7)
ENERGY_WIDTHS = (1, 3, 7, 15)


def box_smooth(curve: Tensor, width: int) -> Tensor:
    """Moving mean of a curve [B,T] over `width` values, zeros outside."""
    if width == 1:
        return curve
    return F.avg_pool1d(curve[:, None], width, stride=1, padding=width // 2)[:, 0]


def pick(widths: tuple[int, ...], rng: torch.Generator | None) -> int:
    device = "cpu" if rng is None else rng.device
    return widths[int(torch.randint(len(widths), (1,), generator=rng, device=device))]


class Decoder(nn.Module):
    """Kokoro's `decoder`: `front` is everything before the generator."""

    generator: Generator | HifiGan

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        extension, style = config.voicewright, config.style_dim
        width, residual = extension.decoder_channels, extension.decoder_residual
        joined = width + 2 + residual
        self.encode = AdaINConvBlock(config.hidden_dim + 2, width, style)
        self.decode = nn.ModuleList(AdaINConvBlock(joined, width, style) for _ in range(3))
        self.decode.append(
            AdaINConvBlock(joined, config.istftnet.upsample_initial_channel, style, upsample=True)
        )
        self.F0_conv = weight_norm(nn.Conv1d(1, 1, 3, stride=2, padding=1))
        self.N_conv = weight_norm(nn.Conv1d(1, 1, 3, stride=2, padding=1))
        self.asr_res = nn.Sequential(weight_norm(nn.Conv1d(config.hidden_dim, residual, 1)))
        build = HifiGan if extension.decoder == "hifigan" else Generator
        self.generator = build(config.istftnet, extension, style)

    def front(
        self,
        asr: Tensor,
        f0: Tensor,
        energy: Tensor,
        style: Tensor,
        smooth: bool = False,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """asr [B,H,F], f0 and energy [B,2F], acoustic style [B,128] -> generator features [B,C,2F].

        `smooth` box-filters F0 and energy with random widths, as StyleTTS 2 does in training.
        """
        if smooth:
            f0 = box_smooth(f0, pick(F0_WIDTHS, rng))
            energy = box_smooth(energy, pick(ENERGY_WIDTHS, rng))
        curves = [self.F0_conv(f0[:, None]), self.N_conv(energy[:, None])]
        x = self.encode(torch.cat([asr, *curves], dim=1), style)
        beside = [self.asr_res(asr), *curves]
        for block in self.decode:
            x = block(torch.cat([x, *beside], dim=1), style)
        return x

    def forward(
        self,
        asr: Tensor,
        f0: Tensor,
        energy: Tensor,
        style: Tensor,
        smooth: bool = False,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """As `front`, then the generator: audio [B,600F]. The excitation follows the unsmoothed F0."""
        x = self.front(asr, f0, energy, style, smooth, rng)
        audio: Tensor = self.generator(x, style, f0, rng)
        return audio
