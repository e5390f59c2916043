"""The first speaker encoder as part of a loss: the same weights, fed so that gradients reach the samples.

24 kHz samples are not resampled: a spectrum of 600 samples every 240 has the bins (40 Hz) and the pace
(10 ms) of the encoder's own 400 every 160 at 16 kHz, of which the lower 201 are taken.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from voicewright.audio.melbank import slaney_filters
from voicewright.listen.speaker import SPEAKER_RATE, SpeakerEncoder

SHORTEST = 38_400
"""Samples at 24 kHz that one look takes: 1.6 s."""
_N_FFT, _HOP, _BINS, _MELS = 600, 240, 201, 40
_LEVEL = 10 ** (-30.0 / 20)
_POWER = (600 / 400) ** 2
"""A window half as long again sums half as much again."""


class SteeringEncoder(nn.Module):
    """forward: samples [B, T] at 24 kHz, T ≥ 38 400 → unit vectors [B, 256], as `SpeakerEncoder` would.

    Differentiable in the samples; the weights stay as they are.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, encoder: SpeakerEncoder) -> None:
        super().__init__()
        self.network = encoder.network
        self.register_buffer("window", torch.hann_window(_N_FFT), persistent=False)
        filters = np.asarray(slaney_filters(SPEAKER_RATE, 400, _MELS), np.float32)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast(samples.device.type, enabled=False):
            level = samples.float().square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
            spectrum = torch.stft(
                samples.float() * (_LEVEL / level), _N_FFT, _HOP, _N_FFT, self.window,
                pad_mode="constant", return_complex=True,
            )  # fmt: skip
            power = (spectrum.real.square() + spectrum.imag.square())[:, :_BINS] / _POWER
            mel = (self.filters @ power).transpose(1, 2)
            frames = math.floor(SHORTEST / _HOP)
            found: Tensor = self.network(mel[:, :frames])
            return found
