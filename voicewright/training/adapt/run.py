"""A run of adapters assembled from its recipe, the base and the speaker's clips, and carried out."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.files import write as write_sound
from voicewright.catalogue.adapted import write_adapter
from voicewright.catalogue.places import CARD, CONFIG, VOICES, resolve_model
from voicewright.corpus.sources import safe_id
from voicewright.errors import VoicewrightError
from voicewright.model.adapters import PARTS, READING, merge_whole, pairs, wholes
from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel
from voicewright.storage import plain, write_atomically
from voicewright.training.adapt.batches import AdaptBatch, Clip, own_clips, spoken_clips, spoken_crops
from voicewright.training.adapt.page import BEFORE, SAMPLES, write_page
from voicewright.training.adapt.recipe import AdaptRecipe
from voicewright.training.adapt.task import Adapting, AdaptNetworks, AdaptSpectra
from voicewright.training.export import keep_best
from voicewright.training.gates import lost
from voicewright.training.lifecycle import Result, conduct, hear_again
from voicewright.training.loop import Trainer
from voicewright.training.options import Options
from voicewright.units import SAMPLE_RATE, STYLE
from voicewright.version import __version__
from voicewright.voices.fit import HeardMel, Steer
from voicewright.voices.pack import Voicepack
from voicewright.voices.phones import PhoneEar
from voicewright.voices.references import Reference

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Base:
    """The model that is adapted. net: folded, fp32. words: what names it; sha256: of its weights file;
    source: of what that was imported from."""

    net: TTSModel
    config: ModelConfig
    words: str
    sha256: str
    source: str


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
class Heard:
    """A judgement: figures ("score" orders candidates) and what was spoken for it, by name; `before`: what
    there was to hear before anything was learnt, told once."""

    figures: Mapping[str, float]
    sounds: Mapping[str, Samples] = field(default_factory=dict)
    before: Mapping[str, Samples] = field(default_factory=dict)


AdaptJudge = Callable[[Path, Mapping[str, float]], Heard]
"""Judges the folder of an adapter, beside the run's first figures (empty for the start itself)."""


def write_candidate(
    folder: Path, base: Base, weights: Mapping[str, Tensor], start: Voicepack, card: Mapping[str, Any]
) -> None:
    """An adapter's folder, replacing an older one only once this one is whole.

    weights: a state dict of AdaptNetworks. Raises VoicewrightError when a number is none.
    """
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    found = {name: pair for part in PARTS for name, pair in pairs(weights, part).items()}
    moved = {name: pair for name, pair in found.items() if bool(pair[1].any())}
    arrays = {
        name: (a.cpu().float().numpy(), b.cpu().float().numpy()) for name, (a, b) in (moved or found).items()
    }
    write_adapter(work, arrays, base.words, base.sha256, base.source)
    base.config.write(work / CONFIG)
    _finish(work, folder, weights, start, card)


def write_whole(
    folder: Path, base: Base, weights: Mapping[str, Tensor], start: Voicepack, card: Mapping[str, Any]
) -> None:
    """A model's folder: the base with whole matrices merged, replacing an older one only once it is whole.

    Raises VoicewrightError when a number is none.
    """
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    network, config, _ = load_model(resolve_model(base.words))
    state = dict(network.state_dict())
    merge_whole(
        state, {name: value for part in (*PARTS, *READING) for name, value in wholes(weights, part).items()}
    )
    network.load_state_dict(state)
    save_model(work, network, config)
    _finish(work, folder, weights, start, card)


def _finish(
    work: Path, folder: Path, weights: Mapping[str, Tensor], start: Voicepack, card: Mapping[str, Any]
) -> None:
    """The voice and the card of a candidate; its folder then gets its name."""
    rows = start.rows.copy()
    rows[..., :STYLE] += weights["acoustic.value"].cpu().numpy()
    rows[..., STYLE:] += weights["prosodic.value"].cpu().numpy()
    (work / VOICES).mkdir()
    Voicepack.of(rows.squeeze()).write(work / VOICES / f"{card['voice']}.safetensors")
    write_card(work, card)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    text = json.dumps(plain(card), indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / CARD, text.encode())


def heard(judge: AdaptJudge | None, step: int, folder: Path, first: Mapping[str, float]) -> Heard:
    """What a judge hears of a candidate; without one the later is the better."""
    return judge(folder, first) if judge is not None else Heard({"score": float(step)})


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
        folder = out / "judged" / f"step-{step:08d}"
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
        _keep_sounds(out / SAMPLES / f"step-{step:08d}", found.sounds)
        _keep_sounds(out / SAMPLES / BEFORE, found.before)
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


def _keep_sounds(folder: Path, sounds: Mapping[str, Samples]) -> None:
    for name, samples in sounds.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_sound(folder / f"{safe_id(name)}.wav", samples, SAMPLE_RATE)


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
    return conduct(make, recipe, out / "best", options=options, resume=resume, judging=judging, begin=begin)


def _replay_mel(crops: Sequence[Clip]) -> HeardMel | None:
    if not crops:
        return None
    none = torch.zeros(0)
    items = [Reference("", none, none, clip.sound, clip.f0, clip.energy) for clip in crops]
    return HeardMel(items, 0.49 * SAMPLE_RATE)


def fingerprint(recipe: AdaptRecipe, base: Base, material: Material) -> str:
    """Identifies recipe, base, start and clips, so that a checkpoint is not resumed with others."""
    state = hashlib.sha256(recipe.model_dump_json().encode() + base.sha256.encode())
    state.update(material.start.rows.tobytes())
    for item in (*material.training, *material.validation):
        state.update(item.id.encode() + item.tokens.numpy().tobytes() + item.durations.numpy().tobytes())
    for name in material.stock:
        state.update(name.encode())
    return state.hexdigest()[:16]
