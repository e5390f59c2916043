"""One speaker's recordings made to sound like many others, as the mel that a content network reads.

Pitch, vocal tract, pace, channel, room, noise and harmonicity change from clip to clip; what is said, and
when, does not. Everything is drawn from torch's own generator, so a seeded step gives the same disguises.

Pitch and formants move apart in the short-time spectrum: frames are cut from the waveform with their samples
spread or pressed together (so that all frequencies scale, but time does not), once by the pitch's factor and
once by the formants'; the cepstrum's beginning, the envelope, comes from the one, the rest from the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from voicewright.audio.mel import mel_filters, preset_of
from voicewright.units import SAMPLE_RATE

PRESET = "content"
_LIFTER = 52
"""Cepstral values that make the envelope: 2.2 ms, less than the period of any voice below 460 Hz."""
_CURVE = 12
"""Points of the random equaliser, evenly spread in mel."""


@dataclass(frozen=True)
class Ranges:
    """From where the disguises are drawn; factors are drawn evenly in the logarithm."""

    pitch: tuple[float, float] = (0.45, 1.5)
    formants: tuple[float, float] = (0.76, 1.18)
    pace: tuple[float, float] = (0.75, 1.3)
    harmonics: tuple[float, float] = (0.5, 1.15)
    """Factor of the fine structure in log magnitude: breathier below 1."""
    equaliser: float = 6.0
    """dB, standard deviation of the random channel's points."""
    noise: tuple[float, float] = (14.0, 55.0)
    """dB of speech over noise."""
    narrow: float = 0.3
    """How often the band ends at 3.4 to 8 kHz."""
    room: float = 0.4
    """How often there is a room."""
    untouched: float = 0.1
    """How often a clip stays as it is, noise aside."""


