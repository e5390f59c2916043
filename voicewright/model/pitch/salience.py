"""What the neural pitch estimators have in common: magnitude mels of 16 kHz, and 360 pitch classes → Hz."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from voicewright.audio.melbank import slaney_filters
from voicewright.errors import VoicewrightError

RATE, N_FFT, HOP, MELS = 16_000, 1024, 160, 128
CLASSES = 360
NEAR = 4
"""Classes on either side of the likeliest one that its pitch is averaged over."""
FLOOR = 1e-5


def filters(low: float, scale: Literal["slaney", "htk"]) -> Tensor:
    """[513, 128] from `low` Hz to 8 kHz."""
    return torch.from_numpy(slaney_filters(RATE, N_FFT, MELS, low, RATE / 2, scale)).T.contiguous()


def log_mel(padded: Tensor, window: Tensor, bank: Tensor, inside: float = 0.0) -> Tensor:
    """Padded samples [n] → ln of magnitude mels [frames, 128]; `inside` is added under the root."""
    spectrum = torch.stft(padded, N_FFT, HOP, N_FFT, window, center=False, return_complex=True)
    magnitude = (spectrum.real.square() + spectrum.imag.square() + inside).sqrt()
    return (magnitude.T @ bank).clamp_min(FLOOR).log()


def to_hertz(salience: Tensor, cents: Tensor, threshold: float, repeat_edges: bool = False) -> Tensor:
    """Salience [T, 360] → F0 [T] in Hz, 0 where the likeliest class has no more than `threshold`.

    The pitch is the mean of the nine classes around the likeliest one in cents over 10 Hz (`cents` [360]),
    weighted by salience. At the edges of the range there are fewer; with `repeat_edges` the last counts for
    those that are missing.
    """
    peak, centre = salience.max(dim=1, keepdim=True)
    places = centre + torch.arange(-NEAR, NEAR + 1, device=salience.device)
    inside = places.clamp(0, CLASSES - 1)
    weights = salience.gather(1, inside)
    if not repeat_edges:
        weights = weights * (places == inside)
    found = (weights * cents[inside]).sum(1) / weights.sum(1)
    return torch.where(peak[:, 0] > threshold, 10.0 * torch.exp2(found / 1200.0), torch.zeros_like(found))


def one_channel(samples: Tensor) -> Tensor:
    """The samples [n] as fp32. Raises VoicewrightError for any other shape."""
    if samples.dim() != 1:
        raise VoicewrightError(f"pitch is estimated from samples [n], not from {list(samples.shape)}.")
    return samples.float()


def reflected(samples: Tensor, left: int, right: int) -> Tensor:
    """Padded by its mirror image, or by zeros where there is too little to mirror."""
    mode = "reflect" if max(left, right) < len(samples) else "constant"
    return F.pad(samples[None, None], (left, right), mode=mode)[0, 0]
