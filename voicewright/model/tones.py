"""Constant tones and lines at the generator's frame rate, as losses.

An inverse STFT that is fed the same frame again and again gives a tone at a multiple of its frame rate, and
at odd multiples of half of it when frames alternate. Faint as they are, such tones stay where speech pauses.
Sound that belongs to speech has no preferred phase at these frequencies; a tone has. Lines in the midst of
speech change their phase with its frames: they are found by their level, beside that of recordings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from voicewright.model.share import WHOLE, Share
from voicewright.units import SAMPLE_RATE

_WINDOW = 0.05
_HOP = 0.0125
FLOOR = 0.1
"""Pieces quieter than this share of the mean (at a frequency) count less, or their gradients had no bound."""

_LINE_FRAME, _LINE_HOP = 4000, 1000
_LINE_RING = (5, 17)
"""Bins of 6 Hz beside a line which are its surroundings, as in `listen/artefacts.py`."""
_LOUD_DB = 30.0
"""Frames this far below the loudest are not looked at."""
_LINE_LOWEST = 2000.0
"""Hz: below it harmonics of the pitch stand apart and lie on a line by chance."""
_LINE_FREE = 1.0
"""dB above the recordings' that chance gives in a second or two."""


def _multiple(seconds: float, period: int) -> int:
    return max(1, round(seconds * SAMPLE_RATE / period)) * period


def tone_loss(fake: Tensor, hop: int, share: Share = WHOLE) -> Tensor:
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
        phasor = phasor / level.clamp_min(FLOOR * share.mean(level.mean(0, keepdim=True)) + 1e-6)
        # Overlapping pieces are not independent: about one in length / (1.5 · step) is.
        chance = length / (1.5 * step) / share.total(len(phasor))
        repeats = share.mean(phasor.mean(0)).square().sum(-1)
        return (repeats - chance).clamp_min(0).sum()


def line_levels(sound: Tensor, hop: int) -> Tensor:
    """sound [B, N] at 24 kHz, N >= 4000 → dB by which each frequency SAMPLE_RATE·k / (2·hop) from 2 kHz to
    half the rate lies above its surroundings [B, K], the mean over frames that are not near silence."""
    with torch.autocast(sound.device.type, enabled=False):
        frames = sound.float().unfold(1, _LINE_FRAME, _LINE_HOP)
        loud = 10 * (frames.detach().square().mean(-1) + 1e-10).log10()
        heard = (loud > loud.amax(1, keepdim=True) - _LOUD_DB).float()
        spectrum = torch.fft.rfft(frames * torch.hann_window(_LINE_FRAME, device=sound.device))
        power = torch.view_as_real(spectrum).square().sum(-1)
        # 70 dB below a frame's loudest bin, or gradients had no bound.
        floor = 1e-7 * power.detach().amax(-1, keepdim=True) + 1e-9
        level = 10 * (power + floor).log10()
        near, far = _LINE_RING
        found = []
        for number in range(math.ceil(_LINE_LOWEST * 2 * hop / SAMPLE_RATE), hop):
            at = round(number * _LINE_FRAME / (2 * hop))
            beside = torch.cat([level[..., at - far : at - near], level[..., at + near : at + far]], -1)
            found.append(level[..., at - 1 : at + 2].mean(-1) - beside.mean(-1))
        weight = heard / heard.sum(1, keepdim=True).clamp_min(1)
        lines = torch.stack(found, -1) if found else level[..., :0]
        return (lines * weight[..., None]).sum(1)


def line_loss(fake: Tensor, real: Tensor, hop: int, share: Share = WHOLE) -> Tensor:
    """fake, real [B, N] at 24 kHz → sum over the frequencies of `line_levels` of how far fake's stand above
    real's (and above their surroundings at all), in units of 10 dB, less what chance gives."""
    wanted = line_levels(real, hop).clamp_min(0) + _LINE_FREE
    return share.mean(F.relu(line_levels(fake, hop) - wanted).sum(1).mean()) / 10
