"""What the parts of a conversion synthesizer share: convolutions with upstream's weight-norm keys, masks.

Upstream's files keep a normed weight as `weight_g` (length of each row) and `weight_v` (its direction);
torch's parametrisation names them otherwise, so these two modules hold them under upstream's names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1
"""Of LeakyReLU everywhere but before the last convolution."""


class _Normed(nn.Module):
    """A convolution whose weight is weight_g · weight_v / ‖weight_v‖ over all but the first axis.

    It begins with torch's own initial weights, as upstream's do: their own initialisation falls on a weight
    that the norm writes over.
    """

    def __init__(self, conv: nn.Conv1d | nn.ConvTranspose1d) -> None:
        super().__init__()
        weight = conv.weight.detach()
        self.weight_g = nn.Parameter(torch.norm_except_dim(weight, 2, 0))
        self.weight_v = nn.Parameter(weight.clone())
        assert conv.bias is not None
        self.bias = nn.Parameter(conv.bias.detach().clone())

    @property
    def weight(self) -> Tensor:
        """The weight in use, as the plain convolution would hold it."""
        return torch._weight_norm(self.weight_v, self.weight_g, 0)


class NormedConv(_Normed):
    """Conv1d over [B,C,T] with same padding, weight-normed."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(nn.Conv1d(inputs, outputs, kernel, dilation=dilation))
        self.dilation = dilation
        self.padding = (kernel - 1) * dilation // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv1d(x, self.weight, self.bias, padding=self.padding, dilation=self.dilation)


class NormedTransposed(_Normed):
    """ConvTranspose1d: [B,C,T] → [B,outputs,stride·T], weight-normed along inputs, as torch does it."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__(nn.ConvTranspose1d(inputs, outputs, kernel, stride))
        self.stride = stride
        self.padding = (kernel - stride) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose1d(x, self.weight, self.bias, self.stride, self.padding)


def float_mask(lengths: Tensor, frames: int, like: Tensor) -> Tensor:
    """1 where a frame is real: lengths [B] → [B, 1, frames], of `like`'s type and device."""
    steps = torch.arange(frames, device=like.device)
    return (steps < lengths.to(like.device)[:, None])[:, None].to(like.dtype)
