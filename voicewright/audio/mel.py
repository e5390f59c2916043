"""Log-mel spectrograms of our own models and StyleTTS 2's, the historical one too. What foreign networks and
judges hear has their own filters, all from `melbank.py`.

The mel scale is HTK's (2595 log10(1 + f/700)) with triangles of height 1, on a power spectrogram with a
periodic Hann window, centred frames and reflected edges: torchaudio's `MelSpectrogram` as it comes.

Frames and time: frame k is centred on sample k * hop. Kokoro's decoder spends the values of frame k on
samples [k * hop, (k + 1) * hop), whose middle is half a hop (6.25 ms) later. StyleTTS 2 and Kokoro were
trained with exactly this offset, so it is kept: mel, F0 and energy of one clip share frame k, and a clip of
600 * F samples has 2 F + 1 centred frames of which the first 2 F are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError


@dataclass(frozen=True)
class MelPreset:
    """One kind of log-mel spectrogram.

    `filter_rate` is the rate the filters believe they see. It differs from `sample_rate` only in StyleTTS
    2's historical mel, whose filters are spaced for 16 kHz (0 to 8 kHz) but laid over 24 kHz audio, so that
    bin k counts as k * 8000 / (n_fft / 2) Hz. The value is (log(floor + power) - mean) / std.
    """

    name: str
    sample_rate: int
    n_fft: int
    win: int
    hop: int
    n_mels: int
    fmin: float
    fmax: float
    filter_rate: int
    floor: float = 1e-5
    mean: float = -4.0
    std: float = 4.0

    @property
    def silence(self) -> float:
        """The value of digital silence: -1.878 with StyleTTS 2's constants."""
        return (math.log(self.floor) - self.mean) / self.std


def _loss(n_fft: int, hop: int, win: int) -> MelPreset:
    return MelPreset(f"24k-{n_fft}", 24_000, n_fft, win, hop, 128, 0.0, 12_000.0, 24_000)


PRESETS: Mapping[str, MelPreset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            # What StyleTTS 2's style encoders, aligner and pitch net read (see MelPreset.filter_rate).
            MelPreset("styletts2", 24_000, 2048, 1200, 300, 80, 0.0, 8_000.0, 16_000),
            # The same grid with filters where they say they are.
            MelPreset("24k", 24_000, 2048, 1200, 300, 80, 0.0, 12_000.0, 24_000),
            # StyleTTS 2's three resolutions of the spectral loss.
            _loss(1024, 120, 600),
            _loss(2048, 240, 1200),
            _loss(512, 50, 240),
            # What the conversion's content network reads: the same grid, short windows, nothing above 8 kHz.
            MelPreset("content", 24_000, 1024, 600, 300, 80, 0.0, 8_000.0, 24_000, 1e-6, 0.0, 1.0),
        )
    }
)


def preset_of(preset: MelPreset | str) -> MelPreset:
    """The preset itself, or the named one. Raises VoicewrightError for a name that does not exist."""
    if isinstance(preset, MelPreset):
        return preset
    if preset not in PRESETS:
        raise VoicewrightError(f"There is no mel preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[preset]


def mel_filters(preset: MelPreset | str) -> Tensor:
    """Triangular HTK filters, float32 [n_fft/2 + 1, n_mels], height 1 (no area normalisation)."""
    p = preset_of(preset)
    bins = torch.linspace(0, p.filter_rate / 2, p.n_fft // 2 + 1, dtype=torch.float64)
    low, high = (2595.0 * math.log10(1.0 + f / 700.0) for f in (p.fmin, p.fmax))
    corners = 700.0 * (10.0 ** (torch.linspace(low, high, p.n_mels + 2, dtype=torch.float64) / 2595.0) - 1.0)
    rising = (bins[:, None] - corners[None, :-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[None, 2:] - bins[:, None]) / (corners[2:] - corners[1:-1])
    return torch.minimum(rising, falling).clamp_min(0.0).to(torch.float32)


class LogMel(nn.Module):
    """Log-mel of one preset; holds its window and filters, so make it once and call it often.

    forward: samples [T] or [B, T] at the preset's rate, floats in -1..1 → [n_mels, frames] or
    [B, n_mels, frames] with frames = 1 + T // hop, always float32 (half precision would lose the floor).
    Differentiable. Raises VoicewrightError unless T exceeds n_fft / 2, which the reflected edges need.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, preset: MelPreset | str = "styletts2") -> None:
        super().__init__()
        self.preset = preset_of(preset)
        self.register_buffer("window", torch.hann_window(self.preset.win), persistent=False)
        self.register_buffer("filters", mel_filters(self.preset), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        p = self.preset
        if samples.shape[-1] <= p.n_fft // 2:
            raise VoicewrightError(
                f"{samples.shape[-1]} samples are too few for mel preset {p.name}; "
                f"give more than {p.n_fft // 2}."
            )
        with torch.autocast(samples.device.type, enabled=False):
            spectrum = torch.stft(
                samples.float(),
                p.n_fft,
                p.hop,
                p.win,
                self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.real.square() + spectrum.imag.square()
            mel = (power.transpose(-1, -2) @ self.filters).transpose(-1, -2)
            return (torch.log(p.floor + mel) - p.mean) / p.std


def log_mel(samples: Tensor, preset: MelPreset | str = "styletts2") -> Tensor:
    """Log-mel of samples [T] or [B, T] → [n_mels, frames] or [B, n_mels, frames].

    Builds window and filters anew at each call: inside a loop make one `LogMel` instead.
    """
    return LogMel(preset).to(samples.device)(samples)


def energy(mel: Tensor) -> Tensor:
    """StyleTTS 2's loudness curve N: log 2-norm of exp(4 m - 4) over bins. [..., n_mels, t] → [..., t].

    `mel` holds values of the "styletts2" preset; exp(4 m - 4) is then its floored power.
    """
    return 0.5 * torch.logsumexp(2.0 * (4.0 * mel.float() - 4.0), dim=-2)
