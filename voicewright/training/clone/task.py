"""Style encoders as a task of the one loop: a fit to many readers at once, whose offsets two networks say.

The model is frozen and hidden; a checkpoint holds the encoders alone. Batches are a pure function of
(seed, stage, step).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.share import WHOLE, Part, Share
from voicewright.model.tones import line_loss, tone_loss
from voicewright.model.tts.model import TTSModel
from voicewright.training.adapt.batches import Clip
from voicewright.training.clone.recipe import LOSSES, CloneRecipe, CloneStage
from voicewright.training.task import Output, Source, Stage, StagedNetworks, Task
from voicewright.units import FRAME, SAMPLE_RATE, STYLE
from voicewright.voices.fit import CROP, HeardMel
from voicewright.voices.phones import PhoneEar, unlike
from voicewright.voices.prosody import WINDOW, prosody_gap
from voicewright.voices.style_encoders import PROSODY, StyleEncoders

Vectors = Callable[[Tensor], Tensor]
"""Samples [B, T] at 24 kHz → unit vectors [B, D]."""


@dataclass(frozen=True)
class Reader:
    """One speaker as training sees her. `numbers` of each clip: [V, 452], of the whole and of sections of it;
    `wanted`: her vector by each encoder that steers; `mel`: log-mels above her recordings' noise."""

    name: str
    clips: Sequence[Clip]
    numbers: Sequence[Tensor]
    wanted: Sequence[Tensor]
    mel: HeardMel


@dataclass(frozen=True)
class Item:
    """A reader's clip, or a crop of it, with what an encoder reads of her: numbers [452]."""

    reader: int
    clip: Clip
    numbers: Tensor

    def to(self, device: torch.device) -> Item:
        return replace(self, clip=self.clip.to(device), numbers=self.numbers.to(device))


@dataclass(frozen=True)
class CloneBatch:
    """clips: how many its whole batch has."""

    items: tuple[Item, ...]
    clips: int
    share: Share = WHOLE

    def part(self, share: Part) -> CloneBatch:
        """The items of a part."""
        return replace(self, items=tuple(self.items[row] for row in share.rows), share=share)

    def to(self, device: torch.device) -> CloneBatch:
        return replace(self, items=tuple(item.to(device) for item in self.items))


class CloneNetworks(StagedNetworks):
    """The encoders that train, and beside them, in no state, the frozen model and the first encoders."""

    def __init__(self, net: TTSModel, encoders: StyleEncoders) -> None:
        super().__init__()
        self.encoders = encoders
        object.__setattr__(self, "base", net.eval().requires_grad_(False))
        object.__setattr__(self, "first", copy.deepcopy(encoders).eval().requires_grad_(False))

    @property
    def tts(self) -> TTSModel:
        net: TTSModel = object.__getattribute__(self, "base")
        return net

    def parts(self) -> dict[str, nn.Module]:
        return {"timbre": self.encoders.timbre, "prosody": self.encoders.prosody}

    def style(self, name: str, batch: CloneBatch, noise: float) -> tuple[Tensor, Tensor]:
        """Half a style [B, 128] by the encoder of that name, and how far it is from what it was (squared)."""
        numbers = torch.stack([item.numbers for item in batch.items])
        first: StyleEncoders = object.__getattribute__(self, "first")
        read = numbers if name == "prosody" else numbers[:, PROSODY:]
        encoder = self.encoders.get_submodule(name)
        if noise and encoder.training:
            drawn = batch.share.randn(batch.clips, read.shape[1], device=read.device)
            scale = first.get_submodule(name).get_buffer("scale")
            read = read + noise * scale * batch.share.mine(drawn)
        now: Tensor = encoder(read)
        with torch.no_grad():
            then = first.get_submodule(name)(read)
        return now, batch.share.mean((now - then).square().sum(1).mean())


class CloneSpectra(nn.Module):
    """What compares: each reader's log-mels, the encoders that steer, an ear for phones."""

    def __init__(self, readers: Sequence[Reader], steers: Sequence[Vectors], phones: PhoneEar | None) -> None:
        super().__init__()
        self.readers, self.steers, self.phones = tuple(readers), tuple(steers), phones


def _prosody(nets: CloneNetworks, spectra: CloneSpectra, batch: CloneBatch, stage: CloneStage) -> Output:
    styles, apart = nets.style("prosody", batch, stage.noise)
    gaps = []
    with torch.autocast(styles.device.type, enabled=False):
        for item, style in zip(batch.items, styles, strict=True):
            clip = item.clip
            gaps.append(
                prosody_gap(
                    nets.tts,
                    style[None].float() + clip.row[None, STYLE:],
                    clip.context.float(),
                    clip.durations,
                    clip.owner,
                    clip.f0,
                    clip.energy,
                )
            )
    return Output({"prosody": batch.share.mean(torch.stack(gaps).mean()), "leash": apart})


