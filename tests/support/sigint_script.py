"""Runs the small recipe in the folder given and stops as Ctrl-C does, after the update of step AT (0: never).

Usage: python sigint_script.py OUT AT. Ends with 130 when it was stopped.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from fakes import small_recipe, tone_features, with_diffusion

from voicewright.training.loop import Trainer
from voicewright.training.run import train_features


def main(out: Path, at: int) -> int:
    torch.set_num_threads(1)
    follow = Trainer._follow

    def followed(self: Trainer) -> None:
        follow(self)
        if self.counters.total + 1 == at:
            os.kill(os.getpid(), signal.SIGINT)

    Trainer._follow = followed  # type: ignore[method-assign]
    features = [tone_features(i) for i in range(18)]
    result = train_features(
        with_diffusion(small_recipe()),
        features,
        out,
        resume=(out / "run.json").exists(),
        device=torch.device("cpu"),
    )
    return 0 if result.finished else 130


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
