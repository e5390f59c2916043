"""What Beatrice 2 listens for in 16 kHz speech: phones and pitch, 100 frames a second."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.beatrice.network.layers import Stack, gelu

SAMPLE_RATE = 16_000
HOP = 160
PHONES = 128
PITCH_BINS = 448
BINS_PER_OCTAVE = 96
LOWEST_HZ = 55.0
_WINDOW, _PERIODS, _CORRELATED, _PARTIALS = 560, 256, 304, 64


class PhoneExtractor(nn.Module):
    """Phones of a voice. x [B, n] 16 kHz, n a multiple of 160 → [B, 128, n / 160]; sees 2.5 ms ahead."""

    def __init__(self, channels: int = 128, blocks: int = 20) -> None:
        super().__init__()
        widths = (1, channels // 8, channels // 4, channels // 2, channels, channels, channels)
        shapes = ((10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2))
        self.features = nn.ModuleList(
            nn.Conv1d(inputs, outputs, kernel, stride, bias=False)
            for inputs, outputs, (kernel, stride) in zip(widths[:-1], widths[1:], shapes, strict=True)
        )
        self.backbone = Stack(channels, 3 * channels, blocks, kernel=17, embed=9, interleaved=True)
        self.head = nn.Conv1d(channels, PHONES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x[:, None], (40, 40))
        for layer in self.features:
            x = gelu(layer(x))
        x = F.layer_norm(x.transpose(1, 2), (x.shape[1],)).transpose(1, 2)
        return self.head(gelu(self.backbone(x)))


class PitchEstimator(nn.Module):
    """Pitch of a voice. x [B, n] 16 kHz → logits [B, 448, n / 160], energy [B, 1, n / 160].

    Bin q stands for 55 · 2^(q / 96) Hz, bin 0 for no pitch. Sees 22.5 ms ahead, its energy 12.5 ms.
    """

    def __init__(self, channels: int = 192, blocks: int = 9) -> None:
        super().__init__()
        self.partials = nn.ModuleList(
            [nn.Conv1d(3 * _PARTIALS, channels, 1), nn.Conv1d(channels, channels, 1)]
        )
        self.periods = nn.ModuleList([nn.Conv1d(_PERIODS, channels, 1), nn.Conv1d(channels, channels, 1)])
        self.backbone = Stack(channels, 2 * channels, blocks, kernel=33, embed=3, delay=1)
        self.head = nn.Conv1d(channels, PITCH_BINS, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        partials, periods, energy = pitch_features(x)
        first = self.partials[1](gelu(self.partials[0](partials)))
        second = self.periods[1](gelu(self.periods[0](periods)))
        return self.head(self.backbone(gelu(first + second))), energy


def pitch_features(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log magnitudes and phase steps of the lowest partials [B, 192, T], YIN's difference function over lags
    1…256 [B, 256, T], and log energy [B, 1, T], of 35 ms windows. x [B, n] → T = n / 160.
    """
    edge = (_WINDOW - HOP) // 2
    frames = F.pad(x, (edge, edge)).unfold(-1, _WINDOW, HOP)  # [B, T, window]
    spectrum = torch.fft.rfft(frames)[..., :_PARTIALS]
    step = spectrum[:, 1:] * spectrum[:, :-1].conj()
    step = F.pad(torch.view_as_real(step / (step.abs() + 1e-5)), (0, 0, 0, 0, 1, 0))
    partials = torch.cat([(spectrum.abs() + 1e-5).log10(), step[..., 0], step[..., 1]], dim=-1)

    backwards = frames.flip(-1)
    product = torch.fft.rfft(backwards) * torch.fft.rfft(frames[..., -_CORRELATED:], n=_WINDOW)
    correlation = torch.fft.irfft(product, n=_WINDOW)[..., _CORRELATED:]
    power = backwards.square().cumsum(-1)
    here = power[..., _CORRELATED - 1 : _CORRELATED]
    there = power[..., _CORRELATED:] - power[..., :-_CORRELATED]
    difference = (here + there - 2 * correlation).clamp_min(0)
    periods = (difference * (2 / _CORRELATED)).sqrt()

    window = torch.signal.windows.cosine(_WINDOW, device=x.device, dtype=frames.dtype)
    energy = 0.5 * (frames * window).square().sum(-1, keepdim=True).clamp_min(1e-3).log10()
    return partials.transpose(1, 2), periods.transpose(1, 2), energy.transpose(1, 2)


def read_pitch(logits: Tensor, band: int = 4) -> tuple[Tensor, Tensor]:
    """The likeliest pitch. logits [B, 448, T] → bins [B, T] ≥ 1, and [B, 3, T]: how likely no pitch is, and
    how likely half and double of it are beside it.

    The band of four neighbouring bins with the most probability wins, and in it its strongest bin.
    """
    probability = logits.softmax(1)
    unvoiced = probability[:, :1].clone()
    probability[:, 0] = -100.0
    sums = probability.unfold(1, band, 1).sum(-1)  # [B, 448 − band + 1, T]
    best = sums.argmax(1, keepdim=True)
    top = sums.gather(1, best)
    last = PITCH_BINS - band
    half = sums.gather(1, (best - BINS_PER_OCTAVE).clamp_min(1)).masked_fill(best <= BINS_PER_OCTAVE, 0)
    double = sums.gather(1, (best + BINS_PER_OCTAVE).clamp_max(last))
    double = double.masked_fill(best > last - BINS_PER_OCTAVE, 0)
    inside = probability.unfold(1, band, 1).gather(1, best[..., None].expand(-1, -1, -1, band))
    bins = best[:, 0] + inside[:, 0].argmax(-1)
    return bins, torch.cat([unvoiced, half / (top + 1e-6), double / (top + 1e-6)], dim=1)


def hertz(bins: Tensor) -> Tensor:
    """Frequencies of pitch bins, same shape."""
    return LOWEST_HZ * 2 ** (bins.float() / BINS_PER_OCTAVE)
