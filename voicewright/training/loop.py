"""The one training loop: it steps, saves, resumes, exports, judges. What is trained is a task (task.py), how
its stages' records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Generic

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import compare
from voicewright.training.batches import prefetch
from voicewright.training.gates import MOST_RETURNS
from voicewright.training.memory import available, choose_clips
from voicewright.training.options import check_room
from voicewright.training.state import Checkpoints, Counters, optimizer_tensors, restore_optimizer
from voicewright.training.task import (
    B,
    OptimizerPlan,
    Output,
    Source,
    Stage,
    StagePlan,
    Task,
    check_losses,
)
from voicewright.training.telemetry import Telemetry

MAX_SKIPS = 20
"""So many steps with broken gradients in a row end the run."""


HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _limit(clip: float | None) -> float:
    """The norm that gradients are clipped to; without one they are only measured."""
    return math.inf if clip is None else clip


class LossScale:
    """Keeps fp16's gradients from vanishing: losses are scaled up, gradients down again.

    Halved where gradients overflow, doubled after many steps without; always 1 in other precisions. It
    lives in the counters, so that resuming is exact.
    """

    PATIENCE = 2000

    def __init__(self, counters: Counters, active: bool) -> None:
        self.counters, self.active = counters, active

    @property
    def value(self) -> float:
        return self.counters.scale if self.active else 1.0

    def undo(self, parameters: Sequence[nn.Parameter]) -> None:
        if self.active:
            torch._foreach_mul_([p.grad for p in parameters if p.grad is not None], 1 / self.value)

    def held(self) -> None:
        """A step went well."""
        if self.active:
            self.counters.steady += 1
            if self.counters.steady >= self.PATIENCE:
                self.counters.scale, self.counters.steady = 2 * self.counters.scale, 0

    def lower(self) -> bool:
        """After an overflow; False when there is nothing left to lower, and something is wrong."""
        if not self.active or self.counters.scale <= 1:
            return False
        self.counters.scale, self.counters.steady = self.counters.scale / 2, 0
        return True


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


class Trainer(Generic[B]):
    """One run: networks, their EMA, discriminators, optimizers and counters.

    `export(trainer)` turns the EMA weights into a model folder and judges it; it is injected, so that this
    loop knows neither files of models nor judges. With `gated` the start is judged too, and where `export`
    says what has been lost, the run goes back to the last state that it found healthy, at half the rate.
    """

    def __init__(
        self,
        task: Task[B],
        out: Path,
        device: torch.device,
        *,
        fingerprint: str,
        line: Callable[[str], None],
        export: Callable[[Trainer[B]], str | None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        gated: bool = False,
    ) -> None:
        recipe, networks = task.recipe, task.networks
        for stage in recipe.stages:
            check_losses(task.stages[stage.stage], stage)
        self.recipe, self.out, self.device, self.task = recipe, out, device, task
        self.line, self.export, self.should_stop = line, export, should_stop
        self.networks = networks.to(device)
        self.ema = {key: value.detach().clone() for key, value in networks.state_dict().items()}
        torch.manual_seed(recipe.seed)
        made = task.critics()
        self.critics: dict[str, nn.Module] = {name: critic.to(device) for name, critic in made.items()}
        self.spectral = task.spectral.to(device)
        self.counters = Counters(recipe=fingerprint)
        self.scale = LossScale(self.counters, recipe.precision == "fp16")
        self.checkpoints = Checkpoints(out / "checkpoints")
        self.gated, self.healthy = gated, Checkpoints(out / "healthy", keep=1)
        self._ended = False
        self.optimizer: torch.optim.Optimizer
        self.critic_optimizer: torch.optim.Optimizer | None = None
        self.telemetry: Telemetry
        self.epoch = 1
        """Steps of an epoch of the current stage."""
        self.judging = 0.0
        """Seconds that a judgement takes, as far as that is known."""
        self._skips = 0
        self._compiled = False
        self._saved = time.monotonic()

    # ── state ─────────────────────────────────────────────────────────────────────────────────────────────

    def tensors(self) -> dict[str, Tensor]:
        found = {f"net|{k}": v for k, v in self.networks.state_dict().items()}
        found |= {f"ema|{k}": v for k, v in self.ema.items()}
        for name, critic in self.critics.items():
            found |= {f"{name}|{k}": v for k, v in critic.state_dict().items()}
        found |= optimizer_tensors("optimizer", self.optimizer, self.networks)
        if self.critic_optimizer is not None:
            critic = self.critics[self.record.critic]
            found |= optimizer_tensors("critic", self.critic_optimizer, critic)
        return found

    def save(self) -> None:
        self.checkpoints.save(self.tensors(), self.counters)
        self._saved = time.monotonic()

    def resume(self) -> bool:
        """Take up the newest sound checkpoint. Returns False when there is none."""
        loaded = self.checkpoints.load()
        if loaded is None:
            return False
        tensors, counters, warnings = loaded
        for warning in warnings:
            self.line(warning)
        if counters.recipe != self.counters.recipe:
            raise VoicewrightError(
                f"{self.out} was trained with another recipe or corpus; "
                "resume with the same, or choose another folder."
            )
        self.counters = self.scale.counters = counters
        self._take(tensors)
        if counters.stage < len(self.recipe.stages):
            self._enter_stage()
            self._take_moments(tensors)
        return True

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        """Weights, EMA and discriminators of a checkpoint."""
        part = {prefix: {} for prefix in ("net", "ema", *self.critics)}  # type: dict[str, dict[str, Tensor]]
        for key, value in tensors.items():
            prefix, _, name = key.partition("|")
            if prefix in part:
                part[prefix][name] = value
        self.networks.load_state_dict(part["net"])
        self.ema = {key: value.to(self.device) for key, value in part["ema"].items()}
        for name, critic in self.critics.items():
            critic.load_state_dict(part[name])

    def _take_moments(self, tensors: Mapping[str, Tensor]) -> None:
        restore_optimizer("optimizer", self.optimizer, self.networks, tensors)
        if self.critic_optimizer is not None:
            critic = self.critics[self.record.critic]
            restore_optimizer("critic", self.critic_optimizer, critic, tensors)

    def _keep_healthy(self) -> None:
        self.counters.healthy = self.counters.total
        self.healthy.save(self.tensors(), self.counters)

    def _go_back(self, why: str) -> None:
        """To the last healthy state, at half the rate; steps are counted on, so that every run ends."""
        counters = self.counters
        loaded = self.healthy.load()
        if loaded is None:
            raise VoicewrightError(f"Training fell apart ({why}), and {self.healthy.folder} holds no state.")
        tensors, then, _ = loaded
        self._take(tensors)
        self._enter_stage()
        if then.stage == counters.stage:
            self._take_moments(tensors)
        counters.returns, counters.slow = counters.returns + 1, counters.slow / 2
        counters.scale, counters.steady, self._skips = then.scale, then.steady, 0
        self.line(
            f"Step {counters.total}: {why}. Back to the state of step {counters.healthy}, "
            f"at {counters.slow:g} of the rate."
        )
        if counters.returns >= MOST_RETURNS:
            self._ended = True
            self.line(f"It went back {MOST_RETURNS} times: the run ends here, with the best that was heard.")

    def take_critics(self, run: Path) -> None:
        """Begin with the discriminators of another run's newest checkpoint. Raises VoicewrightError."""
        loaded = Checkpoints(run / "checkpoints").load()
        if loaded is None:
            raise VoicewrightError(f"{run} holds no checkpoint to take discriminators from.")
        for name, critic in self.critics.items():
            mark = f"{name}|"
            found = {k.removeprefix(mark): v for k, v in loaded[0].items() if k.startswith(mark)}
            compare(found, critic.state_dict(), run)
            critic.load_state_dict(found)

    # ── stages ────────────────────────────────────────────────────────────────────────────────────────────

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

    @property
    def trained(self) -> float:
        """The share of all parts that the recipe trains of which a stage has taken a step by now."""
        stages = [self.task.stages[stage.stage].trains for stage in self.recipe.stages]
        done = stages[: self.counters.stage + (self.counters.step > 0)]
        return len(set().union(*done)) / len(set().union(*stages))

    def _enter_stage(self) -> None:
        """Freeze, unfreeze, and make fresh optimizers for the current stage."""
        record = self.record
        parts = self.networks.parts()
        for name, module in parts.items():
            module.requires_grad_(name in record.trains)
            module.train(name in record.trains)
        trained = [p for p in self.networks.parameters() if p.requires_grad]
        self.optimizer = self.stage.optimizer.over(trained)
        self.critic_optimizer = None
        if self.stage.gan_start is not None and self.stage.discriminator is not None:
            critic = self.critics[record.critic].train()
            self.critic_optimizer = self.stage.discriminator.over(list(critic.parameters()))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.recipe.precision in HALVES:
            return torch.autocast(self.device.type, HALVES[self.recipe.precision])
        return nullcontext()

    def sampler(self, budget: int | None = None, held_out: bool = False) -> Source[B]:
        return self.task.sampler(self.number, budget or self.stage.budget, held_out)

    def plan(self) -> float:
        """Measure every stage before the first step; say how many steps, how long, how much memory and disk.

        Returns the seconds that the run will take, judgements included as far as they are known. Nothing
        that a step depends on moves but the batch budgets, which the counters keep.
        """
        shown, seconds, memory = [], 0.0, 0
        for number, stage in enumerate(self.recipe.stages):
            self.counters.stage = number
            self._enter_stage()
            clips, need, each = self._probe()
            seconds += each * stage.steps
            memory = max(memory, need)
            shown.append(f"{stage.stage} {stage.steps} of {clips} clips, {_clock(each)} each")
        self.counters.stage = 0
        disk = self.disk()
        room = check_room(self.out, disk, "this run's checkpoints and models")
        total, free = self.recipe.total_steps, available(self.device)
        self.line(f"{total} steps on {self.device}: {'; '.join(shown)}.")
        held = f"{memory / 2**30:.1f} GiB more memory ({free / 2**30:.1f} GiB are free), " if memory else ""
        self.line(
            f"About {_clock(seconds)}, {held}{disk / 2**30:.1f} GiB of disk ({room / 2**30:.0f} are free)."
        )
        if self.export is not None:
            times = -(-total // self.recipe.judge.every)
            each_time = f", about {_clock(self.judging)} each" if self.judging else ""
            self.line(f"Beside that, models written and judged: {times} times{each_time}.")
            seconds += times * self.judging
        return seconds

    def disk(self) -> int:
        """Bytes that checkpoints (one more than are kept, while it is written) and models will take."""
        weights, critics = (
            sum(tensor.nbytes for module in modules for tensor in module.state_dict().values())
            for modules in ([self.networks], self.critics.values())
        )
        state = 4 * weights + 3 * critics  # network, EMA, discriminators, and two moments of what is trained
        states = self.checkpoints.keep + 1 + self.gated
        return int(states * state + (self.recipe.judge.keep + 2) * weights)

    def _probe(self) -> tuple[int, int, float]:
        """Find the batch budget that fits this machine; (clips, bytes, seconds) of a step of the stage."""
        sampler = self.sampler()
        unit = sampler.unit
        wanted = max(1, self.stage.budget // unit)
        before = {key: value.clone() for key, value in self.networks.state_dict().items()}
        heaviest = sampler.heaviest()

        def probe(clips: int, step: int = self.stage.steps) -> None:
            batch = sampler.batch(heaviest, clips).to(self.device)
            self._losses(batch, step, update_critic=False)[0].backward()
            self.networks.zero_grad(set_to_none=True)
            for critic in self.critics.values():
                critic.zero_grad(set_to_none=True)

        torch.manual_seed(self.recipe.seed)
        fit = choose_clips(probe, wanted, self.device, self.stage.stage)
        if fit.clips < wanted:
            self.line(fit.sentence)
        # Before its adversarial phase a step is cheaper.
        total, start = self.stage.steps, self.stage.gan_start
        plain = total if start is None else min(start, total)
        seconds = 0.0
        for step, share in ((0, plain / total), (total, 1 - plain / total)):
            if share:
                began = time.monotonic()
                probe(fit.clips, step)
                seconds += share * (time.monotonic() - began)
        self.networks.load_state_dict(before)  # spectral norms moved while probing
        budget = int(self.stage.budget) if fit.clips == wanted else fit.clips * unit
        self.counters.batch_frames[str(self.counters.stage)] = budget
        return fit.clips, fit.bytes, seconds

    # ── steps ─────────────────────────────────────────────────────────────────────────────────────────────

    def _adversarial(
        self, output: Output, critic: nn.Module, weights: Mapping[str, float], update_critic: bool, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's own step, and the gradient that it gives the generator.

        One pass over what was made serves both, and the generator's losses come from before the step; with
        the stage's `critic_first` the discriminator steps, then judges again.
        Returns a scalar whose gradient is that of the weighted adversarial losses, and the values to log.
        """
        assert output.fake is not None and output.real is not None
        gan, scale = self.record.gan, self.scale.value
        second = self.task.critic_arguments(critic, output)
        made = output.fake.detach().requires_grad_()

        def judge(sound: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
            with self._autocast():
                scores, maps = critic(sound, *second)
            return ([scores], [maps]) if isinstance(scores, Tensor) else (scores, maps)

        (real, real_maps), (fake, fake_maps) = judge(output.real), judge(made)
        loss = gan.critic(real, fake)
        parameters = [p for p in critic.parameters() if p.requires_grad]
        own = torch.autograd.grad(
            loss * scale, parameters, retain_graph=not gan.critic_first, allow_unused=True
        )
        if gan.critic_first:
            if update_critic:
                self._step_critic(parameters, own, step)
            with torch.no_grad():
                _, real_maps = judge(output.real)
            fake, fake_maps = judge(made)
        values = {"adversarial": gan.adversarial(fake), "features": gan.features(real_maps, fake_maps)}
        wanted = torch.stack([weights[name] * value for name, value in values.items()]).sum()
        (slope,) = torch.autograd.grad(wanted * scale, made)
        if update_critic and not gan.critic_first:
            self._step_critic(parameters, own, step)
        logged = {name: value.detach() for name, value in values.items()} | {"discriminator": loss.detach()}
        return (output.fake * (slope / scale)).sum(), logged

    def _step_critic(
        self, parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None], step: int
    ) -> None:
        if self.critic_optimizer is None or self.stage.discriminator is None:
            return
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.scale.undo(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, _limit(self.stage.discriminator.clip))
        if norm.isfinite():
            self._set_rate(self.critic_optimizer, self.stage.discriminator, step)
            self.critic_optimizer.step()
        else:
            self.scale.lower()
        self.critic_optimizer.zero_grad(set_to_none=True)

    def _losses(self, batch: B, step: int, update_critic: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar whose gradient is that of all weighted losses, and the losses by name."""
        with self._autocast():
            output = self.task.output(self.number, batch)
        weights = self.stage.losses
        parts = [weights[name] * value for name, value in output.losses.items()]
        logged = {name: value.detach() for name, value in (output.losses | output.measures).items()}
        if self.stage.gan_start is not None and step >= self.stage.gan_start:
            ramp = min(1.0, (step - self.stage.gan_start + 1) / max(1, self.stage.gan_ramp or 1))
            ramped = {name: ramp * weights[name] for name in ("adversarial", "features")}
            critic = self.critics[self.record.critic]
            part, values = self._adversarial(output, critic, ramped, update_critic, step)
            parts.append(part)
            logged |= values
        return torch.stack(parts).sum(), logged

    def _set_rate(self, optimizer: torch.optim.Optimizer, plan: OptimizerPlan, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.counters.slow * plan.rate(step, self.stage.steps, self.epoch)

    def _update(self, total: Tensor, step: int) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        (total * self.scale.value).backward()
        trained = [p for p in self.networks.parameters() if p.requires_grad]
        self.scale.undo(trained)
        norm = nn.utils.clip_grad_norm_(trained, _limit(self.stage.optimizer.clip))
        if bool(norm.isfinite()):
            self._set_rate(self.optimizer, self.stage.optimizer, step)
            self.optimizer.step()
            self.scale.held()
            self._skips = 0
        elif not self.scale.lower():
            self._skips += 1
            self.line(f"Step {step} of {self.stage.stage}: gradients are not finite, step skipped.")
            if self._skips >= MAX_SKIPS // 4 and self.gated:
                self._go_back(f"{self._skips} steps in a row had broken gradients")
            elif self._skips >= MAX_SKIPS:
                raise VoicewrightError(
                    f"Training fell apart: {MAX_SKIPS} steps in a row had broken gradients. "
                    "Resume from an older checkpoint with a lower learning rate."
                )
        return norm

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the EMA; early on it follows fast, so that short runs do not average in their beginning."""
        decay = min(self.recipe.ema, (1 + self.counters.total) / (10 + self.counters.total))
        state = self.networks.state_dict()
        moving = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.ema[k] for k in moving], [state[k] for k in moving], 1 - decay)

    def run(self) -> None:
        """Train to the end of the recipe. Raises Interrupted after saving when asked to stop."""
        if self.counters.stage >= len(self.recipe.stages):
            self.line("This run is finished; raise `steps` in a new recipe that starts from it to go on.")
            return
        if not self.counters.batch_frames:
            self.plan()
        self.telemetry = Telemetry(self.out, self.recipe.total_steps, self.line, self.counters.total)
        try:
            if self.gated and self.export is not None and self.counters.healthy < 0:
                self._enter_stage()
                self.export(self)
                self._keep_healthy()
                self.save()
            while self.counters.stage < len(self.recipe.stages):
                self._run_stage()
                following = len(self.recipe.stages) if self._ended else self.counters.stage + 1
                self.counters.stage, self.counters.step = following, 0
            self.save()
        finally:
            self.telemetry.close()

    def _run_stage(self) -> None:
        index = str(self.counters.stage)
        if self.counters.step == 0:
            self._enter_stage()
            if index not in self.counters.batch_frames:
                self._probe()
        if self.recipe.compile and not self._compiled:
            self.task.compile(self.critics)
            self._compiled = True
        sampler = self.sampler(self.counters.batch_frames[index])
        self.epoch = sampler.epoch_steps
        mark, seconds = time.monotonic(), 0.0
        batches = prefetch(sampler.batch, self.counters.step, self.stage.steps)
        for batch in batches:
            step = self.counters.step
            torch.manual_seed((self.recipe.seed * 1_000_003 + self.counters.stage) * 10_000_019 + step)
            total, logged = self._losses(batch.to(self.device), step)
            norm = self._update(total, step)
            self._follow()
            self.counters.step += 1
            self.counters.total += 1
            seconds += self.task.seconds(self.number, batch)
            if self.counters.total % self.recipe.log_every == 0:
                values = {name: float(value) for name, value in logged.items()} | {"gradient": float(norm)}
                if not all(math.isfinite(v) for v in values.values()):
                    self.line(f"Step {step}: a loss is not finite.")
                now = time.monotonic()
                self.telemetry.scalars(self.counters.total, self.stage.stage, values)
                self.telemetry.status(
                    self.counters.total, self.stage.stage, values, seconds / max(1e-9, now - mark)
                )
                mark, seconds = now, 0.0
            self._periodic()
            if self._ended:
                break
        batches.close()

    def _periodic(self) -> None:
        """Checkpoints, exports with judgement, and the request to stop."""
        r, total = self.recipe, self.counters.total
        last = total == r.total_steps
        minutes = (time.monotonic() - self._saved) / 60
        stop = self.should_stop()
        if self.export is not None and (last or total % r.judge.every == 0):
            why = self.export(self)
            if self.gated and why is not None:
                self._go_back(why)
            elif self.gated:
                self._keep_healthy()
            self.save()
        elif (
            stop
            or total % r.checkpoint_every == 0
            or (r.checkpoint_minutes and minutes >= r.checkpoint_minutes)
        ):
            self.save()
        if stop and not last:
            raise Interrupted(f"Stopped at step {total}; `--resume` goes on from there.")

    @torch.no_grad()
    def validate(self, batches: int = 4) -> dict[str, float]:
        """Mean losses of the current stage on held-out clips, under the EMA weights, without dropout."""
        if not self.task.validation:
            return {}
        live = {key: value.clone() for key, value in self.networks.state_dict().items()}
        training = {name: module.training for name, module in self.networks.parts().items()}
        self.networks.load_state_dict(self.ema)
        self.networks.eval()
        sampler = self.sampler(held_out=True)
        sums: dict[str, float] = {}
        try:
            for step in range(batches):
                torch.manual_seed(step)
                with self._autocast():
                    output = self.task.output(self.number, sampler.batch(step).to(self.device))
                for name, value in (output.losses | output.measures).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / batches
        finally:
            self.networks.load_state_dict(live)
            for name, module in self.networks.parts().items():
                module.train(training[name])
        return sums


def _clock(seconds: float) -> str:
    """A length of time for a sentence."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
