"""What a run is asked for, whatever it trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from voicewright.progress import Progress

if TYPE_CHECKING:
    from voicewright.training.lifecycle import Result
    from voicewright.training.options import Options


@dataclass(frozen=True)
class Wishes:
    """What the command line changes of the recipe's start; None: as it has it."""

    model: str | None = None
    voice: str | None = None
    voices: Path | None = None

    @property
    def any(self) -> bool:
        return (self.model, self.voice, self.voices) != (None, None, None)


@dataclass(frozen=True)
class TrainOrder:
    """What a run was asked for; what a task of `voicewright.tasks` is called with."""

    recipe: Path
    corpus: Path
    out: Path
    options: Options
    resume: bool = False
    device: str = "auto"
    judged: bool = True
    recogniser: str = "auto"
    wishes: Wishes | None = None
    """Of a recipe of adapters."""


Task: TypeAlias = Callable[[TrainOrder, Progress], "Result"]
"""What trains recipes of one `kind`. Raises UsageError and VoicewrightError before anything is computed for
what is missing or wrong."""
