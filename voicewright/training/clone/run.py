"""A run of style encoders assembled from its recipe, the frozen model and the readers, and carried out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.tts.model import TTSModel
from voicewright.training.adapt.folders import write_card
from voicewright.training.clone.recipe import CloneRecipe
from voicewright.training.clone.task import (
    STAGES,
    CloneBatch,
    CloneNetworks,
    CloneSampler,
    CloneSpectra,
    Cloning,
    Reader,
    Vectors,
)
from voicewright.training.export import keep_best
from voicewright.training.lifecycle import Result, conduct
from voicewright.training.loop import Trainer
from voicewright.training.options import Options
from voicewright.version import __version__
from voicewright.voices.phones import PhoneEar
from voicewright.voices.style_encoders import ENCODERS, StyleEncoders, save_encoders


@dataclass(frozen=True)
class Lesson:
    """What is taught with. encoders: as the regression left them; readers: all; held: those that choose."""

    net: TTSModel
    encoders: StyleEncoders
    readers: Sequence[Reader]
    held: Sequence[int]
    steers: Sequence[Vectors]
    phones: PhoneEar | None

    def fingerprint(self, recipe: CloneRecipe) -> str:
        """Identifies recipe, beginning and readers, so that a checkpoint is not resumed with others."""
        state = hashlib.sha256(recipe.model_dump_json().encode())
        for value in self.encoders.state_dict().values():
            state.update(value.numpy().tobytes())
        for reader in self.readers:
            state.update(reader.name.encode() + str(len(reader.clips)).encode())
        return state.hexdigest()[:16]


def teach(
    recipe: CloneRecipe,
    lesson: Lesson,
    out: Path,
    *,
    card: Mapping[str, Any],
    resume: bool = False,
    device: torch.device | None = None,
    options: Options | None = None,
    line: Callable[[str], None] = print,
) -> Result:
    """Train the encoders; `out/best` holds those that serve held-out readers best. SIGINT saves a checkpoint
    and ends the run resumably. recipe: its precision chosen. Raises VoicewrightError."""
    device = device or torch.device("cpu")
    training = [n for n in range(len(lesson.readers)) if n not in set(lesson.held)]
    spectral = CloneSpectra(lesson.readers, lesson.steers, lesson.phones)
    networks = CloneNetworks(lesson.net.to(device), lesson.encoders)

    def export(recipe: CloneRecipe, trainer: Trainer[CloneBatch]) -> str | None:
        step, counters = trainer.counters.total, trainer.counters
        taught = {name.removeprefix("encoders."): value for name, value in trainer.learners.ema.items()}
        figures = figures_of(networks, taught, spectral, lesson, recipe)
        folder = out / "judged" / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        details = {**card, "step": step, "figures": figures, "voicewright": __version__}
        net = StyleEncoders(recipe.width)
        net.load_state_dict(taught)
        try:
            save_encoders(folder / ENCODERS, net, details)
        except VoicewrightError as error:
            shutil.rmtree(folder, ignore_errors=True)
            return str(error).rstrip(".")
        write_card(folder, {**details, "recipe": recipe.model_dump(mode="json", exclude={"voices"})})
        trainer.telemetry.scalars(step, trainer.stage.stage, figures, "judged")
        leads = keep_best(out, step, figures, counters.best, recipe.judge.keep)
        shown = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
        line(f"step {step} judged: {shown}{'  (best so far)' if leads else ''}")
        return None

    def make(recipe: CloneRecipe) -> Trainer[CloneBatch]:
        task = Cloning(recipe, networks, lesson.readers, training, list(lesson.held), spectral)
        return Trainer(
            task,
            out,
            device,
            fingerprint=lesson.fingerprint(recipe),
            line=line,
            export=partial(export, recipe),
        )

    return conduct(make, recipe, out / "best", options=options, resume=resume)


@torch.no_grad()
def figures_of(
    networks: CloneNetworks,
    taught: Mapping[str, Tensor],
    spectral: CloneSpectra,
    lesson: Lesson,
    recipe: CloneRecipe,
) -> dict[str, float]:
    """What both encoders lose with the held-out readers, a clip and a crop of each: the same every time.
    "score" orders candidates."""
    own = {name: value.clone() for name, value in networks.encoders.state_dict().items()}
    networks.encoders.load_state_dict(dict(taught))
    networks.eval()
    torch.manual_seed(0)
    sums: dict[str, list[float]] = {}
    plans = {stage.stage: stage for stage in recipe.stages}
    for stage, plan in plans.items():
        record = STAGES[stage]
        sampler = CloneSampler(lesson.readers, lesson.held, 0, 0, 1, record.crops)
        for number, index in enumerate(lesson.held):
            item = sampler.item(index, np.random.default_rng([7, number]))
            batch = CloneBatch((item,), 1).to(next(networks.parameters()).device)
            half = recipe.precision == "bf16" and record.crops
            with torch.autocast(next(networks.parameters()).device.type, torch.bfloat16, enabled=half):
                output = record.forward(networks, spectral, batch, plan)
            for name, value in output.losses.items():
                sums.setdefault(f"{stage}_leash" if name == "leash" else name, []).append(float(value))
    networks.encoders.load_state_dict(own)
    networks.train()
    figures = {name: float(np.mean(values)) for name, values in sums.items()}
    weights = {name: weight for stage in recipe.stages for name, weight in stage.losses.items()}
    total = sum(weights.get(name, 0.0) * value for name, value in figures.items())
    return {"score": -total, **figures}
