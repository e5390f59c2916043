"""Trains the small RVC recipe in OUT on the corpus given; the resume test kills it and starts it again.

Forked (forked.py) as run(CORPUS, OUT, KILL_AT, PLACE), where PLACE is `step` (after that step's update),
`save` (in the middle of writing a checkpoint) or `never`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch
import yaml
from rvc_fakes import extractors, small

import voicewright.training.state as state
from voicewright.rvc.train.run import train_voice
from voicewright.training.loop import Trainer


def main(corpus: str, folder: str, at: str = "0", place: str = "never") -> None:
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
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(small(precision="fp16").model_dump(mode="json")), "utf-8")
    train_voice(
        recipe,
        Path(corpus),
        out,
        lambda plan: extractors(),
        resume=(out / "run.json").exists(),
        line=lambda text: None,
    )
