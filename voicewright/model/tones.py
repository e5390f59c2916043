"""Constant tones at the generator's frame rate, as a loss.

An inverse STFT that is fed the same frame again and again gives a tone at a multiple of its frame rate, and
at odd multiples of half of it when frames alternate. Faint as they are, such tones stay where speech pauses.
Sound that belongs to speech has no preferred phase at these frequencies; a tone has.
"""

from __future__ import annotations

import torch
from torch import Tensor

from voicewright.config import SAMPLE_RATE

_WINDOW = 0.05
_HOP = 0.0125
FLOOR = 0.1
"""Pieces quieter than this share of the mean (at a frequency) count less, or their gradients had no bound."""


def _multiple(seconds: float, period: int) -> int:
    return max(1, round(seconds * SAMPLE_RATE / period)) * period


def tone_loss(fake: Tensor, hop: int) -> Tensor:
    """fake [B, N] at 24 kHz, all beginning at a frame of the generator whose inverse STFT has this `hop` →
    sum over the frequencies SAMPLE_RATE·k / (2·hop) of how much their phase repeats itself: 0 (never) to 1.

    Pieces of 50 ms count the same down to `FLOOR`. What chance gives is taken off.
    """
    period = 2 * hop
    length, step = _multiple(_WINDOW, period), _multiple(_HOP, period)
    with torch.autocast(fake.device.type, enabled=False):
        pieces = fake.float().unfold(1, length, step)
        spectrum = torch.fft.rfft(pieces * torch.hann_window(length, device=fake.device))
        at = spectrum[..., length // period : length // 2 : length // period].flatten(0, 1)
        phasor = torch.view_as_real(at)
        level = phasor.detach().square().sum(-1, keepdim=True).sqrt()
        phasor = phasor / level.clamp_min(FLOOR * level.mean(0, keepdim=True) + 1e-6)
        # Overlapping pieces are not independent: about one in length / (1.5 · step) is.
        chance = length / (1.5 * step) / len(phasor)
        repeats = phasor.mean(0).square().sum(-1)
        return (repeats - chance).clamp_min(0).sum()
