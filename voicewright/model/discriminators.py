"""Discriminators of the adversarial phase; sizes come from the recipe.

Sources: multi-period discriminator (Kong et al. 2020, HiFi-GAN), multi-scale STFT discriminator on complex
spectrograms (Défossez et al. 2022, EnCodec). The contour discriminator judges F0, energy and durations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

Judged = tuple[list[Tensor], list[list[Tensor]]]
"""Scores of each discriminator, and its feature maps."""


def _along_time(conv: nn.Module, x: Tensor) -> Tensor:
    """Apply a convolution made for [B, C, n, period] to [B, C, period, n]."""
    assert isinstance(conv, nn.Conv2d)
    stride, padding = conv.stride[0], int(conv.padding[0])
    return F.conv2d(x, conv.weight.transpose(2, 3), conv.bias, (1, stride), (0, padding))


class PeriodDiscriminator(nn.Module):
    """Sees the waveform folded at one period: [B, 1, period, N/period].

    Weights have the usual shape [out, in, 5, 1]. Time is the last axis, as convolutions along it are up to
    1.6 times faster on a CPU than along the one before; what is computed is the same.
    """

    def __init__(self, period: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        last = len(channels) - 1
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (1 if i == last else 3, 1), (2, 0)))
            for i, (a, b) in enumerate(pairwise(widths))
        )
        self.post = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """audio [B, N] → score [B, 1, period, n], feature maps."""
        short = -audio.shape[-1] % self.period
        x = F.pad(audio.unsqueeze(1), (0, short), "reflect")
        x = x.view(x.shape[0], 1, -1, self.period).transpose(2, 3).contiguous()
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(_along_time(conv, x), 0.1)
            maps.append(x)
        return _along_time(self.post, x), maps


class SpectrogramDiscriminator(nn.Module):
    """Sees the complex STFT at one resolution: real and imaginary parts as channels, [B, 2, frames, bins]."""

    def __init__(self, n_fft: int, hop: int, channels: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        layers += [
            nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(d, 4), dilation=(d, 1)) for d in (1, 2, 4)
        ]
        layers += [nn.Conv2d(channels, channels, (3, 3), padding=(1, 1))]
        self.convs = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.post = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """audio [B, N] → score [B, 1, frames, bins/8], feature maps."""
        with torch.autocast(audio.device.type, enabled=False):
            window = self.get_buffer("window")
            z = torch.stft(
                audio.float(), self.n_fft, self.hop, self.n_fft, window, return_complex=True, normalized=True
            )
            x = torch.stack([z.real, z.imag], 1).transpose(2, 3)  # [B, 2, frames, bins]
            # Compressing the magnitude keeps weak upper harmonics in sight beside strong low ones.
            x = x * (x.square().sum(1, keepdim=True) + 1e-6).pow(-0.25)
            # Few channels on a large plane: convolutions run faster with the channels innermost.
            x = x.contiguous(memory_format=torch.channels_last)
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            # As [B, frames, bins, C], contiguous: losses on the maps then return gradients laid out alike.
            maps.append(x.permute(0, 2, 3, 1))
        return self.post(x), maps


class Discriminators(nn.Module):
    """All waveform discriminators. `pick` limits a call to some of them, for cheap steps on a CPU."""

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        period_channels: Sequence[int] = (32, 128, 512, 1024, 1024),
        resolutions: Sequence[tuple[int, int]] = ((2048, 512), (1024, 256), (512, 128)),
        spectrogram_channels: int = 32,
        more: Sequence[nn.Module] = (),
    ) -> None:
        """more: others that judge sound (model/slm.py)."""
        super().__init__()
        self.members = nn.ModuleList(
            [
                *(PeriodDiscriminator(p, period_channels) for p in periods),
                *(SpectrogramDiscriminator(n, h, spectrogram_channels) for n, h in resolutions),
                *more,
            ]
        )

    def forward(self, audio: Tensor, pick: Sequence[int] | None = None) -> Judged:
        """audio [B, N] → scores and feature maps, one entry a discriminator."""
        chosen = range(len(self.members)) if pick is None else pick
        results = [self.members[i](audio) for i in chosen]
        return [r[0] for r in results], [r[1] for r in results]


class ContourDiscriminator(nn.Module):
    """Judges pitch and energy contours given the text features under them, so that they do not go flat."""

    def __init__(self, text_channels: int, channels: int = 96) -> None:
        super().__init__()
        self.text = nn.Conv1d(text_channels, channels, 1)
        self.input = nn.Conv1d(3, channels, 5, padding=2)
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, 5, stride, padding=2)) for stride in (1, 2, 2, 2)
        )
        self.post = weight_norm(nn.Conv1d(channels, 1, 3, padding=1))

    def forward(self, contours: Tensor, text: Tensor) -> tuple[Tensor, list[Tensor]]:
        """contours [B, 3, 2F] (F0, voicing, energy; unit scale), text [B, C, F] → score [B, 1, F/4], maps."""
        x = self.input(contours) + F.interpolate(self.text(text), scale_factor=2, mode="nearest")
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            maps.append(x)
        return self.post(x), maps
