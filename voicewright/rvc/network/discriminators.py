"""RVC's discriminators: one on the waveform as it is, and one for each period it is folded at.

State-dict keys and shapes are upstream's (`D_*.pth`, `f0D40k.pth`), weight normalisation as `weight_g` and
`weight_v`; at divisor 1 v1 has 54,968,286 parameters and v2 71,410,594. The graph is HiFi-GAN's (Kong et al.
2020) with longer lists of periods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voicewright.model.discriminators import Judged

PERIODS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"v1": (2, 3, 5, 7, 11, 17), "v2": (2, 3, 5, 7, 11, 17, 23, 37)}
)
SLOPE = 0.1


class NormConv(nn.Module):
    """A convolution over time whose weight is g · v / |v|, under upstream's parameter names.

    `weight_v` is [out, in / groups, k] for a waveform and [out, in, k, 1] for a folded one, whose time is
    here the last axis: convolutions along it are faster on a CPU, and what is computed is the same.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int = 1, *, folded: bool
    ) -> None:
        super().__init__()
        shape = (outputs, inputs // groups, kernel)
        plain = nn.Conv1d(inputs, outputs, kernel, groups=groups)  # for its way of drawing first weights
        self.weight_v = nn.Parameter(plain.weight.detach().reshape(*shape, *([1] if folded else [])).clone())
        self.weight_g = nn.Parameter(
            plain.weight.detach().flatten(1).norm(dim=1).reshape(-1, *([1] * (len(self.weight_v.shape) - 1)))
        )
        assert plain.bias is not None
        self.bias = nn.Parameter(plain.bias.detach().clone())
        self.stride, self.groups, self.folded = stride, groups, folded

    def forward(self, x: Tensor) -> Tensor:
        """[B, in, t] → [B, out, t'], or folded [B, in, period, t] → [B, out, period, t']."""
        weight = torch._weight_norm(self.weight_v, self.weight_g, 0)
        half = (weight.shape[2] - 1) // 2
        if self.folded:
            return F.conv2d(x, weight.transpose(2, 3), self.bias, (1, self.stride), (0, half))
        return F.conv1d(x, weight, self.bias, self.stride, half, groups=self.groups)


class _Discriminator(nn.Module):
    """Convolutions with LeakyReLU, then one to a single channel; every output is a feature map."""

    def __init__(self, convs: Sequence[NormConv], post: NormConv) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.conv_post = post

    def judge(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        maps = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            maps.append(x)
        x = self.conv_post(x)
        return x.flatten(1), [*maps, x]


class ScaleDiscriminator(_Discriminator):
    """Judges the waveform itself; its middle convolutions see four channels a group."""

    def __init__(self, divisor: int = 1) -> None:
        widths = [n // divisor for n in (16, 64, 256, 1024, 1024)]
        convs = [NormConv(1, widths[0], 15, 1, folded=False)]
        convs += [NormConv(a, b, 41, 4, max(1, a // 4), folded=False) for a, b in pairwise(widths)]
        convs += [NormConv(widths[-1], widths[-1], 5, 1, folded=False)]
        super().__init__(convs, NormConv(widths[-1], 1, 3, 1, folded=False))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """audio [B, N] → scores [B, n], feature maps."""
        return self.judge(audio.unsqueeze(1))


class PeriodDiscriminator(_Discriminator):
    """Judges the waveform folded at one period, [B, 1, period, N / period]."""

    def __init__(self, period: int, divisor: int = 1) -> None:
        widths = [1, *(n // divisor for n in (32, 128, 512, 1024, 1024))]
        strides = (3, 3, 3, 3, 1)
        convs = [
            NormConv(a, b, 5, s, folded=True) for (a, b), s in zip(pairwise(widths), strides, strict=True)
        ]
        super().__init__(convs, NormConv(widths[-1], 1, 3, 1, folded=True))
        self.period = period

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """audio [B, N] → scores [B, n] (period by period), feature maps [B, C, period, n]."""
        x = F.pad(audio.unsqueeze(1), (0, -audio.shape[-1] % self.period), "reflect")
        x = x.view(x.shape[0], 1, -1, self.period).transpose(2, 3).contiguous()
        return self.judge(x)


class VoiceDiscriminators(nn.Module):
    """All discriminators of one version of RVC; `divisor` narrows them, 1 is upstream's width."""

    def __init__(self, version: str = "v2", divisor: int = 1) -> None:
        super().__init__()
        members: list[nn.Module] = [ScaleDiscriminator(divisor)]
        members += [PeriodDiscriminator(period, divisor) for period in PERIODS[version]]
        self.discriminators = nn.ModuleList(members)

    def forward(self, audio: Tensor) -> Judged:
        """audio [B, N] → scores and feature maps, one entry a discriminator."""
        results = [member(audio) for member in self.discriminators]
        return [r[0] for r in results], [r[1] for r in results]
