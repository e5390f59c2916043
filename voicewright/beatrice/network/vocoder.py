"""Beatrice 2's vocoder: impulse responses laid at pitch marks, shaped noise, a post filter; 24 kHz."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.beatrice.network.layers import DelayedConv, Stack

SAMPLE_RATE = 24_000
HOP = 240
_RESPONSE = 512
_FILTERED = 768


class Vocoder(nn.Module):
    """x [B, C, T], pitch [B, T] in Hz, memory [B, M, K], phase [B] in turns → samples [B, 240 · T]; sees
    20 ms ahead."""

    def __init__(self, channels: int = 256, memory: int = 128) -> None:
        super().__init__()
        inner = 2 * channels
        self.prenet = Stack(channels, inner, 4, kernel=33, embed=7, delay=2, memory=memory)
        self.response = Stack(channels, inner, 2, kernel=33, embed=3, normed=False)
        self.response_out = DelayedConv(channels, _RESPONSE, 1)
        self.window = nn.Parameter(torch.ones(_RESPONSE))
        self.noise = Stack(channels, inner, 1, kernel=33, embed=3, normed=False)
        self.noise_out = DelayedConv(channels, HOP, 1, bias=False)
        self.filter = Stack(channels, inner, 1, kernel=33, embed=3, normed=False)
        self.filter_out = DelayedConv(channels, _RESPONSE, 1, bias=False)

    def forward(
        self,
        x: Tensor,
        pitch: Tensor,
        memory: Tensor,
        phase: Tensor,
        generator: torch.Generator | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        x = self.prenet(x, memory)
        response = self.response_out(F.silu(self.response(x)))
        amplitude = response[:, : _RESPONSE // 2 + 1].exp()
        angle = F.pad(response[:, _RESPONSE // 2 + 1 :], (0, 0, 1, 1))
        # Every other bin half a turn further: the response is centred in its window.
        turn = math.pi * (torch.arange(angle.shape[1], device=x.device) % 2)
        voiced = pulses(amplitude, angle + turn[:, None], self.window, pitch, phase)
        breath = shaped_noise(self.noise_out(F.silu(self.noise(x))), generator, noise)
        taps = self.filter_out(F.silu(self.filter(x)))
        taps = torch.cat([taps[:, :1] + 1.0, taps[:, 1:]], dim=1)
        return _filtered(voiced + breath, taps)


def running_phase(pitch: Tensor, phase: Tensor) -> Tensor:
    """Turns, modulo 1, at every sample. pitch [B, T], phase [B] at the first sample → [B, 240 · T]."""
    steps = pitch.repeat_interleave(HOP, dim=1) / SAMPLE_RATE
    steps = torch.cat([phase[:, None].to(steps), steps[:, 1:]], dim=1)
    return (steps.double().cumsum(1) % 1.0).float()


def pulses(amplitude: Tensor, angle: Tensor, window: Tensor, pitch: Tensor, phase: Tensor) -> Tensor:
    """One impulse response per period. amplitude and angle [B, 257, T], window [512], pitch [B, T], phase [B]
    → [B, 240 · T].

    A pulse falls between samples where the running phase wraps; the fraction is a delay in its spectrum.
    """
    batch, bins, length = amplitude.shape
    turns = running_phase(pitch, phase)
    clip, place = torch.nonzero(turns[:, :-1] > turns[:, 1:], as_tuple=True)
    before = 1.0 - turns[clip, place]
    fraction = before / (before + turns[clip, place + 1])
    late = torch.arange(bins, device=pitch.device) * (-math.tau / _RESPONSE) * fraction[:, None]
    frame = place // HOP
    spectra = torch.polar(amplitude[clip, :, frame], angle[clip, :, frame] + late)
    shapes = torch.fft.irfft(spectra, n=_RESPONSE) * window
    total = length * HOP + _RESPONSE
    places = clip[:, None] * total + place[:, None] + torch.arange(_RESPONSE, device=pitch.device)
    sound = torch.zeros(batch * total, device=pitch.device)
    sound.index_add_(0, places.flatten(), shapes.flatten())
    return sound.view(batch, total)[:, : length * HOP]


def shaped_noise(
    shape: Tensor, generator: torch.Generator | None = None, noise: Tensor | None = None
) -> Tensor:
    """Uniform noise with a spectrum. shape [B, 240, T] → [B, 240 · T]. `noise` [B, 240 · (T + 1)] between 0
    and 1 instead of what would be drawn."""
    batch, _, length = shape.shape
    if noise is None:
        noise = torch.rand(batch, (length + 1) * HOP, generator=generator, device=shape.device)
    spectra = torch.fft.rfft((noise - 0.5).unfold(1, 2 * HOP, HOP))
    spectra = spectra * F.pad(shape.transpose(1, 2), (1, 0))
    frames = torch.fft.irfft(spectra, n=2 * HOP) * torch.hann_window(2 * HOP, device=shape.device)
    return _overlapped(frames)[:, :-HOP]


def _filtered(sound: Tensor, taps: Tensor) -> Tensor:
    """Each frame through its own filter. sound [B, 240 · T], taps [B, 512, T] → [B, 240 · T], 120 samples
    early: the filters' middle."""
    batch, samples = sound.shape
    frames = torch.fft.rfft(sound.view(batch, -1, HOP), n=_FILTERED)
    frames = torch.fft.irfft(frames * torch.fft.rfft(taps.transpose(1, 2), n=_FILTERED), n=_FILTERED)
    return _overlapped(frames)[:, HOP // 2 : HOP // 2 + samples]


def _overlapped(frames: Tensor) -> Tensor:
    """Frames every 240 samples, added up. [B, T, n] → [B, (T − 1) · 240 + n]."""
    batch, length, size = frames.shape
    total = (length - 1) * HOP + size
    return F.fold(frames.transpose(1, 2), (1, total), (1, size), stride=(1, HOP)).view(batch, total)
