"""What a kind of run brings to the one loop (networks, clips, stages), and what the loop reads of recipes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.losses import discriminator_loss, feature_loss, generator_loss
from voicewright.model.share import WHOLE, Part, Share
from voicewright.training.recipe import Judgement

GAN = ("adversarial", "features")
"""Losses that a stage has in its adversarial phase alone."""

# ── what the loop reads of a recipe ───────────────────────────────────────────────────────────────────────


class OptimizerPlan(Protocol):
    """An optimizer as a recipe describes it."""

    @property
    def clip(self) -> float | None:
        """The norm that gradients are clipped to; None: only measured."""

    def rate(self, step: int, steps: int, epoch: int) -> float:
        """Learning rate at a step of `steps`, of which an epoch has `epoch`."""

    def over(self, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh optimizer of these parameters."""


class StagePlan(Protocol):
    """A stage as a recipe describes it; what it trains stands in the task's `Stage` of that name."""

    @property
    def stage(self) -> str: ...
    @property
    def steps(self) -> int: ...
    @property
    def budget(self) -> int:
        """What a batch may hold, in the source's unit."""

    @property
    def losses(self) -> Mapping[str, float]:
        """Weights by the losses' names."""

    @property
    def optimizer(self) -> OptimizerPlan: ...
    @property
    def discriminator(self) -> OptimizerPlan | None: ...
    @property
    def gan_start(self) -> int | None:
        """Step of this stage at which the adversarial phase begins; None: never."""

    @property
    def gan_ramp(self) -> int | None:
        """Steps over which adversarial weights rise from zero."""


class RunPlan(Protocol):
    """A whole recipe, whatever it trains."""

    @property
    def seed(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def compile(self) -> bool: ...
    @property
    def ema(self) -> float: ...
    @property
    def stages(self) -> Sequence[StagePlan]: ...
    @property
    def total_steps(self) -> int: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def checkpoint_minutes(self) -> float | None: ...
    @property
    def log_every(self) -> int: ...
    @property
    def preview_every(self) -> int: ...
    @property
    def judge(self) -> Judgement: ...


# ── what a stage is ───────────────────────────────────────────────────────────────────────────────────────

F_co = TypeVar("F_co", covariant=True)


@dataclass
class Output:
    """Losses of one forward pass, what else is worth a line in the log, and for the adversarial phase what
    was made beside what was wanted."""

    losses: dict[str, Tensor]
    measures: dict[str, Tensor] = field(default_factory=dict)
    fake: Tensor | None = None
    real: Tensor | None = None
    condition: Tensor | None = None
    share: Share = WHOLE
    """What of its batch it was made of; the loop says so."""


Scores = Sequence[Tensor]
"""Of each discriminator."""
Maps = Sequence[Sequence[Tensor]]
"""Feature maps of each discriminator."""


@dataclass(frozen=True)
class Gan:
    """The adversarial losses of a stage, and their order.

    discriminator(real, fake scores), adversarial(fake scores), features(real, fake maps), each with the share
    of the batch that these are of. With `discriminator_first` it steps before it judges for the generator,
    which costs a second pass of it.
    """

    discriminator: Callable[[Scores, Scores, Share], Tensor] = discriminator_loss
    adversarial: Callable[[Scores, Share], Tensor] = generator_loss
    features: Callable[[Maps, Maps, Share], Tensor] = feature_loss
    discriminator_first: bool = False


@dataclass(frozen=True)
class Stage(Generic[F_co]):
    """What a stage trains. Loss names are weight keys in the recipe and keys in the log."""

    name: str
    trains: tuple[str, ...]
    losses: tuple[str, ...]
    crops: bool
    """Whether clips are cropped, or seen whole."""
    discriminator: str
    """Which of the task's discriminators judges this stage; "none" where none does."""
    forward: F_co
    """(networks, spectral, batch, the stage's recipe) → Output, of the task's own types; the loop calls it
    through the task."""
    gan: Gan = Gan()
    optional: frozenset[str] = frozenset()
    """Losses that a recipe may leave out, and that then cost nothing."""


def check_losses(record: Stage[object], plan: StagePlan) -> None:
    """Raise VoicewrightError when a recipe weighs a loss that its stage does not have, or leaves one out."""
    known = set(record.losses) - (set() if plan.gan_start is not None else set(GAN))
    for word, names in (
        ("unknown", set(plan.losses) - known),
        ("missing", known - record.optional - set(plan.losses)),
    ):
        if names:
            raise VoicewrightError(
                f"Stage {plan.stage}: {word} losses {', '.join(sorted(names))}; "
                f"it has {', '.join(sorted(known))}."
            )


# ── what a task is ────────────────────────────────────────────────────────────────────────────────────────


class Movable(Protocol):
    """A batch."""

    def to(self, device: torch.device) -> Self: ...


B = TypeVar("B", bound=Movable)
B_co = TypeVar("B_co", bound=Movable, covariant=True)


class Source(Protocol[B_co]):
    """Batches by step. A clip costs `unit` of the budget."""

    @property
    def unit(self) -> int: ...

    @property
    def epoch_steps(self) -> int:
        """Batches in which every clip is seen once."""

    def batch(self, step: int, clips: int | None = None) -> B_co: ...

    def heaviest(self) -> int:
        """A step whose batch needs as much memory as any."""


class StagedNetworks(nn.Module):
    """Networks of which stages train parts."""

    def parts(self) -> dict[str, nn.Module]:
        """The modules that a stage may name."""
        raise NotImplementedError


class Task(ABC, Generic[B]):
    """One kind of training, with its recipe, networks and clips. What moves during a run beside the networks'
    weights (optimizers, counters, EMA) belongs to the loop. A stage is meant by its number in the recipe."""

    stages: ClassVar[Mapping[str, Stage[object]]]
    parts: ClassVar[bool] = False
    """Whether a batch can be parted: its losses are then taken over the batch by its `share`
    (model/share.py). Where not, a run has one process, and its batches fit the memory as they are."""
    recipe: RunPlan
    networks: StagedNetworks
    spectral: nn.Module
    """What compares; it is moved to the run's device."""
    validation: Sequence[object]
    """Clips that are held out."""

    @abstractmethod
    def sampler(self, number: int, budget: int, held_out: bool = False) -> Source[B]:
        """Batches of a stage, of the clips that train or of those held out."""

    @abstractmethod
    def output(self, number: int, batch: B) -> Output:
        """A stage's forward pass."""

    @abstractmethod
    def seconds(self, number: int, batch: B) -> float:
        """Seconds of sound that a step made."""

    def begin(self, number: int) -> str | None:
        """What a stage sets before its first step; called once, not on resuming. Returns what to say."""
        return None

    def clips(self, batch: B) -> int:
        """How many clips a batch has, where it can be parted."""
        raise AssertionError(f"batches of {type(self).__name__} have no parts")

    def part(self, batch: B, share: Part) -> B:
        """Some clips of a batch, which know their share of it."""
        raise AssertionError(f"batches of {type(self).__name__} have no parts")

    def discriminators(self) -> dict[str, nn.Module]:
        """Fresh discriminators by the names that stages give them."""
        return {}

    def discriminator_arguments(self, discriminator: nn.Module, output: Output) -> tuple[object, ...]:
        """What a discriminator is called with beside the sound."""
        return ()

    def compile(self, discriminators: Mapping[str, nn.Module]) -> None:
        """Compile what gains by it."""
        raise AssertionError(f"recipes of {type(self).__name__} have no `compile`")
