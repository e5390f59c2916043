"""A voicepack fitted to recordings by gradients, every weight of the model frozen.

The halves are fitted apart. The prosodic half (`prosody.py`) makes no sound. The acoustic half: short crops
of sound through the decoder under the recordings' own times, F0 and energy, compared by log-mels and by
speaker encoders, and held to what the start's voice says there (phones.py). Each half is one offset [128] on
all rows of the start, whose curve over length stays.

What a speaker encoder is pleased with is not yet a better voice: `check` hears what is said at intervals with
other ears, and the best that it heard is kept, not the last. Losses overshoot, too: at the end `weigh`, which
hears words and more sentences, says how much of the way to that best is kept.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.audio.mel import LogMel, MelPreset
from voicewright.errors import VoicewrightError
from voicewright.model.echoes import echo_loss
from voicewright.model.tones import line_loss, tone_loss
from voicewright.model.tts.model import TTSModel
from voicewright.units import FRAME, SAMPLE_RATE, STYLE
from voicewright.voices.pack import Voicepack
from voicewright.voices.phones import StartsPhones, unlike
from voicewright.voices.prosody import fit_prosody, row_of
from voicewright.voices.references import Reference

CROP = 66
"""Frames of one crop: 1.65 s, what the speaker encoder looks at."""
_RESOLUTIONS = ((2048, 100), (1024, 80), (512, 50))
"""(n_fft, bands) of the log-mels."""

Floats = NDArray[np.float32]
Check = Callable[[Voicepack], float]
"""How good a voice is to ears; higher is better."""


@dataclass(frozen=True)
class Steer:
    """Towards whom the sound is drawn. `encoder`: samples [B, T] at 24 kHz → unit vectors [B, D],
    differentiable; `wanted` [D]: the recordings' own. Two encoders fool each other less than one."""

    encoder: Callable[[Tensor], Tensor]
    wanted: Tensor


@dataclass(frozen=True)
class Settings:
    """How a fit goes. Rates are Adam's; weights are of the loss terms."""

    prosody_steps: int = 30
    prosody_clips: int = 2
    prosody_rate: float = 0.04
    crops: int = 80
    crop_rate: float = 0.02
    """At the beginning; a cosine brings it down to a fiftieth."""
    identity: float = 3.0
    """Of each encoder."""
    tones: float = 0.2
    """On the generator's constant tones, which hide below the recordings' noise where no log-mel looks."""
    lines: float = 1.0
    """On its lines within speech, by which the encoders would else be pleased."""
    echo: float = 0.5
    """On a comb at the decoder's frames (model/echoes.py), which comes with distance from what it knows."""
    phones: float = 0.5
    """On what is said: by the phones' divergence (phones.py) from those of the start's voice."""
    leash: float = 0.01
    """On the squared length of an offset: far from every known voice a decoder does not know its way."""
    every: int = 20
    """Crops between two checks."""
    patience: int = 3
    """Checks without a better one after which the fit ends."""
    keep: float = 0.9
    """Of the running mean of offsets, a crop: single crops pull to and fro."""
    shares: tuple[float, ...] = (1.0, 0.75, 0.55, 0.4, 0.2, 0.0)
    """Of the best offset: they are weighed from the whole downwards as long as the voice becomes better."""
    seed: int = 0


@dataclass
class Step:
    """One check: after how many crops, the losses since the last, what the ears said."""

    crops: int
    mel: float
    identity: float
    phones: float
    length: float
    score: float
    seconds: float


@dataclass(frozen=True)
class Fitted:
    """`pack`: the best of all. `best`: after how many crops; `share`: how much of its offset is kept."""

    pack: Voicepack
    best: int
    share: float
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


