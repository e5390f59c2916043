"""The prosodic half fitted: the predictor's durations, F0 and energy under the recordings' own times.

One offset [128] on all rows of the start, whose curve over length stays. No sound is made, so it takes
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from voicewright.corpus.split import spread
from voicewright.errors import VoicewrightError
from voicewright.model.tts.model import TTSModel
from voicewright.units import STYLE
from voicewright.voices.references import Reference

LONGEST = 20.0
"""Frames: pauses beyond half a second say more about the moment than about the voice."""
WINDOW = 160
"""Frames (4 s) whose F0 and energy a step looks at; durations are looked at whole."""
VOICED = 40.0
"""Hz from which a frame counts as voiced."""
_FEWEST_VOICED = 20
_COMPARED = 8
"""References by which one beginning is chosen before another."""


@torch.no_grad()
def contexts(net: TTSModel, items: Sequence[Reference]) -> list[Tensor]:
    """What the predictor reads of each text [1, H, T]; no style is in it."""
    return [net.bert_encoder(net.bert(item.tokens, None)).transpose(1, 2) for item in items]


def prosody_gap(
    net: TTSModel,
    style: Tensor,
    context: Tensor,
    durations: Tensor,
    owner: Tensor,
    f0: Tensor,
    energy: Tensor,
    own: bool = True,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """How far durations (frames), pace, F0 (semitones, and its spread) and energy are from a clip's: a
    scalar.

    style [1, 128]; context [1, H, T] of the whole text, durations float [T]; owner [F], f0 and energy [2F]
    of the frames whose curves count. own: a speaker's, of whose energy the mean says nothing; precision: of
    the convolutions that make the curves. One text at a time: padded ones fall back to LSTMs that are many
    times slower.
    """
    d = net.predictor.text_encoder(context, style, None)
    expected = torch.sigmoid(net.duration_logits(d)[0]).sum(1)[1:-1]
    wanted = durations.clamp(max=LONGEST)[1:-1]
    gap = F.smooth_l1_loss(expected, wanted) + (expected.sum().log() - wanted.sum().log()).abs()
    with torch.autocast(style.device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
        made = net.f0_energy(d.transpose(1, 2)[:, :, owner], style)
    pitch, loudness = made[0][0].float(), made[1][0].float()
    voiced = f0 > VOICED
    if int(voiced.sum()) > _FEWEST_VOICED:
        sung, heard = pitch[voiced].clamp_min(VOICED).log2(), f0[voiced].log2()
        gap = gap + 3 * ((sung - heard).abs().mean() + 0.5 * (sung.std() - heard.std()).abs())
    apart = loudness - energy
    return gap + 0.5 * (apart - apart.mean() if own else apart).abs().mean()


@torch.no_grad()
def nearest_prosody(
    net: TTSModel,
    references: Sequence[Reference],
    candidates: Sequence[Tensor],
    precision: torch.dtype = torch.float32,
) -> int:
    """Which of the candidates (rows [N, 256]) speaks most like the references; of a few of them."""
    chosen = spread(references, _COMPARED)
    read = contexts(net, chosen)

    def gap(rows: Tensor, item: Reference, context: Tensor) -> float:
        style, curves = row_of(rows, item)[None, STYLE:], slice(0, 2 * WINDOW)
        return float(
            prosody_gap(
                net, style, context, item.durations.float(), item.owner[:WINDOW], item.f0[curves],
                item.energy[curves], precision=precision,
            )
        )  # fmt: skip

    gaps = [sum(gap(rows, *one) for one in zip(chosen, read, strict=True)) for rows in candidates]
    return int(np.argmin(gaps))


def fit_prosody(
    net: TTSModel,
    references: Sequence[Reference],
    rows: Tensor,
    steps: int,
    clips: int,
    learning_rate: float,
    leash: float,
    draw: np.random.Generator,
    precision: torch.dtype = torch.float32,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Tensor, tuple[float, float]]:
    """The prosodic half's offset [128] over `rows` [N, 256], and the loss before and after.

    clips: how many a step hears; leash: on the offset's squared length. Raises VoicewrightError for losses
    that are no numbers.
    """
    read = contexts(net, references)
    offset = torch.zeros(STYLE, requires_grad=True)
    optimizer = torch.optim.Adam([offset], learning_rate)
    history: list[float] = []
    for step in range(steps):
        if progress is not None:
            progress("fitting prosody", step, steps)
        optimizer.zero_grad()
        heard = 0.0
        for index in draw.permutation(len(references))[:clips]:
            item = references[index]
            at = int(draw.integers(0, max(1, item.frames - WINDOW)))
            style = row_of(rows, item)[STYLE:] + offset
            window, curves = slice(at, at + WINDOW), slice(2 * at, 2 * (at + WINDOW))
            loss = prosody_gap(
                net, style[None], read[index], item.durations.float(), item.owner[window], item.f0[curves],
                item.energy[curves], precision=precision,
            )  # fmt: skip
            (loss / clips).backward()
            heard += float(loss.detach()) / min(clips, len(references))
        (leash * offset.square().sum()).backward()
        optimizer.step()
        history.append(heard)
    if not np.isfinite(history).all():
        raise VoicewrightError("fitting the prosody gave no numbers: a recording or the model is damaged.")
    if progress is not None:
        progress("fitting prosody", steps, steps)
    count = max(1, len(history) // 10)
    ends = (float(np.mean(history[:count])), float(np.mean(history[-count:]))) if history else (0.0, 0.0)
    return offset.detach(), ends


def row_of(rows: Tensor, item: Reference) -> Tensor:
    """The row that a text of so many tokens uses, [256]."""
    return rows[min(max(item.tokens.shape[1] - 3, 0), len(rows) - 1)]
