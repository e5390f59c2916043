"""The excitation: sines of F0 and overtones (Kokoro's), or one band-limited pulse train.

Everything here runs in fp32, phases accumulate in fp64 and are wrapped to one turn before they are used,
so that a long utterance is as exact as a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.units import HOP, SAMPLE_RATE

AMPLITUDE = 0.1
NOISE_UNVOICED = AMPLITUDE / 3
VOICED_ABOVE = 10.0
"""Hz; an F0 at or below this is unvoiced."""
PULSE_TOP = 11_000.0
"""Hz; the pulse train holds every harmonic up to here."""


Rng: TypeAlias = torch.Generator | Callable[[torch.Size, bool], Tensor] | None
"""Where random numbers come from: a generator, a function of (shape, normal or uniform), or
torch's own state."""


def random_like(shape: torch.Size, device: torch.device, rng: Rng, normal: bool) -> Tensor:
    """Normal or uniform fp32 numbers, drawn where the generator lives: a CPU seed serves any device."""
    if rng is not None and not isinstance(rng, torch.Generator):
        return rng(shape, normal)
    draw = torch.randn if normal else torch.rand
    if rng is None:
        return draw(shape, device=device)
    return draw(shape, generator=rng, device=rng.device).to(device)


def sines(f0: Tensor, overtones: int) -> Tensor:
    """Sines of F0 and its overtones: f0 [B,T] in Hz at hop 300 -> [B,300T,1+overtones], not yet gated.

    The phase is integrated per frame and interpolated between frame centres, held constant in the outer half
    frames, as Kokoro does. (Its random start phases are lost in its own resampling, so they are 0 here too.)
    With more than 8 overtones, those above Nyquist are silenced; Kokoro's 8 are kept as they are.
    """
    waves = _waves(*_phases(f0, overtones))
    return waves * _audible(f0, overtones) if overtones > 8 else waves


def _phases(f0: Tensor, overtones: int) -> tuple[Tensor, Tensor]:
    """Turns at the centres of frames, and how many follow in a frame: [B,T+1,1+overtones] each."""
    ranks = torch.arange(1, overtones + 2, device=f0.device, dtype=torch.float64)
    cycles = (f0.double()[:, :, None] * ranks / SAMPLE_RATE) % 1
    centres = (torch.cumsum(cycles, dim=1) * HOP) % 1
    still = torch.zeros_like(cycles[:, :1])
    start = torch.cat([centres[:, :1], centres], dim=1).float()
    return start, torch.cat([still, cycles[:, 1:], still], dim=1).float() * HOP


