"""What a speaking model's run leaves at a judgement: a model folder, samples, a place in the ranking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from voicewright.catalogue.places import BESIDE, DIFFUSION, WEIGHTS
from voicewright.training.batches import Batch
from voicewright.training.export import (
    Judge,
    copy_start,
    keep_best,
    voice_name,
    write_converter,
    write_diffusion,
    write_model,
)
from voicewright.training.loop import Trainer
from voicewright.training.samples import speak_samples
from voicewright.training.speaking import Speaking
from voicewright.training.start import start_folder
from voicewright.version import __version__


def verdict(judge: Judge | None, step: int, folder: Path) -> dict[str, float]:
    """What a judge says of a candidate; without one the later is the better."""
    return dict(judge(folder)) if judge else {"score": float(step)}


@dataclass(frozen=True)
class Candidates:
    """Called with the trainer at every judgement. embedded: the embedded voice's model; card: what cards say
    of the corpus."""

    task: Speaking
    judge: Judge | None
    embedded: Path | None
    card: Mapping[str, object]

    def __call__(self, trainer: Trainer[Batch]) -> None:
        recipe, step, stage = self.task.recipe, trainer.counters.total, trainer.stage
        losses = trainer.validate()
        if losses:
            trainer.telemetry.scalars(step, stage.stage, losses, "validation")
            trainer.line(f"step {step} held out: " + " ".join(f"{k} {v:.3f}" for k, v in losses.items()))
        folder = trainer.out / "judged" / f"step-{step:08d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._write(trainer, folder)
        if recipe.stages[trainer.number].stage in BESIDE:  # judged by what it was taught on
            weighed = sum(weight * losses.get(name, 0.0) for name, weight in stage.losses.items())
            figures = {"score": -weighed}
        else:
            speak_samples(trainer, folder, self.task.validation)
            figures = verdict(self.judge, step, folder)
        leads = keep_best(
            trainer.out, step, figures, trainer.counters.best, recipe.judge.keep, trainer.trained
        )
        # The recordings' own figures never change, and what each shortfall costs is in the log.
        kept = {k: v for k, v in figures.items() if not k.startswith(("recordings_", "cost_"))}
        shown = " ".join(f"{k} {v:.3f}" for k, v in kept.items())
        if self.judge or recipe.beside:
            trainer.telemetry.scalars(step, stage.stage, figures, "judged")
            trainer.line(f"step {step} judged: {shown}{'  (best so far)' if leads else ''}")

    def _write(self, trainer: Trainer[Batch], folder: Path) -> None:
        task, recipe, ema = self.task, self.task.recipe, trainer.learners.ema
        config = task.networks.tts.config
        details: dict[str, object] = {
            "name": recipe.name,
            "voice": voice_name(Counter(f.speaker for f in task.training).most_common(1)[0][0]),
            "held_out": [f.id for f in task.validation],
            "recipe": recipe.model_dump(mode="json"),
            "step": trainer.counters.total,
            "voicewright": __version__,
            **self.card,
        }
        start = start_folder(recipe, self.embedded)
        if recipe.beside and start is not None and (start / WEIGHTS).is_file():
            copy_start(start, folder, [stage.stage for stage in recipe.stages])
        else:
            write_model(folder, config, ema, task.training, details, held_out=task.validation)
        if recipe.content is not None:
            write_converter(folder, config, recipe.content, ema, task.training, details)
        begun = [stage.stage for stage in recipe.stages[: trainer.number + 1]]
        diffusion = task.networks.diffusion
        if diffusion is not None and DIFFUSION in begun:
            write_diffusion(folder, config, diffusion.config, ema, details)
