"""A run planned before its first step: how long it takes here, and how many of its steps fit a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from voicewright.training.loop import Trainer
from voicewright.training.options import Options, resized
from voicewright.training.task import B

R = TypeVar("R", bound=BaseModel)


def planned(
    make: Callable[[R], Trainer[B]], recipe: R, options: Options, resume: bool, judging: float = 0.0
) -> tuple[Trainer[B], R, Options]:
    """A recipe's trainer; where the run is to be planned alone, or to fit a time, it is measured here.

    The recipe comes back with as many steps as fit, and the options with that number in place of the time, so
    that the run goes on alike when it is resumed. judging: seconds that a judgement takes.
    """
    trainer = make(recipe)
    trainer.judging = judging
    if resume or not (options.dry_run or options.minutes):
        return trainer, recipe, options
    seconds, total = trainer.plan(), trainer.recipe.total_steps
    if options.minutes is None or seconds <= 60 * options.minutes:
        return trainer, recipe, replace(options, minutes=None)
    stages = len(trainer.recipe.stages)
    steps = max(stages, int(total * 60 * options.minutes / seconds))
    trainer.line(f"{options.minutes:g} minutes are enough for {steps} of the recipe's {total} steps.")
    recipe = resized(recipe, Options(steps=steps))
    shorter = make(recipe)
    shorter.counters.batch_frames, shorter.judging = trainer.counters.batch_frames, trainer.judging
    return shorter, recipe, replace(options, minutes=None, steps=steps)
