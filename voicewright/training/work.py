"""What a run costs: seconds of work and peak memory of every part of it, kept in its folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

from voicewright.records import Strict
from voicewright.storage import write_atomically

WORK = "work.json"
"""Of a run's folder."""


class Part(Strict):
    """A part of a run: what one process did without a break, `what` it was: "voicepack" or "training".

    peak_gib: of the whole process, or of the GPU; None where the system does not tell.
    """

    what: str
    seconds: float
    steps: int = 0
    device: str = "cpu"
    processes: int = 1
    peak_gib: float | None = None


def parts_of(out: Path) -> list[Part]:
    """What is known of a run's folder; nothing of one that is older than this file, or of a broken file."""
    try:
        rows = json.loads((out / WORK).read_text("utf-8"))
        return [Part.model_validate(row) for row in rows]
    except (OSError, ValueError):
        return []


def add_part(out: Path, part: Part, keep: int | None = None) -> None:
    """Write `part` behind the first `keep` of those in the file, all of them when None."""
    rows: list[dict[str, Any]] = [one.model_dump(mode="json") for one in [*parts_of(out)[:keep], part]]
    write_atomically(out / WORK, (json.dumps(rows, indent=1) + "\n").encode())


class Clock:
    """The clock of one process's training."""

    def __init__(self, out: Path, device: torch.device, processes: int, step: int) -> None:
        self._out, self._device, self._processes, self._step = out, device, processes, step
        self._before = len(parts_of(out))
        self._began = time.monotonic()

    def tell(self, step: int) -> None:
        """Write what it took until `step`, over what was told before."""
        made = Part(
            what="training",
            seconds=round(time.monotonic() - self._began, 1),
            steps=step - self._step,
            device=_named(self._device),
            processes=self._processes,
            peak_gib=_peak(self._device),
        )
        add_part(self._out, made, self._before)


def told(parts: list[Part]) -> str:
    """In words: what it took, and of it what each part."""
    whole = sum(part.seconds for part in parts)
    by_kind = {
        what: sum(p.seconds for p in parts if p.what == what) for what in dict.fromkeys(p.what for p in parts)
    }
    of_these = ", ".join(f"{what} {minutes(seconds)}" for what, seconds in by_kind.items())
    devices = ", ".join(dict.fromkeys(part.device for part in parts))
    peak = max((part.peak_gib for part in parts if part.peak_gib is not None), default=None)
    memory = f"; {peak:.1f} GiB at most" if peak is not None else ""
    return f"{minutes(whole)}" + (f" ({of_these})" if len(by_kind) > 1 else "") + f" on {devices}{memory}"


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def _peak(device: torch.device) -> float | None:
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**30, 2)
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)
