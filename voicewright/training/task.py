"""What a kind of run brings to the one loop: its stages, batches, discriminators and learning rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import nn

from voicewright.model.discriminators import ContourDiscriminator, Discriminators
from voicewright.model.losses import SpectralLoss
from voicewright.training.batches import Sampler
from voicewright.training.recipe import Optimizer
from voicewright.training.stages import STAGES, Output, Stage, check_losses
from voicewright.units import FRAME, SAMPLE_RATE


class Source(Protocol):
    """Batches by step. A batch moves with `to(device)`; a clip costs `unit` of the budget."""

    @property
    def unit(self) -> int: ...

    @property
    def epoch_steps(self) -> int:
        """Batches in which every clip is seen once."""
        ...

    def batch(self, step: int, clips: int | None = None) -> Any: ...

    def heaviest(self) -> int:
        """A step whose batch needs as much memory as any."""
        ...


class Task(Protocol):
    """One kind of training. Records and functions only: whatever moves during a run belongs to the loop."""

    @property
    def stages(self) -> Mapping[str, Stage]: ...

    def check(self, stage: Any) -> None:
        """Raise VoicewrightError when a stage's recipe cannot be carried out."""
        ...

    def critics(self, recipe: Any, networks: Any) -> dict[str, nn.Module]:
        """Fresh discriminators by the names that stages give them."""
        ...

    def spectral(self, recipe: Any) -> nn.Module:
        """What compares spectra; the stages' forward gets it."""
        ...

    def sampler(self, recipe: Any, stage: Any, number: int, features: Sequence[Any], budget: int) -> Source:
        """Batches of the recipe's stage of that number."""
        ...

    def critic_arguments(self, recipe: Any, critic: nn.Module, output: Output) -> tuple[object, ...]:
        """What a discriminator is called with beside the sound."""
        ...

    def optimizer(
        self, parameters: Sequence[nn.Parameter], o: Any, device: torch.device
    ) -> torch.optim.Optimizer: ...

    def rate(self, o: Any, step: int, steps: int, epoch: int) -> float:
        """Learning rate at a step of `steps`, of which an epoch has `epoch`."""
        ...

    def seconds(self, batch: Any, stage: Any) -> float:
        """Seconds of sound that a step made."""
        ...

    def compile(self, networks: Any, critics: Mapping[str, nn.Module]) -> None:
        """Compile what gains by it."""
        ...


def rate(o: Optimizer, step: int, steps: int) -> float:
    """Learning rate: linear warm-up, then a cosine down to `final` of the peak."""
    if step < o.warmup:
        return o.learning_rate * (step + 1) / o.warmup
    progress = (step - o.warmup) / max(1, steps - o.warmup)
    return o.learning_rate * (o.final + (1 - o.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def adamw(parameters: Sequence[nn.Parameter], o: Optimizer, device: torch.device) -> torch.optim.AdamW:
    # Decay only matrices: shrinking gains and biases (Snake's alpha among them) serves nothing.
    groups = [
        {
            "params": [p for p in parameters if p.ndim > 1 and min(p.shape) > 1],
            "weight_decay": o.weight_decay,
        },
        {"params": [p for p in parameters if not (p.ndim > 1 and min(p.shape) > 1)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=o.learning_rate, betas=o.betas, eps=1e-9, fused=True)


class Speaking:
    """Training of models that speak: Kokoro's graph with its style encoders."""

    stages = STAGES

    def check(self, stage: Any) -> None:
        check_losses(stage)

    def critics(self, recipe: Any, networks: Any) -> dict[str, nn.Module]:
        sizes = recipe.discriminators
        return {
            "waveform": Discriminators(
                sizes.periods, sizes.period_channels, sizes.resolutions, sizes.spectrogram_channels
            ),
            "contour": ContourDiscriminator(networks.tts.bert_encoder.out_features),
        }

    def spectral(self, recipe: Any) -> nn.Module:
        return SpectralLoss(SAMPLE_RATE)

    def sampler(self, recipe: Any, stage: Any, number: int, features: Sequence[Any], budget: int) -> Source:
        return Sampler(
            features,
            seed=recipe.seed,
            stage=number,
            batch_frames=budget,
            crop=stage.crop if STAGES[stage.stage].crops else None,
        )

    def critic_arguments(self, recipe: Any, critic: nn.Module, output: Output) -> tuple[object, ...]:
        if isinstance(critic, Discriminators) and recipe.discriminators.per_step:
            count = min(recipe.discriminators.per_step, len(critic.members))
            return (torch.randperm(len(critic.members))[:count].tolist(),)
        return (output.condition,) if output.condition is not None else ()

    def optimizer(
        self, parameters: Sequence[nn.Parameter], o: Any, device: torch.device
    ) -> torch.optim.Optimizer:
        return adamw(parameters, o, device)

    def rate(self, o: Any, step: int, steps: int, epoch: int) -> float:
        return rate(o, step, steps)

    def seconds(self, batch: Any, stage: Any) -> float:
        made = stage.window if STAGES[stage.stage].crops else batch.frame_token.shape[1]
        return len(batch.lengths) * made * FRAME / SAMPLE_RATE

    def compile(self, networks: Any, critics: Mapping[str, nn.Module]) -> None:
        """The convolutional parts; LSTMs and spectrograms stay eager."""
        decoder = networks.tts.decoder
        decoder.front = torch.compile(decoder.front, dynamic=False)
        decoder.generator.synthesise = torch.compile(decoder.generator.synthesise, dynamic=False)
        critic = critics["waveform"]
        assert isinstance(critic, Discriminators)
        for member in critic.members:
            member.forward = torch.compile(member.forward, dynamic=False)


SPEAKING = Speaking()
