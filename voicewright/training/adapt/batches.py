"""What adapters learn from: the speaker's own clips, and the base's voices as the base itself speaks them.

Batches are a pure function of (seed, stage, step). What is frozen (text features, PL-BERT, the base's
answers) is computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.share import WHOLE, Part, Share
from voicewright.model.tts.model import TTSModel
from voicewright.units import FRAME, STYLE
from voicewright.voices.fit import CROP
from voicewright.voices.pack import Voicepack
from voicewright.voices.references import Reference

_CURVES = 2
"""Values of F0 and energy a frame."""


@dataclass(frozen=True)
class Clip:
    """One utterance as training sees it, own or replayed.

    context [1, H, T]: of PL-BERT. text [1, H, F]: acoustic text features, laid under frames. row [256]: the
    style, to which the voice's offsets are added where it is `own`. durations float [T]; f0 and energy [2F];
    owner int64 [F]: which token a frame belongs to. sound [600F], or [600 CROP] of a crop, which has a seed
    for the decoder's noise.
    """

    context: Tensor
    text: Tensor
    row: Tensor
    durations: Tensor
    f0: Tensor
    energy: Tensor
    owner: Tensor
    sound: Tensor
    own: bool
    seed: int | None = None
    phones: Tensor | None = None
    """What the start's voice says (voices/phones.py), [1, K, F]."""
    tokens: Tensor | None = None
    """int64 [1, T], by which context and text are made anew where what reads them is trained."""
    at: int = 0
    """The frame of the utterance that a crop begins with."""

    @property
    def frames(self) -> int:
        return self.text.shape[2]

    def to(self, device: torch.device) -> Clip:
        given: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: v.to(device, non_blocking=True) for k, v in given.items() if isinstance(v, Tensor)}
        return Clip(**(given | moved))

    def crop(self, at: int) -> Clip:
        """The frames from `at` on, CROP of them. What belongs to tokens stays whole."""
        curves = slice(_CURVES * at, _CURVES * (at + CROP))
        return replace(
            self,
            text=self.text[:, :, at : at + CROP],
            f0=self.f0[curves],
            energy=self.energy[curves],
            sound=self.sound[FRAME * at : FRAME * (at + CROP)],
            phones=None if self.phones is None else self.phones[:, :, at : at + CROP],
            at=at,
        )


@dataclass(frozen=True)
class AdaptBatch:
    """Clips, and how many own, own with phones, and replayed ones their whole batch has."""

    clips: tuple[Clip, ...]
    own: int
    phones: int
    replayed: int
    share: Share = WHOLE

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> AdaptBatch:
        own = [clip for clip in clips if clip.own]
        heard = sum(clip.phones is not None for clip in own)
        return cls(tuple(clips), len(own), heard, len(clips) - len(own))

    def part(self, share: Part) -> AdaptBatch:
        """The clips of a part."""
        return replace(self, clips=tuple(self.clips[row] for row in share.rows), share=share)

    def to(self, device: torch.device) -> AdaptBatch:
        return replace(self, clips=tuple(clip.to(device) for clip in self.clips))


@torch.no_grad()
def own_clips(net: TTSModel, references: Sequence[Reference], rows: Tensor) -> list[Clip]:
    """The speaker's clips. rows [510, 256]: of the pack that the run begins with."""
    found = []
    device = rows.device
    for item in references:
        tokens, owner = item.tokens.to(device), item.owner
        row = rows[min(max(tokens.shape[1] - 3, 0), len(rows) - 1)]
        clip = Clip(
            net.bert_encoder(net.bert(tokens, None)).transpose(1, 2).cpu(),
            net.encode_text(tokens).cpu()[:, :, owner],
            row.cpu(),
            item.durations.float(),
            item.f0,
            item.energy,
            owner,
            item.sound,
            True,
            phones=item.phones,
            tokens=item.tokens,
        )
        found.append(clip)
    return found


