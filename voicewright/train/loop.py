"""The one training loop. Stages are records (stages.py); this file steps, saves, resumes, exports, judges."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from voicewright.config import SAMPLE_RATE
from voicewright.corpus.features import Features
from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import compare
from voicewright.model.discriminators import ContourDiscriminator, Discriminators
from voicewright.model.losses import SpectralLoss, discriminator_loss, feature_loss, generator_loss
from voicewright.train.batches import Batch, Sampler, prefetch
from voicewright.train.memory import choose_clips
from voicewright.train.recipe import Optimizer, Recipe, StageRecipe
from voicewright.train.stages import STAGES, Networks, Output, Stage, check_losses
from voicewright.train.state import Checkpoints, Counters, optimizer_tensors, restore_optimizer
from voicewright.train.telemetry import Telemetry

MAX_SKIPS = 20
"""So many steps with broken gradients in a row end the run."""


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


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


class Trainer:
    """One run: networks, their EMA, discriminators, optimizers and counters.

    `export(ema_networks, step)` turns weights into a model folder and judges it; it is injected, so that this
    loop knows neither files of models nor judges.
    """

    def __init__(
        self,
        recipe: Recipe,
        networks: Networks,
        training: Sequence[Features],
        validation: Sequence[Features],
        out: Path,
        device: torch.device,
        *,
        fingerprint: str,
        line: Callable[[str], None],
        export: Callable[[Trainer], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        for stage in recipe.stages:
            check_losses(stage)
        self.recipe, self.out, self.device = recipe, out, device
        self.training, self.validation = training, validation
        self.line, self.export, self.should_stop = line, export, should_stop
        self.networks = networks.to(device)
        self.ema = {key: value.detach().clone() for key, value in networks.state_dict().items()}
        sizes = recipe.discriminators
        torch.manual_seed(recipe.seed)
        self.critics: dict[str, nn.Module] = {
            "waveform": Discriminators(
                sizes.periods, sizes.period_channels, sizes.resolutions, sizes.spectrogram_channels
            ).to(device),
            "contour": ContourDiscriminator(networks.tts.bert_encoder.out_features).to(device),
        }
        self.spectral = SpectralLoss(SAMPLE_RATE).to(device)
        self.counters = Counters(recipe=fingerprint)
        self.checkpoints = Checkpoints(out / "checkpoints")
        self.optimizer: torch.optim.AdamW
        self.critic_optimizer: torch.optim.AdamW | None = None
        self.telemetry: Telemetry
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
            critic = self.critics[STAGES[self.stage.stage].critic]
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
        self.counters = counters
        part = {prefix: {} for prefix in ("net", "ema", *self.critics)}  # type: dict[str, dict[str, Tensor]]
        for key, value in tensors.items():
            prefix, _, name = key.partition("|")
            if prefix in part:
                part[prefix][name] = value
        self.networks.load_state_dict(part["net"])
        self.ema = {key: value.to(self.device) for key, value in part["ema"].items()}
        for name, critic in self.critics.items():
            critic.load_state_dict(part[name])
        if counters.stage < len(self.recipe.stages):
            self._enter_stage()
            restore_optimizer("optimizer", self.optimizer, self.networks, tensors)
            if self.critic_optimizer is not None:
                critic = self.critics[STAGES[self.stage.stage].critic]
                restore_optimizer("critic", self.critic_optimizer, critic, tensors)
        return True

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
    def stage(self) -> StageRecipe:
        return self.recipe.stages[min(self.counters.stage, len(self.recipe.stages) - 1)]

    def _enter_stage(self) -> None:
        """Freeze, unfreeze, and make fresh optimizers for the current stage."""
        record = STAGES[self.stage.stage]
        parts = self.networks.parts()
        for name, module in parts.items():
            module.requires_grad_(name in record.trains)
            module.train(name in record.trains)
        trained = [p for p in self.networks.parameters() if p.requires_grad]
        self.optimizer = adamw(trained, self.stage.optimizer, self.device)
        self.critic_optimizer = None
        if self.stage.gan_start is not None and self.stage.discriminator is not None:
            critic = self.critics[record.critic].train()
            self.critic_optimizer = adamw(list(critic.parameters()), self.stage.discriminator, self.device)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.recipe.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def sampler(self, frames: int | None = None, features: Sequence[Features] | None = None) -> Sampler:
        record = STAGES[self.stage.stage]
        return Sampler(
            self.training if features is None else features,
            seed=self.recipe.seed,
            stage=self.counters.stage,
            batch_frames=frames or self.stage.batch_frames,
            crop=self.stage.crop if record.crops else None,
        )

    def _probe(self) -> int:
        """Batch budget in frames that fits this machine, found before the stage's first step."""
        sampler = self.sampler()
        record = STAGES[self.stage.stage]
        unit = self.stage.crop if record.crops else int(sampler.frames.max())
        wanted = max(1, self.stage.batch_frames // unit)
        before = {key: value.clone() for key, value in self.networks.state_dict().items()}
        heaviest = min(range(8), key=lambda s: -sampler.frames[sampler.indices(s)].max())

        def probe(clips: int) -> None:
            batch = sampler.batch(heaviest, clips).to(self.device)
            self._losses(record, batch, self.stage.steps, update_critic=False)[0].backward()
            self.networks.zero_grad(set_to_none=True)
            for critic in self.critics.values():
                critic.zero_grad(set_to_none=True)

        torch.manual_seed(self.recipe.seed)
        chosen, sentence = choose_clips(probe, wanted, self.device, self.stage.stage)
        self.networks.load_state_dict(before)  # spectral norms moved while probing
        self.line(sentence)
        return self.stage.batch_frames if chosen == wanted else chosen * unit

    # ── steps ─────────────────────────────────────────────────────────────────────────────────────────────

    def _adversarial(
        self, output: Output, critic: nn.Module, weights: Mapping[str, float], update_critic: bool, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """One pass of the discriminator over what was made serves both sides: its own step, and the gradient
        of the generator's adversarial losses, which therefore come from before that step.

        Returns a scalar whose gradient is that of the weighted adversarial losses, and the values to log.
        """
        assert output.fake is not None and output.real is not None
        second: tuple[object, ...] = (output.condition,) if output.condition is not None else ()
        if isinstance(critic, Discriminators) and self.recipe.discriminators.per_step:
            count = min(self.recipe.discriminators.per_step, len(critic.members))
            second = (torch.randperm(len(critic.members))[:count].tolist(),)
        made = output.fake.detach().requires_grad_()
        with self._autocast():
            real, real_maps = critic(output.real, *second)
            fake, fake_maps = critic(made, *second)
        if isinstance(real, Tensor):
            real, fake, real_maps, fake_maps = [real], [fake], [real_maps], [fake_maps]
        loss = discriminator_loss(real, fake)
        parameters = [p for p in critic.parameters() if p.requires_grad]
        own = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        values = {"adversarial": generator_loss(fake), "features": feature_loss(real_maps, fake_maps)}
        wanted = torch.stack([weights[name] * value for name, value in values.items()]).sum()
        (slope,) = torch.autograd.grad(wanted, made)
        if update_critic and self.critic_optimizer is not None and self.stage.discriminator is not None:
            for parameter, gradient in zip(parameters, own, strict=True):
                parameter.grad = gradient
            norm = nn.utils.clip_grad_norm_(parameters, self.stage.discriminator.clip)
            if norm.isfinite():
                self._set_rate(self.critic_optimizer, self.stage.discriminator, step)
                self.critic_optimizer.step()
            self.critic_optimizer.zero_grad(set_to_none=True)
        logged = {name: value.detach() for name, value in values.items()} | {"discriminator": loss.detach()}
        return (output.fake * slope).sum(), logged

    def _losses(
        self, record: Stage, batch: Batch, step: int, update_critic: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A scalar whose gradient is that of all weighted losses, and the losses by name."""
        with self._autocast():
            output = record.forward(self.networks, self.spectral, batch, self.stage)
        weights = self.stage.losses
        parts = [weights[name] * value for name, value in output.losses.items()]
        logged = {name: value.detach() for name, value in (output.losses | output.measures).items()}
        if self.stage.gan_start is not None and step >= self.stage.gan_start:
            ramp = min(1.0, (step - self.stage.gan_start + 1) / max(1, self.stage.gan_ramp))
            ramped = {name: ramp * weights[name] for name in ("adversarial", "features")}
            critic = self.critics[record.critic]
            part, values = self._adversarial(output, critic, ramped, update_critic, step)
            parts.append(part)
            logged |= values
        return torch.stack(parts).sum(), logged

    def _set_rate(self, optimizer: torch.optim.Optimizer, o: Optimizer, step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = rate(o, step, self.stage.steps)

    def _update(self, total: Tensor, step: int) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        trained = [p for p in self.networks.parameters() if p.requires_grad]
        norm = nn.utils.clip_grad_norm_(trained, self.stage.optimizer.clip)
        if bool(norm.isfinite()):
            self._set_rate(self.optimizer, self.stage.optimizer, step)
            self.optimizer.step()
            self._skips = 0
        else:
            self._skips += 1
            self.line(f"Step {step} of {self.stage.stage}: gradients are not finite, step skipped.")
            if self._skips >= MAX_SKIPS:
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
        self.telemetry = Telemetry(self.out, self.recipe.total_steps, self.line, self.counters.total)
        try:
            while self.counters.stage < len(self.recipe.stages):
                self._run_stage()
                self.counters.stage, self.counters.step = self.counters.stage + 1, 0
            self.save()
        finally:
            self.telemetry.close()

    def _run_stage(self) -> None:
        record, index = STAGES[self.stage.stage], str(self.counters.stage)
        if self.counters.step == 0:
            self._enter_stage()
            self.counters.batch_frames[index] = self._probe()
        if self.recipe.compile and not self._compiled:
            self._compile()
            self._compiled = True
        sampler = self.sampler(self.counters.batch_frames[index])
        mark, seconds = time.monotonic(), 0.0
        batches = prefetch(sampler.batch, self.counters.step, self.stage.steps)
        for batch in batches:
            step = self.counters.step
            torch.manual_seed((self.recipe.seed * 1_000_003 + self.counters.stage) * 10_000_019 + step)
            total, logged = self._losses(record, batch.to(self.device), step)
            norm = self._update(total, step)
            self._follow()
            self.counters.step += 1
            self.counters.total += 1
            made = self.stage.window if record.crops else batch.frame_token.shape[1]
            seconds += len(batch.lengths) * made * 0.025
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
        batches.close()

    def _periodic(self) -> None:
        """Checkpoints, exports with judgement, and the request to stop."""
        r, total = self.recipe, self.counters.total
        last = total == r.total_steps
        minutes = (time.monotonic() - self._saved) / 60
        stop = self.should_stop()
        if self.export is not None and (last or total % r.judge.every == 0):
            self.export(self)
            self.save()
        elif (
            stop
            or total % r.checkpoint_every == 0
            or (r.checkpoint_minutes and minutes >= r.checkpoint_minutes)
        ):
            self.save()
        if stop and not last:
            raise Interrupted(f"Stopped at step {total}; `--resume` goes on from there.")

    def _compile(self) -> None:
        """Compile the convolutional parts; LSTMs and spectrograms stay eager."""
        decoder = self.networks.tts.decoder
        decoder.front = torch.compile(decoder.front, dynamic=False)  # type: ignore[method-assign]
        decoder.generator.synthesise = torch.compile(decoder.generator.synthesise, dynamic=False)  # type: ignore[method-assign]
        critic = self.critics["waveform"]
        assert isinstance(critic, Discriminators)
        for member in critic.members:
            member.forward = torch.compile(member.forward, dynamic=False)

    @torch.no_grad()
    def validate(self, batches: int = 4) -> dict[str, float]:
        """Mean losses of the current stage on held-out clips, under the EMA weights, without dropout."""
        if not self.validation:
            return {}
        live = {key: value.clone() for key, value in self.networks.state_dict().items()}
        training = {name: module.training for name, module in self.networks.parts().items()}
        self.networks.load_state_dict(self.ema)
        self.networks.eval()
        record = STAGES[self.stage.stage]
        sampler = self.sampler(features=self.validation)
        sums: dict[str, float] = {}
        try:
            for step in range(batches):
                torch.manual_seed(step)
                with self._autocast():
                    output = record.forward(
                        self.networks, self.spectral, sampler.batch(step).to(self.device), self.stage
                    )
                for name, value in (output.losses | output.measures).items():
                    sums[name] = sums.get(name, 0.0) + float(value) / batches
        finally:
            self.networks.load_state_dict(live)
            for name, module in self.networks.parts().items():
                module.train(training[name])
        return sums
