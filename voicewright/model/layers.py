"""Building blocks shared by the text, prosody and decoder parts of the graph.

Facts (shapes, formulas, state-dict key names) follow StyleTTS 2 and the `kokoro` package; normalisation
statistics are always taken in fp32, also under autocast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

HALF = math.sqrt(0.5)
"""Residual blocks divide their sum by the square root of two to keep unit variance."""


def length_mask(lengths: Tensor, steps: int, device: torch.device) -> Tensor:
    """True where a position holds real data. lengths [B] -> bool [B, steps] on `device`."""
    return torch.arange(steps, device=device) < lengths.to(device, non_blocking=True)[:, None]


def ragged(lengths: Tensor | None, steps: int) -> bool:
    """Whether a batch holds padding at all. Lengths on a GPU count as ragged, to avoid waiting for them."""
    return lengths is not None and (lengths.device.type != "cpu" or bool((lengths != steps).any()))


def run_lstm(lstm: nn.LSTM, x: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Run a batch-first LSTM over [B,T,C] so that padding never enters the backward direction.

    `lengths` [B] are best given as a CPU tensor; None means that nothing is padded. Padding comes out as 0.
    """
    if lengths is None or not ragged(lengths, x.shape[1]):
        return lstm(x)[0]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    out = lstm(packed)[0]
    return nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0]


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """x + sin²(αx)/α for x [B,C,T], alpha [1,C,1]; computed in fp32, returned in x's type."""
    wide = x.float()
    return torch.addcmul(wide, torch.sin(alpha * wide).square(), alpha.reciprocal()).to(x.dtype)


def fold(module: nn.Module) -> None:
    """Replace every weight parametrisation below `module` by its present value, for inference."""
    for child in module.modules():
        if parametrize.is_parametrized(child, "weight"):
            parametrize.remove_parametrizations(child, "weight", leave_parametrized=True)


class SpectralNorm(nn.Module):
    """Divides a weight by its largest singular value, tracked by one power iteration per training forward.

    The estimate stays in fp32 under autocast. State: `_u` [rows], `_v` [columns], as torch's own has them.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        matrix = weight.detach().flatten(1)
        self.register_buffer("_u", F.normalize(torch.randn(matrix.shape[0]), dim=0))
        self.register_buffer("_v", F.normalize(torch.randn(matrix.shape[1]), dim=0))
        for _ in range(15):
            self._iterate(matrix)

    @torch.no_grad()
    def _iterate(self, matrix: Tensor) -> None:
        # New tensors, not in-place ones: an earlier forward of the same step may still need the old.
        self._u = F.normalize(matrix @ self._v, dim=0, eps=1e-12)
        self._v = F.normalize(self._u @ matrix, dim=0, eps=1e-12)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast("cpu" if weight.is_meta else weight.device.type, enabled=False):
            matrix = weight.flatten(1)
            if self.training:
                self._iterate(matrix)
            return weight / (self._u @ (matrix @ self._v))


def spectral_norm(module: nn.Conv2d) -> nn.Conv2d:
    """Parametrise the module's weight by SpectralNorm."""
    parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight))
    return module


class LinearNorm(nn.Module):
    """A Linear under the key `linear_layer`, Xavier-initialised."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear_layer = nn.Linear(inputs, outputs)
        nn.init.xavier_uniform_(self.linear_layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[...,inputs] -> [...,outputs]."""
        return self.linear_layer(x)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of [B,C,T], with the keys `gamma` and `beta`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.transpose(1, 2), (x.shape[1],), self.gamma, self.beta)
        return y.transpose(1, 2)


