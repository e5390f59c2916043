"""A recipe: one YAML that says all of a training run. Unknown keys are errors; there is no inheritance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
import yaml
from pydantic import Field, ValidationError, model_validator
from torch import nn

from voicewright.catalogue.places import BESIDE
from voicewright.corpus.split import Split
from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import ContentConfig
from voicewright.model.tts.diffusion import DiffusionConfig
from voicewright.records import Strict


class _Steps(Protocol):
    @property
    def steps(self) -> int: ...


class _Stages(Protocol):
    @property
    def stages(self) -> Sequence[_Steps]: ...


class _Clips(Protocol):
    @property
    def clips(self) -> int: ...


class AnyRecipe(Strict):
    """What all kinds of recipe share. It has no fields: theirs keep their order, which the fingerprints of
    runs have."""

    @property
    def total_steps(self: _Stages) -> int:
        return sum(stage.steps for stage in self.stages)

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The YAML with what it means by a word written out."""
        return data

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a recipe. Raises VoicewrightError naming the file and the key."""
        try:
            return cls.model_validate(cls.prepared(read_yaml(path)))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "recipe"
            raise VoicewrightError(f"{path}: {where}: {first['msg']}.") from error


class ComparedStage(Strict):
    """A stage without an adversarial phase, whose batches are so many clips. Without fields, as AnyRecipe."""

    discriminator: ClassVar[None] = None
    gan_start: ClassVar[None] = None
    gan_ramp: ClassVar[None] = None

    @property
    def budget(self: _Clips) -> int:
        """What a batch may hold, in the sampler's unit."""
        return self.clips


def check_weighed(stage: str, losses: Iterable[str], known: Sequence[str]) -> None:
    """Raise ValueError unless a stage weighs just the losses that it has."""
    if strange := sorted(set(losses) ^ set(known)):
        raise ValueError(f"stage {stage} weighs {', '.join(known)}; look at {', '.join(strange)}")


class DiscriminatorSizes(Strict):
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    period_channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
    resolutions: tuple[tuple[int, int], ...] = ((2048, 512), (1024, 256), (512, 128))
    spectrogram_channels: int = 32
    start: str | None = None
    """A run folder (of the same sizes) whose discriminators to begin with."""
    per_step: int | None = None
    """Train against this many randomly picked discriminators a step; all of them when absent."""
    slm: str | None = None
    """A folder of transformers' with WavLM's or HuBERT's base: a head on it judges sound too (StyleTTS 2's
    SLM); `features` compares what its layers hear."""


class Optimizer(Strict):
    learning_rate: float
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    warmup: int = 100
    final: float = 0.05
    """The cosine ends at this fraction of the learning rate."""
    clip: float = 5.0
    """Gradient norm is clipped to this."""

    def rate(self, step: int, steps: int, epoch: int) -> float:
        """Learning rate: linear warm-up, then a cosine down to `final` of the peak."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return self.learning_rate * (self.final + (1 - self.final) * cosine)

    def over(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW, which decays only matrices: shrinking gains and biases (Snake's alpha) serves nothing."""
        matrices = [p for p in parameters if p.ndim > 1 and min(p.shape) > 1]
        others = [p for p in parameters if not (p.ndim > 1 and min(p.shape) > 1)]
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=self.betas, eps=1e-9, fused=True)


class Sway(Strict):
    """How far a clip's prosody is moved in training, and its style with it (training/sway.py): standard
    deviations."""

    pitch: float = Field(default=2.0, ge=0)
    """Semitones."""
    pace: float = Field(default=0.1, ge=0)
    """Of the logarithm of every duration."""
    energy: float = Field(default=0.3, ge=0)
    """Of the log energy."""


