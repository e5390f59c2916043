"""What an RVC run leaves each time that it is judged: a voice with its card, samples, and the best so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.rvc.train.batches import VoiceBatch
from voicewright.rvc.train.export import copied, distance, publish, speaking, write_candidate
from voicewright.rvc.train.features import FRAMES, MUTE, Extractors, Slice, median_f0
from voicewright.rvc.train.recipe import VoiceRecipe
from voicewright.training.export import keep_best
from voicewright.training.loop import Trainer
from voicewright.training.samples import SAMPLES, write_sample
from voicewright.version import __version__

Pairs = Sequence[tuple[Slice, NDArray[np.float32], NDArray[np.float32]]]
"""Held-out slices, what the voice makes of them, and the recordings."""


@dataclass(frozen=True)
class Material:
    """What a voice is taught on, as its files tell of it. seconds: of speech, without the silence."""

    speakers: tuple[str, ...]
    seconds: float
    middle: float
    """The median F0 in Hz; 0 where it is not known."""
    held_out: tuple[str, ...]
    card: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        recipe: VoiceRecipe,
        training: Sequence[Slice],
        validation: Sequence[Slice],
        speakers: Sequence[str],
        card: Mapping[str, Any] | None,
    ) -> Material:
        """Read from slices."""
        # Only zeros tell voiced frames, so it is not known of a pitch that was interpolated.
        known = recipe.f0 and recipe.unvoiced == "zero"
        return cls(
            speakers=tuple(speakers),
            seconds=sum(s.frames for s in training if s.utterance != MUTE) / FRAMES,
            middle=round(median_f0(training), 2) if known else 0.0,
            held_out=tuple(sorted({s.utterance for s in validation})),
            card=card or {},
        )


@dataclass(frozen=True)
class Judged:
    """Judges a trainer's averaged weights by copy-synthesis of `slices`, and writes them under `name`."""

    recipe: VoiceRecipe
    name: str
    material: Material
    slices: Sequence[Slice]
    tools: Extractors
    line: Callable[[str], None]

    def __call__(self, trainer: Trainer[VoiceBatch]) -> None:
        """Export at the trainer's step, into its folder."""
        step, out, recipe = trainer.counters.total, trainer.out, self.recipe
        losses = trainer.validate()
        if losses:
            trainer.telemetry.scalars(step, trainer.stage.stage, losses, "validation")
            self.line(f"step {step} held out: " + " ".join(f"{k} {v:.3f}" for k, v in losses.items()))
        synthesizer = speaking(recipe, trainer.learners.ema)
        pairs = copied(synthesizer, self.slices, self.material.speakers, self.tools.coarse)
        verdict = {"score": float(step)}
        if pairs:
            apart = distance(recipe, pairs)
            verdict = {"score": -apart, "copy_db": apart}
            trainer.telemetry.scalars(step, trainer.stage.stage, verdict, "judged")
        folder = out / "judged" / f"step-{step:08d}"
        info, about = self._info(recipe, step, step // trainer.epoch), self._about(recipe, step, verdict)
        write_candidate(folder, self.name, synthesizer, info, about)
        leads = keep_best(out, step, verdict, trainer.counters.best, recipe.judge.keep)
        shown = " ".join(f"{k} {v:.3f}" for k, v in verdict.items())
        self.line(f"step {step} judged: {shown}{'  (best so far)' if leads else ''}")
        if leads:
            publish(out / "best", out)
        _write_samples(recipe, trainer, step, pairs)

    def _info(self, recipe: VoiceRecipe, step: int, epoch: int) -> dict[str, Any]:
        """What RVC programs read of a voice, under their names."""
        info = {
            "info": f"{epoch}epoch",
            "epoch": epoch,
            "step": step,
            "model_name": self.name,
            "author": recipe.author or "",
            "embedder_model": self.tools.content_name,
            "speakers_id": len(self.material.speakers),
            "vocoder": "HiFi-GAN",
            "dataset_length": _clock(self.material.seconds),
            "unvoiced": recipe.unvoiced,
        }
        return info | ({"median_f0": self.material.middle} if self.material.middle else {})

    def _about(self, recipe: VoiceRecipe, step: int, verdict: Mapping[str, float]) -> dict[str, Any]:
        """The voice's card."""
        return {
            "name": self.name,
            "recipe": recipe.model_dump(mode="json"),
            "step": step,
            "speakers": {speaker: number for number, speaker in enumerate(self.material.speakers)},
            "content": self.tools.content_name,
            "pitch": self.tools.f0_key,
            "minutes": round(self.material.seconds / 60, 1),
            "held_out": list(self.material.held_out),
            "measured": verdict,
            "voicewright": __version__,
            **self.material.card,
        }


def _write_samples(recipe: VoiceRecipe, trainer: Trainer[VoiceBatch], step: int, pairs: Pairs) -> None:
    rate = recipe.config.sample_rate
    for one, made, real in pairs[:SAMPLES]:
        write_sample(trainer.out, step, one.id, made, real, rate)
    if step % recipe.preview_every == 0:
        for one, made, real in pairs[:2]:
            trainer.telemetry.preview(step, one.id, made, real, rate)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
