"""RMVPE: pitch of a voice, over music too, by a U-Net on mels and a recurrent layer (Wei et al. 2023).

Written from the published architecture for inference alone, in the size of `rmvpe.pt` (90,423,165 parameters
in 741 tensors): batch norms are folded into the convolutions beside them, and images lie channels-last.
Memory grows with the length: give at most some 40 s at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.pitch import salience
from voicewright.model.precision import Precision, choose
from voicewright.model.reading import read_content

THRESHOLD = 0.03
STAGES, BLOCKS, BETWEEN, FIRST = 5, 4, 4, 16
"""Stages down and up, residual blocks in each, groups of blocks between, channels of the first stage."""
GRU = 256
LAST = 3
MULTIPLE = 2**STAGES
"""Frames are padded to a multiple of it."""
CENTS_LOW, CENTS_STEP = 1997.3794084376191, 20.0
EPS = 1e-5


class Rmvpe(nn.Module):
    """The estimator: samples → F0. Made by `open_rmvpe` or `from_state`."""

    window: Tensor
    bank: Tensor
    cents: Tensor
    input_gain: Tensor
    input_shift: Tensor

    def __init__(self, weights: _Weights, precision: torch.dtype = torch.float32) -> None:
        """`precision` is that of the U-Net; mels, the recurrent layer and the classes are in fp32."""
        super().__init__()
        gain, shift = weights.batch_norm("unet.encoder.bn", 1)
        self.register_buffer("input_gain", gain)
        self.register_buffer("input_shift", shift)
        widths = [FIRST * 2**stage for stage in range(STAGES)]
        self.down = nn.ModuleList(
            _Blocks(weights, f"unet.encoder.layers.{i}.conv", before, width)
            for i, (before, width) in enumerate(zip([1, *widths], widths, strict=False))
        )
        deep = 2 * widths[-1]
        self.between = nn.ModuleList(
            _Blocks(weights, f"unet.intermediate.layers.{i}.conv", deep if i else widths[-1], deep)
            for i in range(BETWEEN)
        )
        self.up = nn.ModuleList(
            _Up(weights, f"unet.decoder.layers.{i}", 2 * width) for i, width in enumerate(reversed(widths))
        )
        self.cnn = weights.convolution("cnn", FIRST, LAST, 3)
        self.gru = weights.gru("fc.0.gru", LAST * salience.MELS, GRU)
        self.head = weights.linear("fc.1", 2 * GRU, salience.CLASSES)
        self.register_buffer("window", torch.hann_window(salience.N_FFT))
        self.register_buffer("bank", salience.filters(30.0, "htk"))
        self.register_buffer("cents", CENTS_STEP * torch.arange(salience.CLASSES) + CENTS_LOW)
        weights.finished()
        for part in (self.down, self.between, self.up, self.cnn):
            part.to(precision)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def f0(self, samples: Tensor, threshold: float = THRESHOLD) -> Tensor:
        """Samples [n] at 16 kHz → F0 [n // 160 + 1] in Hz, 0 unvoiced."""
        return salience.to_hertz(self(self.mel(samples)), self.cents, threshold)

    def mel(self, samples: Tensor) -> Tensor:
        """Samples [n] → [n // 160 + 1, 128], frames centred on sample 160 k."""
        wave = salience.one_channel(samples)
        return salience.log_mel(
            salience.reflected(wave, salience.N_FFT // 2, salience.N_FFT // 2), self.window, self.bank
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Mels [T, 128] → salience [T, 360], 0 to 1."""
        frames = len(mel)
        padded = F.pad(mel, (0, 0, 0, -frames % MULTIPLE))
        x = (padded * self.input_gain + self.input_shift)[None, None]
        x = x.to(self.cnn.weight.dtype, memory_format=torch.channels_last)
        skipped = []
        for stage in self.down:
            x = stage(x)
            skipped.append(x)
            x = F.avg_pool2d(x, 2)
        for stage in self.between:
            x = stage(x)
        for stage in self.up:
            x = stage(x, skipped.pop())
        rows = self.cnn(x).transpose(1, 2).flatten(2).float()
        return torch.sigmoid(self.head(self.gru(rows)[0]))[0, :frames]


class _Block(nn.Module):
    """Two convolutions, each with ReLU, beside a shortcut."""

    def __init__(self, weights: _Weights, name: str, before: int, width: int) -> None:
        super().__init__()
        self.first = weights.convolution(f"{name}.conv.0", before, width, 3, f"{name}.conv.1")
        self.second = weights.convolution(f"{name}.conv.3", width, width, 3, f"{name}.conv.4")
        self.shortcut = weights.convolution(f"{name}.shortcut", before, width, 1) if before != width else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu_(self.second(F.relu_(self.first(x))))
        return y.add_(x if self.shortcut is None else self.shortcut(x))


class _Blocks(nn.Sequential):
    def __init__(self, weights: _Weights, name: str, before: int, width: int) -> None:
        super().__init__(
            *(_Block(weights, f"{name}.{i}", width if i else before, width) for i in range(BLOCKS))
        )


class _Up(nn.Module):
    """Twice the size, half the channels, then blocks over it and the skipped image."""

    def __init__(self, weights: _Weights, name: str, before: int) -> None:
        super().__init__()
        width = before // 2
        self.grow = weights.transposed(f"{name}.conv1.0", before, width, f"{name}.conv1.1")
        self.blocks = _Blocks(weights, f"{name}.conv2", 2 * width, width)

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        return self.blocks(torch.cat((F.relu_(self.grow(x)), skipped), dim=1))


class _Weights:
    """A state dict that is read once, name by name, each of its expected shape, batch norms folded."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._left = {
            name: value for name, value in state.items() if not name.endswith("num_batches_tracked")
        }

    def take(self, name: str, *shape: int) -> Tensor:
        value = self._left.pop(name, None)
        if not isinstance(value, Tensor) or not value.is_floating_point() or tuple(value.shape) != shape:
            had = list(value.shape) if isinstance(value, Tensor) else "missing"
            raise VoicewrightError(f"{name} is {had} instead of {list(shape)}")
        return value.detach().float()

    def finished(self) -> None:
        if self._left:
            raise VoicewrightError(f"{', '.join(sorted(self._left)[:3])} is unknown")

    def batch_norm(self, name: str, width: int) -> tuple[Tensor, Tensor]:
        """What it multiplies by and then adds, in double precision rounded once."""
        gain, shift, mean, variance = (
            self.take(f"{name}.{part}", width).double()
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / (variance + EPS).sqrt()
        return scale.float(), (shift - mean * scale).float()

    def convolution(self, name: str, before: int, width: int, kernel: int, norm: str = "") -> nn.Conv2d:
        """A same-size convolution; with a batch norm it has no bias of its own."""
        conv = nn.utils.skip_init(nn.Conv2d, before, width, kernel, padding=kernel // 2)
        weight = self.take(f"{name}.weight", width, before, kernel, kernel)
        if norm:
            scale, bias = self.batch_norm(norm, width)
            weight = weight * scale[:, None, None, None]
        else:
            bias = self.take(f"{name}.bias", width)
        conv.weight, conv.bias = _channels_last(weight), nn.Parameter(bias)
        return conv

    def transposed(self, name: str, before: int, width: int, norm: str) -> nn.ConvTranspose2d:
        conv = nn.utils.skip_init(nn.ConvTranspose2d, before, width, 3, stride=2, padding=1, output_padding=1)
        scale, bias = self.batch_norm(norm, width)
        weight = self.take(f"{name}.weight", before, width, 3, 3) * scale[None, :, None, None]
        conv.weight, conv.bias = _channels_last(weight), nn.Parameter(bias)
        return conv

    def gru(self, name: str, before: int, width: int) -> nn.GRU:
        gru = nn.GRU(before, width, batch_first=True, bidirectional=True)
        with torch.no_grad():
            for part, parameter in gru.named_parameters():
                parameter.copy_(self.take(f"{name}.{part}", *parameter.shape))
        return gru

    def linear(self, name: str, before: int, width: int) -> nn.Linear:
        linear = nn.utils.skip_init(nn.Linear, before, width)
        linear.weight = nn.Parameter(self.take(f"{name}.weight", width, before))
        linear.bias = nn.Parameter(self.take(f"{name}.bias", width))
        return linear


def _channels_last(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.contiguous(memory_format=torch.channels_last))


def from_state(state: Mapping[str, Any], precision: Precision = "fp32") -> Rmvpe:
    """The network of a state dict in the names of `rmvpe.pt`; VoicewrightError unless it fits exactly."""
    return Rmvpe(_Weights(state), choose(precision))


def open_rmvpe(path: Path | None = None, precision: Precision = "fp32") -> Rmvpe:
    """RMVPE from a file, or from where `voicewright models pull rmvpe` and others put it.

    Raises UsageError where there is none (which file, from where, where to put it), VoicewrightError for a
    damaged, hostile or different file.
    """
    if path is None:
        from voicewright.catalogue import pull as catalogue

        found = catalogue.part_files("rmvpe")
        if not found:
            raise UsageError(catalogue.missing_part("rmvpe"))
        path = found[0]
    content = read_content(path)
    if not isinstance(content, Mapping):
        raise VoicewrightError(f"{path} holds no state of a network; give rmvpe.pt.")
    try:
        return from_state(content, precision)
    except VoicewrightError as error:
        raise VoicewrightError(f"{path} is not RMVPE's rmvpe.pt: {error}.") from error
