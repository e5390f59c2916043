"""Prosody that follows styles: clips moved in pitch, pace and energy, their styles moved with them.

One speaker's clips differ little, and what differs a text mostly tells: a predictor learns to pass styles
over, and an encoder to say the same of every clip. Here three directions of the style mean something from
the first step on: as a clip is moved, its style is moved along them, and nothing else tells. What the encoder
then says along them of the clips themselves, the predictor already follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from voicewright.corpus.features import Features
from voicewright.model.share import Share
from voicewright.model.tts.model import TTSModel
from voicewright.training.recipe import Sway

_LENGTH = 1.0
"""Of the style's move by one standard deviation: Kokoro's voices lie 1.3 apart in their prosodic half."""
_FARTHEST = 2.5
"""Standard deviations that a style is moved at the most; training moves it by 1.7."""
_ROUNDS = 3
"""The model answers a move by up to 1.4 times of it: what is off after three rounds is a fifteenth."""
_VOICED = 50.0
"""Hz of predicted pitch, from which on it is taken for voiced."""


@dataclass(frozen=True)
class Swayed:
    """Clips as they are to be predicted: style [B, S], f0 and energy [B, 2L], durations [B, T] in frames."""

    style: Tensor
    f0: Tensor
    energy: Tensor
    durations: Tensor


def directions(width: int) -> Tensor:
    """Those of pitch, pace and energy, [3, width], of length 1 and at right angles: always the same."""
    drawn = torch.randn(width, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.linalg.qr(drawn)[0].T.float()


def swayed(clips: Swayed, sway: Sway, count: int, share: Share) -> Swayed:
    """Clips moved by chance, each its own way, and their styles with them; unvoiced F0 stays 0. count: how
    many the batch has."""
    style, durations = clips.style, clips.durations
    drawn = share.mine(share.rand(count, 3, device=style.device))
    moved = math.sqrt(3) * (2 * drawn - 1)
    pitch, pace, energies = moved.T[:, :, None]
    along = directions(style.shape[1]).to(style)
    ends = (durations * torch.exp(sway.pace * pace)).cumsum(1).round()  # so that a clip's length is kept
    longer = ends.diff(dim=1, prepend=torch.zeros_like(ends[:, :1]))
    return Swayed(
        style + _LENGTH * (moved.to(style.dtype) @ along),
        clips.f0 * torch.exp2(sway.pitch / 12 * pitch),
        clips.energy + sway.energy * energies,
        torch.where(durations > 0, longer.clamp_min(1), durations).to(durations.dtype),
    )


@torch.no_grad()
def unsaid(net: TTSModel, clip: Features, style: Tensor, sway: Sway) -> Tensor:
    """How a clip's prosodic style [128] is to be moved along `directions` for the model to speak the clip's
    text in its own pitch (median), pace (length) and energy (mean where voiced): the move [128]."""
    tokens, durations, f0, energy = (
        torch.tensor(values, device=style.device)
        for values in (clip.tokens[None], clip.durations[None], clip.f0, clip.energy)
    )
    lengths, voiced = torch.tensor([tokens.shape[1]]), f0 > 0
    along = directions(len(style)).to(style)
    units = style.new_tensor([sway.pitch / 12, sway.pace, sway.energy]).clamp_min(1e-6)
    moved = style.new_zeros(3)
    for _ in range(_ROUNDS if bool(voiced.any()) else 0):
        said = (style + _LENGTH * moved @ along)[None]
        d = net.encode_prosody(tokens, lengths, said)
        frames = net.duration_logits(d, lengths).float().sigmoid().sum(2)
        pitch, loud = (row[0] for row in net.f0_energy(net.expand(d.transpose(1, 2), durations), said))
        heard = pitch > _VOICED
        if not bool(heard.any()):
            break
        off = torch.stack(
            [
                f0[voiced].log2().median() - pitch[heard].log2().median(),
                (durations[0, 1:-1].sum() / frames[0, 1:-1].sum()).log(),
                energy[voiced].mean() - loud[voiced].mean(),
            ]
        )
        moved = (moved + off / units).clamp(-_FARTHEST, _FARTHEST)
    return _LENGTH * moved @ along