class StageRecipe(Strict):
    """One stage of the run; see training/stages.py for what each trains and which losses it knows."""

    stage: Literal["acoustic", "spectrum", "prosody", "joint", "content", "diffusion"]
    steps: int = Field(gt=0)
    batch_frames: int = Field(gt=0)
    """Budget of 25 ms frames in a batch: clips times their (cropped) length."""
    crop: int = 80
    """Frames of each clip that the decoder's front sees (acoustic and joint)."""
    window: int = 80
    """Frames within the crop for which sound is generated and judged."""
    optimizer: Optimizer
    discriminator: Optimizer | None = None
    losses: dict[str, float]
    gan_start: int | None = None
    """Step of this stage at which the adversarial phase begins; absent: never."""
    gan_ramp: int = 500
    """Steps over which adversarial weights rise from zero."""
    style_mix: tuple[float, float, float] = (0.4, 0.3, 0.3)
    """How often a clip's style is its own, another clip's of its speaker, the speaker's mean in the batch."""
    sway: Sway | None = None
    """prosody: clips are moved in pitch, pace and energy, and their styles along with them. diffusion, after
    such prosody: styles say of these what is measured of the clips."""

    @property
    def budget(self) -> int:
        """What a batch may hold, in the sampler's unit."""
        return self.batch_frames

    @model_validator(mode="after")
    def _check(self) -> StageRecipe:
        if self.window > self.crop:
            raise ValueError("window must not exceed crop")
        if self.sway is not None and self.stage not in ("prosody", "diffusion"):
            raise ValueError(f"stage {self.stage} sways nothing; leave sway out")
        if self.gan_start is not None and self.stage in BESIDE:
            raise ValueError(f"stage {self.stage} has no adversarial phase; leave gan_start out")
        if self.gan_start is not None and self.discriminator is None:
            raise ValueError("gan_start needs a `discriminator` optimizer block")
        return self


class Judgement(Strict):
    """How checkpoints are chosen by held-out judgement."""

    every: int = 1000
    """Steps between judgements; the last step of a run is always judged."""
    sentences: int = 16
    keep: int = 2


class Recipe(AnyRecipe):
    name: str
    start: str = "scratch"
    """`scratch` (needs `model`), `embedded`, or the path of a model folder."""
    model: ModelConfig | None = None
    content: ContentConfig | None = None
    """The content network that stage `content` trains, so that the model converts speech into its voice."""
    diffusion: DiffusionConfig | None = None
    """The style diffusion that stage `diffusion` trains, so that the model draws a style for a text."""
    switches: dict[str, Any] = Field(default_factory=dict)
    """Changes to the `voicewright` block of the start weights' configuration. Only such as leave every weight
    its shape, or add layers (`source_gain`, `source_phase_from`)."""
    seed: int = 0
    precision: Literal["bf16", "fp32"] = "bf16"
    compile: bool = False
    ema: float = 0.999
    split: Split = Split()
    discriminators: DiscriminatorSizes = DiscriminatorSizes()
    stages: tuple[StageRecipe, ...]
    checkpoint_every: int = 500
    checkpoint_minutes: float | None = None
    """Also save when this many minutes have passed since the last save."""
    log_every: int = 20
    preview_every: int = 1000
    judge: Judgement = Judgement()

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        if self.start == "scratch" and self.model is None:
            raise ValueError("start: scratch needs a `model` block")
        if self.start != "scratch" and self.model is not None:
            raise ValueError("`model` is given by the start weights; leave it out or use start: scratch")
        if self.start == "scratch" and self.switches:
            raise ValueError("`switches` change start weights; with start: scratch, write them into `model`")
        if not self.stages:
            raise ValueError("stages is empty")
        for name in BESIDE:
            if getattr(self, name) is None and any(stage.stage == name for stage in self.stages):
                raise ValueError(f"stage `{name}` needs a `{name}` block, the network's widths")
        if self.diffusion is not None and all(stage.stage != "diffusion" for stage in self.stages):
            raise ValueError("a `diffusion` block needs a stage `diffusion`, which trains it")
        return self

    @property
    def beside(self) -> bool:
        """Whether only networks beside the voice are trained: the model then speaks as before."""
        return all(stage.stage in BESIDE for stage in self.stages)

    @classmethod
    def prepared(cls, data: dict[str, Any]) -> dict[str, Any]:
        """`model: {vocab: kokoro, …}` takes Kokoro's symbol table."""
        model = data.get("model")
        if isinstance(model, dict) and model.get("vocab") == "kokoro":
            from voicewright.text.vocab import KOKORO

            model["vocab"] = dict(KOKORO)
        return data


def read_yaml(path: Path) -> dict[str, Any]:
    """A recipe's YAML as it stands; `kind` says whose it is, absent: a speaking voice's.

    Raises VoicewrightError.
    """
    try:
        data = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise VoicewrightError(f"{path} cannot be read as a recipe: {error}.") from error
    if not isinstance(data, dict):
        raise VoicewrightError(f"{path} is not a recipe: it must be a YAML mapping with `name` and `stages`.")
    return data
