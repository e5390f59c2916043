"""A run of adapters assembled from its recipe, the base and the speaker's clips, and carried out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.training.adapt.batches import AdaptBatch, Clip, own_clips, spoken_clips, spoken_crops
from voicewright.training.adapt.folders import (
    AdaptJudge,
    Base,
    heard,
    keep_sounds,
    write_candidate,
    write_card,
    write_whole,
)
from voicewright.training.adapt.page import BEFORE, SAMPLES, write_page
from voicewright.training.adapt.recipe import AdaptRecipe
from voicewright.training.adapt.task import Adapting, AdaptNetworks, AdaptSpectra
from voicewright.training.adapt.weigh import weigh
from voicewright.training.export import candidate, keep_best
from voicewright.training.gates import lost
from voicewright.training.lifecycle import Result, conduct, hear_again
from voicewright.training.loop import Trainer
from voicewright.training.options import Options
from voicewright.training.ranks import here
from voicewright.units import SAMPLE_RATE
from voicewright.version import __version__
from voicewright.voices.fit import HeardMel, Steer
from voicewright.voices.pack import Voicepack
from voicewright.voices.phones import PhoneEar
from voicewright.voices.references import Reference


@dataclass(frozen=True)
class Material:
    """What is learnt from. training, validation: the speaker's clips; start: the pack to begin with; texts:
    tokens [1, T] with both pads, which the known voices in `stock` answer; top: Hz where the recordings'
    band ends; steers: the encoders that steer, with their vectors of the recordings; phones: hears what clips
    say that carry phones."""

    training: Sequence[Reference]
    validation: Sequence[Reference]
    start: Voicepack
    texts: Sequence[Tensor]
    stock: Mapping[str, Voicepack]
    top: float
    steers: Sequence[Steer]
    phones: PhoneEar | None = None


@dataclass(frozen=True)
class Candidates:
    """Called with the trainer at every judgement: writes a candidate, has it heard, ranks it. Returns what
    has been lost, where a gate is broken."""

    recipe: AdaptRecipe
    base: Base
    start: Voicepack
    card: Mapping[str, Any]
    judge: AdaptJudge | None

    def __call__(self, trainer: Trainer[AdaptBatch]) -> str | None:
        out, step, counters = trainer.out, trainer.counters.total, trainer.counters
        if losses := trainer.validate():
            trainer.telemetry.scalars(step, trainer.stage.stage, losses, "validation")
        folder = candidate(out, step)
        details = {
            **self.card,
            "recipe": self.recipe.model_dump(mode="json", exclude={"voice", "voices"}),
            "step": step,
            "voicewright": __version__,
        }
        write = write_whole if self.recipe.whole else write_candidate
        try:
            write(folder, self.base, trainer.learners.ema, self.start, details)
        except VoicewrightError as error:
            return str(error).rstrip(".")
        found = heard(self.judge, step, folder, counters.first)
        figures = dict(found.figures)
        keep_sounds(out / SAMPLES / f"step-{step:08d}", found.sounds)
        keep_sounds(out / SAMPLES / BEFORE, found.before)
        counters.first = counters.first or figures
        write_card(folder, {**details, "figures": figures, "before": counters.first})
        why = lost(figures, counters.first, self.recipe.gates.gates)
        if self.judge is not None:
            trainer.telemetry.scalars(step, trainer.stage.stage, figures, "judged")
        if why is not None:
            shutil.rmtree(folder, ignore_errors=True)
        leads = why is None and keep_best(out, step, figures, counters.best, self.recipe.judge.keep)
        if self.judge is not None:
            shown = " ".join(f"{name} {value:.3f}" for name, value in figures.items())
            trainer.line(f"step {step} judged: {shown}{'  (best so far)' if leads else ''}")
            write_page(out, self.card, counters.best, self.recipe.total_steps)
        return why


def adapt(
    recipe: AdaptRecipe,
    base: Base,
    material: Material,
    out: Path,
    *,
    card: Mapping[str, Any],
    judge: AdaptJudge | None = None,
    resume: bool = False,
    device: torch.device | None = None,
    options: Options | None = None,
    line: Callable[[str], None] = print,
) -> Result:
    """Train adapters, or whole matrices; `out/best` is the best by ears. SIGINT saves a checkpoint and
    ends the run resumably.

    card: what the adapter's card says of voice and rights; "voice" names the pack. recipe: its precision
    chosen. Without a judge the last state is the best. Raises VoicewrightError.
    """
    device = device or torch.device("cpu")
    base.net.to(device)
    half = recipe.precision == "bf16"
    rows = torch.from_numpy(material.start.rows[:, 0].copy()).to(device)
    training, validation = (
        own_clips(base.net, part, rows) for part in (material.training, material.validation)
    )
    spoken: list[Clip] = []
    crops: list[Clip] = []
    if recipe.replay.every and material.stock:
        packs = list(material.stock.values())
        spoken = spoken_clips(base.net, material.texts, [*packs, *packs] if len(packs) < 8 else packs)
        crops = spoken_crops(base.net, spoken, recipe.replay.crops, recipe.seed, half)
    mels = HeardMel(material.training, material.top), _replay_mel(crops)
    spectral = AdaptSpectra(*mels, material.steers, material.phones)
    rank = None if recipe.rank == "whole" else recipe.rank
    networks = AdaptNetworks(base.net, rank, recipe.seed, recipe.text == "trained")

    def make(recipe: AdaptRecipe) -> Trainer[AdaptBatch]:
        return Trainer(
            Adapting(recipe, networks, training, validation, spoken, crops, spectral),
            out,
            device,
            fingerprint=fingerprint(recipe, base, material),
            line=line,
            export=Candidates(recipe, base, material.start, card, judge),
            gated=True,
        )

    def begin(trainer: Trainer[AdaptBatch], fresh: bool) -> None:
        def judged(step: int, folder: Path) -> dict[str, float]:
            return dict(heard(judge, step, folder, trainer.counters.first).figures)

        hear_again(trainer, str(getattr(judge, "ears", "")), judged)

    judging = float(getattr(judge, "seconds", 0.0))
    made = conduct(make, recipe, out / "best", options=options, resume=resume, judging=judging, begin=begin)
    if judge is None or not (made.finished and made.best and here(device).leads):
        return made
    best = weigh(out, base, material.start, recipe, judge, line)
    write_page(out, card, best, recipe.total_steps)
    return replace(made, best=best)


def _replay_mel(crops: Sequence[Clip]) -> HeardMel | None:
    if not crops:
        return None
    none = torch.zeros(0)
    items = [Reference("", none, none, clip.sound, clip.f0, clip.energy) for clip in crops]
    return HeardMel(items, 0.49 * SAMPLE_RATE)


def fingerprint(recipe: AdaptRecipe, base: Base, material: Material) -> str:
    """Identifies recipe, base, start and clips, so that a checkpoint is not resumed with others."""
    # Shares are weighed when all has been learnt: runs from before there were any go on.
    learnt_by = recipe.model_dump_json(exclude={"shares"})
    state = hashlib.sha256(learnt_by.encode() + base.sha256.encode())
    state.update(material.start.rows.tobytes())
    for item in (*material.training, *material.validation):
        state.update(item.id.encode() + item.tokens.numpy().tobytes() + item.durations.numpy().tobytes())
    for name in material.stock:
        state.update(name.encode())
    return state.hexdigest()[:16]
