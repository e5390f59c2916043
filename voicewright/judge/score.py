"""The number that chooses checkpoints: how far a voice is from its recordings, in what people hear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """What was measured over the same sentences, spoken or recorded. None: nothing here can measure it."""

    cer: float | None = None
    """Character errors, as a share."""
    similarity: float | None = None
    """Cosine to the speaker's voice."""
    pitch_hz: float | None = None
    """Median F0; 0 where nothing is voiced."""
    pitch_spread: float | None = None
    """Standard deviation of F0 in semitones."""
    pace: float | None = None
    """Letters a second, from a sentence's first to its last sound; 0 where nothing sounds."""
    periodicity: float | None = None
    """Of 1.5 to 4 kHz, above noise."""


WEIGHTS: Mapping[str, float] = {
    "words": 1.0,
    "similarity": 1.0,
    "pitch": 0.03,
    "spread": 0.02,
    "pace": 0.4,
    "periodicity": 0.1,
}
"""What a whole unit of each shortfall costs: a point of CER, a point of cosine, a semitone of the median, a
semitone of the spread, a factor e of pace, all of the periodicity."""
FREE = {"pitch": 0.5, "spread": 0.3, "pace": 0.05}
"""As much of these differs between two readings by one person, and costs nothing."""
MOST = {"pitch": 12.0, "spread": 6.0, "pace": 1.0, "periodicity": 1.0}
"""No shortfall counts for more, so that no figure alone can outweigh the others; silence has the most."""


def shortfalls(made: Figures, recorded: Figures) -> dict[str, float]:
    """How far `made` falls short of `recorded`, by name of `WEIGHTS`, where both were measured."""
    found: dict[str, float] = {}
    if made.cer is not None and recorded.cer is not None:
        found["words"] = max(0.0, made.cer - recorded.cer)
    if made.similarity is not None and recorded.similarity is not None:
        found["similarity"] = max(0.0, recorded.similarity - made.similarity)
    if made.pitch_hz is not None and recorded.pitch_hz:
        found["pitch"] = _beyond("pitch", 12 * _ratio(made.pitch_hz, recorded.pitch_hz, 2.0))
    if made.pitch_spread is not None and recorded.pitch_spread is not None:
        found["spread"] = _beyond("spread", abs(made.pitch_spread - recorded.pitch_spread))
    if made.pace is not None and recorded.pace:
        found["pace"] = _beyond("pace", _ratio(made.pace, recorded.pace, math.e))
    if made.periodicity is not None and recorded.periodicity:
        found["periodicity"] = min(1.0, max(0.0, 1 - made.periodicity / recorded.periodicity))
    return found


def score(made: Figures, recorded: Figures) -> float:
    """0 for a voice that no figure tells from the recordings, else below; higher is better.

    Figures that could not be measured count for neither side, so that scores of one run can be compared.
    """
    return -sum(WEIGHTS[name] * value for name, value in shortfalls(made, recorded).items())


def _ratio(made: float, wanted: float, base: float) -> float:
    """Distance of two positive numbers in logarithms of `base`; infinite for nothing at all."""
    return abs(math.log(made / wanted, base)) if made > 0 else math.inf


def _beyond(name: str, distance: float) -> float:
    return min(MOST[name], max(0.0, distance - FREE[name]))