def _waves(start: Tensor, slope: Tensor) -> Tensor:
    """`_phases` of T frames (rows T+1) -> [B,300T,1+overtones]."""
    fraction = (torch.arange(HOP, device=start.device, dtype=torch.float32) + 0.5) / HOP
    phase = torch.addcmul(start[:, :, None], slope[:, :, None], fraction[:, None]).flatten(1, 2)
    return torch.sin(phase[:, HOP // 2 : -(HOP // 2)] * (2 * torch.pi))


def _audible(f0: Tensor, overtones: int) -> Tensor:
    """1 for what lies below Nyquist, else 0: [B,300T,1+overtones]."""
    ranks = torch.arange(1, overtones + 2, device=f0.device, dtype=torch.float32)
    return (f0[:, :, None] * ranks < SAMPLE_RATE / 2).float().repeat_interleave(HOP, dim=1)


def pulses(f0: Tensor, rng: Rng) -> Tensor:
    """A band-limited pulse train of about unit RMS: f0 [B,T] in Hz at hop 300 -> [B,300T,1], not yet gated.

    The sum of cos(kφ), k = 1..K with K = 11 kHz / F0, by the closed Dirichlet kernel. F0 moves linearly
    between voiced frames; the start phase is random.
    """
    pitch = glide(f0)
    start = random_like(torch.Size([f0.shape[0], 1]), f0.device, rng, normal=False).double()
    turns = torch.cumsum(pitch.double() / SAMPLE_RATE, dim=1) + start
    phase = ((turns - turns.round()) * (2 * torch.pi)).float()
    count = torch.floor(PULSE_TOP / pitch.clamp(min=VOICED_ABOVE)).clamp(min=1)
    centre = phase.abs() < 1e-5
    half = torch.where(centre, torch.ones_like(phase), phase / 2)
    kernel = torch.sin((count + 0.5) * 2 * half) / (2 * torch.sin(half)) - 0.5
    return (torch.where(centre, count, kernel) / torch.sqrt(count / 2))[:, :, None]


def glide(f0: Tensor) -> Tensor:
    """What the pulse train's F0 is at every sample: [B,T] → [B,300T] in Hz."""
    voiced = (f0 > VOICED_ABOVE).float()
    held = f0.repeat_interleave(HOP, dim=1)
    gliding = F.interpolate(f0[:, None], scale_factor=float(HOP), mode="linear")[:, 0]
    inside = F.interpolate(voiced[:, None], scale_factor=float(HOP), mode="linear")[:, 0] == 1
    return torch.where(inside, gliding, held)


class Source(nn.Module):
    """Excitation of the generator (`m_source`): f0 [B,T] in Hz at hop 300 -> waveform [B,300T], fp32.

    The waves are made without gradient; `l_linear`, which mixes them, trains.
    """

    def __init__(
        self,
        overtones: int,
        excitation: Literal["sines", "pulse"],
        plain_mix: bool,
        voiced_noise: float = 0.003,
    ) -> None:
        super().__init__()
        self.voiced_noise = voiced_noise
        self.overtones = overtones
        self.excitation = excitation
        self.l_linear = nn.Linear(1 if excitation == "pulse" else overtones + 1, 1)
        if plain_mix:
            # Half of the wave, so that the tanh behind hardly bends the pulses; no DC.
            nn.init.constant_(self.l_linear.weight, 0.5)
            nn.init.zeros_(self.l_linear.bias)

    def forward(self, f0: Tensor, rng: Rng = None) -> Tensor:
        with torch.autocast(f0.device.type, enabled=False):
            with torch.no_grad():
                f0 = f0.float()
                waves = pulses(f0, rng) if self.excitation == "pulse" else sines(f0, self.overtones)
                waves = self._gated(waves, f0, rng)
            return torch.tanh(self.l_linear(waves)).squeeze(2)

    @torch.no_grad()
    def pieces(self, f0: Tensor, rng: Rng = None, frames: int = 160) -> Iterator[Tensor]:
        """What `forward` gives for f0 [1,T], piece by piece, as its sines take memory: [1,300·frames] each.

        `frames` are a multiple of 4, so that pieces of noise are drawn as the whole is.
        """
        if self.excitation == "pulse" or f0.shape[1] <= frames:
            yield self(f0, rng)
            return
        f0 = f0.float()
        start, slope = _phases(f0, self.overtones)
        for first in range(0, f0.shape[1], frames):
            own = f0[:, first : first + frames]
            rows = slice(first, first + own.shape[1] + 1)
            waves = _waves(start[:, rows], slope[:, rows])
            if self.overtones > 8:
                waves = waves * _audible(own, self.overtones)
            yield torch.tanh(self.l_linear(self._gated(waves, own, rng))).squeeze(2)

    def _gated(self, waves: Tensor, f0: Tensor, rng: Rng) -> Tensor:
        """Waves where there is a voice, and noise everywhere."""
        voiced = (f0 > VOICED_ABOVE).float().repeat_interleave(HOP, dim=1)[:, :, None]
        level = NOISE_UNVOICED + voiced * (self.voiced_noise - NOISE_UNVOICED)
        noise = random_like(waves.shape, f0.device, rng, normal=True)
        return waves * (voiced * AMPLITUDE) + noise * level