class SoundFit:
    """The acoustic half on its way: `step` hears one crop, `pack` is the voice of an offset."""

    def __init__(
        self,
        net: TTSModel,
        references: Sequence[Reference],
        rows: Tensor,
        top: float,
        steer: Sequence[Steer],
        says: StartsPhones | None,
        rules: Settings,
        precision: torch.dtype,
    ) -> None:
        self._net, self._references, self._rows, self._says = net, references, rows, says
        self._steer, self._rules, self._precision = steer, rules, precision
        self._mel = HeardMel(references, top)
        with torch.no_grad():
            self._texts = [net.encode_text(item.tokens)[:, :, item.owner] for item in references]
        chances = np.array([item.frames - CROP for item in references], np.float64)
        self._chances = chances / chances.sum()
        self._offset = torch.zeros(STYLE, requires_grad=True)
        self._optimizer = torch.optim.Adam([self._offset], rules.crop_rate, betas=(0.9, 0.99))
        self._mean = torch.zeros(STYLE)
        self._steps = 0
        self._noise = torch.Generator().manual_seed(rules.seed)

    @property
    def offset(self) -> Tensor:
        """[128], by now."""
        return self._mean.clone()

    def pack(self, offset: Tensor) -> Voicepack:
        moved = self._rows.clone()
        moved[:, :STYLE] += offset
        return Voicepack.of(moved.numpy())

    def step(self, draw: np.random.Generator) -> tuple[float, float, float]:
        """One crop: what log-mels, encoders (one minus likeness) and phones lose. Raises VoicewrightError."""
        index = int(draw.choice(len(self._references), p=self._chances))
        item = self._references[index]
        at = int(draw.integers(0, item.frames - CROP))
        style = (row_of(self._rows, item)[:STYLE] + self._offset)[None]
        fake = self._crop(item, self._texts[index], at, style)
        real = item.sound[None, FRAME * at : FRAME * (at + CROP)]
        spectral = self._mel(fake, real)
        alike = fake.new_zeros(())
        for one in self._steer:
            alike = alike + 1 - one.encoder(fake)[0] @ one.wanted
        said = fake.new_zeros(())
        if self._says is not None and self._rules.phones:
            inside = slice(at, at + CROP)
            wanted = self._says.of(item, inside) if item.phones is None else item.phones[:, :, inside]
            said = unlike(self._says.ear(fake), wanted)
        rules, hop = self._rules, self._net.config.istftnet.gen_istft_hop_size
        loss = spectral + rules.identity * alike + rules.phones * said
        loss = loss + rules.tones * tone_loss(fake, hop) + rules.lines * line_loss(fake, real, hop)
        loss = loss + rules.echo * echo_loss(fake, real, item.f0[None, 2 * at : 2 * (at + CROP)])
        loss = loss + rules.leash * self._offset.square().sum()
        if not torch.isfinite(loss):
            raise VoicewrightError("fitting the sound gave no numbers: a recording or the model is damaged.")
        done = self._steps / max(1, rules.crops)
        for group in self._optimizer.param_groups:
            group["lr"] = rules.crop_rate * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, done))))
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._steps += 1
        weight = min(rules.keep, 1 - 1 / self._steps)
        self._mean = weight * self._mean + (1 - weight) * self._offset.detach()
        return float(spectral.detach()), float(alike.detach()), float(said.detach())

    def _crop(self, item: Reference, text: Tensor, at: int, style: Tensor) -> Tensor:
        """Sound [1, 600 CROP] of the frames from `at` on, in this style."""
        inside, curves = slice(at, at + CROP), slice(2 * at, 2 * (at + CROP))
        with torch.autocast("cpu", torch.bfloat16, enabled=self._precision == torch.bfloat16):
            sound: Tensor = self._net.decoder(
                text[:, :, inside], item.f0[None, curves], item.energy[None, curves], style, rng=self._noise
            )
        return sound.float()


def fit(
    net: TTSModel,
    references: Sequence[Reference],
    start: Voicepack,
    top: float,
    steer: Sequence[Steer] = (),
    says: StartsPhones | None = None,
    check: Check | None = None,
    weigh: Check | None = None,
    settings: Settings | None = None,
    precision: torch.dtype = torch.float32,
    progress: Callable[[str, int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Fitted:
    """Fit `start` to the references. `net`: frozen, weight norm folded; `top`: Hz where their band ends.

    says: what `start` says, which the voice is held to. precision: of the decoder. cancelled: asked between
    crops and weighings; what was best is returned.
    Raises VoicewrightError when there is nothing to fit to, or the losses are no numbers.
    """
    if not references:
        raise VoicewrightError("there is no recording to fit to.")
    rules = settings or Settings()
    draw = np.random.default_rng(rules.seed)
    rows = torch.from_numpy(start.rows[:, 0].copy())
    offset, losses = fit_prosody(
        net, references, rows, rules.prosody_steps, rules.prosody_clips, rules.prosody_rate, rules.leash,
        draw, precision, progress,
    )  # fmt: skip
    moved = rows.clone()
    moved[:, STYLE:] += offset
    sound = SoundFit(net, references, moved, top, steer, says, rules, precision)
    best, best_at, steps = _listen(sound, check, rules, draw, progress, cancelled)
    share = 1.0
    if weigh is not None and best_at:
        share = _share(sound, best, weigh, rules, progress, cancelled)
    if progress is not None:
        progress("fitting sound", rules.crops, rules.crops)
    return Fitted(sound.pack(share * best), best_at, share, losses, steps)


def _listen(
    sound: SoundFit,
    check: Check | None,
    rules: Settings,
    draw: np.random.Generator,
    progress: Callable[[str, int, int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> tuple[Tensor, int, list[Step]]:
    """Step until the ears hear nothing better: the best offset, after how many crops, and all checks."""
    began = time.monotonic()
    best, best_at, highest = sound.offset, 0, -np.inf
    steps: list[Step] = []
    since: list[tuple[float, float, float]] = []
    without = 0
    for number in range(1, rules.crops + 1):
        if cancelled is not None and cancelled():
            break
        if progress is not None:
            progress("fitting sound", number - 1, rules.crops)
        since.append(sound.step(draw))
        if number % rules.every and number != rules.crops:
            continue
        offset = sound.offset
        score = check(sound.pack(offset)) if check is not None else float(number)
        mel, alike, said = (float(loss) for loss in np.mean(since, axis=0))
        length = float(offset.norm())
        steps.append(Step(number, mel, alike, said, length, score, time.monotonic() - began))
        since, without = [], without + 1
        if score > highest:
            best, best_at, highest, without = offset, number, score, 0
        if without >= rules.patience:
            break
    return best, best_at, steps


def _share(
    sound: SoundFit,
    offset: Tensor,
    weigh: Check,
    rules: Settings,
    progress: Callable[[str, int, int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> float:
    """How much of an offset makes the best voice."""
    best, highest = 1.0, -np.inf
    for number, share in enumerate(rules.shares):
        if cancelled is not None and cancelled():
            break
        if progress is not None:
            progress("weighing", number, len(rules.shares))
        score = weigh(sound.pack(share * offset))
        if score < highest:
            break
        best, highest = share, score
    return best
