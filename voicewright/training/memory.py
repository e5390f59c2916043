"""How many clips fit: two small probes, a line through them, a choice or a clear refusal before step one."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from voicewright.errors import VoicewrightError
from voicewright.training.ranks import ALONE, Ranks
from voicewright.training.task import B, Source, StagePlan

HEADROOM = 0.85
"""Share of the free memory that a run may plan to use; fragmentation and previews need the rest."""


def _cpu_peak() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_available() -> int:
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass(frozen=True)
class Fit:
    """How many clips a step of a stage takes; the bytes that needs beside what is held (0: unknown)."""

    clips: int
    bytes: int
    sentence: str


def _give_back() -> None:
    """Return freed memory to the system: what an earlier probe left would hide what the next one needs."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def peak_of(work: Callable[[], None], device: torch.device) -> int:
    """Peak bytes that `work` adds. On a CPU this reads Linux's high-water mark; else it is 0 (unknown)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    _give_back()
    try:
        # Writing 5 resets the high-water mark (proc(5)).
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        before = _cpu_peak()
        work()
        return max(0, _cpu_peak() - before)
    except OSError:
        work()
        return 0


def available(device: torch.device) -> int:
    """Free bytes for a run on this device; 0 when unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return _cpu_available()
    except OSError:
        return 0


def choose_clips(
    probe: Callable[[int], None], wanted: int, device: torch.device, stage: str, free: int | None = None
) -> Fit:
    """Largest batch up to `wanted` clips that fits, found by two small probes.

    `probe(clips)` runs one forward and backward pass of the heaviest phase. Raises VoicewrightError when not
    even one clip fits.
    """
    free = available(device) if free is None else free
    budget = int(free * HEADROOM)
    small, large = 1, min(3, wanted)
    first = peak_of(lambda: probe(small), device)
    second = peak_of(lambda: probe(large), device) if large > small else first
    if not free or not max(first, second):
        return Fit(wanted, 0, f"{stage}: {wanted} clips a step (memory could not be measured here)")
    slope = max((second - first) / max(1, large - small), 1.0)
    base = max(0.0, first - slope * small)
    fits = int((budget - base) // slope) if large > small else (wanted if first <= budget else 0)
    if fits < 1:
        raise VoicewrightError(
            f"Stage {stage} needs {first / 2**30:.1f} GiB for a single clip but {budget / 2**30:.1f} GiB are "
            "free; lower crop, window or the model's widths in the recipe."
        )
    chosen = min(wanted, fits)
    need = base + slope * chosen
    cut = "" if chosen == wanted else f" instead of {wanted}"
    return Fit(
        chosen,
        int(need),
        f"{stage}: {chosen} clips a step{cut} need about {need / 2**30:.1f} GiB more memory, "
        f"of {free / 2**30:.1f} GiB that are free",
    )


@dataclass(frozen=True)
class Probed:
    """A stage measured: clips a step, the batch budget that gives them, bytes beside what is held, seconds a
    step; `cut` says where fewer clips fit than the recipe wants."""

    clips: int
    budget: int
    bytes: int
    seconds: float
    cut: str | None


def probe_stage(
    source: Source[B],
    plan: StagePlan,
    device: torch.device,
    work: Callable[[B, int], None],
    ranks: Ranks = ALONE,
) -> Probed:
    """Find the batch budget that fits this machine, and time a step. `work(batch, step)` runs one forward and
    backward pass as at that step. Of several processes each takes its share of a batch, and the one with the
    least room says how large that is. Raises VoicewrightError when not even one clip fits."""
    unit = source.unit
    wanted = max(1, plan.budget // unit)
    share = -(-wanted // ranks.count)
    heaviest = source.heaviest()

    def probe(clips: int, step: int = plan.steps) -> None:
        work(source.batch(heaviest, clips).to(device), step)

    # Processes on one machine's CPU share its memory.
    room = available(device) // (ranks.here if device.type == "cpu" else 1)
    fit = choose_clips(probe, share, device, plan.stage, room)
    clips = ranks.least(fit.clips)
    # Before its adversarial phase a step is cheaper.
    total, start = plan.steps, plan.gan_start
    plain = total if start is None else min(start, total)
    seconds = 0.0
    for step, part in ((0, plain / total), (total, 1 - plain / total)):
        if part:
            began = time.monotonic()
            probe(clips, step)
            seconds += part * (time.monotonic() - began)
    whole = clips == share
    taken = wanted if whole else clips * ranks.count
    budget = int(plan.budget) if whole else taken * unit
    return Probed(taken, budget, fit.bytes, seconds, None if whole else fit.sentence)
