"""What learns in a run: networks, their mean over steps (EMA), discriminators, and the optimizers of both."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import compare
from voicewright.training.state import Checkpoints, optimizer_tensors, restore_optimizer
from voicewright.training.task import Stage, StagedNetworks, StagePlan

_MOMENTS = "critic"
"""Before the moments of the discriminator's optimizer in a checkpoint: the name that runs on disk have."""


def _bytes(modules: Mapping[str, nn.Module]) -> int:
    return sum(tensor.nbytes for module in modules.values() for tensor in module.state_dict().values())


class Learners:
    """All tensors of a run. `enter` says which of them a stage trains, and makes its optimizers."""

    optimizer: torch.optim.Optimizer

    def __init__(
        self, networks: StagedNetworks, discriminators: Mapping[str, nn.Module], device: torch.device
    ) -> None:
        self.networks, self.discriminators, self.device = networks, dict(discriminators), device
        self.discriminator_optimizer: torch.optim.Optimizer | None = None
        self._judging = ""
        self.begin_ema()

    def begin_ema(self) -> None:
        """The EMA begins at the networks' weights."""
        self.ema = {key: value.detach().clone() for key, value in self.networks.state_dict().items()}

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the EMA towards the networks."""
        state = self.networks.state_dict()
        moving = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.ema[k] for k in moving], [state[k] for k in moving], 1 - decay)

    def enter(self, record: Stage[object], plan: StagePlan) -> None:
        """Freeze, unfreeze, and make fresh optimizers for a stage."""
        for name, module in self.networks.parts().items():
            module.requires_grad_(name in record.trains)
            module.train(name in record.trains)
        self.optimizer = plan.optimizer.over(self.trained)
        self.discriminator_optimizer, self._judging = None, record.discriminator
        if plan.gan_start is not None and plan.discriminator is not None:
            discriminator = self.discriminators[record.discriminator].train()
            self.discriminator_optimizer = plan.discriminator.over(list(discriminator.parameters()))

    @property
    def trained(self) -> list[nn.Parameter]:
        """The networks' parameters that the current stage trains."""
        return [p for p in self.networks.parameters() if p.requires_grad]

    def zero_grad(self) -> None:
        for module in (self.networks, *self.discriminators.values()):
            module.zero_grad(set_to_none=True)

    @property
    def entered(self) -> bool:
        """Whether there are optimizers."""
        return "optimizer" in vars(self)

    def tensors(self) -> dict[str, Tensor]:
        """Everything, by the names that checkpoints have."""
        found = {f"net|{k}": v for k, v in self.networks.state_dict().items()}
        found |= {f"ema|{k}": v for k, v in self.ema.items()}
        for name, discriminator in self.discriminators.items():
            found |= {f"{name}|{k}": v for k, v in discriminator.state_dict().items()}
        if self.entered:
            found |= optimizer_tensors("optimizer", self.optimizer, self.networks)
        if self.discriminator_optimizer is not None:
            found |= optimizer_tensors(
                _MOMENTS, self.discriminator_optimizer, self.discriminators[self._judging]
            )
        return found

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """Weights, EMA and discriminators of a checkpoint."""
        part: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in ("net", "ema", *self.discriminators)}
        for key, value in tensors.items():
            prefix, _, name = key.partition("|")
            if prefix in part:
                part[prefix][name] = value
        self.networks.load_state_dict(part["net"])
        self.ema = {key: value.to(self.device) for key, value in part["ema"].items()}
        for name, discriminator in self.discriminators.items():
            discriminator.load_state_dict(part[name])

    def take_moments(self, tensors: Mapping[str, Tensor]) -> None:
        """The optimizers' moments of a checkpoint, of the stage that was entered."""
        restore_optimizer("optimizer", self.optimizer, self.networks, tensors)
        if self.discriminator_optimizer is not None:
            restore_optimizer(
                _MOMENTS, self.discriminator_optimizer, self.discriminators[self._judging], tensors
            )

    def take_discriminators(self, run: Path) -> None:
        """Begin with the discriminators of another run's newest checkpoint. Raises VoicewrightError."""
        loaded = Checkpoints(run / "checkpoints").load()
        if loaded is None:
            raise VoicewrightError(f"{run} holds no checkpoint to take discriminators from.")
        for name, discriminator in self.discriminators.items():
            mark = f"{name}|"
            found = {k.removeprefix(mark): v for k, v in loaded[0].items() if k.startswith(mark)}
            compare(found, discriminator.state_dict(), run)
            discriminator.load_state_dict(found)

    @contextmanager
    def under_ema(self) -> Generator[None, None, None]:
        """The networks with the EMA's weights and without dropout, then as they were."""
        live = {key: value.clone() for key, value in self.networks.state_dict().items()}
        training = {name: module.training for name, module in self.networks.parts().items()}
        self.networks.load_state_dict(self.ema)
        self.networks.eval()
        try:
            yield
        finally:
            self.networks.load_state_dict(live)
            for name, module in self.networks.parts().items():
                module.train(training[name])

    def disk(self, states: int, models: int) -> int:
        """Bytes that so many checkpoints and models take."""
        weights = _bytes({"": self.networks})
        # Network, EMA, discriminators, and two moments of what is trained.
        return states * (4 * weights + 3 * _bytes(self.discriminators)) + models * weights
