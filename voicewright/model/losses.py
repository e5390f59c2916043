"""Spectral, adversarial and prosodic losses. Everything here computes in float32 whatever the autocast state.

Sources: multi-resolution STFT loss (Yamamoto et al. 2020, Parallel WaveGAN), least-squares GAN and feature
matching (Kong et al. 2020, HiFi-GAN), duration and F0 losses (Li et al. 2023, StyleTTS 2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voicewright.audio.mel import MelPreset, mel_filters
from voicewright.model.share import WHOLE, Share

RESOLUTIONS: tuple[tuple[int, int, int], ...] = ((2048, 512, 128), (1024, 256, 100), (512, 128, 80))
"""(n_fft, hop, mel bins) of the spectral loss."""


class SpectralLoss(nn.Module):
    """Log-mel L1, log-magnitude L1 and spectral convergence, averaged over several STFT resolutions."""

    def __init__(self, sample_rate: int, resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS) -> None:
        super().__init__()
        self.resolutions = tuple(resolutions)
        for n_fft, _, mels in self.resolutions:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)
            preset = MelPreset(
                "loss", sample_rate, n_fft, n_fft, n_fft // 4, mels, 0.0, sample_rate / 2, sample_rate
            )
            self.register_buffer(f"mel_{n_fft}", mel_filters(preset).T.contiguous(), persistent=False)

    def _magnitude(self, audio: Tensor, n_fft: int, hop: int) -> Tensor:
        window = self.get_buffer(f"window_{n_fft}")
        spectrum = torch.stft(audio, n_fft, hop, n_fft, window, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return power.clamp_min(1e-9).sqrt()

    def forward(self, fake: Tensor, real: Tensor, share: Share = WHOLE) -> dict[str, Tensor]:
        """fake, real [B, N] → {"mel", "stft", "convergence"}, each a scalar, over the batch of `share`."""
        with torch.autocast(fake.device.type, enabled=False):
            fake, real = fake.float(), real.float()
            mels, stfts, norms = [], [], []
            for n_fft, hop, _ in self.resolutions:
                x = self._magnitude(fake, n_fft, hop)
                with torch.no_grad():
                    y = self._magnitude(real, n_fft, hop)
                bank = self.get_buffer(f"mel_{n_fft}")
                # The floors keep digital silence from dominating: -80 dB under a full-scale sine.
                mels.append(F.l1_loss((bank @ x).clamp_min(1e-3).log(), (bank @ y).clamp_min(1e-3).log()))
                stfts.append(F.l1_loss(x.clamp_min(3e-3).log(), y.clamp_min(3e-3).log()))
                norms += [(x - y).norm(), y.norm()]
            count = len(self.resolutions)
            means = share.means([*mels, *stfts])
            norms = share.norms(norms)
            mel = stft = convergence = fake.new_zeros(())
            for number in range(count):
                mel, stft = mel + means[number], stft + means[count + number]
                # Per-item norms would explode on silent items; the batch's norm does not.
                convergence = convergence + norms[2 * number] / norms[2 * number + 1].clamp_min(1e-3)
            return {"mel": mel / count, "stft": stft / count, "convergence": convergence / count}


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor], share: Share = WHOLE) -> Tensor:
    """Least-squares discriminator loss, averaged over discriminators."""
    terms = [
        (1 - r.float()).square().mean() + f.float().square().mean() for r, f in zip(real, fake, strict=True)
    ]
    return share.mean(torch.stack(terms).mean())


def generator_loss(fake: Sequence[Tensor], share: Share = WHOLE) -> Tensor:
    """Least-squares generator loss, averaged over discriminators."""
    return share.mean(torch.stack([(1 - f.float()).square().mean() for f in fake]).mean())


def feature_loss(
    real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]], share: Share = WHOLE
) -> Tensor:
    """Feature matching: L1 between discriminator features, relative to the real features' own size."""
    apart, sizes = [], []
    for real_maps, fake_maps in zip(real, fake, strict=True):
        for r, f in zip(real_maps, fake_maps, strict=True):
            r = r.detach().float()
            apart.append((r - f.float()).abs().mean())
            sizes.append(r.abs().mean())
    means = share.means([*apart, *sizes])
    pairs = zip(means[: len(apart)], means[len(apart) :], strict=True)
    return torch.stack([far / size.clamp_min(1e-4) for far, size in pairs]).mean()


def duration_losses(
    logits: Tensor, durations: Tensor, mask: Tensor, share: Share = WHOLE
) -> dict[str, Tensor]:
    """StyleTTS 2's two duration losses.

    logits [B, T, max_dur], durations [B, T] in frames, mask [B, T] true on real tokens →
    {"duration": L1 of the summed sigmoids, "duration_ce": BCE against a step of the true length}.
    """
    logits = logits.float()
    steps = torch.arange(logits.shape[-1], device=logits.device)
    target = (steps < durations.unsqueeze(-1)).float()
    weight = mask.float()
    apart = (logits.sigmoid().sum(-1) - durations.float()).abs() * weight
    ce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)
    l1, entropy, count = share.sums(apart.sum(), (ce * weight).sum(), weight.sum())
    total = count.clamp_min(1)
    return {"duration": l1 / total, "duration_ce": entropy / total}


def curve_loss(predicted: Tensor, target: Tensor, mask: Tensor, scale: float, share: Share = WHOLE) -> Tensor:
    """Smooth L1 between curves [B, 2F] in units of `scale`, over the frames that the mask names."""
    error = F.smooth_l1_loss(predicted.float() / scale, target.float() / scale, reduction="none")
    weight = mask.float()
    total, count = share.sums((error * weight).sum(), weight.sum())
    return total / count.clamp_min(1)
