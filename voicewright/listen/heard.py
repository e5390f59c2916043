"""What a recogniser takes and gives: clips made alike, words with how sure it is of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from voicewright.units import SAMPLE_RATE

Samples = NDArray[np.float32]
Progress = Callable[[int, int], None]

RECOGNISER_RATE = 16_000
EDGE_SECONDS = 0.3
"""Silence put on both ends: recognisers lose the first word of clips that begin at once."""


@dataclass(frozen=True)
class Heard:
    """Words, and 0..1 how sure the recogniser is of them: 0 where it heard none."""

    text: str
    confidence: float
    limit: float = 0.0
    """Below this confidence such a recogniser's texts are too often wrong to be taken for the speaker's."""


class Recogniser(Protocol):
    """Anything that turns speech into words. Must be deterministic and blind to what it heard before."""

    @property
    def name(self) -> str:
        """Name and version, as printed in the report's conditions."""

    def transcribe(self, samples: Samples) -> str:
        """Words heard in float32 mono samples at 24 kHz."""

    def transcribe_many(self, clips: Sequence[Samples], progress: Progress | None = None) -> list[str]:
        """Words heard in each clip, in order. `progress(done, total)` is called after each."""


class Hearing(Recogniser, Protocol):
    """A recogniser that says how sure it is."""

    def hear(self, samples: Samples, rate: int = SAMPLE_RATE) -> Heard:
        """Words heard in float32 mono samples at `rate`."""


def recogniser_input(samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    """16 kHz int16, peak at 0.95, 0.3 s of silence on both ends. Silence and empty clips stay silent."""
    clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
    if rate != RECOGNISER_RATE and clip.size:
        clip = soxr.resample(clip, rate, RECOGNISER_RATE).astype(np.float32)
    peak = float(np.abs(clip).max()) if clip.size else 0.0
    if peak > 0:
        clip = clip * (0.95 / peak)
    edge = np.zeros(int(EDGE_SECONDS * RECOGNISER_RATE), np.float32)
    return np.asarray(np.round(np.concatenate([edge, clip, edge]) * 32767), np.int16)
