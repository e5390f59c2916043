"""A run planned before its first step: how long it takes here, and how many of its steps fit a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from voicewright.training.loop import Trainer
from voicewright.training.memory import available
from voicewright.training.options import Options, check_room, resized
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
    seconds, total = trainer.ranks.told(measure(trainer)), trainer.recipe.total_steps
    if options.minutes is None or seconds <= 60 * options.minutes:
        return trainer, recipe, replace(options, minutes=None)
    stages = len(trainer.recipe.stages)
    steps = max(stages, int(total * 60 * options.minutes / seconds))
    trainer.line(f"{options.minutes:g} minutes are enough for {steps} of the recipe's {total} steps.")
    recipe = resized(recipe, Options(steps=steps))
    shorter = make(recipe)
    shorter.counters.batch_frames, shorter.judging = trainer.counters.batch_frames, trainer.judging
    return shorter, recipe, replace(options, minutes=None, steps=steps)


def measure(trainer: Trainer[B]) -> float:
    """Measure every stage before the first step; say how many steps, how long, how much memory and disk.

    Returns the seconds that the run will take, judgements included as far as they are known. Nothing
    that a step depends on moves but the batch budgets, which the counters keep.
    """
    recipe = trainer.recipe
    shown, seconds, memory = [], 0.0, 0
    for number, stage in enumerate(recipe.stages):
        trainer.counters.stage = number
        trainer.enter_stage()
        found = trainer.probe()
        seconds += found.seconds * stage.steps
        memory = max(memory, found.bytes)
        shown.append(f"{stage.stage} {stage.steps} of {found.clips} clips, {_clock(found.seconds)} each")
    trainer.counters.stage = 0
    # One checkpoint more than are kept, while it is written; so with models.
    disk = trainer.learners.disk(trainer.checkpoints.keep + 1 + trainer.gated, recipe.judge.keep + 2)
    room = check_room(trainer.out, disk, "this run's checkpoints and models")
    total, free = recipe.total_steps, available(trainer.device)
    trainer.line(f"{total} steps on {trainer.device}: {'; '.join(shown)}.")
    held = f"{memory / 2**30:.1f} GiB more memory ({free / 2**30:.1f} GiB are free), " if memory else ""
    trainer.line(
        f"About {_clock(seconds)}, {held}{disk / 2**30:.1f} GiB of disk ({room / 2**30:.0f} are free)."
    )
    if trainer.export is not None:
        times = -(-total // recipe.judge.every)
        each_time = f", about {_clock(trainer.judging)} each" if trainer.judging else ""
        trainer.line(f"Beside that, models written and judged: {times} times{each_time}.")
        seconds += times * trainer.judging
    return seconds


def _clock(seconds: float) -> str:
    """A length of time for a sentence."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
