"""A run from its folder to its result, whatever it trains: claimed or taken up, carried out, named."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TypeVar

from pydantic import BaseModel

from voicewright.storage import write_atomically
from voicewright.training.export import judge_again
from voicewright.training.loop import Interrupted, Trainer
from voicewright.training.meeting import prepared
from voicewright.training.options import RUN, Options, check_folder
from voicewright.training.planning import measure, planned
from voicewright.training.ranks import Lost
from voicewright.training.task import B

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class Result:
    """What a run left: the best model (None: none yet), steps taken, whether it ended, and the ranking."""

    model: Path | None
    steps: int
    finished: bool
    best: list[dict[str, float]]


def hear_again(trainer: Trainer[B], ears: str, judge: Callable[[int, Path], Mapping[str, float]]) -> None:
    """Where other ears judge than did before the run was resumed, let them judge what was kept."""
    counters = trainer.counters
    if counters.best and counters.ears != ears:
        before = counters.ears or "scores of an older kind, or none"
        trainer.line(
            f"Checkpoints are judged by {ears or 'nobody'} from here on, before by {before}: such scores "
            f"cannot be compared, so the {len(counters.best)} kept are judged again."
        )
        judge_again(trainer.out, counters.best, judge)
    counters.ears = ears


def conduct(
    make: Callable[[R], Trainer[B]],
    recipe: R,
    model: Path,
    *,
    options: Options | None,
    resume: bool,
    judging: float = 0.0,
    begin: Callable[[Trainer[B], bool], None] = lambda trainer, fresh: None,
) -> Result:
    """Plan a run, claim its folder, begin it and carry it out; `model` is where its best will be.

    `make` may be called twice, with the recipe and with as many steps of it as fit a time. judging: seconds
    that a judgement takes. begin(trainer, fresh): what comes before the first step, of a run that begins
    here or goes on. Of several processes the first one does, and the others take what it has.
    """
    prepared()
    trainer, recipe, options = planned(make, recipe, options or Options(), resume, judging)
    if options.dry_run:
        return Result(None, 0, True, [])
    fresh = claim(trainer.out, trainer, recipe, resume, options)
    if trainer.ranks.leads:
        begin(trainer, fresh)
    trainer.share_state()
    finished = carry_out(trainer)
    return Result(made_model(model, trainer), trainer.counters.total, finished, trainer.counters.best)


def carry_out(trainer: Trainer[B]) -> bool:
    """Run to the end, or to the step after SIGINT or SIGTERM; returns whether it ended.

    Of several processes all stop after the same step, whichever was asked.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if trainer.stopping:
            if trainer.ranks.count > 1:
                return  # torchrun passes signals on, beside those that came by themselves
            raise KeyboardInterrupt
        trainer.stopping = True
        again = "" if trainer.ranks.count > 1 else "; press again to stop at once (the last checkpoint stays)"
        trainer.line(f"Stopping after this step{again}.")

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    finished = True
    try:
        if not trainer.counters.batch_frames:
            measure(trainer)
        trainer.run()
    except Interrupted as message:
        finished = False
        trainer.line(str(message))
    except Lost:
        previous = {}  # torchrun ends what is left of a run: not before it has said why it ends
        raise
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
    return finished


def made_model(model: Path, trainer: Trainer[B]) -> Path | None:
    """The run's best model where there is one; else says when the first comes."""
    if model.exists():
        return model
    every = trainer.recipe.judge.every
    after = min(trainer.recipe.total_steps, (trainer.counters.total // every + 1) * every)
    trainer.line(f"No model is written yet: the first comes at step {after}.")
    return None


def claim(
    out: Path, trainer: Trainer[B], recipe: BaseModel, resume: bool, options: Options | None = None
) -> bool:
    """Start a fresh run folder, or take up an old one; an old one is never overwritten in silence.

    Returns whether the run begins here.
    """
    if trainer.ranks.leads:
        check_folder(out, resume)
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        if trainer.resume():
            trainer.line(f"Resumed at step {trainer.counters.total} of {trainer.recipe.total_steps}.")
            return False
        trainer.line(f"There is no checkpoint in {out} yet; starting from the beginning.")
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "options": (options or Options()).kept,
        "fingerprint": trainer.counters.recipe,
    }
    if trainer.ranks.leads:
        write_atomically(out / RUN, (json.dumps(record, indent=1) + "\n").encode())
    return True
