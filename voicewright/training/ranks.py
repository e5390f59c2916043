"""Several processes that train one model (torchrun): who they are, what they add up, and how they agree.

Each process computes the losses of its share of every batch (model/share.py); gradients are added up, so all
take the same step. The first one alone writes and judges; the others wait. Where one runs out of memory in
the midst of a step, all give the step up together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from voicewright.errors import VoicewrightError

T = TypeVar("T")
_ROOM = 1024
"""Numbers that are added up at a time."""
_HEAD = 3
"""Numbers before them: how many processes gave the step up, have all their gradients, are to stop."""


class Spilled(Exception):
    """A step did not fit into the memory of one process; all have given it up."""


class Lost(VoicewrightError):
    """Another process of the run has ended."""


class Ranks:
    """One process alone: nothing to add, nobody to wait for."""

    number, count = 0, 1
    """Which of how many."""
    here = 1
    """How many are on this machine."""

    @property
    def leads(self) -> bool:
        """Whether this process writes, judges and speaks."""
        return self.number == 0

    def add(self, values: Tensor) -> Tensor:
        """The sum of a vector over all processes. Waits for no device."""
        return values

    def add_gradients(self, parameters: Sequence[nn.Parameter], stopping: bool) -> bool:
        """Add up the gradients of parameters in place; whether any process was asked to stop.

        Raises Spilled where one gave the step up.
        """
        return stopping

    def fall(self) -> None:
        """Give a step up; the others will, when they come to add their gradients."""

    def told(self, value: T) -> T:
        """The first process's value (picklable), in all of them."""
        return value

    def tensors(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The first process's tensors, in all of them, on the CPU where they are another's."""
        return dict(found)

    def least(self, value: int) -> int:
        """The smallest value of any process."""
        return value


ALONE = Ranks()


class Joined(Ranks):
    """Processes of torch.distributed's group. Raises Lost where another one has ended."""

    def __init__(self, device: torch.device) -> None:
        self.number, self.count = dist.get_rank(), dist.get_world_size()
        self.here = int(os.environ.get("LOCAL_WORLD_SIZE", self.count))
        self.device = device
        # Held for when there is no memory left.
        self._fallen = torch.zeros(_HEAD + _ROOM, device=device)

    def add(self, values: Tensor) -> Tensor:
        head = values.new_zeros(_HEAD)
        return torch.cat([self._pass(torch.cat([head, part]))[_HEAD:] for part in values.split(_ROOM)])

    def _pass(self, values: Tensor) -> Tensor:
        """One exchange of numbers behind a head, of one size whatever it is for: who falls can join any."""
        vector = torch.zeros(_HEAD + _ROOM, device=self.device)
        vector[: len(values)] = values
        self._all(lambda: dist.all_reduce(vector))
        return vector[: len(values)]

    def add_gradients(self, parameters: Sequence[nn.Parameter], stopping: bool) -> bool:
        has = [float(p.grad is not None) for p in parameters]
        pieces = [(p.grad if p.grad is not None else torch.zeros_like(p)).reshape(-1) for p in parameters]
        flat = torch.cat([*pieces, torch.tensor(has, device=self.device)])
        fallen, _, stop = self._pass(torch.tensor([0.0, 1.0, float(stopping)])).tolist()
        if fallen:
            raise Spilled
        self._all(lambda: dist.all_reduce(flat))
        *sums, present = flat.split([p.numel() for p in parameters] + [len(parameters)])
        # A parameter that no process's loss depends on keeps no gradient: an optimizer passes it over.
        for parameter, total, any_has in zip(parameters, sums, present.tolist(), strict=True):
            parameter.grad = total.view_as(parameter) if any_has else None
        return bool(stop)

    def fall(self) -> None:
        while True:
            self._fallen.zero_()[0] = 1
            self._all(lambda: dist.all_reduce(self._fallen))
            fallen, last, _ = self._fallen[:_HEAD].tolist()
            if last or fallen == self.count:
                return

    def told(self, value: T) -> T:
        held = [value]
        self._all(lambda: dist.broadcast_object_list(held, 0))
        return held[0]

    def tensors(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        shapes = self.told({name: (value.shape, value.dtype) for name, value in found.items()})
        given = {}
        for name, (shape, dtype) in shapes.items():
            # By the CPU: a checkpoint need not fit beside a run on a device.
            one = found[name].detach().cpu().contiguous() if self.leads else torch.empty(shape, dtype=dtype)
            self._all(partial(dist.broadcast, one, 0))
            given[name] = one
        return given

    def least(self, value: int) -> int:
        held = torch.tensor(value)
        self._all(lambda: dist.all_reduce(held, dist.ReduceOp.MIN))
        return int(held)

    def _all(self, work: Callable[[], object]) -> None:
        try:
            work()
        except RuntimeError as error:  # what gloo and NCCL raise when a connection closes
            raise Lost(
                f"Process {self.number} of {self.count} lost the others: one of them has ended. What it said "
                "stands above; the last checkpoint is kept, go on with --resume (torchrun --max-restarts 1 "
                "does so by itself)."
            ) from error


def here(device: torch.device) -> Ranks:
    """The processes that this one trains with on its device: those of torch.distributed's group."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return Joined(device)
    return ALONE
