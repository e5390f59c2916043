"""The recipe of an RVC run: one YAML, strictly read; `kind: rvc` tells it from a speaking voice's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from voicewright.catalogue.published import PUBLISHED
from voicewright.corpus.split import Split
from voicewright.errors import VoicewrightError
from voicewright.records import Strict
from voicewright.rvc.network.config import RVC_PRESETS, SynthesizerConfig
from voicewright.training.recipe import AnyRecipe, Judgement

MELS = {24_000: 80, 32_000: 80, 40_000: 125, 48_000: 128}
"""Mel bins of the reconstruction loss, by rate, as upstream has them."""


class VoiceOptimizer(Strict):
    """AdamW as upstream sets it: no warm-up, no clipping, all parameters decay."""

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.8, 0.99)
    eps: float = 1e-9
    weight_decay: float = 0.01
    decay: float = 0.999875
    """The rate is multiplied by this every `decay_every` steps."""
    decay_every: int | None = Field(default=None, gt=0)
    """Steps; absent: an epoch, which is what upstream counts in."""
    clip: float | None = None
    """Gradient norm is clipped to this; absent: only measured."""

    def rate(self, step: int, steps: int, epoch: int) -> float:
        """Learning rate at a step, where an epoch has `epoch` of them."""
        return float(self.learning_rate * self.decay ** (step // (self.decay_every or epoch)))

    def over(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW of all parameters alike."""
        return torch.optim.AdamW(
            parameters,
            lr=self.learning_rate,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )


class VoiceStage(Strict):
    """A stretch of the run. Losses: mel, kl; with gan_start adversarial and features; optionally mels."""

    stage: Literal["voice"] = "voice"
    steps: int = Field(gt=0)
    clips: int = Field(default=4, gt=0)
    """Slices a batch."""
    optimizer: VoiceOptimizer = VoiceOptimizer()
    discriminator: VoiceOptimizer | None = VoiceOptimizer()
    losses: dict[str, float]
    gan_start: int | None = 0
    """Step of this stage at which the adversarial phase begins; null: never."""
    gan_ramp: int = 1
    """Steps over which adversarial weights rise from zero; 1: at once."""

    @property
    def budget(self) -> int:
        """What a batch may hold, in the sampler's unit."""
        return self.clips

    @model_validator(mode="after")
    def _check(self) -> VoiceStage:
        if self.gan_start is not None and self.discriminator is None:
            raise ValueError("gan_start needs a `discriminator` optimizer block")
        return self


class Pretrained(Strict):
    """Weights to begin with, laid out as `f0G40k.pth` and `f0D40k.pth`, strictly of the recipe's shapes."""

    published: str | None = None
    """Name under which `models pull` fetched both, such as rvc-v2-40k."""
    generator: str | None = None
    discriminator: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Pretrained:
        if self.published is not None:
            if self.generator or self.discriminator:
                raise ValueError("give either `published` or files of your own")
            if not self.published.startswith("rvc-") or self.published not in PUBLISHED:
                known = ", ".join(name for name in PUBLISHED if name.startswith("rvc-"))
                raise ValueError(f"nothing is published as {self.published}; there are {known}")
        return self


class VoiceRecipe(AnyRecipe):
    name: str
    kind: Literal["rvc"]
    version: Literal["v1", "v2"] = "v2"
    rate: Literal["24k", "32k", "40k", "48k"] = "40k"
    f0: bool = True
    """Whether the voice follows a pitch; without it the pretrained models and the loaders differ too."""
    synthesizer: dict[str, Any] = Field(default_factory=dict)
    """Changes to the preset of version and rate, such as narrower widths: no pretrained weights fit then, but
    every loader that reads the file's own configuration opens it."""
    # Users' recipes and the fingerprints of their runs have this name.
    narrow_critics: int = Field(default=1, gt=0)
    """Divides the discriminators' widths, for experiments; 1 is upstream's."""
    start: Pretrained = Pretrained()
    content: str = "contentvec"
    """Content encoder: `contentvec`, the path of one, or `embedded`."""
    pitch: str = "rmvpe"
    """How F0 is estimated."""
    unvoiced: Literal["zero", "interpolate"] = "zero"
    """F0 of unvoiced frames: `zero` as in models of the classic line, `interpolate` as in those of 2.3."""
    recordings: str | None = None
    """Folder that the corpus was prepared from, for its full band; absent: the corpus's own sound."""
    mute: int = 2
    """Slices of digital silence for each speaker."""
    seed: int = 0
    precision: Literal["bf16", "fp16", "fp32"] = "bf16"
    ema: float = 0.999
    """Exports follow the weights by this mean; 0: the weights themselves, as upstream."""
    split: Split = Split()
    stages: tuple[VoiceStage, ...] = Field(min_length=1)
    index: bool = True
    """Build the retrieval index, and total_fea.npy beside it."""
    author: str | None = None
    checkpoint_every: int = 500
    checkpoint_minutes: float | None = None
    log_every: int = 20
    preview_every: int = 1000
    judge: Judgement = Judgement()

    compile: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check(self) -> VoiceRecipe:
        if (self.version, self.rate) not in RVC_PRESETS:
            raise ValueError(f"there is no RVC {self.version} at {self.rate}")
        known = {f.name for f in fields(SynthesizerConfig)} - {"version", "f0", "sample_rate"}
        strange = sorted(set(self.synthesizer) - known)
        if strange:
            raise ValueError(f"synthesizer has no {', '.join(strange)}; it has {', '.join(sorted(known))}")
        try:
            self.config.check()
        except (VoicewrightError, TypeError) as error:
            raise ValueError(f"synthesizer: {error}") from error
        return self

    @property
    def config(self) -> SynthesizerConfig:
        """The synthesizer's configuration: the preset with the recipe's changes."""
        changes = {key: _tuples(value) for key, value in self.synthesizer.items()}
        return replace(RVC_PRESETS[self.version, self.rate], f0=self.f0, **changes)

    @property
    def n_fft(self) -> int:
        return 2 * (self.config.spec_channels - 1)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