def _timbre(nets: CloneNetworks, spectra: CloneSpectra, batch: CloneBatch, stage: CloneStage) -> Output:
    items, share = batch.items, batch.share
    clips = [item.clip for item in items]
    style, apart = nets.style("timbre", batch, stage.noise)
    rows = torch.stack([clip.row[:STYLE] for clip in clips])
    fake = nets.tts.decoder(
        torch.cat([clip.text for clip in clips]),
        torch.stack([clip.f0 for clip in clips]),
        torch.stack([clip.energy for clip in clips]),
        style + rows,
    ).float()
    real = torch.stack([clip.sound for clip in clips])
    readers = [spectra.readers[item.reader] for item in items]
    mels = [one.mel(fake[n : n + 1], real[n : n + 1]) for n, one in enumerate(readers)]
    unalike = fake.new_zeros(())
    for number, vectors in enumerate(spectra.steers):
        wanted = torch.stack([one.wanted[number] for one in readers])
        unalike = unalike + 1 - (vectors(fake) * wanted).sum(1).mean()
    hop = nets.tts.config.istftnet.gen_istft_hop_size
    losses = {
        "mel": share.mean(torch.stack(mels).mean()),
        "identity": share.mean(unalike),
        "tones": tone_loss(fake, hop, share),
        "lines": line_loss(fake, real, hop, share),
        "leash": apart,
    }
    said = [clip.phones for clip in clips if clip.phones is not None]
    if spectra.phones is not None and len(said) == len(clips):
        losses["phones"] = share.mean(unlike(spectra.phones(fake), torch.cat(said)))
    return Output(losses)


Forward: TypeAlias = Callable[[CloneNetworks, CloneSpectra, CloneBatch, CloneStage], Output]

STAGES: Mapping[str, Stage[Forward]] = MappingProxyType(
    {
        "prosody": Stage("prosody", ("prosody",), LOSSES["prosody"], False, "none", _prosody),
        "timbre": Stage("timbre", ("timbre",), LOSSES["timbre"], True, "none", _timbre),
    }
)


class CloneSampler:
    """`batch(step)` is deterministic: readers in turn, in an order drawn anew; of each a clip, view, crop."""

    unit = 1

    def __init__(
        self, readers: Sequence[Reader], chosen: Sequence[int], seed: int, stage: int, clips: int, crops: bool
    ):
        self.readers, self.chosen = readers, list(chosen)
        self.seed, self.stage, self.clips, self.crops = seed, stage, clips, crops
        if not self.chosen:
            raise VoicewrightError(
                "There is nothing to train on: no reader has a clip as long as a crop, 1.65 s."
            )
        self.epoch_steps = max(1, len(self.chosen) // clips)

    def heaviest(self) -> int:
        return 0

    def batch(self, step: int, clips: int | None = None) -> CloneBatch:
        rng = np.random.default_rng([self.seed, self.stage, step])
        found = []
        count = clips or self.clips
        for number in range(step * count, (step + 1) * count):
            turn, at = divmod(number, len(self.chosen))
            order = np.random.default_rng([self.seed, self.stage, 1 << 20, turn]).permutation(
                len(self.chosen)
            )
            found.append(self.item(self.chosen[int(order[at])], rng))
        return CloneBatch(tuple(found), count)

    def item(self, index: int, rng: np.random.Generator) -> Item:
        reader = self.readers[index]
        which = int(rng.integers(len(reader.clips)))
        clip, views = reader.clips[which], reader.numbers[which]
        view = views[int(rng.integers(len(views)))]
        room = clip.frames - (CROP if self.crops else WINDOW)
        at = int(rng.integers(0, max(room, 0) + 1))
        if self.crops:
            return Item(index, clip.crop(at), view)
        curves = slice(2 * at, 2 * (at + WINDOW))
        part = replace(
            clip, owner=clip.owner[at : at + WINDOW], f0=clip.f0[curves], energy=clip.energy[curves]
        )
        return Item(index, part, view)


@dataclass
class Cloning(Task[CloneBatch]):
    """Training of style encoders. readers: all; training, validation: the numbers of those who teach and of
    those by whom encoders are chosen."""

    stages = STAGES
    parts = True
    recipe: CloneRecipe
    networks: CloneNetworks
    readers: Sequence[Reader]
    training: Sequence[int]
    validation: Sequence[int]
    spectral: CloneSpectra

    def sampler(self, number: int, budget: int, held_out: bool = False) -> Source[CloneBatch]:
        chosen = self.validation if held_out else self.training
        crops = STAGES[self.recipe.stages[number].stage].crops
        return CloneSampler(self.readers, chosen, self.recipe.seed, number, budget, crops)

    def output(self, number: int, batch: CloneBatch) -> Output:
        stage = self.recipe.stages[number]
        return STAGES[stage.stage].forward(self.networks, self.spectral, batch, stage)

    def clips(self, batch: CloneBatch) -> int:
        return len(batch.items)

    def part(self, batch: CloneBatch, share: Part) -> CloneBatch:
        return batch.part(share)

    def seconds(self, number: int, batch: CloneBatch) -> float:
        crops = STAGES[self.recipe.stages[number].stage].crops
        frames = sum(CROP if crops else item.clip.frames for item in batch.items)
        return float(frames * FRAME / SAMPLE_RATE)
