"""The recipe of style encoders (`kind: clone`): one YAML, strictly read."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from voicewright.records import Strict
from voicewright.training.recipe import AnyRecipe, ComparedStage, Judgement, Optimizer, check_weighed

LOSSES = {
    "prosody": ("prosody", "leash"),
    "timbre": ("mel", "identity", "phones", "tones", "lines", "leash"),
}


class CloneStage(ComparedStage):
    """A stretch of the run. `prosody` makes no sound; `timbre` hears crops of 1.65 s through the decoder."""

    stage: Literal["prosody", "timbre"]
    steps: int = Field(gt=0)
    clips: int = Field(default=4, gt=0)
    """Readers a step, a clip or crop of each."""
    noise: float = Field(default=0.0, ge=0)
    """On what an encoder reads, in its own scale: a few hundred readers are else known by heart."""
    optimizer: Optimizer
    losses: dict[str, float]


class Drawn(Strict):
    """Voices drawn between and around the known ones, which the model speaks: pairs whose answer is exact."""

    voices: int = Field(default=450, ge=20)
    ridge: float = Field(default=100.0, gt=0)
    """Of the regression of timbre with which training begins, on standardised numbers."""
    ridge_prosody: float = Field(default=1000.0, gt=0)


class CloneRecipe(AnyRecipe):
    name: str
    kind: Literal["clone"]
    model: str = "kokoro"
    """The base, by name or path."""
    voices: str | None = None
    """Packs known beside the model's own."""
    width: int = Field(default=256, gt=0)
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    ema: float = 0.99
    every: int = Field(default=11, gt=1)
    """One reader in so many is held out; the encoders are chosen by them."""
    drawn: Drawn = Drawn()
    stages: tuple[CloneStage, ...] = Field(min_length=1)
    checkpoint_every: int = 50
    checkpoint_minutes: float | None = 2.0
    log_every: int = 10
    preview_every: int = 1_000_000
    judge: Judgement = Judgement(every=100, sentences=1, keep=2)

    compile: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check(self) -> CloneRecipe:
        for stage in self.stages:
            check_weighed(stage.stage, stage.losses, LOSSES[stage.stage])
        return self
