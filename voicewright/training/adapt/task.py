"""Adapters as a task of the one loop: what trains, the two stages' losses; the base is frozen and hidden.

A checkpoint holds adapters and two offsets alone. Replays keep the base's own voices where they are: each
so-manieth item is one of them, held to what the base says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.adapters import PARTS, READING, attach
from voicewright.model.echoes import echo_loss
from voicewright.model.share import Part
from voicewright.model.tones import line_loss, tone_loss
from voicewright.model.tts.model import TTSModel
from voicewright.training.adapt.batches import AdaptBatch, AdaptSampler, Clip, decode
from voicewright.training.adapt.recipe import LOSSES, AdaptRecipe, AdaptStage
from voicewright.training.task import Output, Source, Stage, StagedNetworks, Task
from voicewright.units import FRAME, SAMPLE_RATE, STYLE
from voicewright.voices.fit import CROP, HeardMel, Steer
from voicewright.voices.phones import PhoneEar, unlike
from voicewright.voices.prosody import prosody_gap


class Offset(nn.Module):
    """What is added to one half of every row of the pack that a run begins with, [128]."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(STYLE))


class AdaptNetworks(StagedNetworks):
    """Adapters upon a frozen, folded model, and the voice's offsets. The model is no part of the state.

    rank: None for whole matrices. net: its modules get the adapters; it must lie on the device that the run
    will use. reads: what reads symbols learns too.
    """

    decoder: nn.ModuleDict
    predictor: nn.ModuleDict

    def __init__(self, net: TTSModel, rank: int | None, seed: int, reads: bool = False) -> None:
        super().__init__()
        object.__setattr__(
            self, "base", net.eval().requires_grad_(False)
        )  # no submodule, so not in the state
        self.reads = reads
        for number, part in enumerate((*PARTS, *READING)[: None if reads else len(PARTS)]):
            self.add_module(part, attach(net, part, rank, 1000 * seed + number))
        self.acoustic, self.prosodic = Offset(), Offset()

    @property
    def tts(self) -> TTSModel:
        net: TTSModel = object.__getattribute__(self, "base")
        return net

    def parts(self) -> dict[str, nn.Module]:
        found = {name: self.get_submodule(name) for name in (*PARTS, "acoustic", "prosodic")}
        if self.reads:  # what reads for a part learns with it
            for part, reader in zip(PARTS, READING, strict=True):
                found[part] = nn.ModuleList([found[part], self.get_submodule(reader)])
        return found

    def read(self, clip: Clip) -> Clip:
        """A clip as what reads symbols makes it now: its context of PL-BERT, its text features."""
        if not self.reads:
            return clip
        assert clip.tokens is not None
        net, device = self.tts, clip.text.device
        with torch.autocast(device.type, enabled=False), _own_lstms(device):
            context = net.bert_encoder(net.bert(clip.tokens, None)).transpose(1, 2)
            text = net.encode_text(clip.tokens)[:, :, clip.owner[clip.at : clip.at + clip.frames]]
        return replace(clip, context=context, text=text)


class AdaptSpectra(nn.Module):
    """What compares: log-mels above the recordings' noise, the same above the replays', an ear for phones,
    and the speaker encoders that steer, which stay on the CPU."""

    def __init__(
        self, own: HeardMel, replay: HeardMel | None, steers: Sequence[Steer], phones: PhoneEar | None = None
    ) -> None:
        super().__init__()
        self.own, self.replay, self.phones = own, replay, phones
        self.steers = tuple(steers)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AdaptSpectra:
        super()._apply(fn, recurse)
        for mel in (self.own, self.replay):
            if mel is not None:
                mel.floors = [fn(floor) for floor in mel.floors]
        return self

    @torch.no_grad()
    def says(self, clip: Clip, real: Tensor, stage: AdaptStage) -> Tensor | None:
        """What a piece is to say, log-probabilities of phones [1, K, F]; None where that is not known."""
        if stage.phones == "start" or self.phones is None:
            return clip.phones
        heard: Tensor = self.phones(real)
        return heard

    def unlike(self, fake: Tensor, real: Tensor) -> Tensor:
        """How far fake is from the voice, beyond the recording of the same words: cosines to the recordings,
        the mean over encoders. fake, real [1, T].

        A piece of 1.65 s is never quite the mean voice; drawn nearer to that than the recording is, a voice
        is drawn to what encoders take for it.
        """
        sound, own = fake.cpu(), real.cpu()
        apart = []
        for steer in self.steers:
            with torch.no_grad():
                enough = steer.encoder(own)[0] @ steer.wanted
            apart.append(F.relu(enough - steer.encoder(sound)[0] @ steer.wanted))
        return torch.stack(apart).mean().to(fake.device) if apart else fake.new_zeros(())


