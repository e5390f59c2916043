"""Runs the small recipe in the folder given; the resume test kills this process and starts it again.

Forked (forked.py) as run(OUT, KILL_AT, PLACE), where PLACE is `step` (after that step's update), `save` (in
the middle of writing a checkpoint) or `never`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
from fakes import small_recipe, tone_features, with_diffusion

import voicewright.training.state as state
from voicewright.training.loop import Trainer
from voicewright.training.run import train_features


def main(folder: str, at: str = "0", place: str = "never") -> None:
    torch.set_num_threads(1)
    out, kill_at, here = Path(folder), int(at), [0]
    follow, save_file = Trainer._follow, state.save_file

    def followed(self: Trainer) -> None:
        follow(self)
        here[0] = self.counters.total + 1
        if place == "step" and here[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def saved(tensors: dict[str, torch.Tensor], path: Path) -> None:
        save_file(tensors, path)
        if place == "save" and here[0] >= kill_at:
            with path.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    Trainer._follow = followed  # type: ignore[method-assign]
    state.save_file = saved
    features = [tone_features(i) for i in range(18)]
    train_features(
        with_diffusion(small_recipe()),
        features,
        out,
        resume=(out / "run.json").exists(),
        device=torch.device("cpu"),
        line=lambda text: None,
    )
