"""StyleTTS 2's HiFi-GAN generator (its LibriTTS checkpoint): features and an excitation become samples.

Facts (shapes, order, key names): yl4579/StyleTTS2, Modules/hifigan.py. Against the iSTFTNet generator: no
STFT at either end; the excitation itself enters each stage; Snake with a learned slope stands where LeakyReLU
does; a tanh ends it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from voicewright.model.config import Extension, IstftNet
from voicewright.model.layers import AdaINSnakeBlock, snake
from voicewright.model.tts.source import Rng, Source

TAIL = 50
"""Samples at the very end that are noise in every utterance; upstream's notebook cuts them off."""


class HifiGan(nn.Module):
    """`decoder.generator` of kind `hifigan`; works on any slice of an utterance."""

    def __init__(self, config: IstftNet, extension: Extension, style: int) -> None:
        super().__init__()
        rates, top = config.upsample_rates, config.upsample_initial_channel
        self.kernels = len(config.resblock_kernel_sizes)
        self.m_source = Source(extension.harmonics, extension.excitation, plain_mix=False)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        self.noise_convs = nn.ModuleList()
        self.noise_res = nn.ModuleList()
        self.alphas = nn.ParameterList([nn.Parameter(torch.ones(1, top, 1))])
        for i, (rate, kernel) in enumerate(zip(rates, config.upsample_kernel_sizes, strict=True)):
            width = top >> (i + 1)
            # An odd difference is rounded up in the padding and given back at the end: T becomes rate * T.
            padding, extra = (kernel - rate + 1) // 2, (kernel - rate) % 2
            self.ups.append(
                weight_norm(nn.ConvTranspose1d(2 * width, width, kernel, rate, padding, output_padding=extra))
            )
            self.alphas.append(nn.Parameter(torch.ones(1, width, 1)))
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            ):
                self.resblocks.append(AdaINSnakeBlock(width, size, dilations, style))
            step, size = math.prod(rates[i + 1 :]), 7
            if i + 1 < len(rates):
                conv = nn.Conv1d(1, width, 2 * step, stride=step, padding=(step + 1) // 2)
            else:
                conv, size = nn.Conv1d(1, width, 1), extension.noise_kernel
            self.noise_convs.append(conv)
            self.noise_res.append(AdaINSnakeBlock(width, size, (1, 3, 5), style))
        self.conv_post = weight_norm(nn.Conv1d(top >> len(rates), 1, 7, padding=3))

    def harmonics(self, f0: Tensor, rng: Rng = None) -> Tensor:
        """The excitation as every stage reads it: f0 [B,2F] -> [B,1,600F], fp32."""
        wave: Tensor = self.m_source(f0, rng)
        return wave[:, None]

    def synthesise(self, x: Tensor, style: Tensor, harmonics: Tensor) -> Tensor:
        """x [B,C,2F], style [B,128], harmonics as above -> audio [B,600F], fp32."""
        return self.wave(self.body(x, style, harmonics), harmonics)

    def body(self, x: Tensor, style: Tensor, harmonics: Tensor) -> Tensor:
        """Everything before the last convolution: -> features [B, C, 600F]."""
        for i, up in enumerate(self.ups):
            source = self.noise_res[i](self.noise_convs[i](harmonics), style)
            x = up(snake(x, self.alphas[i])) + source
            total = self.resblocks[i * self.kernels](x, style)
            for j in range(1, self.kernels):
                total = total + self.resblocks[i * self.kernels + j](x, style)
            x = total / self.kernels
        return snake(x, self.alphas[len(self.ups)])

    def spectrum(self) -> list[nn.Module]:
        """The last layer: what turns features into samples."""
        return [self.conv_post]

    def wave(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """Last features [B, C, 600F] -> audio [B,600F], fp32. The excitation is in the features already."""
        return torch.tanh(self.conv_post(x).float())[:, 0]

    def forward(self, x: Tensor, style: Tensor, f0: Tensor, rng: Rng = None) -> Tensor:
        """x [B,C,2F] (from `Decoder.front`), acoustic style [B,128], f0 [B,2F] in Hz -> audio [B,600F]."""
        return self.synthesise(x, style, self.harmonics(f0, rng))