def _own_lstms(device: torch.device) -> AbstractContextManager[None]:
    """torch's own LSTMs: CUDA's have no backward in eval mode."""
    flags: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=device.type != "cuda")
    return flags


def _gap(net: TTSModel, clip: Clip, style: Tensor) -> Tensor:
    """In fp32. style [1, 128]."""
    with torch.autocast(style.device.type, enabled=False), _own_lstms(style.device):
        return prosody_gap(
            net, style, clip.context.float(), clip.durations, clip.owner, clip.f0, clip.energy, clip.own
        )


def _prosody(nets: AdaptNetworks, spectra: AdaptSpectra, batch: AdaptBatch, stage: AdaptStage) -> Output:
    gaps: dict[str, list[Tensor]] = {}
    for clip in map(nets.read, batch.clips):
        style = clip.row[None, STYLE:] + (nets.prosodic.value if clip.own else 0)
        gaps.setdefault("prosody" if clip.own else "replay", []).append(_gap(nets.tts, clip, style))
    return Output(batch.share.kinds(gaps, {"prosody": batch.own, "replay": batch.replayed}))


def _sound(nets: AdaptNetworks, spectra: AdaptSpectra, batch: AdaptBatch, stage: AdaptStage) -> Output:
    found: dict[str, list[Tensor]] = {}
    hop = nets.tts.config.istftnet.gen_istft_hop_size
    for clip in map(nets.read, batch.clips):
        style = clip.row[None, :STYLE] + (nets.acoustic.value if clip.own else 0)
        fake, real = decode(nets.tts, clip, style).float(), clip.sound[None]
        if not clip.own:
            assert spectra.replay is not None
            found.setdefault("replay", []).append(spectra.replay(fake, real))
            continue
        found.setdefault("mel", []).append(spectra.own(fake, real))
        found.setdefault("identity", []).append(spectra.unlike(fake, real))
        if spectra.phones is not None and (wanted := spectra.says(clip, real, stage)) is not None:
            found.setdefault("phones", []).append(unlike(spectra.phones(fake), wanted))
        found.setdefault("tones", []).append(tone_loss(fake, hop))
        found.setdefault("lines", []).append(line_loss(fake, real, hop))
        found.setdefault("echo", []).append(echo_loss(fake, real, clip.f0[None]))
    counts = dict.fromkeys(("mel", "identity", "tones", "lines", "echo"), batch.own)
    heard = batch.phones if stage.phones == "start" else batch.own
    heard = heard if spectra.phones is not None else 0
    return Output(batch.share.kinds(found, {**counts, "phones": heard, "replay": batch.replayed}))


Forward: TypeAlias = Callable[[AdaptNetworks, AdaptSpectra, AdaptBatch, AdaptStage], Output]

STAGES: Mapping[str, Stage[Forward]] = MappingProxyType(
    {
        "prosody": Stage("prosody", ("predictor", "prosodic"), LOSSES["prosody"], False, "none", _prosody),
        "sound": Stage("sound", ("decoder", "acoustic"), LOSSES["sound"], True, "none", _sound),
    }
)


@dataclass
class Adapting(Task[AdaptBatch]):
    """Training of adapters. spoken: what the base says in known voices; crops: pieces of it with sound."""

    stages = STAGES
    parts = True
    recipe: AdaptRecipe
    networks: AdaptNetworks
    training: Sequence[Clip]
    validation: Sequence[Clip]
    spoken: Sequence[Clip]
    crops: Sequence[Clip]
    spectral: AdaptSpectra

    def sampler(self, number: int, budget: int, held_out: bool = False) -> Source[AdaptBatch]:
        record = STAGES[self.recipe.stages[number].stage]
        return AdaptSampler(
            self.validation if held_out else self.training,
            self.crops if record.crops else self.spoken,
            seed=self.recipe.seed,
            stage=number,
            clips=budget,
            every=self.recipe.replay.every,
            crops=record.crops,
        )

    def output(self, number: int, batch: AdaptBatch) -> Output:
        stage = self.recipe.stages[number]
        return STAGES[stage.stage].forward(self.networks, self.spectral, batch, stage)

    def clips(self, batch: AdaptBatch) -> int:
        return len(batch.clips)

    def part(self, batch: AdaptBatch, share: Part) -> AdaptBatch:
        return batch.part(share)

    def seconds(self, number: int, batch: AdaptBatch) -> float:
        crops = STAGES[self.recipe.stages[number].stage].crops
        frames = sum(CROP if crops else clip.frames for clip in batch.clips)
        return float(frames * FRAME / SAMPLE_RATE)
