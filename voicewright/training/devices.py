"""The device that a run takes, by the name that a user gives."""

from __future__ import annotations

import torch

from voicewright.errors import UsageError


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name. Raises UsageError for an unknown one and for one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
