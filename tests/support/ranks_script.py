"""Trains the small recipe in OUT, alone or as one of several processes; the tests of several start it.

By torchrun: `torchrun ranks_script.py OUT AT PLACE`. Forked (forked.py): run(OUT, AT, PLACE, RANK, OF, PORT).
PLACE says what happens to the last process at step AT: `kill` (SIGKILL after the update, at torchrun's first
start), `stop` (SIGTERM there), `spill` (its memory runs out in the midst of the step, once), `full` (each
time), `never`. Noise and dropout are off: processes draw them differently.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # optimizers load it: once, before this is forked
from fakes import small_recipe, tone_features
from torch import Tensor, nn

from voicewright.model.tts import source
from voicewright.training import candidates
from voicewright.training.loop import Trainer
from voicewright.training.meeting import joined
from voicewright.training.options import begun
from voicewright.training.recipe import Recipe
from voicewright.training.run import train_features
from voicewright.training.speaking import Speaking


def _none(shape: torch.Size, device: torch.device, rng: object, normal: bool) -> Tensor:
    return torch.full(shape, 0.0 if normal else 0.3, device=device)


def _written(folder: Path, *rest: object, **options: object) -> None:
    """A model's folder, without the seconds that one takes."""
    folder.mkdir(parents=True)
    (folder / "by.txt").write_text(os.environ.get("RANK", "0"), "utf-8")


def _plain(x: Tensor, *rest: object, **options: object) -> Tensor:
    return x


def _arrange(at: int, place: str) -> None:
    """Have something happen to the last process at a step."""
    follow, output, spills, here = Trainer._follow, Speaking.output, list[int](), [0]

    def last(number: int, count: int) -> bool:
        return number == count - 1

    def followed(self: Trainer[Any]) -> None:
        follow(self)
        if self.counters.total + 1 == at and last(self.ranks.number, self.ranks.count):
            if place == "kill" and os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0":
                os.kill(os.getpid(), signal.SIGKILL)
            if place == "stop":
                os.kill(os.getpid(), signal.SIGTERM)

    def spilled(self: Speaking, number: int, batch: Any) -> Any:
        rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        if here[0] == at and last(rank, count) and (place == "full" or (place == "spill" and not spills)):
            spills.append(at)
            output(self, number, batch)  # so that others have begun to add up
            raise torch.OutOfMemoryError("CUDA out of memory, says a test")
        return output(self, number, batch)

    step = Trainer.step

    def stepped(self: Trainer[Any], batch: Any, number: int) -> Any:
        here[0] = self.counters.total + 1
        return step(self, batch, number)

    Trainer._follow, Speaking.output, Trainer.step = followed, spilled, stepped  # type: ignore[method-assign]


def main(
    folder: str, at: str = "0", place: str = "never", rank: str = "", of: str = "1", port: str = ""
) -> int:
    torch.set_num_threads(1)
    if rank:
        given = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": of, "LOCAL_WORLD_SIZE": of}
        os.environ |= given | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    source.random_like, nn.functional.dropout = _none, _plain  # type: ignore[assignment]
    candidates.write_model, candidates.speak_samples = _written, lambda *rest: None
    _arrange(int(at), place)
    out, cpu = Path(folder), torch.device("cpu")
    features = [tone_features(i, "a" if i % 3 else "b") for i in range(18)]
    with joined(cpu):
        result = train_features(recipe(), features, out, resume=begun(out), device=cpu, line=_say)
    return 0 if result.finished else 130


def recipe() -> Recipe:
    """Two stages with their adversarial phases; three clips a step, which two processes share unevenly. Slow,
    as Adam turns float noise in a gradient that is nothing into steps of its rate."""
    acoustic, prosody, _ = small_recipe().model_dump(mode="json")["stages"]
    acoustic |= {"steps": 4, "gan_start": 2, "batch_frames": 72}
    prosody |= {"steps": 4, "gan_start": 2}
    for part in ("optimizer", "discriminator"):
        acoustic[part]["learning_rate"] = prosody[part]["learning_rate"] = 1e-4
    judge = {"every": 8, "sentences": 2, "keep": 2}
    return small_recipe(stages=[acoustic, prosody], judge=judge)


def _say(text: str) -> None:
    print(f"[{os.environ.get('RANK', '')}] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
