"""A voicepack fitted to recordings by gradients, every weight of the model frozen.

The halves are fitted apart. The prosodic half: durations, F0 and energy that the predictor gives under the
recordings' own times; no sound is made. The acoustic half: short crops of sound through the decoder under the
recordings' own times, F0 and energy, compared by log-mels and by a speaker encoder. Each half is one offset
[128] on all rows of the start, whose curve over length stays.

What a speaker encoder is pleased with is not yet a better voice: `check` hears what is said at intervals with
other ears, and the best that it heard is kept, not the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.audio.mel import LogMel, MelPreset
from voicewright.config import FRAME, SAMPLE_RATE, STYLE
from voicewright.errors import VoicewrightError
from voicewright.model.tts.model import TTSModel
from voicewright.voices.pack import Voicepack
from voicewright.voices.references import Reference

CROP = 66
"""Frames of one crop: 1.65 s, what the speaker encoder looks at."""
_RESOLUTIONS = ((2048, 100), (1024, 80), (512, 50))
"""(n_fft, bands) of the log-mels."""
_LONGEST_TARGET = 20.0
"""Frames: pauses beyond half a second say more about the moment than about the voice."""

Floats = NDArray[np.float32]
Identity = Callable[[Tensor], Tensor]
"""Samples [B, T] at 24 kHz → unit vectors of who speaks; differentiable."""
Check = Callable[[Voicepack], float]
"""How good a voice is to ears that do not steer; higher is better."""


@dataclass(frozen=True)
class Settings:
    """How a fit goes. Rates are Adam's; weights are of the loss terms."""

    prosody_steps: int = 60
    prosody_clips: int = 6
    prosody_rate: float = 0.02
    crops: int = 120
    crop_rate: float = 0.02
    identity: float = 3.0
    leash: float = 0.02
    """On the squared length of an offset: far from every known voice a decoder does not know its way."""
    every: int = 20
    """Crops between two checks."""
    patience: int = 3
    """Checks without a better one after which the fit ends."""
    keep: float = 0.9
    """Of the running mean of offsets, a crop: single crops pull to and fro."""
    seed: int = 0


@dataclass
class Step:
    """One check: after how many crops, the losses since the last, what the ears said."""

    crops: int
    mel: float
    identity: float
    length: float
    score: float
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """`pack`: the best of all checks. `best`: after how many crops (0: the start)."""

    pack: Voicepack
    best: int
    prosody_loss: tuple[float, float]
    steps: list[Step] = field(default_factory=list)


