"""The iSTFTNet generator: features and an excitation become a waveform through an inverse STFT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from voicewright.model.config import Extension, IstftNet
from voicewright.model.layers import AdaINSnakeBlock
from voicewright.model.tts.source import VOICED_ABOVE, Rng, Source
from voicewright.units import HOP, SAMPLE_RATE

PHASE_FLOOR = 1e-4
"""Added to |z|² in the phase's gradient, which otherwise has no bound where the source is silent."""
COHERENCE = 0.45
"""Natural log of how much louder speech came out, on one voice, when its frames began to agree in phase."""
LOG_CEILING = 20.0
"""The largest log magnitude; only a diverging training gets there, and inf would end it."""


class STFT(nn.Module):
    """Centred STFT and its exact inverse (periodic Hann window), by real convolutions."""

    analysis: Tensor
    synthesis: Tensor
    overlap: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop = hop
        with torch.device("cpu"):  # real tables also in a graph that is built without memory
            self._make_tables(n_fft)

    def _make_tables(self, n_fft: int) -> None:
        bins = n_fft // 2 + 1
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
        angle = torch.outer(torch.arange(bins), torch.arange(n_fft)).double() * (2 * math.pi / n_fft)
        # Imaginary parts of the first and the last bin are 0 by definition; they are padded in, never
        # computed, as their sign would decide between the phases pi and -pi.
        analysis = torch.cat([torch.cos(angle), -torch.sin(angle[1:-1])]) * window
        twice = torch.full((bins, 1), 2.0, dtype=torch.float64)
        twice[0] = twice[-1] = 1.0
        synthesis = torch.cat([torch.cos(angle) * twice, -torch.sin(angle) * twice]) * (window / n_fft)
        self.register_buffer("analysis", analysis[:, None].float(), persistent=False)
        self.register_buffer("synthesis", synthesis[:, None].float(), persistent=False)
        self.register_buffer("overlap", window.square()[None, None].float(), persistent=False)

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        """wave [B,N] -> real and imaginary parts, each [B, n_fft/2+1, N/hop+1]."""
        padded = F.pad(wave[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        parts = F.conv1d(padded, self.analysis, stride=self.hop)
        bins = self.n_fft // 2 + 1
        return parts[:, :bins], F.pad(parts[:, bins:], (0, 0, 1, 1))

    def inverse(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Parts [B, n_fft/2+1, M] -> wave [B, (M-1)·hop]."""
        frames = torch.cat([real, imaginary], dim=1)
        wave = F.conv_transpose1d(frames, self.synthesis, stride=self.hop)
        ones = torch.ones_like(real[:1, :1])
        weight = F.conv_transpose1d(ones, self.overlap, stride=self.hop)
        edge = self.n_fft // 2
        return (wave[:, 0, edge:-edge] / weight[:, 0, edge:-edge]).contiguous()


def polar(real: Tensor, imaginary: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude and phase; the phase's gradient is bounded (PHASE_FLOOR), its value exact."""
    power = real.square() + imaginary.square()
    magnitude = torch.where(power > 0, power, torch.ones_like(power)).sqrt() * (power > 0)
    with torch.no_grad():
        phase = torch.atan2(imaginary, real)
        floor = power + PHASE_FLOOR
        toward_real, toward_imaginary = -imaginary / floor, real / floor
    if not real.requires_grad:
        return magnitude, phase
    slope = toward_real * real + toward_imaginary * imaginary
    return magnitude, phase + (slope - slope.detach())


def lead(
    parts: tuple[Tensor, Tensor], magnitude: Tensor, harmonics: Tensor, voiced: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor]:
    """Give the last bins of voiced frames the excitation's phase.

    parts: real and imaginary [B,bins,M]; magnitude [B,bins,M]; harmonics [B,2·bins,M]; voiced [B,1,M], 1 or
    0; gain: the log of what to multiply the last bins' magnitudes by, [1,led bins,1]. Or the same as rows:
    [M,bins], [M,2·bins], [M,1], [1,led bins].
    """
    bins = magnitude.shape[1]
    first = bins - gain.shape[1]
    cosine, sine = harmonics[:, first:bins], harmonics[:, bins + first : 2 * bins]
    level = magnitude[:, first:] * gain.exp() * torch.rsqrt(cosine.square() + sine.square() + 1e-12)
    led = []
    for part, direction in zip(parts, (cosine, sine), strict=True):
        upper = torch.lerp(part[:, first:], level * direction, voiced)
        led.append(torch.cat([part[:, :first], upper], dim=1))
    return led[0], led[1]


class Generator(nn.Module):
    """Kokoro's `decoder.generator`; works on any slice of an utterance."""

    def __init__(self, config: IstftNet, extension: Extension, style: int) -> None:
        super().__init__()
        rates, top = config.upsample_rates, config.upsample_initial_channel
        n_fft, self.bins = config.gen_istft_n_fft, config.gen_istft_n_fft // 2 + 1
        self.kernels = len(config.resblock_kernel_sizes)
        self.phase_scale = extension.phase_scale
        self.cartesian = extension.source_stft == "cartesian"
        self.lead_gain: nn.Parameter | None = None
        """Log gain of the bins whose phase is led by the excitation, [led bins]."""
        if extension.source_phase_from is not None:
            first = math.ceil(extension.source_phase_from * n_fft / SAMPLE_RATE)
            self.lead_gain = nn.Parameter(torch.full((max(0, self.bins - first),), -COHERENCE))
        plain = self.cartesian or extension.excitation == "pulse"
        self.m_source = Source(extension.harmonics, extension.excitation, plain, extension.voiced_noise)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        self.noise_convs = nn.ModuleList()
        self.noise_res = nn.ModuleList()
        for i, (rate, kernel) in enumerate(zip(rates, config.upsample_kernel_sizes, strict=True)):
            width = top >> (i + 1)
            self.ups.append(
                weight_norm(nn.ConvTranspose1d(2 * width, width, kernel, rate, padding=(kernel - rate) // 2))
            )
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            ):
                self.resblocks.append(AdaINSnakeBlock(width, size, dilations, style))
            if i + 1 < len(rates):
                step = math.prod(rates[i + 1 :])
                conv = nn.Conv1d(n_fft + 2, width, 2 * step, stride=step, padding=(step + 1) // 2)
                size = 7
            else:
                conv = nn.Conv1d(n_fft + 2, width, 1)
                size = extension.noise_kernel
            self.noise_convs.append(conv)
            self.noise_res.append(AdaINSnakeBlock(width, size, (1, 3, 5), style))
        self.conv_post = weight_norm(nn.Conv1d(top >> len(rates), n_fft + 2, 7, padding=3))
        self.gain_post: nn.Module | None = None
        if extension.source_gain:
            gain = nn.Conv1d(top >> len(rates), self.bins, 7, padding=3)
            assert gain.bias is not None
            nn.init.zeros_(gain.weight)
            nn.init.zeros_(gain.bias)
            self.gain_post = gain
        self.stft = STFT(n_fft, config.gen_istft_hop_size)

    def harmonics(self, f0: Tensor, rng: Rng = None) -> Tensor:
        """The source's spectrum as the generator reads it: f0 [B,2F] -> [B, n_fft+2, 600F/hop+1], fp32.

        With `source_phase_from` one row more says which frames are voiced.
        """
        source = self.m_source(f0, rng)
        with torch.autocast(f0.device.type, enabled=False):
            parts = self.stft(source)
            found = torch.cat(parts if self.cartesian else polar(*parts), dim=1)
            return found if self.lead_gain is None else torch.cat([found, self.voiced(f0)], dim=1)

    def voiced(self, f0: Tensor) -> Tensor:
        """Which frames of the spectrum are voiced, 1 or 0: f0 [B,2F] -> [B,1,600F/hop+1]."""
        steps = (f0.float() > VOICED_ABOVE).float().repeat_interleave(HOP // self.stft.hop, dim=1)
        return torch.cat([steps[:, :1], steps], dim=1)[:, None]

    def synthesise(self, x: Tensor, style: Tensor, harmonics: Tensor) -> Tensor:
        """x [B,C,2F], style [B,128], harmonics as above -> audio [B,600F], fp32."""
        return self.wave(self.body(x, style, harmonics), harmonics)

    def body(self, x: Tensor, style: Tensor, harmonics: Tensor) -> Tensor:
        """Everything before the spectrum: -> features [B, C, 600F/hop+1]."""
        for i, up in enumerate(self.ups):
            source = self.noise_res[i](self.noise_convs[i](harmonics[:, : 2 * self.bins]), style)
            x = up(F.leaky_relu(x, 0.1))
            if i + 1 == len(self.ups):
                x = F.pad(x, (1, 0), mode="reflect")
            x = x + source
            total = self.resblocks[i * self.kernels](x, style)
            for j in range(1, self.kernels):
                total = total + self.resblocks[i * self.kernels + j](x, style)
            x = total / self.kernels
        return F.leaky_relu(x, 0.01)

    def spectrum(self) -> list[nn.Module]:
        """The last layers: what turns features into an STFT."""
        return [self.conv_post] if self.gain_post is None else [self.conv_post, self.gain_post]

    def wave(self, x: Tensor, harmonics: Tensor) -> Tensor:
        """Last features [B, C, 600F/hop+1] and the source's spectrum -> audio [B,600F], fp32."""
        post = self.conv_post(x)
        gain = None if self.gain_post is None else self.gain_post(x)
        with torch.autocast(x.device.type, enabled=False):
            post = post.float()
            magnitude = torch.exp(post[:, : self.bins].clamp(max=LOG_CEILING))
            phase = torch.sin(post[:, self.bins :]) * self.phase_scale
            real, imaginary = magnitude * torch.cos(phase), magnitude * torch.sin(phase)
            if self.lead_gain is not None:
                gains, voiced = self.lead_gain[None, :, None], harmonics[:, 2 * self.bins :]
                real, imaginary = lead((real, imaginary), magnitude, harmonics, voiced, gains)
            if gain is not None:
                real = real + gain.float() * harmonics[:, : self.bins]
                imaginary = imaginary + gain.float() * harmonics[:, self.bins : 2 * self.bins]
            return self.stft.inverse(real, imaginary)

    def forward(self, x: Tensor, style: Tensor, f0: Tensor, rng: Rng = None) -> Tensor:
        """x [B,C,2F] (from `Decoder.front`), acoustic style [B,128], f0 [B,2F] in Hz -> audio [B,600F].

        `rng` seeds the noise and the start phase; None uses torch's own generator.
        """
        return self.synthesise(x, style, self.harmonics(f0, rng))
