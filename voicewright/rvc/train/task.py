"""RVC's training as a task of the one loop: a synthesizer with its posterior, against its discriminators."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.discriminators import VoiceDiscriminators
from voicewright.rvc.network.losses import (
    ScaledMels,
    VoiceMel,
    adversarial_loss,
    critic_loss,
    kl_loss,
    matching_loss,
)
from voicewright.rvc.network.synthesizer import Synthesizer
from voicewright.rvc.train.batches import VoiceBatch, VoiceSampler
from voicewright.rvc.train.features import FRAMES
from voicewright.rvc.train.recipe import MELS, VoiceRecipe, VoiceStage
from voicewright.training.stages import Gan, Output, Stage

if TYPE_CHECKING:
    from voicewright.training.task import Source

OPTIONAL = {"mels"}
"""Losses that a recipe may leave out, and that then cost nothing."""


class VoiceNetworks(nn.Module):
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
        "mel": (wanted - spectra.mel(fake)).abs().mean(),
        "kl": kl_loss(z_p, logs_q, m_p, logs_p, mask),
    }
    if "mels" in recipe.losses:
        losses["mels"] = spectra.mels(fake, real)
    return Output(losses, fake=fake, real=real)


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "voice": Stage(
            "voice",
            ("synthesizer",),
            ("mel", "kl", "mels", "adversarial", "features"),
            True,
            "waveform",
            _voice,
            Gan(critic_loss, adversarial_loss, matching_loss, critic_first=True),
        )
    }
)


@dataclass(frozen=True)
class Converting:
    """Training of an RVC voice. `speakers` give the rows of the speaker table, `coarse` F0's bins."""

    speakers: Sequence[str]
    coarse: Callable[[NDArray[np.float32]], NDArray[np.integer]]

    @property
    def stages(self) -> Mapping[str, Stage]:
        return STAGES

    def check(self, stage: Any) -> None:
        known = set(STAGES[stage.stage].losses)
        known -= set() if stage.gan_start is not None else {"adversarial", "features"}
        unknown, missing = set(stage.losses) - known, known - OPTIONAL - set(stage.losses)
        for word, names in (("unknown", unknown), ("missing", missing)):
            if names:
                raise VoicewrightError(
                    f"Stage {stage.stage}: {word} losses {', '.join(sorted(names))}; "
                    f"it has {', '.join(sorted(known))}."
                )

    def critics(self, recipe: Any, networks: Any) -> dict[str, nn.Module]:
        return {"waveform": VoiceDiscriminators(recipe.version, recipe.narrow_critics)}

    def spectral(self, recipe: Any) -> nn.Module:
        return Spectra(recipe)

    def sampler(self, recipe: Any, stage: Any, number: int, features: Sequence[Any], budget: int) -> Source:
        return VoiceSampler(
            features,
            seed=recipe.seed,
            stage=number,
            clips=budget,
            rate=recipe.config.sample_rate,
            n_fft=recipe.n_fft,
            speakers=self.speakers,
            coarse=self.coarse,
        )

    def critic_arguments(self, recipe: Any, critic: nn.Module, output: Output) -> tuple[object, ...]:
        return ()

    def optimizer(
        self, parameters: Sequence[nn.Parameter], o: Any, device: torch.device
    ) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters,
            lr=o.learning_rate,
            betas=o.betas,
            eps=o.eps,
            weight_decay=o.weight_decay,
            fused=True,
        )

    def rate(self, o: Any, step: int, steps: int, epoch: int) -> float:
        return float(o.learning_rate * o.decay ** (step // (o.decay_every or epoch)))

    def seconds(self, batch: Any, stage: Any) -> float:
        """Of the slices that were heard; a segment of each was decoded."""
        return float(batch.lengths.sum()) / FRAMES

    def compile(self, networks: Any, critics: Mapping[str, nn.Module]) -> None:
        raise AssertionError("recipes of voices have no `compile`")
