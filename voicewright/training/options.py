"""Which recipe a command line means, what it changes of it, and what a run remembers for `--resume`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from voicewright.errors import UsageError, VoicewrightError
from voicewright.training.stages import STAGES

RUN = "run.json"
"""Of a run's folder: the recipe as it is carried out, and what the command line changed of it."""
CLIP = 100
"""Frames (2.5 s) that a whole clip is taken for, where no stage of the recipe crops."""
FEATURES = 62_000
"""Bytes of features a second of speech takes: samples, mel, pitch, energy."""

R = TypeVar("R", bound=BaseModel)


@dataclass(frozen=True)
class Options:
    """Changes to a recipe; None: as the recipe has it."""

    steps: int | None = None
    """Of the whole run; stages keep their proportions."""
    batch: int | None = None
    """Clips a step; stages of whole clips keep their proportion to those that crop."""
    minutes: float | None = None
    """That the run may take: it gets fewer steps where it would take longer."""
    start: str | None = None
    """What a speaking voice's training starts from, in place of the recipe's."""
    dry_run: bool = False
    """Whether to say what the run would need, and stop."""

    @property
    def kept(self) -> dict[str, int | str | None]:
        """What a run remembers."""
        return {"steps": self.steps, "batch": self.batch, "start": self.start}


def shipped() -> dict[str, Path]:
    """The recipes inside the package, by name."""
    folder = Path(str(resources.files("voicewright"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find_recipe(words: str | Path) -> Path:
    """The recipe that a user means: a file, or a shipped one's name (`finetune`, `recipes/finetune.yaml`).

    Raises UsageError that lists them.
    """
    path = Path(words)
    if path.is_file():
        return path
    named = str(path.parent) in (".", "recipes") and path.suffix in ("", ".yaml")
    if named and path.stem in shipped():
        return shipped()[path.stem]
    raise UsageError(f"there is no recipe {words}: give a file, or one of {', '.join(shipped())}.")


def resized(recipe: R, options: Options) -> R:
    """The recipe with these options, judged as many times as before. Raises UsageError for too few steps."""
    whole: Any = recipe
    stages: list[Any] = list(whole.stages)
    changes: dict[str, object] = {}
    if options.start is not None:
        changes |= {"start": options.start, "model": None}
    if options.steps is not None:
        total = sum(stage.steps for stage in stages)
        if options.steps < len(stages):
            raise UsageError(f"--steps {options.steps} is less than one for each of {len(stages)} stages.")
        share = options.steps / total
        counts = _shares([stage.steps for stage in stages], options.steps)
        stages = [_shortened(stage, count) for stage, count in zip(stages, counts, strict=True)]
        judge = whole.judge
        changes["judge"] = judge.model_copy(update={"every": max(1, round(judge.every * share))})
        changes["preview_every"] = max(1, round(whole.preview_every * share))
    if options.batch is not None:
        stages = _with_batch(stages, options.batch)
    return recipe.model_copy(update={**changes, "stages": tuple(stages)})


def _shares(steps: list[int], total: int) -> list[int]:
    """Whole numbers of that sum, in proportion, each at least 1."""
    ideal = [max(1.0, count * total / sum(steps)) for count in steps]
    found = [int(value) for value in ideal]
    order = sorted(range(len(steps)), key=lambda i: found[i] - ideal[i])
    for turn in range(total - sum(found)):
        found[order[turn % len(order)]] += 1
    while sum(found) > total:  # where ones had to be made
        found[max(range(len(found)), key=found.__getitem__)] -= 1
    return found


def _shortened(stage: Any, steps: int) -> Any:
    share = steps / stage.steps
    changes: dict[str, object] = {"steps": steps}
    for name in ("gan_start", "gan_ramp"):
        value = getattr(stage, name)
        if value is not None:
            changes[name] = round(value * share) if name == "gan_start" else max(1, round(value * share))
    for name in ("optimizer", "discriminator"):
        part = getattr(stage, name)
        if part is not None and hasattr(part, "warmup"):
            changes[name] = part.model_copy(update={"warmup": max(1, round(part.warmup * share))})
    return stage.model_copy(update=changes)


def _with_batch(stages: list[Any], clips: int) -> list[Any]:
    if any(hasattr(stage, "clips") for stage in stages):
        return [stage.model_copy(update={"clips": clips}) for stage in stages]
    cropped = [s for s in stages if STAGES[s.stage].crops]
    if cropped:
        share = clips * cropped[0].crop / cropped[0].batch_frames
    changed = []
    for stage in stages:
        if stage in cropped:
            frames = clips * stage.crop
        else:
            frames = max(1, round(stage.batch_frames * share)) if cropped else clips * CLIP
        changed.append(stage.model_copy(update={"batch_frames": frames}))
    return changed


def begun(out: Path) -> bool:
    """Whether a folder holds a run."""
    return (out / RUN).is_file() or any((out / "checkpoints").glob("step-*"))


def check_folder(out: Path, resume: bool) -> None:
    """Raise, before anything is computed, unless a run can begin or go on in `out`."""
    if resume and not begun(out):
        raise UsageError(f"{out} holds no run to go on with; leave --resume out to begin one.")
    if not resume and any((out / "checkpoints").glob("step-*")):
        raise VoicewrightError(
            f"{out} already holds a run; continue it with --resume or choose another folder."
        )


def remembered(out: Path, resume: bool, options: Options) -> Options:
    """The options given; on resuming the run's own where none are given, so that it goes on exactly."""
    if not resume:
        return options
    try:
        old = json.loads((out / RUN).read_text("utf-8")).get("options", {})
    except (OSError, ValueError, AttributeError):
        return options
    given = {name: value for name, value in options.kept.items() if value is not None}
    known = {name: old[name] for name in options.kept if isinstance(old, dict) and old.get(name)}
    return replace(options, **(known | given))


def check_room(folder: Path, needed: int, what: str) -> int:
    """Free bytes where `folder` is or will be. Raises VoicewrightError when fewer than `needed`."""
    place = next((p for p in _upwards(folder.absolute()) if p.is_dir()), Path("/"))
    free = shutil.disk_usage(place).free
    if free < needed:
        raise VoicewrightError(
            f"{what} need about {needed / 2**30:.1f} GiB and {place} has {free / 2**30:.1f} GiB free: "
            "make room or choose another folder."
        )
    return free


def _upwards(path: Path) -> Iterable[Path]:
    return (path, *path.parents)