@torch.no_grad()
def spoken_clips(net: TTSModel, texts: Sequence[Tensor], packs: Sequence[Voicepack]) -> list[Clip]:
    """Known voices' answers to texts (tokens [1, T] with both pads), a text each in turn, without sound."""
    found = []
    device = next(net.parameters()).device
    for number, pack in enumerate(packs):
        tokens = texts[number % len(texts)].to(device)
        row = torch.from_numpy(pack.style(tokens.shape[1] - 2).copy()).reshape(-1).to(device)
        prosodic = row[None, STYLE:]
        context = net.bert_encoder(net.bert(tokens, None)).transpose(1, 2)
        d = net.predictor.text_encoder(context, prosodic, None)
        expected = torch.sigmoid(net.duration_logits(d)[0].float()).sum(1)
        owner = torch.repeat_interleave(
            torch.arange(tokens.shape[1], device=device), expected.round().clamp(min=1).long()
        )
        f0, energy = net.f0_energy(d.transpose(1, 2)[:, :, owner], prosodic)
        text = net.encode_text(tokens)[:, :, owner]
        silent = torch.zeros(0)
        clip = Clip(context, text, row, expected, f0[0], energy[0], owner, silent, False, tokens=tokens)
        found.append(clip.to(torch.device("cpu")))
    return found


@torch.no_grad()
def spoken_crops(
    net: TTSModel, spoken: Sequence[Clip], count: int, seed: int, half: bool = False
) -> list[Clip]:
    """Crops of these with the sound that the base makes of the very crop, under the noise of its seed.

    half: in bf16, as the run will."""
    rng = np.random.default_rng([seed, 17])
    device = next(net.parameters()).device
    usable = [clip for clip in spoken if clip.frames >= CROP]
    found = []
    for number in range(count if usable else 0):
        clip = usable[number % len(usable)]
        piece = replace(clip.crop(int(rng.integers(0, clip.frames - CROP + 1))), seed=number)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            sound = decode(net, piece.to(device), piece.row[None, :STYLE].to(device))
        found.append(replace(piece, sound=sound[0].float().cpu()))
    return found


def decode(net: TTSModel, clip: Clip, style: Tensor) -> Tensor:
    """Sound [1, 600 CROP] of a crop in an acoustic style [1, 128], with the noise of its seed where
    it has one."""
    rng = None if clip.seed is None else torch.Generator(clip.text.device).manual_seed(clip.seed)
    sound: Tensor = net.decoder(clip.text, clip.f0[None], clip.energy[None], style, rng=rng)
    return sound


class AdaptSampler:
    """`batch(step)` is deterministic. Own clips come as often as they are long; one item in `every`
    is a replay."""

    unit = 1

    def __init__(
        self,
        own: Sequence[Clip],
        replays: Sequence[Clip],
        *,
        seed: int,
        stage: int,
        clips: int,
        every: int,
        crops: bool,
    ) -> None:
        self.own = [clip for clip in own if not crops or clip.frames >= CROP]
        if not self.own:
            raise VoicewrightError("There is nothing to train on: no clip is as long as a crop, 1.65 s.")
        self.replays, self.every = list(replays), every if replays else 0
        self.seed, self.stage, self.clips, self.crops = seed, stage, clips, crops
        chances = np.array([clip.frames for clip in self.own], np.float64)
        if crops:
            chances = chances - CROP + 1
        self.chances = chances / chances.sum()
        self.epoch_steps = max(1, len(self.own) // clips)

    def heaviest(self) -> int:
        """Crops are alike; of whole clips any batch is near enough."""
        return 0

    def batch(self, step: int, clips: int | None = None) -> AdaptBatch:
        rng = np.random.default_rng([self.seed, self.stage, step])
        chosen = []
        for number in range(step * self.clips, step * self.clips + (clips or self.clips)):
            if self.every and number % self.every == self.every - 1:
                chosen.append(self.replays[int(rng.integers(len(self.replays)))])
                continue
            clip = self.own[int(rng.choice(len(self.own), p=self.chances))]
            chosen.append(clip.crop(int(rng.integers(0, clip.frames - CROP + 1))) if self.crops else clip)
        return AdaptBatch.of(chosen)
