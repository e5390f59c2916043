"""RVC's training as a task of the one loop: a synthesizer with its posterior, against its discriminators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.model.share import Part
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.discriminators import VoiceDiscriminators
from voicewright.rvc.network.losses import (
    ScaledMels,
    VoiceMel,
    adversarial_loss,
    discriminator_loss,
    kl_loss,
    matching_loss,
)
from voicewright.rvc.network.synthesizer import Synthesizer
from voicewright.rvc.train.batches import VoiceBatch, VoiceSampler
from voicewright.rvc.train.features import FRAMES, Slice
from voicewright.rvc.train.recipe import MELS, VoiceRecipe, VoiceStage
from voicewright.training.task import Gan, Output, Source, Stage, StagedNetworks, Task


class VoiceNetworks(StagedNetworks):
    """What trains: the synthesizer with its posterior encoder."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        self.synthesizer = Synthesizer(config)

    def parts(self) -> dict[str, nn.Module]:
        return {"synthesizer": self.synthesizer}


class Spectra(nn.Module):
    """The log-mel of the reconstruction loss, and those of the optional one."""

    def __init__(self, recipe: VoiceRecipe) -> None:
        super().__init__()
        rate = recipe.config.sample_rate
        self.mel = VoiceMel(rate, recipe.n_fft, rate // FRAMES, MELS[rate])
        self.mels = ScaledMels(rate)


def _voice(nets: VoiceNetworks, spectra: Spectra, batch: VoiceBatch, recipe: VoiceStage) -> Output:
    """Decode a random segment of what the posterior hears, and compare it with the recording."""
    config = nets.synthesizer.config
    pitch, f0 = (batch.pitch, batch.f0) if config.f0 else (None, None)
    made, first, _, mask, latent = nets.synthesizer(
        batch.phone, batch.lengths, pitch, f0, batch.spectrum, batch.lengths, batch.speaker
    )
    _, z_p, m_p, logs_p, _, logs_q = latent
    fake = made[:, 0].float()
    frames = first[:, None] + torch.arange(config.segment_frames, device=fake.device)
    samples = first[:, None] * config.hop + torch.arange(fake.shape[1], device=fake.device)
    real = batch.audio.gather(1, samples)
    wanted = spectra.mel.of_spectrum(batch.spectrum)
    wanted = wanted.gather(2, frames.unsqueeze(1).expand(-1, wanted.shape[1], -1))
    losses: dict[str, Tensor] = {
        "mel": batch.share.mean((wanted - spectra.mel(fake)).abs().mean()),
        "kl": kl_loss(z_p, logs_q, m_p, logs_p, mask, batch.share),
    }
    if "mels" in recipe.losses:
        losses["mels"] = spectra.mels(fake, real, batch.share)
    return Output(losses, fake=fake, real=real)


Forward: TypeAlias = Callable[[VoiceNetworks, Spectra, VoiceBatch, VoiceStage], Output]

STAGES: Mapping[str, Stage[Forward]] = MappingProxyType(
    {
        "voice": Stage(
            "voice",
            ("synthesizer",),
            ("mel", "kl", "mels", "adversarial", "features"),
            True,
            "waveform",
            _voice,
            Gan(discriminator_loss, adversarial_loss, matching_loss, discriminator_first=True),
            frozenset({"mels"}),
        )
    }
)


@dataclass
class Converting(Task[VoiceBatch]):
    """Training of an RVC voice. `speakers` give the rows of the speaker table, `coarse` F0's bins."""

    stages = STAGES
    parts = True
    recipe: VoiceRecipe
    networks: VoiceNetworks
    training: Sequence[Slice]
    validation: Sequence[Slice]
    speakers: Sequence[str]
    coarse: Callable[[NDArray[np.float32]], NDArray[np.integer]]
    spectral: Spectra = field(init=False)

    def __post_init__(self) -> None:
        self.spectral = Spectra(self.recipe)

    def discriminators(self) -> dict[str, nn.Module]:
        return {"waveform": VoiceDiscriminators(self.recipe.version, self.recipe.narrow_critics)}

    def sampler(self, number: int, budget: int, held_out: bool = False) -> Source[VoiceBatch]:
        return VoiceSampler(
            self.validation if held_out else self.training,
            seed=self.recipe.seed,
            stage=number,
            clips=budget,
            rate=self.recipe.config.sample_rate,
            n_fft=self.recipe.n_fft,
            speakers=self.speakers,
            coarse=self.coarse,
        )

    def output(self, number: int, batch: VoiceBatch) -> Output:
        stage = self.recipe.stages[number]
        return STAGES[stage.stage].forward(self.networks, self.spectral, batch, stage)

    def clips(self, batch: VoiceBatch) -> int:
        return len(batch.lengths)

    def part(self, batch: VoiceBatch, share: Part) -> VoiceBatch:
        return batch.part(share)

    def seconds(self, number: int, batch: VoiceBatch) -> float:
        """Of the slices that were heard; a segment of each was decoded."""
        return float(batch.lengths.sum()) / FRAMES
