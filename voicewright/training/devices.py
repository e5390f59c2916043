"""The device that a run takes, by the name that a user gives."""

from __future__ import annotations

import os

import torch

from voicewright.errors import UsageError
from voicewright.training.meeting import several


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; of several processes (torchrun) each has the GPU of its number on its machine.

    Raises UsageError for an unknown one and for one that is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and several():
        if name != "cuda":
            raise UsageError(
                f"each of several processes has a GPU of its own; use --device cuda, not {name}."
            )
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"there is no device {name!r}: use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            built = "" if torch.version.cuda else ", and this torch was built without CUDA"
            raise UsageError(f"there is no CUDA device here{built}; use --device auto or cpu.")
        if (device.index or 0) >= count:
            raise UsageError(f"there is no {name}: this machine has {count}, the first is cuda:0.")
    return device
