"""RVC's training losses, in float32 whatever runs around them.

Spectrogram: uncentred, reflected by (n_fft - hop) / 2, Hann window of n_fft, √(re² + im² + 1e-6). Log-mel:
Slaney's scale and area normalisation, natural logarithm, floor 1e-5. The adversarial losses are sums over
discriminators (LSGAN, Mao et al. 2017), feature matching is a sum over all maps, KL the one of VITS (Kim et
al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from voicewright.audio.melbank import slaney_filters
from voicewright.model.share import WHOLE, Share

FLOOR = 1e-5


def spectrogram(audio: Tensor, n_fft: int, hop: int, window: Tensor | None = None) -> Tensor:
    """Magnitudes of audio [B, N]: float32 [B, n_fft / 2 + 1, N // hop]. N must exceed (n_fft - hop) / 2."""
    with torch.autocast(audio.device.type, enabled=False):
        shape = torch.hann_window(n_fft, device=audio.device) if window is None else window
        edge = (n_fft - hop) // 2
        padded = F.pad(audio.float().unsqueeze(1), (edge, edge), "reflect").squeeze(1)
        z = torch.stft(padded, n_fft, hop, n_fft, shape, center=False, return_complex=True)
        return (z.real.square() + z.imag.square() + 1e-6).sqrt()


class VoiceMel(nn.Module):
    """The log-mel of the reconstruction loss; holds window and filters."""

    window: Tensor
    filters: Tensor

    def __init__(self, rate: int, n_fft: int, hop: int, mels: int) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer(
            "filters", torch.from_numpy(slaney_filters(rate, n_fft, mels)).T.contiguous(), persistent=False
        )

    def of_spectrum(self, spectrum: Tensor) -> Tensor:
        """Magnitudes [B, bins, t] → log-mel [B, mels, t], float32."""
        with torch.autocast(spectrum.device.type, enabled=False):
            mel = (spectrum.float().transpose(1, 2) @ self.filters).transpose(1, 2)
            return mel.clamp_min(FLOOR).log()

    def forward(self, audio: Tensor) -> Tensor:
        """Audio [B, N] → log-mel [B, mels, N // hop], float32."""
        return self.of_spectrum(spectrogram(audio, self.n_fft, self.hop, self.window))


class ScaledMels(nn.Module):
    """Mean L1 between log-mels at several resolutions, which upstream does not have.

    The optional loss "mels": windows of 2048, 512 and 128 samples with a quarter as hop, after Descript's
    audio codec (Kumar et al. 2023).
    """

    def __init__(
        self, rate: int, sizes: Sequence[tuple[int, int]] = ((2048, 128), (512, 64), (128, 16))
    ) -> None:
        super().__init__()
        self.mels = nn.ModuleList(VoiceMel(rate, n, n // 4, mels) for n, mels in sizes)

    def forward(self, fake: Tensor, real: Tensor, share: Share = WHOLE) -> Tensor:
        """Audio [B, N] twice → scalar."""
        return share.mean(torch.stack([(mel(fake) - mel(real)).abs().mean() for mel in self.mels]).mean())


def discriminator_loss(real: Sequence[Tensor], fake: Sequence[Tensor], share: Share = WHOLE) -> Tensor:
    """What the discriminators minimise: Σ mean (1 - D(real))² + mean D(fake)²."""
    pairs = zip(real, fake, strict=True)
    terms = [(1 - r.float()).square().mean() + f.float().square().mean() for r, f in pairs]
    return share.mean(torch.stack(terms).sum())


def adversarial_loss(fake: Sequence[Tensor], share: Share = WHOLE) -> Tensor:
    """What the synthesizer minimises of them: Σ mean (1 - D(fake))²."""
    return share.mean(torch.stack([(1 - f.float()).square().mean() for f in fake]).sum())


def matching_loss(
    real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]], share: Share = WHOLE
) -> Tensor:
    """Σ mean |Δ| over all feature maps; upstream weighs it with 2."""
    terms = [
        (r.detach().float() - f.float()).abs().mean()
        for real_maps, fake_maps in zip(real, fake, strict=True)
        for r, f in zip(real_maps, fake_maps, strict=True)
    ]
    return share.mean(torch.stack(terms).sum())


def kl_loss(
    z_p: Tensor, logs_q: Tensor, m_p: Tensor, logs_p: Tensor, mask: Tensor, share: Share = WHOLE
) -> Tensor:
    """KL of the flowed posterior sample from the prior, per frame of the mask [B, 1, T]; others [B, C, T]."""
    z_p, logs_q, m_p, logs_p, mask = (x.float() for x in (z_p, logs_q, m_p, logs_p, mask))
    kl = logs_p - logs_q - 0.5 + 0.5 * (z_p - m_p).square() * torch.exp(-2.0 * logs_p)
    total, count = share.sums((kl * mask).sum(), mask.sum())
    return total / count
