"""One step of a run: losses, gradients, optimizers; what of a batch is done here, and in how many pieces."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Generic

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.share import WHOLE, Part, Share, parted
from voicewright.training.adversarial import Update, adversarial_pass, discriminator_gradients, ramped
from voicewright.training.learners import Learners
from voicewright.training.precision import LossScale, autocast
from voicewright.training.ranks import Ranks, Spilled
from voicewright.training.state import Counters
from voicewright.training.task import B, Maps, OptimizerPlan, Output, RunPlan, Scores, Stage, StagePlan, Task

_STRIDE = 0x9E3779B97F4A7C15
"""Between the seeds of a step's parts, so that no part draws what another step does."""
_SPILLS = ("out of memory", "can't allocate memory", "not enough memory")
"""What torch's errors say where there is no memory left."""


def _limit(clip: float | None) -> float:
    """The norm that gradients are clipped to; without one they are only measured."""
    return math.inf if clip is None else clip


def _spilled(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error) for words in _SPILLS
    )


class Stepper(Generic[B]):
    """What takes the steps of a run (loop.py). Several processes take each step together: see ranks.py."""

    recipe: RunPlan
    task: Task[B]
    device: torch.device
    learners: Learners
    counters: Counters
    scale: LossScale
    ranks: Ranks
    line: Callable[[str], None]
    epoch: int
    """Steps of an epoch of the current stage."""
    stopping: bool
    """Set from outside: the run is to end after this step, saved."""
    asked: bool
    """Whether any process of the run was asked so, as all of them know it."""
    judged: bool
    """Whether the discriminator has stepped in the step that is being taken."""

    # ── where the run stands ──────────────────────────────────────────────────────────────────────────────

    @property
    def number(self) -> int:
        """The current stage's place in the recipe; the last one's once the run is finished."""
        return min(self.counters.stage, len(self.recipe.stages) - 1)

    @property
    def stage(self) -> StagePlan:
        """What the recipe says of the current stage."""
        return self.recipe.stages[self.number]

    @property
    def record(self) -> Stage[object]:
        """What the current stage trains."""
        return self.task.stages[self.stage.stage]

    @abstractmethod
    def save(self) -> None:
        """Write a checkpoint."""

    @abstractmethod
    def share_state(self) -> None:
        """Let all processes have what the first one has."""

    @abstractmethod
    def _skip(self, step: int) -> None:
        """After a step whose gradients were broken."""

    # ── a step ────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, batch: B, step: int) -> dict[str, Tensor]:
        """Take a step; returns what to log of it. A batch that does not fit the memory is taken in pieces,
        from then on. Raises VoicewrightError, a checkpoint kept, where a single clip does not fit."""
        self.judged = False
        while True:
            try:
                return self._attempt(batch, step)
            except Spilled:
                pass
            except (RuntimeError, MemoryError) as error:
                if not _spilled(error):
                    raise
                raise VoicewrightError(
                    f"Step {step} of {self.stage.stage}: there is not enough memory for the optimizer; "
                    "free some, or train a smaller model."
                ) from error
            # Outside of `except`, whose error held on to what the step had computed.
            self._divide(batch, step)

    def _attempt(self, batch: B, step: int) -> dict[str, Tensor]:
        pieces = self._pieces
        if pieces == 1 and self.ranks.count == 1:
            self._seed(step)
            with self._falling():
                batch = batch.to(self.device)
            total, logged = self._losses(batch, step)
            return logged | {"gradient": self._update(total, step)}
        if (
            pieces > 1
            and self.record.gan.discriminator_first
            and not self.judged
            and ramped(self.stage, step)
        ):
            self._discriminator_ahead(batch, step)
        return self._in_pieces(batch, step)

    def _in_pieces(self, batch: B, step: int) -> dict[str, Tensor]:
        """The step from gradients that add up over pieces; the discriminator's too."""
        parts = self._parts(batch, step)
        first, own = self.record.gan.discriminator_first, _Summed()
        summed: dict[str, Tensor] = {}
        for number, (part, share) in enumerate(parts):
            self._seed(step, number)
            held = share.among / share.count
            with self._falling():
                part = part.to(self.device)
            gather = own.of(held) if len(parts) > 1 and not first else None
            total, logged = self._losses(part, step, not self.judged, share, gather)
            for name, value in logged.items():
                summed[name] = held * value + summed.get(name, 0.0)
            with self._falling():
                (held * total * self.scale.value).backward()
        if own.gradients:
            self._step_discriminator(self._judges(), step, own.gradients)
        return summed | {"gradient": self._finish(step)}

    def _discriminator_ahead(self, batch: B, step: int) -> None:
        """The discriminator's step over all pieces, where it comes before what it says to the networks."""
        own, parameters = _Summed(), self._judges()
        for number, (part, share) in enumerate(self._parts(batch, step)):
            self._seed(step, number)
            with self._falling():
                with torch.no_grad(), autocast(self.device, self.recipe.precision):
                    output = self.task.output(self.number, part.to(self.device))
                output.share = share
                judge = self._judge(output)
                loss_scale = self.scale.value
                own.of(share.among / share.count)(
                    discriminator_gradients(output, judge, self.record.gan, parameters, loss_scale)
                )
        self._step_discriminator(parameters, step, own.gradients)

    def _parts(self, batch: B, step: int) -> list[tuple[B, Part]]:
        """What of a batch this process computes, in pieces."""
        ranks, count = self.ranks, self.task.clips(batch)
        shares = parted(count, ranks.number, ranks.count, self._pieces, ranks.add, self._seed_of(step))
        return [(self.task.part(batch, share), share) for share in shares]

    def _seed_of(self, step: int) -> int:
        return (self.recipe.seed * 1_000_003 + self.counters.stage) * 10_000_019 + step

    def _seed(self, step: int, piece: int = 0) -> None:
        """What torch draws in a step comes from its number, and from the part of its batch."""
        part = self.ranks.number + self.ranks.count * piece
        torch.manual_seed((self._seed_of(step) + part * _STRIDE) % 2**63 if part else self._seed_of(step))

    # ── memory ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _pieces(self) -> int:
        """Of the current stage's batches."""
        return self.counters.batch_frames.get(f"{self.counters.stage} in pieces", 1)

    @contextmanager
    def _falling(self) -> Generator[None, None, None]:
        """Gives the step up where there is no memory for it, in all processes. Raises Spilled."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not _spilled(error):
                raise
            self.ranks.fall()
            raise Spilled from None

    def _divide(self, batch: B, step: int) -> None:
        """Take batches of this stage in twice as many pieces."""
        self.learners.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.ranks.count > 1:
            self.judged = self.ranks.told(self.judged)
            self.share_state()
        most = -(-self.task.clips(batch) // self.ranks.count) if self.task.parts else 1
        if self._pieces >= most:
            self.save()
            raise VoicewrightError(
                f"Step {step} of {self.stage.stage}: there is not enough memory for a single clip; the "
                f"checkpoint of step {self.counters.total} is kept. Free memory and go on with --resume, or "
                "train with a smaller crop, window or model."
            )
        pieces = min(2 * self._pieces, most)
        self.counters.batch_frames[f"{self.counters.stage} in pieces"] = pieces
        self.line(
            f"Step {step} of {self.stage.stage}: out of memory. Its batches are taken in {pieces} pieces "
            "from here on, whose gradients add up: slower, and otherwise as before."
        )

    # ── losses and updates ────────────────────────────────────────────────────────────────────────────────

    def _losses(
        self,
        batch: B,
        step: int,
        update_discriminator: bool = True,
        share: Share = WHOLE,
        gather: Update | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar whose gradient is that of all weighted losses, and the losses by name.

        gather: takes the discriminator's gradients in place of its step.
        """
        with self._falling():
            with autocast(self.device, self.recipe.precision):
                output = self.task.output(self.number, batch)
            output.share = share
            weights = self.stage.losses
            parts = [weights[name] * value for name, value in output.losses.items()]
            logged = {name: value.detach() for name, value in (output.losses | output.measures).items()}
            if against := ramped(self.stage, step):
                part, values = self._adversarial(output, against, update_discriminator, step, gather)
                parts.append(part)
                logged |= values
            return torch.stack(parts).sum(), logged

    def _judge(self, output: Output) -> Callable[[Tensor], tuple[Scores, Maps]]:
        """The stage's discriminator, for what an output has."""
        discriminator = self.learners.discriminators[self.record.discriminator]
        second = self.task.discriminator_arguments(discriminator, output)

        def judge(sound: Tensor) -> tuple[Scores, Maps]:
            with autocast(self.device, self.recipe.precision):
                scores, maps = discriminator(sound, *second)
            return ([scores], [maps]) if isinstance(scores, Tensor) else (scores, maps)

        return judge

    def _judges(self) -> list[nn.Parameter]:
        """Parameters of the stage's discriminator."""
        discriminator = self.learners.discriminators[self.record.discriminator]
        return [p for p in discriminator.parameters() if p.requires_grad]

    def _adversarial(
        self,
        output: Output,
        weights: Mapping[str, float],
        update_discriminator: bool,
        step: int,
        gather: Update | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The stage's discriminator against an output: see adversarial_pass."""
        parameters, judge = self._judges(), self._judge(output)
        update: Update | None = None
        if update_discriminator:
            update = gather or partial(self._step_discriminator, parameters, step)
        return adversarial_pass(output, judge, self.record.gan, weights, parameters, self.scale.value, update)

    def _step_discriminator(
        self, parameters: Sequence[nn.Parameter], step: int, gradients: Sequence[Tensor | None]
    ) -> None:
        optimizer, plan = self.learners.discriminator_optimizer, self.stage.discriminator
        if optimizer is None or plan is None:
            return
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        with self._falling():
            self.ranks.add_gradients(parameters, self.stopping)
        self.judged = True
        self.scale.undo(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, _limit(plan.clip))
        if norm.isfinite():
            self._set_rate(optimizer, plan, step)
            optimizer.step()
        else:
            self.scale.lower()
        optimizer.zero_grad(set_to_none=True)

    def _set_rate(self, optimizer: torch.optim.Optimizer, plan: OptimizerPlan, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.counters.slow * plan.rate(step, self.stage.steps, self.epoch)

    def _update(self, total: Tensor, step: int) -> Tensor:
        """The networks' own step from a total; returns the gradients' norm."""
        with self._falling():
            (total * self.scale.value).backward()
        return self._finish(step)

    def _finish(self, step: int) -> Tensor:
        """The networks' own step from the gradients that there are."""
        optimizer, plan = self.learners.optimizer, self.stage.optimizer
        trained = self.learners.trained
        with self._falling():
            self.asked = self.ranks.add_gradients(trained, self.stopping)
        self.scale.undo(trained)
        norm = nn.utils.clip_grad_norm_(trained, _limit(plan.clip))
        if bool(norm.isfinite()):
            self._set_rate(optimizer, plan, step)
            optimizer.step()
            self.scale.held()
            self._skips = 0
        elif not self.scale.lower():
            self._skip(step)
        optimizer.zero_grad(set_to_none=True)
        return norm

    _skips = 0
    """Steps in a row whose gradients were broken."""


class _Summed:
    """Gradients that add up over the pieces of a batch."""

    def __init__(self) -> None:
        self.gradients: list[Tensor | None] = []

    def of(self, share: float) -> Update:
        """What takes a piece's gradients, so much of the batch."""

        def take(found: Sequence[Tensor | None]) -> None:
            scaled = [None if one is None else share * one for one in found]
            if not self.gradients:
                self.gradients = scaled
                return
            self.gradients = [
                two if one is None else one if two is None else one + two
                for one, two in zip(self.gradients, scaled, strict=True)
            ]

        return take
