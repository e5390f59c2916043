"""Checkpoints that resume exactly: a folder each, written aside, synced, renamed; checked by hash before use.

A checkpoint holds every tensor of the run (weights, EMA, discriminators, optimizer moments) in one
safetensors file and the counters in JSON. Random numbers need no state:
each step seeds itself from (seed, stage, step).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.storage import digest

FORMAT = 1


@dataclass
class Counters:
    """Where a run stands. `stage` and `step` name the next step to take."""

    stage: int = 0
    step: int = 0
    total: int = 0
    batch_frames: dict[str, int] = field(default_factory=dict)
    """Chosen batch budget of each stage, by index: probing again after a restart might choose another."""
    recipe: str = ""
    """Hash of the recipe and the corpus: another recipe's checkpoint is refused."""
    best: list[dict[str, float]] = field(default_factory=list)
    ears: str = ""
    """Who gave the scores in `best`; "" where nobody heard, or before this was recorded."""
    scale: float = 65536.0
    """fp16's loss scale, and the steps since it changed."""
    steady: int = 0
    slow: float = 1.0
    """What learning rates are multiplied by: halved each time that the run goes back (training/gates.py)."""
    returns: int = 0
    healthy: int = -1
    """Steps taken at the last judgement that was healthy; -1 before any."""
    first: dict[str, float] = field(default_factory=dict)
    """The first verdict, which later ones are held against."""


def sync(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def optimizer_tensors(name: str, optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Optimizer moments keyed by parameter name: a file can be read without knowing parameter order."""
    tensors: dict[str, Tensor] = {}
    for key, parameter in module.named_parameters():
        for field_name, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{field_name}|{key}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(
    name: str, optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    known = dict(module.named_parameters())
    mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for key, value in tensors.items():
        owner, _, rest = key.partition("|")
        if owner != name:
            continue
        field_name, _, parameter = rest.partition("|")
        target = known[parameter]
        if id(target) in mine:
            # AdamW keeps its step count on the CPU unless fused; moments live beside the parameter.
            fused = optimizer.param_groups[0].get("fused")
            device = target.device if field_name != "step" or fused else torch.device("cpu")
            optimizer.state[target][field_name] = value.to(device, copy=True)


class Checkpoints:
    """The `checkpoints/` folder of a run."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    def save(self, tensors: Mapping[str, Tensor], counters: Counters) -> Path:
        """Write one checkpoint; the older ones beyond `keep` go only after the new one is durable."""
        self.folder.mkdir(parents=True, exist_ok=True)
        final = self.folder / f"step-{counters.total:08d}"
        work = self.folder / f".writing-{os.getpid()}"
        for stale in self.folder.glob(".writing-*"):
            shutil.rmtree(stale, ignore_errors=True)
        work.mkdir()
        try:
            cpu = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
            save_file(cpu, work / "state.safetensors")
            record = {
                "format": FORMAT,
                "sha256": digest(work / "state.safetensors"),
                "counters": asdict(counters),
            }
            (work / "state.json").write_text(json.dumps(record, indent=1), "utf-8")
            for name in ("state.safetensors", "state.json"):
                sync(work / name)
            sync(work)
            if final.exists():
                shutil.rmtree(final)
            work.rename(final)
            sync(self.folder)
        except (OSError, SafetensorError) as error:  # safetensors wraps what the disk says
            shutil.rmtree(work, ignore_errors=True)
            why = getattr(error, "strerror", None) or error
            raise VoicewrightError(
                f"The checkpoint could not be written to {self.folder} ({why}); free space and resume."
            ) from error
        for old in self.found()[self.keep :]:
            shutil.rmtree(old)
        return final

    def found(self) -> list[Path]:
        """Finished checkpoints, newest first."""
        return sorted(self.folder.glob("step-*"), reverse=True) if self.folder.is_dir() else []

    def load(self) -> tuple[dict[str, Tensor], Counters, list[str]] | None:
        """The newest sound checkpoint, with a warning for each damaged one passed over; None without any.

        Raises VoicewrightError when checkpoints exist but none is sound: starting over is for the user
        to decide.
        """
        warnings: list[str] = []
        for path in self.found():
            try:
                record = json.loads((path / "state.json").read_text("utf-8"))
                if record["format"] != FORMAT:
                    raise ValueError(f"format {record['format']} is not {FORMAT}")
                if digest(path / "state.safetensors") != record["sha256"]:
                    raise ValueError("its contents do not match their hash")
                return load_file(path / "state.safetensors"), Counters(**record["counters"]), warnings
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                warnings.append(f"Checkpoint {path} is damaged ({error}); trying the one before it.")
        if warnings:
            raise VoicewrightError(
                f"No checkpoint in {self.folder} is sound ({len(warnings)} damaged); "
                "restore one or train into another folder."
            )
        return None
