"""The one training loop: it steps, saves, resumes, exports, judges. What is trained is a task (task.py), how
its stages' records."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.training.batches import prefetch
from voicewright.training.gates import MOST_RETURNS
from voicewright.training.learners import Learners
from voicewright.training.memory import Probed, probe_stage
from voicewright.training.precision import LossScale, autocast
from voicewright.training.ranks import here
from voicewright.training.state import Checkpoints, Counters
from voicewright.training.steps import Stepper
from voicewright.training.task import B, Source, Task, check_losses
from voicewright.training.telemetry import Telemetry
from voicewright.training.work import Clock

MAX_SKIPS = 20
"""So many steps with broken gradients in a row end the run."""


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


def _quiet(text: str) -> None:
    """What other processes than the first say."""


class Trainer(Stepper[B]):
    """One run: what learns (learners.py), its steps (steps.py), and the counters. Of several processes
    (ranks.py) the first one alone writes, judges and speaks.

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
        gated: bool = False,
    ) -> None:
        recipe, networks = task.recipe, task.networks.to(device)
        for stage in recipe.stages:
            check_losses(task.stages[stage.stage], stage)
        self.recipe, self.out, self.device, self.task = recipe, out, device, task
        self.ranks = here(device)
        if self.ranks.count > 1 and not task.parts:
            raise VoicewrightError(
                f"Recipes of this kind ({type(task).__name__}) train in one process: start without torchrun."
            )
        self.line, self.export = line if self.ranks.leads else _quiet, export
        self.stopping = self.asked = self.judged = False
        torch.manual_seed(recipe.seed)
        discriminators = {name: module.to(device) for name, module in task.discriminators().items()}
        self.learners = Learners(networks, discriminators, device)
        task.spectral.to(device)
        self.counters = Counters(recipe=fingerprint)
        self.scale = LossScale(self.counters, recipe.precision == "fp16")
        self.checkpoints = Checkpoints(out / "checkpoints")
        self.gated, self.healthy = gated, Checkpoints(out / "healthy", keep=1)
        self._ended = False
        self.telemetry: Telemetry
        self._clock: Clock | None = None
        self.epoch = 1
        self.judging = 0.0
        """Seconds that a judgement takes, as far as that is known."""
        self._skips = 0
        self._compiled = False
        self._saved = time.monotonic()

    # ── state ─────────────────────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        if self.ranks.leads:
            self.checkpoints.save(self.learners.tensors(), self.counters)
            self._tell_work()
        self._saved = time.monotonic()

    def _tell_work(self) -> None:
        if self._clock is not None:
            self._clock.tell(self.counters.total)

    def share_state(self) -> None:
        """Let all processes have the tensors and counters of the first one, which stands in the same stage.

        Raises VoicewrightError where they do not train the same.
        """
        mark = self.ranks.told(self.counters.recipe)
        if mark != self.counters.recipe:
            raise VoicewrightError(
                f"Process {self.ranks.number} has another recipe or corpus than the first one: give all "
                "machines the same files."
            )
        self.counters = self.scale.counters = self.ranks.told(self.counters)
        if self.ranks.count > 1:
            given = self.ranks.tensors(self.learners.tensors() if self.ranks.leads else {})
            if not self.ranks.leads:
                self.learners.take(given)
                if self.learners.entered:
                    self.learners.take_moments(given)

    def _load(self, checkpoints: Checkpoints) -> tuple[dict[str, Tensor], Counters, list[str]] | None:
        """The first process's newest sound checkpoint."""
        loaded = checkpoints.load() if self.ranks.leads else None
        rest = self.ranks.told(loaded and loaded[1:])
        return (self.ranks.tensors(loaded[0] if loaded else {}), *rest) if rest else None

    def resume(self) -> bool:
        """Take up the newest sound checkpoint. Returns False when there is none."""
        loaded = self._load(self.checkpoints)
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
        self.learners.take(tensors)
        if counters.stage < len(self.recipe.stages):
            self.enter_stage()
            self.learners.take_moments(tensors)
        return True

    def _keep_healthy(self) -> None:
        self.counters.healthy = self.counters.total
        if self.ranks.leads:
            self.healthy.save(self.learners.tensors(), self.counters)

    def _judge_model(self) -> str | None:
        """Have the first process write and judge a model; what has been lost, where something has."""
        assert self.export is not None
        self._tell_work()
        why = self.export(self) if self.ranks.leads else None
        why, counters = self.ranks.told((why, self.counters))
        self.counters = self.scale.counters = counters
        return why

    def _go_back(self, why: str) -> None:
        """To the last healthy state, at half the rate; steps are counted on, so that every run ends."""
        counters = self.counters
        loaded = self._load(self.healthy)
        if loaded is None:
            raise VoicewrightError(f"Training fell apart ({why}), and {self.healthy.folder} holds no state.")
        tensors, then, _ = loaded
        self.learners.take(tensors)
        self.enter_stage()
        if then.stage == counters.stage:
            self.learners.take_moments(tensors)
        counters.returns, counters.slow = counters.returns + 1, counters.slow / 2
        counters.scale, counters.steady, self._skips = then.scale, then.steady, 0
        self.line(
            f"Step {counters.total}: {why}. Back to the state of step {counters.healthy}, "
            f"at {counters.slow:g} of the rate."
        )
        if counters.returns >= MOST_RETURNS:
            self._ended = True
            self.line(f"It went back {MOST_RETURNS} times: the run ends here, with the best that was heard.")

    # ── stages ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def trained(self) -> float:
        """The share of all parts that the recipe trains of which a stage has taken a step by now."""
        stages = [self.task.stages[stage.stage].trains for stage in self.recipe.stages]
        done = stages[: self.counters.stage + (self.counters.step > 0)]
        return len(set().union(*done)) / len(set().union(*stages))

    def enter_stage(self) -> None:
        """Freeze, unfreeze, and make fresh optimizers for the current stage."""
        self.learners.enter(self.record, self.stage)

    def sampler(self, budget: int | None = None, held_out: bool = False) -> Source[B]:
        return self.task.sampler(self.number, budget or self.stage.budget, held_out)

    def probe(self) -> Probed:
        """Measure the current stage; the batch budget that fits this machine goes into the counters."""
        networks = self.learners.networks
        before = {key: value.clone() for key, value in networks.state_dict().items()}

        def work(batch: B, step: int) -> None:
            self._losses(batch, step, update_discriminator=False)[0].backward()
            self.learners.zero_grad()

        torch.manual_seed(self.recipe.seed)
        found = probe_stage(self.sampler(), self.stage, self.device, work, self.ranks)
        if found.cut is not None:
            self.line(found.cut)
        networks.load_state_dict(before)  # spectral norms moved while probing
        self.counters.batch_frames[str(self.counters.stage)] = found.budget
        return found

    # ── steps ─────────────────────────────────────────────────────────────────────────────────────────────

    def _skip(self, step: int) -> None:
        """A step whose gradients are broken: it is left out; many in a row end the run, or send it back."""
        self._skips += 1
        self.line(f"Step {step} of {self.stage.stage}: gradients are not finite, step skipped.")
        if self._skips >= MAX_SKIPS // 4 and self.gated:
            self._go_back(f"{self._skips} steps in a row had broken gradients")
        elif self._skips >= MAX_SKIPS:
            raise VoicewrightError(
                f"Training fell apart: {MAX_SKIPS} steps in a row had broken gradients. "
                "Resume from an older checkpoint with a lower learning rate."
            )

    def _follow(self) -> None:
        """Move the EMA; early on it follows fast, so that short runs do not average in their beginning, nor a
        stage the beginning of networks that no stage trained before."""
        done = self.counters.step if self._all_fresh else self.counters.total
        self.learners.follow(min(self.recipe.ema, (1 + done) / (10 + done)))

    @property
    def _all_fresh(self) -> bool:
        """Whether the current stage trains nothing that an earlier one did."""
        earlier = {
            part
            for stage in self.recipe.stages[: self.number]
            for part in self.task.stages[stage.stage].trains
        }
        return earlier.isdisjoint(self.record.trains)

    def run(self) -> None:
        """Train to the end of the recipe. Raises Interrupted after saving when asked to stop."""
        if self.counters.stage >= len(self.recipe.stages):
            self.line("This run is finished; raise `steps` in a new recipe that starts from it to go on.")
            return
        if self.ranks.leads:
            self.telemetry = Telemetry(self.out, self.recipe.total_steps, self.line, self.counters.total)
            self._clock = Clock(self.out, self.device, self.ranks.count, self.counters.total)
        try:
            if self.gated and self.export is not None and self.counters.healthy < 0:
                self.enter_stage()
                self._judge_model()
                self._keep_healthy()
                self.save()
            while self.counters.stage < len(self.recipe.stages):
                self._run_stage()
                following = len(self.recipe.stages) if self._ended else self.counters.stage + 1
                self.counters.stage, self.counters.step = following, 0
            self.save()
        finally:
            if self.ranks.leads:
                self.telemetry.close()

    def _run_stage(self) -> None:
        counters, index = self.counters, str(self.counters.stage)
        if counters.step == 0:
            if (said := self.task.begin(self.number)) is not None:
                self.line(said)
            self.enter_stage()
            if index not in counters.batch_frames:
                self.probe()
        if self.recipe.compile and not self._compiled:
            self.task.compile(self.learners.discriminators)
            self._compiled = True
        sampler = self.sampler(counters.batch_frames[index])
        self.epoch = sampler.epoch_steps
        mark, seconds = time.monotonic(), 0.0
        batches = prefetch(sampler.batch, counters.step, self.stage.steps)
        for batch in batches:
            step = self.counters.step
            logged = self.step(batch, step)
            self._follow()
            counters = self.counters
            counters.step += 1
            counters.total += 1
            seconds += self.task.seconds(self.number, batch)
            if counters.total % self.recipe.log_every == 0 and self.ranks.leads:
                now = time.monotonic()
                self._log(step, logged, seconds / max(1e-9, now - mark))
                mark, seconds = now, 0.0
            self._periodic()
            if self._ended:
                break
        batches.close()

    def _log(self, step: int, losses: Mapping[str, Tensor], audio_rate: float) -> None:
        """A line of the log; audio_rate: seconds of sound a second."""
        values = {name: float(value) for name, value in losses.items()}
        if not all(math.isfinite(v) for v in values.values()):
            self.line(f"Step {step}: a loss is not finite.")
        self.telemetry.scalars(self.counters.total, self.stage.stage, values)
        self.telemetry.status(self.counters.total, self.stage.stage, values, audio_rate)

    def _periodic(self) -> None:
        """Checkpoints, exports with judgement, and the request to stop."""
        r, total = self.recipe, self.counters.total
        last = total == r.total_steps
        minutes = (time.monotonic() - self._saved) / 60
        stop = self.stopping if self.ranks.count == 1 else self.asked
        if self.export is not None and (last or total % r.judge.every == 0):
            why = self._judge_model()
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
        sums: dict[str, float] = {}
        with self.learners.under_ema():
            sampler = self.sampler(held_out=True)
            for step in range(batches):
                torch.manual_seed(step)
                with autocast(self.device, self.recipe.precision):
                    output = self.task.output(self.number, sampler.batch(step).to(self.device))
                for name, value in (output.losses | output.measures).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / batches
        return sums