class Disguise(nn.Module):
    """forward: samples [B, 600 F] at 24 kHz → (log-mel "content" [B, 80, 2F], frame map [B, F] int64).

    The map says which frame of the original is heard in each frame; a changed pace makes it other than
    0, 1, 2 …, and -1 where a fast clip has ended.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, ranges: Ranges | None = None) -> None:
        super().__init__()
        self.ranges = ranges or Ranges()
        self.preset = preset_of(PRESET)
        self.register_buffer("window", torch.hann_window(self.preset.win), persistent=False)
        self.register_buffer("filters", mel_filters(self.preset), persistent=False)

    @torch.no_grad()
    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(samples.device.type, enabled=False):
            return self._disguise(samples.float())

    def _between(self, low: float, high: float, count: int, device: torch.device) -> Tensor:
        return low * (high / low) ** torch.rand(count, 1, device=device)

    def _disguise(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        r, count, device = self.ranges, len(samples), samples.device
        plain = torch.rand(count, 1, device=device) < r.untouched
        one = torch.ones(count, 1, device=device)
        pitch = torch.where(plain, one, self._between(*r.pitch, count, device))
        formants = torch.where(plain, one, self._between(*r.formants, count, device))
        pace = torch.where(plain, one, self._between(*r.pace, count, device))
        depth = torch.where(plain, one, self._between(*r.harmonics, count, device))
        frames = samples.shape[1] // (2 * self.preset.hop)
        wave = self._heard(samples, plain)
        # Where the frames of 12.5 ms are centred, in frames of the original; a slow clip is a part of it.
        steps = torch.arange(2 * frames, device=device)
        spare = (2 * frames * (1 - pace)).clamp_min(0)
        at = steps * pace + spare * torch.rand(count, 1, device=device)
        there = at < 2 * frames
        at = at.clamp(max=2 * frames - 1)
        fine = self._frames(wave, at, pitch)
        body = self._frames(wave, at, formants)
        spectrum = self._joined(fine, body, depth)
        spectrum = spectrum * self._channel(count, plain, device) * there.unsqueeze(2)
        mel = (spectrum @ self.filters).transpose(1, 2)
        mel = (mel + self._noise(mel)).clamp_min(0)
        source = (0.5 * at[:, ::2] + 0.25).floor().long().clamp(0, frames - 1).where(there[:, ::2], -1)
        return torch.log(self.preset.floor + mel), source

    def _heard(self, samples: Tensor, plain: Tensor) -> Tensor:
        """The wave at 48 kHz, after a room: early and late reflections as decaying noise."""
        r, count, device = self.ranges, len(samples), samples.device
        size = samples.shape[1] + SAMPLE_RATE // 2
        spectrum = torch.fft.rfft(samples, size)
        length = SAMPLE_RATE // 2
        time = torch.arange(length, device=device) / SAMPLE_RATE
        decay = self._between(0.08, 0.6, count, device)
        tail = torch.randn(count, length, device=device) * torch.exp(-6.9 * time / decay)
        tail[:, : SAMPLE_RATE // 500] = 0
        tail = tail / tail.square().sum(1, keepdim=True).sqrt()
        present = (torch.rand(count, 1, device=device) < r.room) & ~plain
        wet = present * self._between(0.05, 0.6, count, device)
        impulse = wet * tail
        impulse[:, 0] += 1
        spectrum = spectrum * torch.fft.rfft(impulse, size)
        # Twice the rate by a longer inverse: what lies between samples is then nearly a straight line.
        wide = torch.zeros(count, size + 1, dtype=spectrum.dtype, device=device)
        wide[:, : spectrum.shape[1]] = spectrum
        return 2 * torch.fft.irfft(wide, 2 * size)[:, : 2 * samples.shape[1]]

    def _frames(self, wave: Tensor, at: Tensor, factor: Tensor) -> Tensor:
        """Power spectra [B, T, n_fft/2+1] whose frequencies are multiplied by `factor` [B, 1]."""
        p = self.preset
        taps = torch.arange(p.win, device=wave.device) - p.win // 2
        position = 2 * (at * p.hop).unsqueeze(2) + 2 * factor.unsqueeze(2) * taps
        low = position.floor()
        share = position - low
        index = low.long().clamp(0, wave.shape[1] - 2).flatten(1)
        first = wave.gather(1, index).view_as(position)
        second = wave.gather(1, index + 1).view_as(position)
        pieces = (first + share * (second - first)) * self.window
        made = torch.fft.rfft(pieces, p.n_fft)
        return made.real.square() + made.imag.square()

    def _joined(self, fine: Tensor, body: Tensor, depth: Tensor) -> Tensor:
        """Envelope of `body` under the fine structure of `fine`, in power."""
        low = 1e-7
        one, other = (torch.log(low + x) for x in (fine, body))
        kept = self._envelope(torch.stack([one, other]))
        out = torch.exp(depth.unsqueeze(2) * (one - kept[0]) + kept[1])
        # Smoothing in the logarithm takes power from the peaks; each frame gets back what it had.
        return out * (body.sum(2, keepdim=True) / out.sum(2, keepdim=True).clamp_min(1e-9))

    def _envelope(self, log: Tensor) -> Tensor:
        cepstrum = torch.fft.irfft(log)
        lifter = torch.zeros(cepstrum.shape[-1], device=log.device)
        ramp = 0.5 + 0.5 * torch.cos(torch.linspace(0, torch.pi, 16, device=log.device))
        lifter[: _LIFTER - 16] = 1
        lifter[_LIFTER - 16 : _LIFTER] = ramp
        lifter[1:] += lifter[1:].flip(0)
        return torch.fft.rfft(cepstrum * lifter).real

    def _channel(self, count: int, plain: Tensor, device: torch.device) -> Tensor:
        """Gains of power [B, 1, n_fft/2+1]: a smooth random curve, and for some an end of the band."""
        r, bins = self.ranges, self.preset.n_fft // 2 + 1
        hertz = torch.linspace(0, SAMPLE_RATE / 2, bins, device=device)
        place = (torch.log1p(hertz / 700) / torch.log1p(hertz.new_tensor(8000.0) / 700)).clamp(max=1)
        points = torch.randn(count, _CURVE, device=device) * r.equaliser * ~plain
        place = place * (_CURVE - 1)
        left = place.floor().long().clamp(max=_CURVE - 2)
        share = 0.5 - 0.5 * torch.cos(torch.pi * (place - left))
        curve = points[:, left] * (1 - share) + points[:, left + 1] * share
        end = self._between(3400.0, 8000.0, count, device)
        cut = (torch.rand(count, 1, device=device) < r.narrow) & ~plain
        fall = torch.where(cut, (60 * (hertz / end - 1) / 0.1).clamp(0, 60), 0.0)
        return (10 ** ((curve - fall) / 10)).unsqueeze(1)

    def _noise(self, mel: Tensor) -> Tensor:
        """Power of a steady, coloured noise in each band, scattered as short spectra of noise are."""
        r, count, device = self.ranges, len(mel), mel.device
        level = mel.mean(1)
        speech = level.quantile(0.9, dim=1).view(-1, 1, 1)
        ratio = r.noise[0] + (r.noise[1] - r.noise[0]) * torch.rand(count, 1, 1, device=device)
        bands = mel.shape[1]
        slope = torch.linspace(0.5, -0.5, bands, device=device).view(1, -1, 1)
        colour = 10 ** ((20 * torch.rand(count, 1, 1, device=device) - 4) * slope / 10)
        width = self.filters.sum(0).clamp_min(0.5).view(1, -1, 1)
        colour = colour / colour.mean(1, keepdim=True) * width / width.mean()
        # A band of n bins has a chi-square of 2 n degrees of freedom; a log-normal is near enough.
        scatter = torch.exp(torch.randn_like(mel) / (width.sqrt() * 1.2))
        return speech * 10 ** (-ratio / 10) * colour * scatter
