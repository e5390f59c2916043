"""Training of models that speak, as a task of the one loop: Kokoro's graph with its style encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from voicewright.corpus.features import Features
from voicewright.model.discriminators import ContourDiscriminator, Discriminators
from voicewright.model.losses import SpectralLoss
from voicewright.model.share import Part
from voicewright.training.batches import Batch, Sampler
from voicewright.training.recipe import Recipe
from voicewright.training.stages import STAGES, Networks
from voicewright.training.task import Output, Source, Task
from voicewright.units import FRAME, SAMPLE_RATE


@dataclass
class Speaking(Task[Batch]):
    """Training of a speaking model on a corpus's features."""

    stages = STAGES
    parts = True
    recipe: Recipe
    networks: Networks
    training: Sequence[Features]
    validation: Sequence[Features]
    spectral: SpectralLoss = field(default_factory=lambda: SpectralLoss(SAMPLE_RATE))

    def discriminators(self) -> dict[str, nn.Module]:
        sizes = self.recipe.discriminators
        return {
            "waveform": Discriminators(
                sizes.periods, sizes.period_channels, sizes.resolutions, sizes.spectrogram_channels
            ),
            "contour": ContourDiscriminator(self.networks.tts.bert_encoder.out_features),
        }

    def sampler(self, number: int, budget: int, held_out: bool = False) -> Source[Batch]:
        stage = self.recipe.stages[number]
        return Sampler(
            self.validation if held_out else self.training,
            seed=self.recipe.seed,
            stage=number,
            batch_frames=budget,
            crop=stage.crop if STAGES[stage.stage].crops else None,
        )

    def output(self, number: int, batch: Batch) -> Output:
        stage = self.recipe.stages[number]
        return STAGES[stage.stage].forward(self.networks, self.spectral, batch, stage)

    def clips(self, batch: Batch) -> int:
        return len(batch.lengths)

    def part(self, batch: Batch, share: Part) -> Batch:
        return batch.part(share)

    def discriminator_arguments(self, discriminator: nn.Module, output: Output) -> tuple[object, ...]:
        per_step = self.recipe.discriminators.per_step
        if isinstance(discriminator, Discriminators) and per_step:
            count = min(per_step, len(discriminator.members))
            return (output.share.randperm(len(discriminator.members))[:count],)
        return (output.condition,) if output.condition is not None else ()

    def seconds(self, number: int, batch: Batch) -> float:
        stage = self.recipe.stages[number]
        made = stage.window if STAGES[stage.stage].crops else batch.frame_token.shape[1]
        return len(batch.lengths) * made * FRAME / SAMPLE_RATE

    def compile(self, discriminators: Mapping[str, nn.Module]) -> None:
        """The convolutional parts; LSTMs and spectrograms stay eager."""
        decoder = self.networks.tts.decoder
        decoder.front = torch.compile(decoder.front, dynamic=False)  # type: ignore[method-assign]
        decoder.generator.synthesise = torch.compile(decoder.generator.synthesise, dynamic=False)  # type: ignore[method-assign]
        discriminator = discriminators["waveform"]
        assert isinstance(discriminator, Discriminators)
        for member in discriminator.members:
            member.forward = torch.compile(member.forward, dynamic=False)