class AdaLayerNorm(nn.Module):
    """Layer norm without affine over the last axis of [B,T,C], then scale 1+γ and shift β from the style."""

    def __init__(self, style: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(style, 2 * channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        gamma, beta = self.fc(style)[:, None].chunk(2, dim=2)
        return torch.addcmul(beta, 1 + gamma, F.layer_norm(x, (x.shape[2],)))


class AdaIN1d(nn.Module):
    """Instance norm without affine over the time of [B,C,T], then scale 1+γ and shift β from the style.

    With `mask` ([B,1,T], 1 where real) only real positions enter the statistics.
    """

    def __init__(self, style: int, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.fc = nn.Linear(style, 2 * channels)
        self.eps = eps

    def forward(self, x: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            gamma, beta = self.fc(style.float()).chunk(2, dim=1)
            if mask is not None:
                return self._masked(x, 1 + gamma, beta, mask)
            # Batch norm over (item, channel) pairs is this formula as one kernel, forwards and backwards;
            # its statistics are fp32 for a bf16 input too.
            items, channels, steps = x.shape
            flat = x.reshape(1, items * channels, steps)
            scale, shift = (1 + gamma).flatten(), beta.flatten()
            y = torch.batch_norm(flat, scale, shift, None, None, True, 0.0, self.eps, False)
            return y.view(items, channels, steps)

    def _masked(self, x: Tensor, scale: Tensor, shift: Tensor, mask: Tensor) -> Tensor:
        wide = x.float()
        count = mask.sum(2, keepdim=True).clamp(min=1)
        mean = (wide * mask).sum(2, keepdim=True) / count
        var = ((wide - mean) * mask).square().sum(2, keepdim=True) / count
        scale = scale[:, :, None] * torch.rsqrt(var + self.eps)
        return torch.addcmul(shift[:, :, None] - mean * scale, wide, scale).to(x.dtype)


class AdaINConvBlock(nn.Module):
    """Residual block of the prosody predictor and of the decoder front: two AdaIN convolutions of width 3.

    [B,inputs,T] -> [B,outputs,T], or 2T with `upsample`.
    """

    def __init__(
        self, inputs: int, outputs: int, style: int, upsample: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.upsample = upsample
        self.dropout = nn.Dropout(dropout)
        self.conv1 = weight_norm(nn.Conv1d(inputs, outputs, 3, padding=1))
        self.conv2 = weight_norm(nn.Conv1d(outputs, outputs, 3, padding=1))
        self.norm1 = AdaIN1d(style, inputs)
        self.norm2 = AdaIN1d(style, outputs)
        self.conv1x1 = (
            weight_norm(nn.Conv1d(inputs, outputs, 1, bias=False)) if inputs != outputs else nn.Identity()
        )
        self.pool = (
            weight_norm(
                nn.ConvTranspose1d(inputs, inputs, 3, stride=2, padding=1, output_padding=1, groups=inputs)
            )
            if upsample
            else nn.Identity()
        )

    def forward(self, x: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` ([B,1,T]) makes a padded batch give what each item gives alone."""
        y = F.leaky_relu(self.norm1(x, style, mask), 0.2)
        if mask is not None:
            y = y * mask
        y = self.pool(y)
        if mask is not None:
            if self.upsample:
                mask = mask.repeat_interleave(2, dim=2)
            y = y * mask
        y = self.conv1(self.dropout(y))
        y = F.leaky_relu(self.norm2(y, style, mask), 0.2)
        if mask is not None:
            y = y * mask
        y = self.conv2(self.dropout(y))
        # A 1x1 convolution and nearest upsampling commute; the narrow order costs half.
        skip = self.conv1x1(x)
        if self.upsample:
            skip = skip.repeat_interleave(2, dim=2)
        return (y + skip) * HALF


class AdaINSnakeBlock(nn.Module):
    """Residual block of the generator on [B,C,T]: per dilation AdaIN, Snake, conv, AdaIN, Snake, conv."""

    def __init__(self, channels: int, kernel: int, dilations: tuple[int, ...], style: int) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, kernel, dilation=d, padding=(kernel - 1) * d // 2))
            for d in dilations
        )
        self.convs2 = nn.ModuleList(
            weight_norm(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2)) for _ in dilations
        )
        self.adain1 = nn.ModuleList(AdaIN1d(style, channels) for _ in dilations)
        self.adain2 = nn.ModuleList(AdaIN1d(style, channels) for _ in dilations)
        self.alpha1 = nn.ParameterList(nn.Parameter(torch.ones(1, channels, 1)) for _ in dilations)
        self.alpha2 = nn.ParameterList(nn.Parameter(torch.ones(1, channels, 1)) for _ in dilations)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        for i in range(len(self.convs1)):
            y = self.convs1[i](snake(self.adain1[i](x, style), self.alpha1[i]))
            x = x + self.convs2[i](snake(self.adain2[i](y, style), self.alpha2[i]))
        return x
