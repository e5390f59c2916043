"""Echoes at the decoder's frames, as a loss: a comb that repeats sound after 12.5 or 25 ms.

A decoder that is pulled far from what it knows repeats itself at its frame rate; log-mels are too coarse for
it and encoders do not mind. As in `listen/artefacts.py` an echo is a peak of the cepstrum at just that lag.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from voicewright.model.share import WHOLE, Share
from voicewright.units import FRAME, HOP, SAMPLE_RATE

LAGS = (FRAME // 2, FRAME)
"""Samples at 24 kHz: half a frame and a frame."""
_LENGTH, _HOP, _FFT = 2400, 600, 4096
_WIGGLE = 1
_RING = (8, 25)
"""Samples beside a lag whose mean is its ground."""
_LOUD_DB = 30.0
"""Frames this far below the loudest are not looked at."""
_FLOOR = 1e-7
"""70 dB below a frame's loudest bin, or gradients had no bound."""
_PERIOD, _MOST = 0.15, 6.0
"""A lag is not looked at where it is nearer than this to a whole number of up to so many periods."""
_FREE, _UNIT = 0.004, 0.01
"""Of the cepstrum: what chance gives in a second or two; what counts as 1."""


def echo_levels(sound: Tensor, f0: Tensor) -> Tensor:
    """How far the mean cepstrum stands above its surroundings at each lag and beside it, [B, 2, 3].

    sound [B, N] at 24 kHz, N >= 2400; f0 [B, N / 300] in Hz, 0 unvoiced.
    """
    with torch.autocast(sound.device.type, enabled=False):
        frames = sound.float().unfold(1, _LENGTH, _HOP)
        level = 10 * (frames.detach().square().mean(-1) + 1e-10).log10()
        loud = level > level.amax(1, keepdim=True) - _LOUD_DB
        spectrum = torch.fft.rfft(frames * torch.hann_window(_LENGTH, device=sound.device), _FFT)
        power = torch.view_as_real(spectrum).square().sum(-1)
        floor = _FLOOR * power.detach().amax(-1, keepdim=True) + 1e-9
        cepstra = torch.fft.irfft((0.5 * (power + floor).log()).to(torch.complex64))
        middles = (torch.arange(frames.shape[1], device=sound.device) * _HOP + _LENGTH // 2) // HOP
        pitch = f0.float()[:, middles.clamp_max(f0.shape[1] - 1)]
        near, far = _RING
        found = []
        for lag in LAGS:
            periods = pitch * (lag / SAMPLE_RATE)
            apart = ((periods - periods.round()).abs() > _PERIOD) | (periods > _MOST)
            used = (loud & ((pitch <= 0) | apart)).float()
            weight = used / used.sum(1, keepdim=True).clamp_min(1)
            beside = torch.cat(
                [cepstra[..., lag - far : lag - near], cepstra[..., lag + near : lag + far]], -1
            )
            peaks = cepstra[..., lag - _WIGGLE : lag + _WIGGLE + 1] - beside.mean(-1, keepdim=True)
            found.append((peaks * weight[..., None]).sum(1))
        return torch.stack(found, 1)


def echo_loss(fake: Tensor, real: Tensor, f0: Tensor, share: Share = WHOLE) -> Tensor:
    """Sum over lags of how far fake's echo exceeds real's and what chance gives, in hundredths.

    fake, real [B, N] at 24 kHz; f0 [B, N / 300], of both.
    """
    wanted = echo_levels(real, f0).abs() + _FREE
    beyond = F.relu(echo_levels(fake, f0).abs() - wanted)
    return share.mean(beyond.sum((1, 2)).mean()) / _UNIT
