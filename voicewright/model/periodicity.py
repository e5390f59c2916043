"""How periodic a voice is, band by band, as a loss: vowels that hiss where the speaker hums lose here.

For each voiced frame, the normalised correlation of a band of the signal with itself one pitch period
earlier. The made sound shall have the recording's own value, no more and no less: breath is part of a voice.
Spectral losses hardly see this (noise of the right envelope costs them little), discriminators see it late.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from voicewright.model.share import WHOLE, Share
from voicewright.units import FRAME, HOP, SAMPLE_RATE

BANDS: tuple[tuple[float, float], ...] = ((300.0, 1500.0), (1500.0, 4000.0), (4000.0, 7000.0))
"""Hz."""
WEIGHTS = (0.25, 0.5, 0.25)
_RAMP = 100.0
_LOWEST_F0 = 60.0


def split_bands(audio: Tensor, bands: Sequence[tuple[float, float]] = BANDS) -> Tensor:
    """audio [B, N] at 24 kHz → [B, bands, N], by smooth masks over its spectrum."""
    spectrum = torch.fft.rfft(audio)
    hertz = torch.fft.rfftfreq(audio.shape[-1], 1 / SAMPLE_RATE, device=audio.device)
    parts = []
    for low, high in bands:
        mask = ((hertz - low) / _RAMP + 0.5).clamp(0, 1) * ((high - hertz) / _RAMP + 0.5).clamp(0, 1)
        parts.append(torch.fft.irfft(spectrum * mask, n=audio.shape[-1]))
    return torch.stack(parts, 1)


def delayed(x: Tensor, lag: Tensor) -> Tensor:
    """x [B, K, N] read `lag` [B, N] samples earlier (fractions by a Catmull-Rom cubic)."""
    count = x.shape[-1]
    position = (torch.arange(count, device=x.device, dtype=torch.float32) - lag).clamp(0, count - 2)
    index = position.floor().long()
    fraction = (position - index).unsqueeze(1)

    def at(i: Tensor) -> Tensor:
        return x.gather(2, i.unsqueeze(1).expand(-1, x.shape[1], -1))

    a, b, c, d = at((index - 1).clamp_min(0)), at(index), at(index + 1), at((index + 2).clamp_max(count - 1))
    cubic = 2 * a - 5 * b + 4 * c - d + fraction * (3 * (b - c) + d - a)
    return b + 0.5 * fraction * (c - a + fraction * cubic)


def correlation(bands: Tensor, lag: Tensor, valid: Tensor) -> Tensor:
    """bands [B, K, N], period `lag` [B, N], valid [B, N] → correlation -1..1, [B, K, frames] each 12.5 ms."""
    weight = valid.unsqueeze(1).float()

    def pooled(z: Tensor) -> Tensor:
        return F.avg_pool1d(z * weight, FRAME, HOP)

    before = delayed(bands, lag)
    return pooled(bands * before) / (pooled(bands.square()) * pooled(before.square()) + 1e-12).sqrt()


def periodicity_loss(fake: Tensor, real: Tensor, f0: Tensor, share: Share = WHOLE) -> Tensor:
    """fake and real [B, N], f0 [B, N / 300] in Hz (0 unvoiced; the pitch of both) → mean absolute difference
    of their correlations over voiced frames, weighted by the recording's level in the band."""
    with torch.autocast(fake.device.type, enabled=False):
        fake, real = fake.float(), real.float()
        pitch = f0.float().repeat_interleave(HOP, dim=1)
        lag = torch.where(pitch > 0, SAMPLE_RATE / pitch.clamp_min(_LOWEST_F0), torch.zeros_like(pitch))
        positions = torch.arange(pitch.shape[1], device=pitch.device)
        earlier = positions - lag.long()
        voiced = pitch > 0
        # Both ends of the period must be voiced and inside the window.
        valid = voiced & voiced.gather(1, earlier.clamp_min(0)) & (earlier > 2)
        with torch.no_grad():
            wanted = split_bands(real)
            level = F.avg_pool1d(wanted.square(), FRAME, HOP)
            loud = (level / (level.amax(2, keepdim=True) + 1e-9)).sqrt() * (level > 1e-9)
            weight = loud * F.avg_pool1d(valid.unsqueeze(1).float(), FRAME, HOP)
            target = correlation(wanted, lag, valid)
        error = (correlation(split_bands(fake), lag, valid) - target).abs() * weight
        total, count = share.sums(error.sum((0, 2)), weight.sum((0, 2)))
        each = total / count.clamp_min(1)
        return (each * each.new_tensor(WEIGHTS)).sum()