class HeardMel(nn.Module):
    """L1 between log-mels at three resolutions, in the recordings' band and above their noise.

    references: what the noise is taken from; top: Hz where their band ends.
    """

    def __init__(self, references: Sequence[Reference], top: float) -> None:
        super().__init__()
        presets = [
            MelPreset("fit", SAMPLE_RATE, n, n, n // 4, bands, 40.0, top, SAMPLE_RATE, 1e-6, 0.0, 1.0)
            for n, bands in _RESOLUTIONS
        ]
        self.mels = nn.ModuleList(LogMel(preset) for preset in presets)
        self.floors: list[Tensor] = []
        with torch.no_grad():
            for mel in self.mels:
                heard = torch.cat([mel(item.sound) for item in references], dim=1)
                noise = torch.quantile(heard[:, :8000], 0.10, dim=1) + 0.7
                self.floors.append(torch.maximum(noise, heard.max() - 11.5)[None, :, None])

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """fake, real [B, T] → a scalar."""
        total = fake.new_zeros(())
        for mel, floor in zip(self.mels, self.floors, strict=True):
            total = total + (torch.maximum(mel(fake), floor) - torch.maximum(mel(real), floor)).abs().mean()
        return total / len(self.floors)


def fit(
    net: TTSModel,
    references: Sequence[Reference],
    start: Voicepack,
    top: float,
    identity: Identity | None = None,
    wanted: Tensor | None = None,
    check: Check | None = None,
    settings: Settings | None = None,
    precision: torch.dtype = torch.float32,
    progress: Callable[[str, int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Fitted:
    """Fit `start` to the references. `net`: frozen, weight norm folded.

    identity, wanted: a speaker encoder and the vector [D] of the recordings by it. precision: of the decoder.
    cancelled: asked between crops; what was best by then is returned.
    Raises VoicewrightError when there is nothing to fit to, or the losses are no numbers.
    """
    if not references:
        raise VoicewrightError("there is no recording to fit to.")
    rules = settings or Settings()
    draw = np.random.default_rng(rules.seed)
    rows = torch.from_numpy(start.rows[:, 0].copy())
    prosodic, losses = fit_prosody(net, references, rows, rules, draw, progress)
    moved = rows.clone()
    moved[:, STYLE:] += prosodic
    hooks = (check, rules, draw, precision, losses, progress, cancelled)
    return _fit_sound(net, references, moved, top, identity, wanted, *hooks)


def fit_prosody(
    net: TTSModel,
    references: Sequence[Reference],
    rows: Tensor,
    rules: Settings,
    draw: np.random.Generator,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Tensor, tuple[float, float]]:
    """The prosodic half's offset [128], and the loss before and after."""
    with torch.no_grad():
        contexts = [net.bert_encoder(net.bert(item.tokens, None)).transpose(1, 2) for item in references]
    offset = torch.zeros(STYLE, requires_grad=True)
    optimizer = torch.optim.Adam([offset], rules.prosody_rate)
    history: list[float] = []
    for step in range(rules.prosody_steps):
        if progress is not None:
            progress("fitting prosody", step, rules.prosody_steps)
        optimizer.zero_grad()
        chosen = draw.permutation(len(references))[: rules.prosody_clips]
        heard = 0.0
        for index in chosen:
            loss = _prosody_loss(net, references[index], contexts[index], rows, offset)
            (loss / len(chosen)).backward()
            heard += float(loss.detach()) / len(chosen)
        (rules.leash * offset.square().sum()).backward()
        optimizer.step()
        history.append(heard)
    if not np.isfinite(history).all():
        raise VoicewrightError("fitting the prosody gave no numbers: a recording or the model is damaged.")
    if progress is not None:
        progress("fitting prosody", rules.prosody_steps, rules.prosody_steps)
    count = max(1, len(history) // 10)
    ends = (float(np.mean(history[:count])), float(np.mean(history[-count:]))) if history else (0.0, 0.0)
    return offset.detach(), ends


def _prosody_loss(net: TTSModel, item: Reference, context: Tensor, rows: Tensor, offset: Tensor) -> Tensor:
    """Durations in frames, F0 in log and its spread, energy without its mean."""
    style = (_row(rows, item)[STYLE:] + offset)[None]
    d = net.predictor.text_encoder(context, style, None)
    expected = torch.sigmoid(net.duration_logits(d)[0]).sum(1)
    target = item.durations.float().clamp(max=_LONGEST_TARGET)
    inner = slice(1, -1)
    duration = F.smooth_l1_loss(expected[inner], target[inner])
    pace = (expected[inner].sum().log() - target[inner].sum().log()).abs()
    pitch, loudness = net.f0_energy(d.transpose(1, 2)[:, :, item.owner], style)
    voiced = item.f0 > 0
    cents = pitch.new_zeros(())
    if int(voiced.sum()) > 20:
        made = pitch[0][voiced].clamp_min(40.0).log2()
        real = item.f0[voiced].log2()
        cents = 12 * ((made - real).abs().mean() + 0.5 * (made.std() - real.std()).abs())
    gap = loudness[0] - item.energy
    return duration + pace + 0.25 * cents + 0.5 * (gap - gap.mean()).abs().mean()


def _fit_sound(
    net: TTSModel,
    references: Sequence[Reference],
    rows: Tensor,
    top: float,
    identity: Identity | None,
    wanted: Tensor | None,
    check: Check | None,
    rules: Settings,
    draw: np.random.Generator,
    precision: torch.dtype,
    losses: tuple[float, float],
    progress: Callable[[str, int, int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> Fitted:
    mel = HeardMel(references, top)
    with torch.no_grad():
        texts = [net.encode_text(item.tokens)[:, :, item.owner] for item in references]
    chances = np.array([item.frames - CROP for item in references], np.float64)
    chances /= chances.sum()
    offset = torch.zeros(STYLE, requires_grad=True)
    optimizer = torch.optim.Adam([offset], rules.crop_rate, betas=(0.9, 0.99))
    mean = torch.zeros(STYLE)
    first = _pack(rows, mean)
    best, best_at = first, 0
    highest = check(first) if check is not None else -np.inf
    began = time.monotonic()
    steps = [Step(0, float("nan"), float("nan"), 0.0, float(highest), 0.0)]
    since: list[tuple[float, float]] = []
    without = 0
    for number in range(1, rules.crops + 1):
        if cancelled is not None and cancelled():
            break
        if progress is not None:
            progress("fitting sound", number - 1, rules.crops)
        index = int(draw.choice(len(references), p=chances))
        item = references[index]
        at = int(draw.integers(0, item.frames - CROP))
        style = (_row(rows, item)[:STYLE] + offset)[None]
        fake = _crop(net, item, texts[index], at, style, precision)
        real = item.sound[None, FRAME * at : FRAME * (at + CROP)]
        spectral = mel(fake, real)
        alike = fake.new_zeros(())
        if identity is not None and wanted is not None:
            alike = 1 - (identity(fake)[0] @ wanted)
        optimizer.zero_grad()
        loss = spectral + rules.identity * alike + rules.leash * offset.square().sum()
        if not torch.isfinite(loss):
            raise VoicewrightError("fitting the sound gave no numbers: a recording or the model is damaged.")
        loss.backward()
        optimizer.step()
        weight = min(rules.keep, 1 - 1 / number)
        mean = weight * mean + (1 - weight) * offset.detach()
        since.append((float(spectral.detach()), float(alike.detach())))
        if number % rules.every == 0 or number == rules.crops:
            pack = _pack(rows, mean)
            score = check(pack) if check is not None else float(number)
            means = np.mean(since, axis=0)
            passed = time.monotonic() - began
            steps.append(Step(number, float(means[0]), float(means[1]), float(mean.norm()), score, passed))
            since = []
            without = without + 1
            if score > highest:
                best, best_at, highest, without = pack, number, score, 0
            if without >= rules.patience:
                break
    if progress is not None:
        progress("fitting sound", rules.crops, rules.crops)
    return Fitted(best, best_at, losses, steps)


def _row(rows: Tensor, item: Reference) -> Tensor:
    """The row that a text of so many tokens uses, [256]."""
    return rows[min(max(item.tokens.shape[1] - 3, 0), len(rows) - 1)]


def _crop(
    net: TTSModel, item: Reference, text: Tensor, at: int, style: Tensor, precision: torch.dtype
) -> Tensor:
    """Sound [1, 600 CROP] of the frames from `at` on, in this style."""
    inside, curves = slice(at, at + CROP), slice(2 * at, 2 * (at + CROP))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        sound: Tensor = net.decoder(
            text[:, :, inside], item.f0[None, curves], item.energy[None, curves], style
        )
    return sound.float()


def _pack(rows: Tensor, acoustic: Tensor) -> Voicepack:
    moved = rows.clone()
    moved[:, :STYLE] += acoustic
    return Voicepack.of(moved.numpy())
