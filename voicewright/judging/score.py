"""The number that chooses checkpoints: how far a voice is from its recordings, in what people hear.

Why these weights: docs/judging.md, "Choosing checkpoints"; `benchmarks/score.py` measures what they rest on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = 3
"""Of what the score is made of: scores of another version are not compared with this one's."""


@dataclass(frozen=True)
class Figures:
    """What was measured over the same sentences, spoken or recorded. None: nothing here can measure it."""

    cer: float | None = None
    """Character errors, as a share."""
    similarity: float | None = None
    """Cosine to the speaker's voice, by the first encoder."""
    likeness: float | None = None
    """The same with strangers at 0 and the speaker's other recordings at 1, mean of the encoders."""
    quality: float | None = None
    """1 to 5, by a judge that needs no reference."""
    pitch_hz: float | None = None
    """Median F0; 0 where nothing is voiced."""
    pitch_spread: float | None = None
    """Standard deviation of F0 in semitones."""
    pace: float | None = None
    """Letters a second, from a sentence's first to its last sound; 0 where nothing sounds."""
    periodicity: float | None = None
    """Of 1.5 to 4 kHz, above noise."""
    echo: float | None = None
    """The higher of the echoes at 12.5 and 25 ms, over the pitch's own peak in the cepstrum."""
    lines_db: float | None = None
    """The generator's strongest line above its surroundings."""
    whistle_db: float | None = None
    """2 to 3 kHz against 0.1 to 8 kHz on voiced frames."""
    hums: float | None = None
    """Share of the clips whose end is one held sound."""


WEIGHTS: Mapping[str, float] = {
    "words": 1.0,
    "similarity": 0.35,
    "quality": 0.15,
    "pitch": 0.03,
    "spread": 0.02,
    "pace": 0.4,
    "periodicity": 0.1,
    "echo": 0.3,
    "lines": 0.03,
    "whistle": 0.02,
    "hums": 0.2,
}
"""What a whole unit of each shortfall costs: a point of CER, all of the way from the speaker to strangers, a
point of quality, a semitone of the median, a semitone of the spread, a factor e of pace, all of the
periodicity, an echo as high as the pitch, a dB of lines, a dB of 2 to 3 kHz, every end humming."""
FREE = {
    "pitch": 0.5,
    "spread": 0.3,
    "pace": 0.05,
    "quality": 0.1,
    "echo": 0.05,
    "lines": 0.7,
    "whistle": 1.0,
}
"""As much of these differs between two readings by one person, and costs nothing."""
MOST = {
    "similarity": 2.0,
    "quality": 3.0,
    "pitch": 12.0,
    "spread": 6.0,
    "pace": 1.0,
    "periodicity": 1.0,
    "echo": 1.0,
    "lines": 10.0,
    "whistle": 10.0,
    "hums": 1.0,
}
"""No shortfall counts for more, so that no figure alone can outweigh the others; silence has the most."""
COSINES = 0.26
"""Cosine from a speaker to strangers under the first encoder: a shortfall where no list of strangers is."""


def shortfalls(made: Figures, recorded: Figures) -> dict[str, float]:
    """How far `made` falls short of `recorded`, by name of `WEIGHTS`, where both were measured."""
    found: dict[str, float] = {}
    if made.cer is not None and recorded.cer is not None:
        found["words"] = max(0.0, made.cer - recorded.cer)
    if made.likeness is not None and recorded.likeness is not None:
        found["similarity"] = _beyond("similarity", recorded.likeness - made.likeness)
    elif made.similarity is not None and recorded.similarity is not None:
        found["similarity"] = _beyond("similarity", (recorded.similarity - made.similarity) / COSINES)
    if made.quality is not None and recorded.quality is not None:
        found["quality"] = _beyond("quality", recorded.quality - made.quality)
    if made.pitch_hz is not None and recorded.pitch_hz:
        found["pitch"] = _beyond("pitch", 12 * _ratio(made.pitch_hz, recorded.pitch_hz, 2.0))
    if made.pitch_spread is not None and recorded.pitch_spread is not None:
        found["spread"] = _beyond("spread", abs(made.pitch_spread - recorded.pitch_spread))
    if made.pace is not None and recorded.pace:
        found["pace"] = _beyond("pace", _ratio(made.pace, recorded.pace, math.e))
    if made.periodicity is not None and recorded.periodicity:
        found["periodicity"] = min(1.0, max(0.0, 1 - made.periodicity / recorded.periodicity))
    artefacts = (
        ("echo", made.echo, recorded.echo),
        ("lines", made.lines_db, recorded.lines_db),
        ("whistle", made.whistle_db, recorded.whistle_db),
        ("hums", made.hums, recorded.hums),
    )
    for name, ours, theirs in artefacts:
        if ours is not None and theirs is not None:
            found[name] = _beyond(name, ours - theirs)
    return found


def costs(made: Figures, recorded: Figures) -> dict[str, float]:
    """What each shortfall takes off the score, by name of `WEIGHTS`."""
    return {name: WEIGHTS[name] * value for name, value in shortfalls(made, recorded).items()}


def score(made: Figures, recorded: Figures) -> float:
    """0 for a voice that no figure tells from the recordings, else below; higher is better.

    Figures that could not be measured count for neither side: scores are compared only with those that the
    same ears gave.
    """
    return -sum(costs(made, recorded).values())


def _ratio(made: float, wanted: float, base: float) -> float:
    """Distance of two positive numbers in logarithms of `base`; infinite for nothing at all."""
    return abs(math.log(made / wanted, base)) if made > 0 else math.inf


def _beyond(name: str, distance: float) -> float:
    """A distance beyond what is free, from 0 to what counts at most."""
    return min(MOST[name], max(0.0, distance - FREE.get(name, 0.0)))
